package scaffold_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/plugin/scaffold"
)

var update = flag.Bool("update", false, "copy the originals anew, and write the programs into docs/transformers.md")

// same holds a file to a text, or with -update makes it so.
func same(t *testing.T, path, want, why string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, path) != want {
		t.Errorf("%s %s; run go test ./plugin/scaffold -run Same -update", path, why)
	}
}

// TestCopiesAreTheSame: embedding cannot reach the originals, so there are copies.
func TestCopiesAreTheSame(t *testing.T) {
	root := repository(t)
	example := filepath.Join(root, "examples", "transformers", "node-uppercase")
	for _, original := range []string{
		filepath.Join(example, "uppercase.mjs"), filepath.Join(example, "serve.mjs"), filepath.Join(example, "package.json"),
		filepath.Join(example, "package-lock.json"), filepath.Join(root, "api", "transform", "v1", "transform.proto"),
	} {
		same(t, filepath.Join("node", filepath.Base(original)), read(t, original), "is not as the original")
	}
}

// TestPageShowsTheSame: docs/transformers.md shows what "sidehook plugin init shout" writes.
func TestPageShowsTheSame(t *testing.T) {
	files, err := scaffold.Files(scaffold.Options{Name: "shout"})
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(repository(t), "docs", "transformers.md")
	shown := 0
	want := regexp.MustCompile("(?s)```go\n.*?\n```\n").ReplaceAllStringFunc(read(t, page), func(block string) string {
		if shown < 2 {
			block = "```go\n" + string(files[shown].Data) + "```\n"
		}
		shown++
		return block
	})
	if shown != 2 {
		t.Fatalf("%s has %d blocks of Go, want a program and its test", page, shown)
	}
	same(t, page, want, "does not show the programs as they are")
}

// TestGoVersion: a transformer cannot be built with an older Go than Sidehook.
func TestGoVersion(t *testing.T) {
	_, rest, ok := strings.Cut(read(t, filepath.Join(repository(t), "go.mod")), "\ngo ")
	version, _, _ := strings.Cut(rest, "\n")
	if mod := goMod(t, scaffold.Options{Name: "x"}); !ok || !strings.Contains(mod, "\ngo "+version+"\n") {
		t.Errorf("this repository needs Go %s, and go.mod is\n%s", version, mod)
	}
}
