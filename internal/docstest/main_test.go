package docstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// root is the folder of the module, absolute; binaries is where TestMain built them.
var root, binaries string

func TestMain(m *testing.M) {
	if asCurl() {
		os.Exit(curl(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(build(m))
}

func build(m *testing.M) int {
	var err error
	if root, err = filepath.Abs(filepath.Join("..", "..")); err != nil {
		return fail(err)
	}
	if binaries, err = os.MkdirTemp("", "docs"); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(binaries) //nolint:errcheck // a temporary folder
	for program, pkg := range map[string]string{
		"sidehook":            "./cmd/sidehook",
		"transformers/redact": "./examples/transformers/redact",
	} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(binaries, program), pkg)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fail(fmt.Errorf("go build %s: %w\n%s", pkg, err, out))
		}
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		return fail(err)
	}
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
