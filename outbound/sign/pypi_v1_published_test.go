//go:build with_pypi

package sign_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
)

// TestPublishedPythonPackageVerifies has the standardwebhooks package of PyPI verify what is signed here.
// scripts/setup-test installs it and sets the build tag.
func TestPublishedPythonPackageVerifies(t *testing.T) {
	old, fresh, other := sidehook.NewKey(), sidehook.NewKey(), sidehook.NewKey()
	now := time.Now()
	secrets := []sidehook.Secret{
		{ID: "old", Key: old, NotAfter: now.Add(time.Hour)},
		{ID: "pair", Key: sidehook.NewEd25519Key()},
		{ID: "new", Key: fresh},
	}
	headers := signedAt(t, secrets, now)
	askPython(t, exec.CommandContext(t.Context(), "python3", "-B", "verify.py"), []pythonRequest{
		{old.Reveal(), headers, []byte(pythonBody), true},
		{fresh.Reveal(), headers, []byte(pythonBody), true},
		{other.Reveal(), headers, []byte(pythonBody), false},
		{fresh.Reveal(), headers, []byte(pythonBody + " "), false},
		{fresh.Reveal(), signedAt(t, secrets, now.Add(-6*time.Minute)), []byte(pythonBody), false},
	})
}
