package docstest

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the snippets of the guides")

// snippet is a block that shows a file: a comment with its path, then the block.
var snippet = regexp.MustCompile("(?m)^<!-- (examples/[^ ]+) -->\n```([a-z]+)\n((?s:.*?))^```$")

// TestSnippets: code in the guides is that of the files, which the tests run. With -update it is made so.
func TestSnippets(t *testing.T) {
	shown := map[string]map[string]bool{} // by page and file
	for _, p := range pages(t) {
		if !strings.HasPrefix(p.name, "docs/guide/") {
			continue
		}
		shown[p.name] = map[string]bool{}
		text := snippet.ReplaceAllStringFunc(p.text, func(block string) string {
			m := snippet.FindStringSubmatch(block)
			shown[p.name][m[1]] = true
			want := read(t, m[1]).text
			if m[3] != want && !*update {
				t.Errorf("%s does not show %s as it is; run go test ./internal/docstest -run TestSnippets -update", p.name, m[1])
			}
			return "<!-- " + m[1] + " -->\n```" + m[2] + "\n" + want + "```"
		})
		if *update && text != p.text {
			if err := os.WriteFile(filepath.Join(root, p.name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if page := path.Base(p.name); page == "receivers.md" && len(shown[p.name]) < 25 {
			t.Errorf("%s shows %d files, want five schemes in five languages", p.name, len(shown[p.name]))
		}
	}
	for _, language := range []string{"en", "vi"} {
		if len(shown["docs/guide/"+language+"/receivers.md"]) == 0 {
			t.Errorf("there is no guide for receivers in %s", language)
		}
	}
}

// TestGuidesAreInBothLanguages: a guide is there in both, with as many sections, blocks and pictures.
func TestGuidesAreInBothLanguages(t *testing.T) {
	shape := func(p page) (sections, blocks, pictures int) {
		text := fenced.ReplaceAllString(p.text, "")
		return len(heading.FindAllString(text, -1)), strings.Count(p.text, "\n```"), strings.Count(text, "![")
	}
	found := 0
	for _, p := range pages(t) {
		folder, file := path.Split(p.name)
		if folder != "docs/guide/en/" && folder != "docs/guide/vi/" {
			continue
		}
		found++
		other := "docs/guide/vi/" + file
		if folder == "docs/guide/vi/" {
			other = "docs/guide/en/" + file
		}
		s, b, c := shape(p)
		if s2, b2, c2 := shape(read(t, other)); s != s2 || b != b2 || c != c2 {
			t.Errorf("%s has %d sections, %d fences, %d pictures; %s has %d, %d, %d", p.name, s, b, c, other, s2, b2, c2)
		}
	}
	if found < 4 {
		t.Errorf("only %d guides found: looking in the wrong place", found)
	}
}
