package config

import (
	"fmt"
	"log/slog"
)

// Secret is a credential written in a file. Every way to print, log or marshal it gives "[redacted]"; Reveal is the
// only way to see it.
type Secret struct{ s string }

const redacted = "[redacted]"

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{s} }

// Reveal returns the credential.
func (s Secret) Reveal() string { return s.s }

// IsZero reports whether there is none.
func (s Secret) IsZero() bool { return s.s == "" }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue gives "[redacted]" to slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText gives "[redacted]" to encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
