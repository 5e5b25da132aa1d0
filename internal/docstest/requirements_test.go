package docstest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const requirementsPage = "docs/requirements.md"

// stated says how many requirements each document states, and how many questions they leave open (R).
var stated = map[string]int{"S": 9, "M": 7, "A": 6, "T": 6, "O": 4, "R": 23}

// TestRequirements: every requirement has a row, and a test that exists.
func TestRequirements(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range rows(read(t, requirementsPage).text) {
		id := code(row[0])
		if seen[id] {
			t.Errorf("%s stands twice", id)
		}
		seen[id] = true
		if len(row) != 4 {
			t.Errorf("%s: %d cells, want 4: %q", id, len(row), row)
			continue
		}
		for part := range strings.SplitSeq(row[3], ";") {
			folder := code(part)
			names := regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(part, -1)
			if len(names) == 0 || folder == "" {
				t.Errorf("%s names no test: %q", id, part)
				continue
			}
			for _, name := range names {
				if !hasTest(t, folder, name) {
					t.Errorf("%s: %s has no %s", id, folder, name)
				}
			}
		}
	}
	for document, n := range stated {
		for i := 1; i <= n; i++ {
			if id := fmt.Sprintf("%s%d", document, i); !seen[id] {
				t.Errorf("%s has no row for %s", requirementsPage, id)
			}
		}
	}
}

// hasTest reports whether a test file of the folder, whatever its build tags, has the test.
func hasTest(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
