package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Programs under test, built once.
var programs struct{ sidehook, redact, demo string }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sidehook-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(ofToxiproxy...); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines were left behind:", err)
			return 1
		}
	}
	return code
}

// ofToxiproxy are goroutines of a bad network, not of ours: toxiproxy 2.5.0 leaves the stages before a toxic that has cut
// a connection waiting for it.
var ofToxiproxy = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
}

// build makes the programs: with the flags of the Makefile, so that what it compiled is used again, or with the race
// detector when the tests have it.
func build(dir string) error {
	flags, env := []string{"-trimpath"}, "CGO_ENABLED=0"
	if raceDetector {
		flags, env = []string{"-race"}, "CGO_ENABLED=1"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	for _, p := range []struct {
		path   *string
		source string
	}{
		{&programs.sidehook, "cmd/sidehook"},
		{&programs.redact, "examples/transformers/redact"},
		{&programs.demo, "examples/demo"},
	} {
		*p.path = filepath.Join(dir, filepath.Base(p.source))
		args := append([]string{"build", "-o", *p.path}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, "./"+p.source)...)
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), env)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p.source, err, out)
		}
	}
	return nil
}
