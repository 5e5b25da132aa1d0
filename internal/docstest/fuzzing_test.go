package docstest

import (
	"path"
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
	for _, file := range files(t, "*_test.go") {
		for _, m := range target.FindAllStringSubmatch(read(t, file).text, -1) {
			inTree = append(inTree, path.Dir(file)+" "+m[1])
		}
	}
	slices.Sort(onPage)
	slices.Sort(inTree)
	compare(t, fuzzingPage, onPage, "the tree", inTree)
}
