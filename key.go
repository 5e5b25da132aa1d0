package sidehook

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"
)

// KeyKind says what a Key is, and so which schemes it can sign with; see Signing.Takes.
type KeyKind string

// The kinds of keys.
const (
	// KeySymmetric is shared with the receiver: whsec_<base64 of 24 to 64 bytes> (Standard Webhooks, "Signature
	// scheme"). The zero Key and all keys without a kind are of this one.
	KeySymmetric KeyKind = "symmetric"
	// KeyEd25519 is the private half of a key pair: whsk_<base64 of the 32 byte seed>. The receiver gets PublicKey.
	KeyEd25519 KeyKind = "ed25519"
	// KeyText is shared with the receiver as text that is used as it stands, such as your-secret: how products
	// without Standard Webhooks have their secrets.
	KeyText KeyKind = "text"
)

// Sizes of keys in bytes.
const (
	MinKeyLen     = 24 // KeySymmetric
	MaxKeyLen     = 64
	MinKeyTextLen = 8 // KeyText
	MaxKeyTextLen = 256
	newKeyLen     = 32
)

// What the text forms of keys start with, before base64 (Standard Webhooks).
const (
	SecretPrefix     = "whsec_" // KeySymmetric
	PrivateKeyPrefix = "whsk_"  // KeyEd25519
	PublicKeyPrefix  = "whpk_"  // the public half
)

const redacted = "[redacted]"

// Key is key material that cannot print: every way to format, log or marshal it gives "[redacted]". Reveal, Shared and
// Bytes are the only ways to see it.
type Key struct {
	b    []byte
	kind KeyKind // empty for KeySymmetric, so that keys without a kind are equal to it
}

// NewKey makes a random symmetric key of 32 bytes.
func NewKey() Key { return Key{b: randomKey()} }

// NewEd25519Key makes a random key pair.
func NewEd25519Key() Key { return Key{b: randomKey(), kind: KeyEd25519} }

func randomKey() []byte {
	b := make([]byte, newKeyLen)
	_, _ = rand.Read(b) // documented never to fail
	return b
}

// KeyFromBytes wraps b as a symmetric key; it must be 24 to 64 bytes.
func KeyFromBytes(b []byte) (Key, error) { return KeyOf(KeySymmetric, b) }

// KeyFromText wraps s, which is to be used as it stands: 8 to 256 bytes of UTF-8 without control characters and without
// spaces at its ends. What looks like the text form of another kind is refused.
func KeyFromText(s string) (Key, error) { return KeyOf(KeyText, []byte(s)) }

// KeyOf wraps what Kind and Bytes of a key gave; the empty kind is KeySymmetric.
func KeyOf(kind KeyKind, b []byte) (Key, error) {
	if kind == KeySymmetric {
		kind = ""
	}
	k := Key{b: append([]byte(nil), b...), kind: kind}
	if err := k.validate(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// validate returns a *FieldError of the field key, which does not contain the key.
func (k Key) validate() error {
	switch k.Kind() {
	case KeySymmetric:
		if len(k.b) < MinKeyLen || len(k.b) > MaxKeyLen {
			return Fieldf("key", "must be %d to %d bytes, not %d", MinKeyLen, MaxKeyLen, len(k.b))
		}
	case KeyEd25519:
		if len(k.b) != ed25519.SeedSize {
			return Fieldf("key", "must be a seed of %d bytes, not %d", ed25519.SeedSize, len(k.b))
		}
	case KeyText:
		return validateKeyText(string(k.b))
	default:
		return Fieldf("key", "is of the unknown kind %.20q", k.kind)
	}
	return nil
}

func validateKeyText(s string) error {
	switch {
	case len(s) < MinKeyTextLen || len(s) > MaxKeyTextLen:
		return Fieldf("key", "must be %d to %d bytes of text, not %d", MinKeyTextLen, MaxKeyTextLen, len(s))
	case !utf8.ValidString(s) || !isText(s) || strings.TrimSpace(s) != s:
		return Fieldf("key", "must be UTF-8 without control characters and without spaces at its ends")
	case strings.HasPrefix(s, SecretPrefix), strings.HasPrefix(s, PrivateKeyPrefix), strings.HasPrefix(s, PublicKeyPrefix):
		return Fieldf("key", "must not start with %s, %s or %s, which mark other kinds of keys", SecretPrefix,
			PrivateKeyPrefix, PublicKeyPrefix)
	}
	return nil
}

// ParseKey reads the text form whsec_<base64> of a symmetric key, or whsk_<base64> of a key pair, whose 32 bytes may
// have the 32 of the public key behind them.
func ParseKey(s string) (Key, error) {
	if rest, ok := strings.CutPrefix(s, SecretPrefix); ok {
		b, err := decodeKey(SecretPrefix, rest)
		if err != nil {
			return Key{}, err
		}
		return KeyOf(KeySymmetric, b)
	}
	if rest, ok := strings.CutPrefix(s, PrivateKeyPrefix); ok {
		b, err := decodeKey(PrivateKeyPrefix, rest)
		if err != nil {
			return Key{}, err
		}
		if len(b) == ed25519.PrivateKeySize {
			if !ed25519.NewKeyFromSeed(b[:ed25519.SeedSize]).Equal(ed25519.PrivateKey(b)) {
				return Key{}, Fieldf("key", "has a public key at its end that is not its own")
			}
			b = b[:ed25519.SeedSize]
		}
		return KeyOf(KeyEd25519, b)
	}
	return Key{}, Fieldf("key", "must start with %s", SecretPrefix)
}

// decodeKey demands the one base64 text that the bytes have, because some schemes sign with the text itself.
func decodeKey(prefix, text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, Fieldf("key", "is not base64 after %s", prefix)
	}
	return b, nil
}

// ImportKey reads a secret as a person has it: the text form of ParseKey, or else any text for KeyFromText.
func ImportKey(s string) (Key, error) {
	if strings.HasPrefix(s, SecretPrefix) || strings.HasPrefix(s, PrivateKeyPrefix) {
		return ParseKey(s)
	}
	if strings.HasPrefix(s, PublicKeyPrefix) {
		return Key{}, Fieldf("key", "is a public key, which cannot sign; give the %s key", PrivateKeyPrefix)
	}
	return KeyFromText(s)
}

// Kind says what the key is.
func (k Key) Kind() KeyKind {
	if k.kind == "" {
		return KeySymmetric
	}
	return k.kind
}

// Reveal returns the text form: whsec_<base64>, whsk_<base64>, or the text itself.
func (k Key) Reveal() string {
	switch k.kind {
	case KeyText:
		return string(k.b)
	case KeyEd25519:
		return PrivateKeyPrefix + base64.StdEncoding.EncodeToString(k.b)
	}
	return SecretPrefix + base64.StdEncoding.EncodeToString(k.b)
}

// PublicKey returns whpk_<base64>, which is no secret; empty when the key is no key pair.
func (k Key) PublicKey() string {
	if k.kind != KeyEd25519 || len(k.b) != ed25519.SeedSize {
		return ""
	}
	public := ed25519.NewKeyFromSeed(k.b).Public().(ed25519.PublicKey)
	return PublicKeyPrefix + base64.StdEncoding.EncodeToString(public)
}

// Shared returns what the receiver is given to know: Reveal, or nothing for a key pair.
func (k Key) Shared() string {
	if k.kind == KeyEd25519 {
		return ""
	}
	return k.Reveal()
}

// Bytes returns the key itself: the bytes that base64 encodes, or the bytes of the text. The caller must not change it.
func (k Key) Bytes() []byte { return k.b }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return len(k.b) == 0 }

// Equal compares in constant time.
func (k Key) Equal(o Key) bool {
	return k.Kind() == o.Kind() && subtle.ConstantTimeCompare(k.b, o.b) == 1
}

// String returns "[redacted]".
func (Key) String() string { return redacted }

// GoString returns "[redacted]".
func (Key) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue gives "[redacted]" to slog.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives "[redacted]" to encoders.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON gives "[redacted]" to encoding/json.
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
