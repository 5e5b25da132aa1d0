package scaffold

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// replacement is how go.mod in one folder names another: an absolute path stays one, and so does a relative one, seen from
// the folder with go.mod.
func replacement(dir, checkout string) (string, error) {
	if filepath.IsAbs(checkout) {
		return quoted(filepath.Clean(checkout)), nil
	}
	here, err := physical(dir)
	if err != nil {
		return "", err
	}
	above, err := physical(filepath.Join(checkout, ".."))
	if err != nil {
		return "", err
	}
	there, err := filepath.Abs(checkout)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", checkout, err)
	}
	path, err := filepath.Rel(here, filepath.Join(above, filepath.Base(there)))
	if err != nil {
		return "", fmt.Errorf("find %s from %s: %w", checkout, dir, err)
	}
	if !strings.HasPrefix(path, "..") {
		path = "./" + path // go.mod takes it for a module otherwise
	}
	return quoted(path), nil
}

// physical is an absolute path without symbolic links, as far as it exists: ".." in go.mod is followed from there.
func physical(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		if at == filepath.Dir(at) {
			return abs, nil
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// quoted is a path as a word of go.mod.
func quoted(path string) string {
	if strings.ContainsAny(path, " \t\r\n\"'`()[]{},") || strings.Contains(path, "//") {
		return strconv.Quote(path)
	}
	return path
}
