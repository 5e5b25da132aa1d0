package docstest

import (
	"strings"
	"testing"

	"github.com/sidehook/sidehook/internal/config"
)

// TestDialects: the page has a row and a section for every dialect that can be turned on, and no other.
func TestDialects(t *testing.T) {
	page := read(t, "docs/dialects.md")
	intro, _, _ := strings.Cut(page.text, "\n## ")
	var documented []string
	for line := range strings.SplitSeq(intro, "\n") {
		if name, ok := strings.CutPrefix(line, "| [`"); ok {
			name, _, _ = strings.Cut(name, "`")
			documented = append(documented, name)
			page.section(t, "## "+name)
		}
	}
	compare(t, "the table of docs/dialects.md", documented, "internal/config", config.Dialects())
}
