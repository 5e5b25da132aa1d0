//go:build with_java

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestJavaReceivers runs the receivers in Java.
func TestJavaReceivers(t *testing.T) {
	sources, err := filepath.Glob(filepath.Join(receivers("java"), "*.java"))
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	out := t.TempDir()
	javac := exec.CommandContext(t.Context(), "javac", append([]string{"-Xlint:all", "-Werror", "-encoding", "UTF-8", "-d", out}, sources...)...)
	if said, err := javac.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	checkVectors(t, exec.Command("java", "-cp", out, "Check", filepath.Join(receivers(""), "vectors.tsv")))
	checkReceivers(t, exec.Command("java", "-cp", out, "Receiver"))
}
