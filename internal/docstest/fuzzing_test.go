package docstest

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const fuzzingPage = "docs/fuzzing.md"

// TestFuzzing: the page names every fuzz target of the tree, and no other.
func TestFuzzing(t *testing.T) {
	name := regexp.MustCompile(`\bFuzz[A-Z]\w+`)
	var onPage, inTree []string
	for _, row := range rows(read(t, fuzzingPage).text) {
		for part := range strings.SplitSeq(row[len(row)-1], ";") {
			for _, target := range name.FindAllString(part, -1) {
				onPage = append(onPage, code(part)+" "+target)
			}
		}
	}
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return cmp.Or(err, error(fs.SkipDir))
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		for _, m := range target.FindAllStringSubmatch(string(text), -1) {
			inTree = append(inTree, filepath.ToSlash(folder)+" "+m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(onPage)
	slices.Sort(inTree)
	compare(t, fuzzingPage, onPage, "the tree", inTree)
}
