//go:build with_python

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPythonReceivers runs the receivers in Python.
func TestPythonReceivers(t *testing.T) {
	// -B: no files of compiled modules beside the sources.
	checkVectors(t, exec.Command("python3", "-B", filepath.Join(receivers("python"), "check.py")))
	checkReceivers(t, exec.Command("python3", "-B", filepath.Join(receivers("python"), "receiver.py")))
}
