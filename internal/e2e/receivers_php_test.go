//go:build with_php

package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestPHPReceivers runs the receivers in PHP.
func TestPHPReceivers(t *testing.T) {
	checkVectors(t, exec.Command("php", filepath.Join(receivers("php"), "check.php")))
	// PHP's own server says on its standard error where it listens.
	const serve = `exec php -S 127.0.0.1:0 "$0" 2>&1`
	checkReceivers(t, exec.Command("sh", "-c", serve, filepath.Join(receivers("php"), "receiver.php")))
}
