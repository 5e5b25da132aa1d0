package format_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/outbound/format"
)

// TestPageShowsGoldenFiles: the page about formats has a section for each, whose example is one of its golden files.
func TestPageShowsGoldenFiles(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```(?:json|http)\n(.*?)\n```\n")
	for _, name := range format.Names() {
		_, section, found := strings.Cut(string(text), "\n## "+name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		shown := example.FindStringSubmatch(section)
		if !found || shown == nil {
			t.Errorf("docs/formats.md has no section %s with an example", name)
			continue
		}
		files, err := filepath.Glob(filepath.Join("testdata", name, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			golden, err := os.ReadFile(file)
			return err == nil && string(golden) == shown[1]
		}) {
			t.Errorf("docs/formats.md shows for %s what no golden file has:\n%s", name, shown[1])
		}
	}
}
