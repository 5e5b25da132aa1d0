package docstest

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// TestInboxGuideSaysWhatTheInboxSays: what stands in bold in the guides to the inbox are its own texts. A number in bold
// stands for what the text leaves open; Automatic Retry is the console's.
func TestInboxGuideSaysWhatTheInboxSays(t *testing.T) {
	bold, open := regexp.MustCompile(`\*\*([^*]+)\*\*`), regexp.MustCompile(`\{\{[^}]+\}\}|[0-9]+`)
	for _, language := range []string{"en", "vi"} {
		var all map[string]any
		if err := json.Unmarshal([]byte(read(t, "internal/inbox/assets/locales/"+language+".json").text), &all); err != nil {
			t.Fatal(err)
		}
		texts := map[string]bool{"Automatic Retry": true}
		for _, text := range all {
			if s, ok := text.(string); ok {
				texts[open.ReplaceAllString(s, "#")] = true
			}
		}
		p := read(t, "docs/guide/"+language+"/inbox.md")
		named := bold.FindAllStringSubmatch(p.text, -1)
		if len(named) < 20 {
			t.Errorf("%s names only %d texts", p.name, len(named))
		}
		for _, m := range named {
			said := strings.Join(strings.Fields(m[1]), " ") // a line may end within it
			if !texts[open.ReplaceAllString(said, "#")] {
				t.Errorf("%s says that the inbox says %q, which it does not", p.name, said)
			}
		}
	}
}
