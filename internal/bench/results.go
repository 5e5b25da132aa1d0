package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// readResults reads a file of results; one that is not there holds none. Whatever else is wrong with it must be known
// before minutes are spent on new ones, which replace rows of it and would lose the others.
func readResults(path string) ([]result, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var results []result
	if err := d.Decode(&results); err != nil {
		return nil, fmt.Errorf("%s holds no results that could be kept (remove it, or write elsewhere with -json): %w", path, err)
	}
	return results, nil
}

// mergeResults puts the rows of fresh in the place of those of old. What old has of other rows stays. Rows are in the
// order of allRows; those that are not there any more come last.
func mergeResults(old, fresh []result) []result {
	measured := make(map[string]bool)
	for _, r := range fresh {
		measured[r.Row] = true
	}
	merged := slices.DeleteFunc(slices.Clone(old), func(r result) bool { return measured[r.Row] })
	merged = append(merged, fresh...)
	place := map[string]int{machineRow: -1}
	for i, r := range allRows() {
		place[r.name] = i
	}
	at := func(r result) int {
		if i, ok := place[r.Row]; ok {
			return i
		}
		return len(place)
	}
	slices.SortStableFunc(merged, func(a, b result) int { return at(a) - at(b) })
	return merged
}

// writeResults replaces the file as a whole, or not at all.
func writeResults(path string, results []result) (err error) {
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(path), ".results-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	_, err = part.Write(append(text, '\n'))
	if err := errors.Join(err, part.Chmod(0o644), part.Close()); err != nil {
		return err
	}
	return os.Rename(part.Name(), path)
}
