package docstest

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestConsoleGuideSaysWhatTheConsoleSays: what stands in bold in the guides to the console are its own texts.
func TestConsoleGuideSaysWhatTheConsoleSays(t *testing.T) {
	bold := regexp.MustCompile(`\*\*([^*]+)\*\*`)
	for _, language := range []string{"en", "vi"} {
		files, err := filepath.Glob(filepath.Join(root, "control", "console", "locales", "*."+language+".yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("the console has no texts in %s: %v", language, err)
		}
		texts := map[string]bool{}
		for _, file := range files {
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			var all map[string]any
			if err := yaml.Unmarshal([]byte(read(t, filepath.ToSlash(name)).text), &all); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, text := range all {
				if s, ok := text.(string); ok {
					texts[s] = true
				}
			}
		}
		p := read(t, "docs/guide/"+language+"/console.md")
		named := bold.FindAllStringSubmatch(p.text, -1)
		if len(named) < 20 {
			t.Errorf("%s names only %d texts", p.name, len(named))
		}
		for _, m := range named {
			if said := strings.Join(strings.Fields(m[1]), " "); !texts[said] { // a line may end within it
				t.Errorf("%s says that the console says %q, which it does not", p.name, said)
			}
		}
	}
}
