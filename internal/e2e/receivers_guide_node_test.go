//go:build with_node

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestNodeReceivers runs the receivers in Node, Twenty's also the way it documents them: over the
// payload parsed and printed again.
func TestNodeReceivers(t *testing.T) {
	checkVectors(t, exec.Command("node", filepath.Join(receivers("node"), "check.mjs")))
	checkReceivers(t, exec.Command("node", filepath.Join(receivers("node"), "receiver.mjs")), "/twenty-parsed")
}
