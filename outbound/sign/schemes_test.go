package sign_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/sign"
)

// twentyVector was made by Node's own crypto after the description that Twenty's users have: the body is signed once,
// as it is sent.
var twentyVector = struct {
	secret, body, signature string
	ms                      int64
}{
	secret:    "your-secret",
	body:      `{"event":"person.created","data":{"id":"abc12345"},"timestamp":"2025-02-10T15:30:50Z"}`,
	signature: "8d984beaa34e986bd860464db9dda662368185cff2876dd81b462eccc92c7b1a",
	ms:        1735066639761,
}

func imported(t testing.TB, s string) sidehook.Key {
	t.Helper()
	k, err := sidehook.ImportKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func headersOf(t testing.TB, s *sign.Signer, r *sign.Request) map[string]string {
	t.Helper()
	headers, signature, err := s.Headers(nil, r)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{"signature": headers[signature].Value}
	for _, h := range headers {
		m[h.Key] = h.Value
	}
	return m
}

func TestTwentyVector(t *testing.T) {
	v := twentyVector
	for name, w := range map[string]*sidehook.Webhook{
		"by its format":   {Format: sidehook.FormatTwenty},
		"by its scheme":   {Signing: sidehook.Signing{Scheme: sidehook.SchemeTwenty}},
		"over a format's": {Format: sidehook.FormatSigma, Signing: sidehook.Signing{Scheme: sidehook.SchemeTwenty}},
	} {
		s := signer(t, w, sidehook.Secret{Key: imported(t, v.secret)})
		r := &sign.Request{ID: "evt_1", At: time.UnixMilli(v.ms), Body: []byte(v.body)}
		got := headersOf(t, s, r)
		if got["X-Twenty-Webhook-Signature"] != v.signature || got["X-Twenty-Webhook-Timestamp"] != "1735066639761" {
			t.Errorf("%s: %v", name, got)
		}
		nonce, err := hex.DecodeString(got["X-Twenty-Webhook-Nonce"])
		if err != nil || len(nonce) != 16 {
			t.Errorf("%s: nonce %q", name, got["X-Twenty-Webhook-Nonce"])
		}
		if again := headersOf(t, s, r); again["X-Twenty-Webhook-Nonce"] == got["X-Twenty-Webhook-Nonce"] {
			t.Errorf("%s: the nonce repeats", name)
		}
		if got["signature"] != v.signature || len(got) != 4 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTextOfAKeySignsOutsideStandard: a receiver has the secret as it was shown, and uses that as the key.
func TestTextOfAKeySignsOutsideStandard(t *testing.T) {
	k := sidehook.NewKey()
	s := signer(t, &sidehook.Webhook{Format: sidehook.FormatTwenty}, sidehook.Secret{Key: k})
	got := headersOf(t, s, &sign.Request{ID: "e", At: time.UnixMilli(5), Body: []byte("{}")})
	h := hmac.New(sha256.New, []byte(k.Reveal()))
	h.Write([]byte("5:{}"))
	if want := hex.EncodeToString(h.Sum(nil)); got["signature"] != want {
		t.Errorf("got %s, want %s", got["signature"], want)
	}
}

func TestHMACAsReceiversHaveIt(t *testing.T) {
	const secret, body = "It's a Secret to Everybody", "Hello, World!"
	at := time.UnixMilli(1531420618123)
	of := func(h func() hash.Hash, text string) []byte {
		m := hmac.New(h, []byte(secret))
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	for name, c := range map[string]struct {
		signing sidehook.Signing
		want    map[string]string
	}{
		// The example of GitHub's documentation, "Validating webhook deliveries".
		"github": {
			sidehook.Signing{Header: "X-Hub-Signature-256", Prefix: "sha256="},
			map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		},
		"shopify": {
			sidehook.Signing{Header: "X-Shopify-Hmac-SHA256", Encoding: "base64"},
			map[string]string{"X-Shopify-Hmac-SHA256": base64.StdEncoding.EncodeToString(of(sha256.New, body))},
		},
		"slack": {
			sidehook.Signing{
				Header: "X-Slack-Signature", Prefix: "v0=", Template: "v0:{timestamp}:{body}",
				TimestampHeader: "X-Slack-Request-Timestamp",
			},
			map[string]string{
				"X-Slack-Signature":         "v0=" + hex.EncodeToString(of(sha256.New, "v0:1531420618:"+body)),
				"X-Slack-Request-Timestamp": "1531420618",
			},
		},
		"stripe": {
			sidehook.Signing{Header: "Stripe-Signature", Prefix: "t={timestamp},v1=", Template: "{timestamp}.{body}"},
			map[string]string{"Stripe-Signature": "t=1531420618,v1=" + hex.EncodeToString(of(sha256.New, "1531420618."+body))},
		},
		"sha512, id, milliseconds, braces": {
			sidehook.Signing{
				Header: "X-S", Algorithm: "sha512", Template: "{{{id}}}{body}|{timestamp_ms}", TimestampHeader: "X-T",
			},
			map[string]string{
				"X-S": hex.EncodeToString(of(sha512.New, "{evt_1}"+body+"|1531420618123")), "X-T": "1531420618123",
			},
		},
		"a time beside a signature without one": {
			sidehook.Signing{Header: "X-S", TimestampHeader: "X-T"},
			map[string]string{"X-S": hex.EncodeToString(of(sha256.New, body)), "X-T": "1531420618"},
		},
	} {
		c.signing.Scheme = sidehook.SchemeHMAC
		s := signer(t, &sidehook.Webhook{Signing: c.signing}, sidehook.Secret{Key: imported(t, secret)})
		got := headersOf(t, s, &sign.Request{ID: "evt_1", At: at, Body: []byte(body)})
		if got["signature"] != got[c.signing.Header] {
			t.Errorf("%s: %q is said to be the signature", name, got["signature"])
		}
		delete(got, "signature")
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestV1aVerifies follows the specification's text: Ed25519 over id.timestamp.body, base64, beside v1. It is checked by
// the standard library here, by Node's own crypto in the Node test, and by a published library in the test of v1a.
func TestV1aVerifies(t *testing.T) {
	pair := sidehook.NewEd25519Key()
	public, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(pair.PublicKey(), sidehook.PublicKeyPrefix))
	if err != nil || !strings.HasPrefix(pair.PublicKey(), sidehook.PublicKeyPrefix) || len(public) != ed25519.PublicKeySize {
		t.Fatalf("public key %s: %v", pair.PublicKey(), err)
	}
	shared := sidehook.NewKey()
	now, body := time.Unix(1_700_000_000, 0), []byte(`{"a":"é"}`)
	for _, scheme := range []string{sidehook.SchemeStandard, sidehook.SchemeStandardEd25519} {
		s := signer(t, &sidehook.Webhook{Signing: sidehook.Signing{Scheme: scheme}},
			sidehook.Secret{ID: "a", Key: shared}, sidehook.Secret{ID: "b", Key: pair})
		fields := strings.Fields(headersOf(t, s, &sign.Request{ID: "evt_1", At: now, Body: body})["signature"])
		if len(fields) != 2 || fields[0] != reference(shared.Bytes(), "evt_1", now.Unix(), body) {
			t.Fatalf("%s: %v", scheme, fields)
		}
		text, ok := strings.CutPrefix(fields[1], "v1a,")
		signature, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Fatalf("%s: %s: %v", scheme, fields[1], err)
		}
		if !ed25519.Verify(public, []byte("evt_1.1700000000."+string(body)), signature) {
			t.Errorf("%s: does not verify", scheme)
		}
		if ed25519.Verify(public, []byte("evt_1.1700000001."+string(body)), signature) {
			t.Errorf("%s: another time verifies", scheme)
		}
	}
}

// TestRFC8032Key is TEST 3 of RFC 8032, section 7.1, so that the key material is read as everybody reads it.
func TestRFC8032Key(t *testing.T) {
	seed, _ := hex.DecodeString("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
	public, _ := hex.DecodeString("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
	want := sidehook.PublicKeyPrefix + base64.StdEncoding.EncodeToString(public)
	for _, b := range [][]byte{seed, append(bytes.Clone(seed), public...)} {
		k := imported(t, sidehook.PrivateKeyPrefix+base64.StdEncoding.EncodeToString(b))
		if k.PublicKey() != want {
			t.Errorf("%d bytes: public key %s, want %s", len(b), k.PublicKey(), want)
		}
	}
}

// TestOneSignatureChangesWhenTheOldSecretEnds: receivers of these schemes look at one signature.
func TestOneSignatureChangesWhenTheOldSecretEnds(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	secret := func(text string, notAfter time.Time) sidehook.Secret {
		return sidehook.Secret{ID: text, Key: imported(t, text), NotAfter: notAfter}
	}
	s := signer(t, &sidehook.Webhook{Format: sidehook.FormatTwenty},
		secret("new-secret", time.Time{}), secret("later-secret", now.Add(2*time.Hour)), secret("first-secret", now.Add(time.Hour)),
		sidehook.Secret{ID: "pair", Key: sidehook.NewEd25519Key(), NotAfter: now.Add(time.Minute)})
	for after, want := range map[time.Duration]string{
		0: "first-secret", time.Hour - 1: "first-secret", time.Hour: "later-secret", 2 * time.Hour: "new-secret",
		9000 * time.Hour: "new-secret",
	} {
		at := now.Add(after)
		m := hmac.New(sha256.New, []byte(want))
		fmt.Fprintf(m, "%d:body", at.UnixMilli())
		got := headersOf(t, s, &sign.Request{At: at, Body: []byte("body")})["signature"]
		if got != hex.EncodeToString(m.Sum(nil)) {
			t.Errorf("after %v the signature is not by %s", after, want)
		}
	}
}

func TestNothingSignsWithTheWrongKind(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for name, c := range map[string]struct {
		webhook *sidehook.Webhook
		key     sidehook.Key
		until   time.Time
		want    error
	}{
		"text under standard":    {&sidehook.Webhook{}, imported(t, "your-secret"), time.Time{}, sign.ErrWrongKind},
		"pair under twenty":      {&sidehook.Webhook{Format: sidehook.FormatTwenty}, sidehook.NewEd25519Key(), time.Time{}, sign.ErrWrongKind},
		"expired under twenty":   {&sidehook.Webhook{Format: sidehook.FormatTwenty}, sidehook.NewKey(), now, sign.ErrNoSecret},
		"expired text, standard": {&sidehook.Webhook{}, imported(t, "your-secret"), now, sign.ErrNoSecret},
	} {
		s := signer(t, c.webhook, sidehook.Secret{ID: "s1", Key: c.key, NotAfter: c.until})
		headers, _, err := s.Headers(nil, &sign.Request{At: now})
		if !errors.Is(err, c.want) || len(headers) != 0 {
			t.Errorf("%s: got %v and %v, want %v", name, headers, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "your-secret") {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
	if _, err := sign.New(&sidehook.Webhook{Signing: sidehook.Signing{Scheme: "md5"}}, nil); err == nil {
		t.Error("an unknown scheme is taken")
	}
}

func FuzzHMAC(f *testing.F) {
	f.Add("X-S", "sha256=", "{body}", "X-T", []byte("body"))
	f.Add("X-S", "t={timestamp},v1=", "{timestamp}.{id}.{{}}{body}", "", []byte{0, 0xff})
	f.Add("A", "", "{timestamp_ms}{body}{body}", "a", []byte{})
	f.Add("A\r\n", "{", "}{", "Host", []byte{})
	f.Fuzz(func(t *testing.T, header, prefix, template, timestampHeader string, body []byte) {
		w := &sidehook.Webhook{
			App: "demo", ID: "w", Name: "W", URL: "https://example.com/", Events: []string{"*"},
			Signing: sidehook.Signing{
				Scheme: sidehook.SchemeHMAC, Header: header, Prefix: prefix, Template: template, TimestampHeader: timestampHeader,
			},
		}
		w.Normalize()
		if w.Validate() != nil {
			return
		}
		s, err := sign.New(w, []sidehook.Secret{{Key: sidehook.NewKey()}})
		if err != nil {
			t.Fatalf("valid settings are refused: %v", err)
		}
		at := time.Unix(1_700_000_000, 0)
		first := headersOf(t, s, &sign.Request{ID: "evt_1", At: at, Body: body})
		for name, value := range first {
			if name != "signature" {
				if err := sidehook.ValidateHeader(sidehook.Header{Key: name, Value: value}); err != nil {
					t.Errorf("%s: %q: %v", name, value, err)
				}
			}
		}
		other := headersOf(t, s, &sign.Request{ID: "evt_1", At: at, Body: append([]byte{'x'}, body...)})
		if first["signature"] == other["signature"] {
			t.Errorf("%q does not sign the body", template)
		}
	})
}

// TestPageShowsTheVector keeps the example of the documentation true.
func TestPageShowsTheVector(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"`" + twentyVector.secret + "` at " + strconv.FormatInt(twentyVector.ms, 10), "\n" + twentyVector.body + "\n",
		"`" + twentyVector.signature + "`",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/formats.md does not have %s", want)
		}
	}
}
