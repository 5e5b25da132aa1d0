package sidehook

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Sizes of a Secret's key in bytes (Standard Webhooks, "Signature scheme").
const (
	MinKeyLen = 24
	MaxKeyLen = 64
	newKeyLen = 32
)

// SecretPrefix starts the text form of a Standard Webhooks key: whsec_ and then base64.
const SecretPrefix = "whsec_"

const redacted = "[redacted]"

// Key is key material that cannot print: every way to format, log or marshal it gives "[redacted]". Reveal and Bytes
// are the only ways to see it.
type Key struct{ b []byte }

// NewKey makes a random key of 32 bytes.
func NewKey() Key {
	b := make([]byte, newKeyLen)
	_, _ = rand.Read(b) // documented never to fail
	return Key{b}
}

// KeyFromBytes wraps b, which must be 24 to 64 bytes.
func KeyFromBytes(b []byte) (Key, error) {
	if len(b) < MinKeyLen || len(b) > MaxKeyLen {
		return Key{}, Fieldf("key", "must be %d to %d bytes, not %d", MinKeyLen, MaxKeyLen, len(b))
	}
	return Key{append([]byte(nil), b...)}, nil
}

// ParseKey reads the text form whsec_<base64>.
func ParseKey(s string) (Key, error) {
	rest, ok := strings.CutPrefix(s, SecretPrefix)
	if !ok {
		return Key{}, Fieldf("key", "must start with %s", SecretPrefix)
	}
	b, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return Key{}, Fieldf("key", "is not base64 after %s", SecretPrefix)
	}
	return KeyFromBytes(b)
}

// Reveal returns the text form whsec_<base64>.
func (k Key) Reveal() string { return SecretPrefix + base64.StdEncoding.EncodeToString(k.b) }

// Bytes returns the key itself; the caller must not change it.
func (k Key) Bytes() []byte { return k.b }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return len(k.b) == 0 }

// Equal compares in constant time.
func (k Key) Equal(o Key) bool { return subtle.ConstantTimeCompare(k.b, o.b) == 1 }

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

// Secret is key material of a webhook with its validity window. A webhook has several while one rotates, and every
// live one signs.
type Secret struct {
	App     string
	Webhook string
	ID      string // unique within the webhook
	Key     Key
	// NotBefore and NotAfter bound when it signs; zero for no bound.
	NotBefore time.Time
	NotAfter  time.Time
}

// Live reports whether the secret signs at t: NotBefore <= t < NotAfter.
func (s *Secret) Live(t time.Time) bool {
	return !t.Before(s.NotBefore) && (s.NotAfter.IsZero() || t.Before(s.NotAfter))
}

// Validate checks the secret and returns a *FieldError.
func (s *Secret) Validate() error {
	switch {
	case !ValidName(s.App):
		return Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !ValidName(s.Webhook):
		return Fieldf("webhook", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case !ValidName(s.ID):
		return Fieldf("id", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxNameLen)
	case len(s.Key.b) < MinKeyLen || len(s.Key.b) > MaxKeyLen:
		return Fieldf("key", "must be %d to %d bytes", MinKeyLen, MaxKeyLen)
	case !s.NotAfter.IsZero() && !s.NotAfter.After(s.NotBefore):
		return Fieldf("not_after", "must be later than not_before")
	}
	return nil
}

func itoa(i int) string { return strconv.Itoa(i) }
