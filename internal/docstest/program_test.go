package docstest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestProgramOfTransformersPage builds the transformer that the page shows and runs the test that it shows, which holds
// it to the conformance suite. An overlay puts them into the module, so that they build with its dependencies.
func TestProgramOfTransformersPage(t *testing.T) {
	blocks := read(t, "docs/transformers.md").blocks("go")
	files := []string{"main.go", "main_test.go"}
	if len(blocks) != len(files) {
		t.Fatalf("the page has %d blocks of Go, want a program and its test", len(blocks))
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, name := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(blocks[i].lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, "internal", "docstest", "shout", name)] = path
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, b, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "shout.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", program, "./internal/docstest/shout")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program, "-test.v").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestConformance/events") {
		t.Errorf("%v\n%s", err, out)
	}
}
