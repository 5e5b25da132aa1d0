package control

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Prefixes of ids, so that people see what one names.
const (
	webhookIDPrefix = "wh_"
	secretIDPrefix  = "sec_"
	tokenIDPrefix   = "tok_"
	testIDPrefix    = "test_"
)

// newID makes an id of 128 random bits: prefix and 26 lower-case base32 characters.
func newID(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return prefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
