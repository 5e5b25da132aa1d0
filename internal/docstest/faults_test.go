package docstest

import (
	"regexp"
	"strings"
	"testing"
)

const faultsPage = "docs/faults.md"

// TestFaults: what the page says of every fault is shown by tests that exist.
func TestFaults(t *testing.T) {
	n := 0
	for _, row := range rows(read(t, faultsPage).text) {
		if len(row) != 4 {
			t.Errorf("%d cells, want 4: %q", len(row), row)
			continue
		}
		n++
		for part := range strings.SplitSeq(row[3], ";") {
			folder := code(part)
			names := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(part, -1)
			if len(names) == 0 || folder == "" {
				t.Errorf("%q names no test: %q", row[1], part)
			}
			for _, name := range names {
				if !hasTest(t, folder, name) {
					t.Errorf("%q: %s has no %s", row[1], folder, name)
				}
			}
		}
	}
	if n == 0 {
		t.Errorf("%s has no table", faultsPage)
	}
}
