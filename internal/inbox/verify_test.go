package inbox

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/sign"
)

const plainKey = "your-secret"

var signedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// sent are the headers of a request as outbound sends it.
func sent(t testing.TB, s sidehook.Signing, key, body string, at time.Time) http.Header {
	t.Helper()
	k, err := sidehook.ImportKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w := sidehook.Webhook{App: "a", ID: "w", Name: "w", URL: "http://127.0.0.1/", Events: []string{"*"}, Signing: s}
	w.Normalize()
	if err := w.Validate(); err != nil {
		t.Fatal(err)
	}
	signer, err := sign.New(&w, []sidehook.Secret{{ID: "s", Key: k}})
	if err != nil {
		t.Fatal(err)
	}
	headers, _, err := signer.Headers([]sidehook.Header{{Key: headerID, Value: "evt_1"}}, &sign.Request{ID: "evt_1", At: at, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	for _, one := range headers {
		h.Set(one.Key, one.Value)
	}
	return h
}

// TestVerdicts: what outbound signs holds, by the headers alone where they tell, and with any change does
// not.
func TestVerdicts(t *testing.T) {
	pair := sidehook.NewEd25519Key()
	stripe, slack := sidehook.Signing{Scheme: "hmac"}, sidehook.Signing{Scheme: "hmac"}
	for _, k := range known {
		given := k.Signing
		given.Scheme = sidehook.SchemeHMAC
		switch k.scheme {
		case SchemeStripe:
			stripe = given
		case SchemeSlack:
			slack = given
		}
	}
	hmacOf := func(s sidehook.Signing) sidehook.Signing { s.Scheme = sidehook.SchemeHMAC; return s }
	const body = `{"type":"person.created","name":"Kênh 😀"}`
	for _, c := range []struct {
		name, key, verifyKey, otherKey string
		sent                           sidehook.Signing
		signing                        Signing
		scheme, version, signed        string
	}{
		{"v1", secret, secret, other, sidehook.Signing{}, Signing{}, "standard", "v1", "evt_1.1772366400.{body}"},
		{"v1 said", secret, secret, other, sidehook.Signing{}, Signing{Scheme: "standard-ed25519"}, "standard", "v1", "evt_1.1772366400.{body}"},
		{
			"v1a by the public key", pair.Reveal(), pair.PublicKey(), sidehook.NewEd25519Key().PublicKey(),
			sidehook.Signing{Scheme: "standard-ed25519"},
			Signing{},
			"standard", "v1a", "evt_1.1772366400.{body}",
		},
		{
			"v1a by the pair", pair.Reveal(), pair.Reveal(), sidehook.NewEd25519Key().Reveal(),
			sidehook.Signing{Scheme: "standard-ed25519"},
			Signing{},
			"standard", "v1a", "evt_1.1772366400.{body}",
		},
		{"twenty", plainKey, plainKey, "another-secret", sidehook.Signing{Scheme: "twenty"}, Signing{}, "twenty", "", "1772366400000:{body}"},
		{"twenty by the text of a key", secret, secret, other, sidehook.Signing{Scheme: "twenty"}, Signing{Scheme: "twenty"}, "twenty", "", "1772366400000:{body}"},
		{
			"github", plainKey, plainKey, "another-secret",
			hmacOf(sidehook.Signing{Header: "X-Hub-Signature-256", Prefix: "sha256="}),
			Signing{},
			"github", "", "{body}",
		},
		{"stripe", plainKey, plainKey, "another-secret", stripe, Signing{}, "stripe", "", "1772366400.{body}"},
		{"slack", plainKey, plainKey, "another-secret", slack, Signing{Scheme: "slack"}, "slack", "", "v0:1772366400:{body}"},
		{
			"shopify", plainKey, plainKey, "another-secret",
			hmacOf(sidehook.Signing{Header: "X-Shopify-Hmac-Sha256", Encoding: "base64"}),
			Signing{},
			"shopify", "", "{body}",
		},
		{
			"hmac", plainKey, plainKey, "another-secret",
			hmacOf(sidehook.Signing{
				Algorithm: "sha512", Encoding: "base64", Header: "X-Sig", Prefix: "id={id},t={timestamp_ms},s=",
				Template: "{id}|{body}|{timestamp_ms}", TimestampHeader: "X-Time",
			}),
			Signing{
				Scheme: "hmac", Algorithm: "sha512", Encoding: "base64", Header: "X-Sig", Prefix: "id={id},t={timestamp_ms},s=",
				Template: "{id}|{body}|{timestamp_ms}", TimestampHeader: "X-Time",
			},
			"hmac", "", "evt_1|{body}|1772366400000",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			headers := sent(t, c.sent, c.key, body, signedAt)
			verdict := func(keys []string, body string, h http.Header, at time.Time) Verdict {
				t.Helper()
				s := Settings{Secrets: keys, Signing: c.signing}
				if err := s.validate(); err != nil {
					t.Fatal(err)
				}
				v := s.verify(request{body: []byte(body), headers: h, at: at})
				if v.OK != (v.Code == CodeValid) || v.Reason == "" || strings.Contains(v.Reason, "{{") || strings.HasPrefix(v.Reason, "verdict.") {
					t.Errorf("verdict %+v", v)
				}
				return v
			}
			both := []string{c.otherKey, c.verifyKey}
			good := verdict(both, body, headers, signedAt)
			if !good.OK || good.Key != 2 || good.Scheme != c.scheme || good.Version != c.version || good.Signed != c.signed {
				t.Fatalf("good: %+v", good)
			}
			if v := verdict([]string{c.otherKey}, body, headers, signedAt); v.Code != CodeWrongSignature || v.Signed != c.signed || v.Key != 0 {
				t.Errorf("another key: %+v", v)
			}
			if v := verdict(both, body+" ", headers, signedAt); v.Code != CodeWrongSignature {
				t.Errorf("another body: %+v", v)
			}
			if v := verdict(nil, body, headers, signedAt); v.Code != CodeNoKey {
				t.Errorf("no key: %+v", v)
			}
			if v := verdict(both, body, http.Header{}, signedAt); v.Code != CodeUnsigned {
				t.Errorf("no headers: %+v", v)
			}
			timed := c.signed != "{body}"
			if v := verdict(both, body, headers, signedAt.Add(time.Hour)); timed != (v.Code == CodeTooOld) || timed && v.Age != 3600 {
				t.Errorf("late: %+v", v)
			}
			if v := verdict(both, body, headers, signedAt.Add(-time.Hour)); timed != (v.Code == CodeTooNew) {
				t.Errorf("early: %+v", v)
			}
			if v := verdict(both, body, headers, signedAt.Add(tolerance)); !v.OK {
				t.Errorf("just in time: %+v", v)
			}
		})
	}
}

func TestVerdictsOfBadHeaders(t *testing.T) {
	const body = "{}"
	standard := sent(t, sidehook.Signing{}, secret, body, signedAt)
	twenty := sent(t, sidehook.Signing{Scheme: "twenty"}, plainKey, body, signedAt)
	stripe := func(v string) http.Header { return http.Header{"Stripe-Signature": {v}} }
	with := func(h http.Header, pairs ...string) http.Header {
		h = h.Clone()
		for i := 0; i < len(pairs); i += 2 {
			if h.Del(pairs[i]); pairs[i+1] != "" {
				h.Set(pairs[i], pairs[i+1])
			}
		}
		return h
	}
	pair := sidehook.NewEd25519Key()
	v1 := standard.Get(headerSignature)
	capitals := hmac.New(sha256.New, []byte(plainKey))
	capitals.Write([]byte(body))
	sha1Of := hex.EncodeToString(hmac.New(sha1.New, []byte(plainKey)).Sum(nil))
	for _, c := range []struct {
		name    string
		key     string
		headers http.Header
		code    Code
		about   []string
	}{
		{"no time", secret, with(standard, headerTimestamp, ""), CodeMissingHeader, []string{headerTimestamp}},
		{"no id, no time", secret, with(standard, headerTimestamp, "", headerID, ""), CodeMissingHeader, []string{headerID, headerTimestamp}},
		{"time is a word", secret, with(standard, headerTimestamp, "soon"), CodeBadTimestamp, []string{headerTimestamp}},
		{"time is milliseconds", secret, with(standard, headerTimestamp, "1772366400000"), CodeWrongSignature, nil},
		{"time is over 64 bits", secret, with(standard, headerTimestamp, strings.Repeat("9", 40)), CodeBadTimestamp, []string{headerTimestamp}},
		{"no version", secret, with(standard, headerSignature, strings.TrimPrefix(v1, "v1,")), CodeMalformed, []string{headerSignature}},
		{"not base64", secret, with(standard, headerSignature, "v1,***"), CodeMalformed, []string{headerSignature}},
		{"good after bad ones", secret, with(standard, headerSignature, "v1,AAAA v9,x v1a,AAAA "+v1), CodeValid, nil},
		{"good after too many", secret, with(standard, headerSignature, strings.Repeat("v1,AAAA ", maxSignatures)+v1), CodeWrongSignature, nil},
		{"v1a of a wrong length", pair.PublicKey(), with(standard, headerSignature, "v1a,AAAA"), CodeWrongSignature, nil},
		{"public key for v1", pair.PublicKey(), standard, CodeNoFittingKey, nil},
		{"text for v1", plainKey, standard, CodeNoFittingKey, nil},
		{"public key for twenty", pair.PublicKey(), twenty, CodeNoFittingKey, nil},
		{"twenty without time", plainKey, with(twenty, "X-Twenty-Webhook-Timestamp", ""), CodeMissingHeader, []string{"x-twenty-webhook-timestamp"}},
		{"twenty with a word for time", plainKey, with(twenty, "X-Twenty-Webhook-Timestamp", "x"), CodeBadTimestamp, []string{"X-Twenty-Webhook-Timestamp"}},
		{"sha1 for github", plainKey, http.Header{"X-Hub-Signature-256": {"sha256=" + sha1Of}}, CodeMalformed, []string{"X-Hub-Signature-256"}},
		{"no prefix", plainKey, http.Header{"X-Hub-Signature-256": {hex.EncodeToString(capitals.Sum(nil))}}, CodeMalformed, []string{"X-Hub-Signature-256"}},
		{"capitals", plainKey, http.Header{"X-Hub-Signature-256": {"sha256=" + strings.ToUpper(hex.EncodeToString(capitals.Sum(nil)))}}, CodeWrongSignature, nil},
		{"stripe without time", plainKey, stripe("t=,v1=00"), CodeMalformed, []string{"Stripe-Signature"}},
		{"stripe with a huge time", plainKey, stripe("t=" + strings.Repeat("9", 30) + ",v1=" + strings.Repeat("0", 64)), CodeBadTimestamp, []string{"Stripe-Signature"}},
		{"stripe with two", plainKey, stripe("t=1,v1=" + strings.Repeat("0", 64) + ",v0=1"), CodeWrongSignature, nil},
		{"nothing", plainKey, http.Header{}, CodeUnsigned, nil},
		{"an id alone", plainKey, http.Header{"Webhook-Id": {"evt_1"}}, CodeUnsigned, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Settings{Secrets: []string{c.key}}
			if err := s.validate(); err != nil {
				t.Fatal(err)
			}
			v := s.verify(request{body: []byte(body), headers: c.headers, at: signedAt})
			if v.Code != c.code || !slices.Equal(v.Headers, c.about) {
				t.Errorf("got %+v", v)
			}
		})
	}
}

// TestVerdictsHoldNoGoodSignature: an inbox must not sign for whoever sends to it.
func TestVerdictsHoldNoGoodSignature(t *testing.T) {
	_, url := open(t)
	mustPut(t, url, "b", `{"secrets":["`+plainKey+`"]}`)
	mac := hmac.New(sha256.New, []byte(plainKey))
	mac.Write([]byte("x"))
	ask(t, http.MethodPost, url+"/in/b", "x", "X-Hub-Signature-256", "sha256="+strings.Repeat("0", 64))
	_, _, page := ask(t, http.MethodGet, url+"/bins/b/view", "")
	_, _, list := ask(t, http.MethodGet, url+"/bins/b", "")
	for _, secretText := range []string{hex.EncodeToString(mac.Sum(nil)), plainKey} {
		if strings.Contains(page+list, secretText) {
			t.Errorf("%s is shown", secretText)
		}
	}
}

func TestKeysRefuse(t *testing.T) {
	for _, k := range []string{"", "short", "whsec_", "whsec_*", "whsk_AAAA", "whpk_AAAA", "whpk_", "a\nlong enough key"} {
		if _, err := parseKey(k); err == nil || k != "" && strings.Contains(err.Error(), k) && !strings.HasSuffix(k, "_") {
			t.Errorf("%q: %v", k, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, k := range known {
		f.Add(k.Header, "sha256=00", "1", "{}")
	}
	f.Add(headerSignature, "v1,AAAA v1a,AAAA", "1772366400", "{}")
	f.Add("Stripe-Signature", "t=1,v1=00", "", "")
	pair := sidehook.NewEd25519Key()
	s := Settings{Secrets: []string{secret, plainKey, pair.PublicKey()}}
	if err := s.validate(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, value, timestamp, body string) {
		h := http.Header{}
		h.Set(name, value)
		h.Set(headerID, "evt_1")
		h.Set(headerTimestamp, timestamp)
		h.Set(sidehook.HeaderTwentyTimestamp, timestamp)
		v := s.verify(request{body: []byte(body), headers: h, at: signedAt})
		if v.OK {
			t.Fatalf("holds: %+v", v)
		}
		if !slices.Contains(Codes(), v.Code) || v.Reason == fmt.Sprint("verdict.", v.Code) {
			t.Fatalf("%+v", v)
		}
	})
}
