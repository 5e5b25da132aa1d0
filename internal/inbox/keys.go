package inbox

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"

	"github.com/sidehook/sidehook"
)

// verifyKey is a key as a receiver uses it. Which fields are set says which schemes it fits.
type verifyKey struct {
	kind   string            // how its text form starts, or "text"
	secret []byte            // for v1
	public ed25519.PublicKey // for v1a
	text   []byte            // for HMAC outside Standard Webhooks, where the text form is the key
}

// parseKey reads what sidehook.ImportKey does, and the public half of a key pair. It returns a *sidehook.FieldError
// without a field that does not contain the key.
func parseKey(s string) (verifyKey, error) {
	s = strings.TrimSpace(s)
	if rest, ok := strings.CutPrefix(s, sidehook.PublicKeyPrefix); ok {
		public, err := base64.StdEncoding.Strict().DecodeString(rest)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return verifyKey{}, sidehook.Fieldf("", "must be %s and the base64 of %d bytes", sidehook.PublicKeyPrefix, ed25519.PublicKeySize)
		}
		return verifyKey{kind: sidehook.PublicKeyPrefix, public: public}, nil
	}
	k, err := sidehook.ImportKey(s)
	if err != nil {
		return verifyKey{}, withoutField(err)
	}
	switch k.Kind() {
	case sidehook.KeyEd25519:
		pair := ed25519.NewKeyFromSeed(k.Bytes())
		return verifyKey{kind: sidehook.PrivateKeyPrefix, public: pair.Public().(ed25519.PublicKey)}, nil
	case sidehook.KeySymmetric:
		return verifyKey{kind: sidehook.SecretPrefix, secret: k.Bytes(), text: []byte(k.Reveal())}, nil
	}
	return verifyKey{kind: "text", text: k.Bytes()}, nil
}
