package docstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// page is a Markdown file of the repository.
type page struct {
	name string // from the root, with slashes
	text string
}

// read returns a page by its name.
func read(t *testing.T, name string) page {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return page{name, string(b)}
}

// pages lists the Markdown files of the repository that are not ignored.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, name := range files(t, "*.md") {
		all = append(all, read(t, name))
	}
	if len(all) < 5 {
		t.Fatalf("only %d pages found: looking in the wrong place", len(all))
	}
	return all
}

// files lists the files of the repository whose names match and that are not ignored, from the root.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", pattern)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err != nil // one that is deleted but not committed
	})
}

// block is a fenced block: its language, its lines and the number of the first of them in the page.
type block struct {
	lang  string
	lines []string
	at    int
}

// blocks returns the fenced blocks of one language.
func (p page) blocks(lang string) []block {
	var found []block
	var open *block
	for i, line := range strings.Split(p.text, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &block{lang: fence, at: i + 2}
		case isFence:
			if open.lang == lang {
				found = append(found, *open)
			}
			open = nil
		case open != nil:
			open.lines = append(open.lines, line)
		}
	}
	return found
}

// section returns the text under a heading, up to the next one of its level or above.
func (p page) section(t *testing.T, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(p.text, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no %q", p.name, heading)
	}
	level := len(heading) - len(strings.TrimLeft(heading, "#"))
	if end := regexp.MustCompile(`(?m)^#{1,` + string(rune('0'+level)) + `} `).FindStringIndex(rest); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// rows returns the cells of the table rows of a text whose first cell is code, without the head of the table.
func rows(text string) [][]string {
	var all [][]string
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all = append(all, cells)
	}
	return all
}

// code returns what stands between the first pair of backquotes.
func code(cell string) string {
	_, rest, _ := strings.Cut(cell, "`")
	text, _, _ := strings.Cut(rest, "`")
	return text
}

// TestYAMLBlocks: what readers copy can be read.
func TestYAMLBlocks(t *testing.T) {
	found := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks("yaml") {
			found++
			var v any
			if err := yaml.Unmarshal([]byte(strings.Join(b.lines, "\n")), &v); err != nil {
				t.Errorf("%s:%d: %v", p.name, b.at, err)
			}
		}
	}
	if found == 0 {
		t.Error("no page has a block of YAML: looking for the wrong thing")
	}
}
