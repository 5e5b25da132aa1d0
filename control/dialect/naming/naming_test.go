package naming

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func TestFree(t *testing.T) {
	taken := &control.ConflictError{Field: "name", Reason: "taken"}
	var tried []string
	err := Free(strings.Repeat("ộ", 60), func(name string) error {
		tried = append(tried, name)
		if len(tried) < 3 {
			return taken
		}
		return nil
	})
	want := []string{strings.Repeat("ộ", 50), strings.Repeat("ộ", 46) + " (2)", strings.Repeat("ộ", 46) + " (3)"}
	if err != nil || !slices.Equal(tried, want) {
		t.Errorf("tried %q, %v", tried, err)
	}
	n := 0
	if err := Free("x", func(string) error { n++; return taken }); !errors.Is(err, taken) || n != maxTries {
		t.Errorf("gave up after %d tries with %v", n, err)
	}
	full := &control.ConflictError{Reason: "app is full"}
	if err := Free("x", func(string) error { return full }); !errors.Is(err, full) {
		t.Errorf("another conflict gave %v", err)
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"", "CRM\n sync", "\x00", "\xff\xfe", " \u2028 x ", strings.Repeat("ộ ", 80)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		plain := Plain(s)
		if plain == "" {
			return
		}
		for _, n := range []int{1, 2, 100} {
			name := numbered(plain, n)
			w := sidehook.Webhook{App: "a", ID: "b", Name: name, URL: "https://example.com/", Events: []string{"*"}}
			w.Normalize()
			if err := w.Validate(); err != nil || utf8.RuneCountInString(name) > sidehook.MaxWebhookName {
				t.Errorf("%q gives %q: %v", s, name, err)
			}
		}
	})
}
