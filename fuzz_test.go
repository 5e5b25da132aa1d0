package sidehook_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

// FuzzImportKey: a text that is taken for a secret comes back as it was from Reveal, and no error shows it.
func FuzzImportKey(f *testing.F) {
	for _, s := range []string{
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA\n", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx==", "whsk_",
		"whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "whpk_AAAA", "a text that is long enough to be a secret", " x", "x\x00",
		strings.Repeat("é", 40), "whsec_" + strings.Repeat("A", 100), sidehook.NewKey().Reveal(),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, err := sidehook.ImportKey(s)
		if err != nil {
			var fe *sidehook.FieldError
			if !errors.As(err, &fe) {
				t.Fatalf("the error is %T %v", err, err)
			}
			if len(s) >= 8 && strings.Contains(err.Error(), s) {
				t.Fatalf("the error shows the secret: %v", err)
			}
			return
		}
		again, err := sidehook.ImportKey(k.Reveal())
		if err != nil || again.Kind() != k.Kind() || again.Reveal() != k.Reveal() {
			t.Fatalf("%q is revealed as %q, which is %v", s, k.Reveal(), err)
		}
		if k.Kind() != sidehook.KeyEd25519 && k.Reveal() != s { // a key pair may come with its public half
			t.Fatalf("%q is revealed as %q", s, k.Reveal())
		}
	})
}

// FuzzParseTemplate: the parts of a template say the same as it does, whatever it is.
func FuzzParseTemplate(f *testing.F) {
	for _, s := range []string{
		"{id}.{timestamp}.{body}", "{timestamp_ms}", "{{id}}", "{{{id}}}", "{", "}", "{}", "{id", "a{body}b{body}", "{Body}", "\x00", "é{id}\xff",
	} {
		f.Add(s)
	}
	names := map[sidehook.TemplateKind]string{
		sidehook.PartID: "{id}", sidehook.PartTimestamp: "{timestamp}", sidehook.PartTimestampMS: "{timestamp_ms}", sidehook.PartBody: "{body}",
	}
	f.Fuzz(func(t *testing.T, s string) {
		parts, err := sidehook.ParseTemplate(s)
		if err != nil {
			var fe *sidehook.FieldError
			if !errors.As(err, &fe) {
				t.Fatalf("the error is %T %v", err, err)
			}
			return
		}
		var b strings.Builder
		for i, p := range parts {
			switch {
			case p.Kind != sidehook.PartText:
				b.WriteString(names[p.Kind])
			case p.Text == "" || i > 0 && parts[i-1].Kind == sidehook.PartText:
				t.Fatalf("%q: part %d of %v should not be", s, i, parts)
			default:
				b.WriteString(strings.NewReplacer("{", "{{", "}", "}}").Replace(p.Text))
			}
		}
		if b.String() != s {
			t.Fatalf("%q is read as %q", s, b.String())
		}
	})
}

// FuzzHeader: a header that is taken can be written into a request as one line, and sets nothing that is Sidehook's own.
func FuzzHeader(f *testing.F) {
	for _, s := range [][2]string{
		{"X-Api-Key", "abc"},
		{"Host", "x"},
		{"webhook-id", "1"},
		{"A B", ""},
		{"X", "a\r\nY: b"},
		{"X", "é"},
		{"", "x"},
		{"X:", " "},
		{"Content-Length", "0"},
		{"Transfer-Encoding", "chunked"},
		{"connection", "close"},
		{"Sidehook-Attempt", "1"},
		{"X\x00", "\x7f"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		if sidehook.ValidateHeader(sidehook.Header{Key: key, Value: value}) != nil {
			return
		}
		if key == "" || strings.ContainsAny(key, " \t\r\n:\x00\x7f\"(),/;<=>?@[\\]{}") || strings.ContainsAny(value, "\r\n\x00") {
			t.Fatalf("%q: %q passes", key, value)
		}
		switch name := strings.ToLower(key); {
		case name == "host", name == "content-length", name == "transfer-encoding", name == "connection", name == "te", name == "trailer",
			name == "upgrade", name == "expect", strings.HasPrefix(name, "webhook-"), strings.HasPrefix(name, "sidehook-"):
			t.Fatalf("%q passes", key)
		}
	})
}
