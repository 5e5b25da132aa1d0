//go:build with_v1a

package sign_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
)

// TestPublishedPackageVerifiesV1a has the authweave-webhooks package of PyPI verify what is signed here with key pairs,
// also while one rotates. scripts/setup-test installs it where there is a Python 3.12, and sets the build tag.
func TestPublishedPackageVerifiesV1a(t *testing.T) {
	old, fresh, other := sidehook.NewEd25519Key(), sidehook.NewEd25519Key(), sidehook.NewEd25519Key()
	now := time.Now()
	secrets := []sidehook.Secret{{ID: "old", Key: old, NotAfter: now.Add(time.Hour)}, {ID: "new", Key: fresh}}
	headers := signedAt(t, secrets, now)
	askPython(t, exec.CommandContext(t.Context(), "v1a/bin/python", "-B", "verify_v1a.py"), []pythonRequest{
		{old.PublicKey(), headers, []byte(pythonBody), true},
		{fresh.PublicKey(), headers, []byte(pythonBody), true},
		{other.PublicKey(), headers, []byte(pythonBody), false},
		{fresh.PublicKey(), headers, []byte(pythonBody + " "), false},
		{fresh.PublicKey(), signedAt(t, secrets, now.Add(-6*time.Minute)), []byte(pythonBody), false},
	})
}
