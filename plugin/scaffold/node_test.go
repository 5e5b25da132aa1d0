//go:build with_node

package scaffold_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sidehook/sidehook/plugin/scaffold"
)

// TestNodeTransformerWorks takes the steps that are printed: what they install conforms.
func TestNodeTransformerWorks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "Shout")
	if _, err := scaffold.Write(scaffold.Options{Name: "Shout", Dir: dir, Language: scaffold.Node}); err != nil {
		t.Fatal(err)
	}
	command(t, dir, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	verify(t, node, filepath.Join(dir, "main.mjs"))
}
