// Package naming makes names for webhooks of systems that have none, or none that are unique: in Sidehook a name is, within
// its app. It knows no system.
package naming

import (
	"errors"
	"strconv"
	"strings"
	"unicode"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// maxTries bounds how many names are tried for a webhook.
const maxTries = 100

// Free calls save with names made of base, "base", "base (2)" and so on, until it returns something else than that the
// name is taken, and returns that.
func Free(base string, save func(name string) error) error {
	for n := 1; ; n++ {
		err := save(numbered(base, n))
		var conflict *control.ConflictError
		if n == maxTries || !errors.As(err, &conflict) || conflict.Field != "name" {
			return err
		}
	}
}

// numbered is the nth name made of base, within the length that names have.
func numbered(base string, n int) string {
	suffix := ""
	if n > 1 {
		suffix = " (" + strconv.Itoa(n) + ")"
	}
	runes := []rune(base)
	if room := sidehook.MaxWebhookName - len(suffix); len(runes) > room {
		runes = runes[:room]
	}
	return strings.TrimSpace(string(runes)) + suffix
}

// Plain makes a text fit to be a name, but for its length: without control characters and double spaces. It is empty
// when nothing is left.
func Plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}
