package sidehook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

func TestSigningValidate(t *testing.T) {
	hmac := func(change func(*sidehook.Signing)) func(*sidehook.Webhook) {
		return func(w *sidehook.Webhook) {
			w.Signing = sidehook.Signing{Scheme: sidehook.SchemeHMAC, Header: "X-Sig"}
			change(&w.Signing)
		}
	}
	for _, change := range []func(*sidehook.Webhook){
		hmac(func(*sidehook.Signing) {}),
		hmac(func(s *sidehook.Signing) { s.Header = "Authorization" }),
		hmac(func(s *sidehook.Signing) { s.Template, s.TimestampHeader = "{{v0}}:{timestamp}:{body}", "X-Time" }),
		hmac(func(s *sidehook.Signing) { s.Prefix, s.Template = "t={timestamp}, v1=", "{timestamp}.{body}" }),
		hmac(func(s *sidehook.Signing) { s.Algorithm, s.Encoding = "sha512", "base64" }),
		func(w *sidehook.Webhook) { w.Signing.Scheme = sidehook.SchemeStandardEd25519 },
		func(w *sidehook.Webhook) { w.Format, w.Signing.Scheme = sidehook.FormatTwenty, sidehook.SchemeStandard },
		func(w *sidehook.Webhook) { w.Headers = []sidehook.Header{{Key: "x-twenty-webhook-nonce", Value: "1"}} },
		func(w *sidehook.Webhook) { w.Headers = []sidehook.Header{{Key: "ce-type", Value: "1"}} },
	} {
		w := goodWebhook()
		change(w)
		w.Normalize()
		if err := w.Validate(); err != nil {
			t.Errorf("%+v: %v", w.Signing, err)
		}
	}
	for _, c := range []struct {
		field  string
		change func(*sidehook.Webhook)
	}{
		{"format", func(w *sidehook.Webhook) { w.Format = "Twenty" }},
		{"signing.scheme", func(w *sidehook.Webhook) { w.Signing.Scheme = "md5" }},
		{"signing.header", func(w *sidehook.Webhook) { w.Signing.Header = "X-Sig" }},
		{"signing.algorithm", func(w *sidehook.Webhook) { w.Signing = sidehook.Signing{Scheme: "twenty", Algorithm: "sha256"} }},
		{"signing.template", func(w *sidehook.Webhook) { w.Signing = sidehook.Signing{Scheme: "standard", Template: "{body}"} }},
		{"signing.header", hmac(func(s *sidehook.Signing) { s.Header = "" })},
		{"signing.header", hmac(func(s *sidehook.Signing) { s.Header = "X Sig" })},
		{"signing.header", hmac(func(s *sidehook.Signing) { s.Header = "X-Sig\r\nA" })},
		{"signing.header", hmac(func(s *sidehook.Signing) { s.Header = "Webhook-Signature" })},
		{"signing.header", hmac(func(s *sidehook.Signing) { s.Header = "Content-Length" })},
		{"signing.header", hmac(func(s *sidehook.Signing) { s.Header = strings.Repeat("x", 129) })},
		{"signing.timestamp_header", hmac(func(s *sidehook.Signing) { s.TimestampHeader = "x-sig" })},
		{"signing.timestamp_header", hmac(func(s *sidehook.Signing) { s.TimestampHeader = "Host" })},
		{"signing.algorithm", hmac(func(s *sidehook.Signing) { s.Algorithm = "md5" })},
		{"signing.encoding", hmac(func(s *sidehook.Signing) { s.Encoding = "base32" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{timestamp}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{body}{body}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{{body}}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{Body}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{body" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "body}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "a\n{body}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{timestamp}{timestamp_ms}{body}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Prefix, s.Template = "{timestamp}", "{timestamp_ms}{body}" })},
		{"signing.template", hmac(func(s *sidehook.Signing) { s.Template = "{body}" + strings.Repeat("x", 251) })},
		{"signing.prefix", hmac(func(s *sidehook.Signing) { s.Prefix = "{body}" })},
		{"signing.prefix", hmac(func(s *sidehook.Signing) { s.Prefix = " v1=" })},
		{"signing.prefix", hmac(func(s *sidehook.Signing) { s.Prefix = "a\r\nb: c" })},
		{"signing.prefix", hmac(func(s *sidehook.Signing) { s.Prefix = "é" })},
		{"signing.prefix", hmac(func(s *sidehook.Signing) { s.Prefix = strings.Repeat("x", 65) })},
		{"headers[0].key", hmacWithHeader("x-sig")},
		{"headers[0].key", hmacWithHeader("X-TIME")},
		{"headers[1].key", func(w *sidehook.Webhook) {
			w.Format = sidehook.FormatTwenty
			w.Headers = []sidehook.Header{{Key: "X-A", Value: "1"}, {Key: "x-twenty-webhook-nonce", Value: "1"}}
		}},
		{"headers[0].key", func(w *sidehook.Webhook) {
			w.Format = sidehook.FormatCloudEventsBinary
			w.Headers = []sidehook.Header{{Key: "CE-Type", Value: "1"}}
		}},
	} {
		w := goodWebhook()
		c.change(w)
		w.Normalize()
		var fe *sidehook.FieldError
		if err := w.Validate(); !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("%+v %v: want an error of field %s, got %v", w.Signing, w.Headers, c.field, err)
		}
	}
}

func hmacWithHeader(key string) func(*sidehook.Webhook) {
	return func(w *sidehook.Webhook) {
		w.Signing = sidehook.Signing{Scheme: sidehook.SchemeHMAC, Header: "X-Sig", TimestampHeader: "X-Time"}
		w.Headers = []sidehook.Header{{Key: key, Value: "1"}}
	}
}

func TestSchemeFollowsTheFormat(t *testing.T) {
	for _, format := range sidehook.Formats() {
		w := goodWebhook()
		w.Format = format
		want := sidehook.SchemeStandard
		if format == sidehook.FormatTwenty {
			want = sidehook.SchemeTwenty
		}
		if got := w.Scheme(); got != want {
			t.Errorf("%s is signed by %s, want %s", format, got, want)
		}
		w.Signing.Scheme = sidehook.SchemeStandardEd25519
		if w.Scheme() != sidehook.SchemeStandardEd25519 || w.NewKey().Kind() != sidehook.KeyEd25519 {
			t.Errorf("%s: the webhook's own scheme does not count", format)
		}
	}
}

func TestKeysOfEveryKind(t *testing.T) {
	for text, kind := range map[string]sidehook.KeyKind{
		sidehook.NewKey().Reveal():                  sidehook.KeySymmetric,
		sidehook.NewEd25519Key().Reveal():           sidehook.KeyEd25519,
		"your-secret":                               sidehook.KeyText,
		"mật khẩu dài":                              sidehook.KeyText,
		strings.Repeat("0123456789abcdef", 4):       sidehook.KeyText,
		strings.Repeat("x", sidehook.MaxKeyTextLen): sidehook.KeyText,
		strings.Repeat("x", sidehook.MinKeyTextLen): sidehook.KeyText,
	} {
		k, err := sidehook.ImportKey(text)
		if err != nil || k.Kind() != kind || k.Reveal() != text {
			t.Errorf("%s key: %v, kind %s", kind, err, k.Kind())
			continue
		}
		back, err := sidehook.KeyOf(k.Kind(), k.Bytes())
		if err != nil || !back.Equal(k) {
			t.Errorf("%s key does not come back: %v", kind, err)
		}
		if shared := k.Shared(); (shared == "") != (kind == sidehook.KeyEd25519) || (k.PublicKey() != "") != (shared == "") {
			t.Errorf("%s key: the receiver gets %d characters, public key %q", kind, len(shared), k.PublicKey())
		}
		s := sidehook.Secret{App: "demo", Webhook: "w", ID: "s", Key: k}
		if err := s.Validate(); err != nil {
			t.Errorf("%s key: %v", kind, err)
		}
		var logged strings.Builder
		slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", k)
		j, err := json.Marshal(s)
		if err != nil || strings.Contains(fmt.Sprintf("%v %+v %#v %s", k, s, s, j)+logged.String(), text) {
			t.Errorf("%s key is shown (%v)", kind, err)
		}
	}
	const seed = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	for _, bad := range []string{
		"", "short", " spaces at ends", "line\nbreak", "\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("x", 257),
		"whsec_", "whsec_" + seed[:20], "whsec_" + seed + "\n", "whsec_" + strings.TrimSuffix(seed, "="),
		"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWZ=", // bits behind the end: not the text that comes back
		"whsk_" + seed[:40], "whsk_" + seed[:24], "whpk_" + seed,
		"whsk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==", // another's public half
	} {
		k, err := sidehook.ImportKey(bad)
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) || fe.Field != "key" || !k.IsZero() {
			t.Errorf("%q was taken for a key: %v", bad, err)
		} else if len(bad) > 20 && strings.Contains(err.Error(), bad[10:20]) {
			t.Errorf("the error tells the key: %v", err)
		}
	}
	if _, err := sidehook.KeyOf("rsa", make([]byte, 32)); err == nil {
		t.Error("an unknown kind is taken")
	}
	raw := make([]byte, 32)
	a, _ := sidehook.KeyOf(sidehook.KeySymmetric, raw)
	b, _ := sidehook.KeyOf(sidehook.KeyEd25519, raw)
	if a.Equal(b) || !a.Equal(a) {
		t.Error("keys of different kinds are equal")
	}
}

func TestWhichKeysSchemesTake(t *testing.T) {
	text, err := sidehook.KeyFromText("your-secret")
	if err != nil {
		t.Fatal(err)
	}
	keys := []sidehook.Key{sidehook.NewKey(), sidehook.NewEd25519Key(), text}
	for scheme, want := range map[string][]bool{
		sidehook.SchemeStandard:        {true, true, false},
		sidehook.SchemeStandardEd25519: {true, true, false},
		sidehook.SchemeTwenty:          {true, false, true},
		sidehook.SchemeHMAC:            {true, false, true},
	} {
		w := goodWebhook()
		w.Signing.Scheme = scheme
		for i, k := range keys {
			if err := w.Takes(k); (err == nil) != want[i] {
				t.Errorf("%s and a %s key: %v", scheme, k.Kind(), err)
			}
		}
		if err := w.Takes(w.NewKey()); err != nil {
			t.Errorf("%s does not take its own new keys: %v", scheme, err)
		}
	}
}
