package docstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNamesOfTests: every test that docs/architecture.md names is there, and so is every folder.
func TestNamesOfTests(t *testing.T) {
	section := read(t, "docs/architecture.md").section(t, "## What always holds, and what tests it")
	cmd := exec.CommandContext(t.Context(), "git", "grep", "-hoE", `^func Test\w+|"[A-Z][A-Za-z]+", test`, "--", "*.go")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git grep: %v", err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name := strings.TrimPrefix(strings.TrimSpace(line), "func ")
		name, _, _ = strings.Cut(strings.TrimPrefix(name, `"`), `"`)
		known[name] = true
	}
	names := regexp.MustCompile(`\b(Test[A-Z]\w+|(Duplicates|Dedupe|FullQueue)[A-Z]\w+)`).FindAllString(section, -1)
	if len(names) < 20 {
		t.Fatalf("only %d names found: looking in the wrong place", len(names))
	}
	for _, name := range names {
		if !known[name] {
			t.Errorf("docs/architecture.md names %s, which is no test", name)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z]+(?:/[a-z]+)+)`").FindAllStringSubmatch(section, -1) {
		if info, err := os.Stat(filepath.Join(root, m[1])); err != nil || !info.IsDir() {
			t.Errorf("docs/architecture.md names the folder %s, which does not exist", m[1])
		}
	}
}
