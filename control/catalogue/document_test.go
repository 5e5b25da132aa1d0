package catalogue

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
)

var update = flag.Bool("update", false, "write the generated part of docs/catalogues.md")

const (
	documentPath = "../../docs/catalogues.md"
	// generatedBelow ends the part of the document that people write.
	generatedBelow = "<!-- Below is written by: go test ./control/catalogue -run TestDocument -update -->\n"
)

// TestDocument: the document lists what the catalogues have.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	prose, got, ok := strings.Cut(string(text), generatedBelow)
	if !ok {
		t.Fatalf("%s has no line %s", documentPath, generatedBelow)
	}
	want := "\n" + tables(t)
	if *update {
		if err := os.WriteFile(documentPath, []byte(prose+generatedBelow+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is stale; its %s(-want +got):\n%s", documentPath, generatedBelow, diff)
	}
}

func tables(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| catalogue | of | products | event types |\n|---|---|---|---|\n")
	for _, name := range Names() {
		c, _ := Lookup(name)
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %d |\n", name, name, bilingual(c.Title),
			strings.Join(c.Products(), ", "), len(c.EventTypes))
	}
	for _, name := range Names() {
		c, _ := Lookup(name)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", name, bilingual(c.Title))
		for _, product := range c.Products() {
			writeProduct(t, &b, c, product)
		}
	}
	return b.String()
}

func writeProduct(t *testing.T, b *strings.Builder, c *Catalogue, product string) {
	t.Helper()
	fmt.Fprintf(b, "\n### %s: %s\n\n| event type | tên | ý nghĩa | name | meaning |\n|---|---|---|---|---|\n", c.Name, product)
	for _, e := range c.EventTypes {
		if e.Product == product {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", e.Type, cell(e.Name["vi"]), cell(e.Description["vi"]),
				cell(e.Name["en"]), cell(e.Description["en"]))
		}
	}
	for _, e := range c.EventTypes {
		if e.Product != product {
			continue
		}
		var sample bytes.Buffer
		if err := json.Indent(&sample, e.Sample, "", "  "); err != nil {
			t.Fatalf("%s %s: %v", c.Name, e.Type, err)
		}
		fmt.Fprintf(b, "\n<details><summary><code>%s</code></summary>\n\n```json\n%s\n```\n\n</details>\n", e.Type, &sample)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// bilingual gives a title in both languages, once when they are the same.
func bilingual(title map[string]string) string {
	vi, en := sidehook.InLanguage(title, "vi"), sidehook.InLanguage(title, "en")
	if vi == en {
		return en
	}
	return en + " / " + vi
}
