package control_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

// signedJSON is the body of a webhook with more fields.
func signedJSON(name, more string) string {
	return `{"name":"` + name + `","url":"https://example.com/in","events":["*"],` + more + `}`
}

func TestSigningOfWebhooks(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const all = "/v1/apps/demo/webhooks"
	plain := p.do(p.admin, "POST", all, webhookJSON("plain")).want(201)
	if got := fmt.Sprint(plain.body["signing"]); got != "map[scheme:standard]" {
		t.Errorf("signing is %s by default", got)
	}
	made := p.do(p.admin, "POST", all, signedJSON("hmac", `"format":"sigma","secret":"your-secret","signing":{"scheme":"hmac",
		"header":"X-Sig","prefix":"v1=","template":"{timestamp_ms}.{body}","timestamp_header":"X-Time"}`)).want(201)
	id := made.str("id")
	want := map[string]any{
		"scheme": "hmac", "algorithm": "sha256", "encoding": "hex", "header": "X-Sig", "prefix": "v1=",
		"template": "{timestamp_ms}.{body}", "timestamp_header": "X-Time",
	}
	got := p.do(p.admin, "GET", all+"/"+id, "").want(200)
	for _, a := range []*answer{made, got} {
		if fmt.Sprint(a.body["signing"]) != fmt.Sprint(want) {
			t.Errorf("signing is %v, want %v", a.body["signing"], want)
		}
	}
	if strings.Contains(got.raw, "your-secret") || made.str("secret") != "your-secret" {
		t.Errorf("secret in %s, made %s", got.raw, made.raw)
	}
	r := p.pub.get("demo", "apps/demo/webhooks/"+id)
	if r.Webhook.Signing.Header != "X-Sig" || r.Webhook.Format != sidehook.FormatSigma {
		t.Errorf("published %+v", r.Webhook)
	}
	secret := p.pub.get("demo", p.pub.names("demo", "/secrets/"+id+".")[0]).Secret
	if secret.Key.Kind() != sidehook.KeyText || secret.Key.Reveal() != "your-secret" {
		t.Errorf("published a key of kind %s", secret.Key.Kind())
	}

	// It is all there after a restart, and the whole is replaced.
	p.reopen()
	if again := p.do(p.admin, "GET", all+"/"+id, "").want(200); again.raw != got.raw {
		t.Errorf("was %s, is %s", got.raw, again.raw)
	}
	patched := p.do(p.admin, "PATCH", all+"/"+id, `{"signing":{"scheme":"hmac","header":"X-Other"}}`).want(200)
	if s := patched.body["signing"].(map[string]any); s["header"] != "X-Other" || s["template"] != "{body}" || s["prefix"] != nil {
		t.Errorf("after PATCH: %v", s)
	}
	patched = p.do(p.admin, "PATCH", all+"/"+id, `{"format":"twenty","signing":null}`).want(200)
	if got := fmt.Sprint(patched.body["signing"]); got != "map[scheme:twenty]" {
		t.Errorf("with the format twenty: %s", got)
	}
}

func TestEd25519ShowsThePublicKeyAlone(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const all = "/v1/apps/demo/webhooks"
	made := p.do(p.admin, "POST", all, signedJSON("pair", `"signing":{"scheme":"standard-ed25519"}`)).want(201)
	path := all + "/" + made.str("id") + "/secrets"
	public := made.str("public_key")
	if !strings.HasPrefix(public, "whpk_") || made.body["secret"] != nil {
		t.Fatalf("made %s", made.raw)
	}
	listed := p.do(p.admin, "GET", path, "").want(200).data()
	if listed[0]["public_key"] != public || listed[0]["kind"] != "ed25519" {
		t.Errorf("listed %v", listed)
	}
	key := p.pub.get("demo", p.pub.names("demo", "/secrets/")[0]).Secret.Key
	if key.PublicKey() != public {
		t.Errorf("published %s, shown %s", key.PublicKey(), public)
	}
	rotated := p.do(p.admin, "POST", path, "").want(201)
	if rotated.str("public_key") == public || rotated.body["secret"] != nil || rotated.str("kind") != "ed25519" {
		t.Errorf("rotated %s", rotated.raw)
	}
	if strings.Contains(made.raw+rotated.raw+p.log.String(), key.Reveal()) {
		t.Error("the private key is shown")
	}
	// A pair of one's own, and back to a shared secret beside it.
	own := sidehook.NewEd25519Key()
	if got := p.do(p.admin, "POST", path, `{"secret":"`+own.Reveal()+`"}`).want(201); got.str("public_key") != own.PublicKey() {
		t.Errorf("imported %s", got.raw)
	}
	p.do(p.admin, "PATCH", all+"/"+made.str("id"), `{"signing":null}`).want(200) // the standard schemes take both kinds
	if got := p.do(p.admin, "POST", path, "").want(201); got.str("kind") != "symmetric" || got.str("secret") == "" {
		t.Errorf("rotated %s", got.raw)
	}
}

func TestSchemeAndSecretFit(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const all = "/v1/apps/demo/webhooks"
	text := p.do(p.admin, "POST", all, signedJSON("text", `"format":"twenty","secret":"your-secret"`)).want(201).str("id")
	pair := p.do(p.admin, "POST", all, signedJSON("pair", `"signing":{"scheme":"standard-ed25519"}`)).want(201).str("id")
	shared := p.do(p.admin, "POST", all, webhookJSON("shared")).want(201).str("id")

	p.do(p.admin, "PATCH", all+"/"+text, `{"format":"standard"}`).wantProblem(422, "body.signing.scheme", "rotate to a whsec_ secret")
	p.do(p.admin, "PATCH", all+"/"+pair, `{"format":"twenty","signing":null}`).wantProblem(422, "body.signing.scheme", "rotate to a whsec_ secret")
	p.do(p.admin, "POST", all+"/"+shared+"/secrets", `{"secret":"your-secret"}`).wantProblem(422, "body.secret", "must start with whsec_")
	p.do(p.admin, "POST", all+"/"+text+"/secrets", `{"secret":"`+sidehook.NewEd25519Key().Reveal()+`"}`).wantProblem(422, "body.secret", "Ed25519")

	// A whsec_ secret is the way from anywhere to anywhere.
	for _, id := range []string{text, pair} {
		p.do(p.admin, "POST", all+"/"+id+"/secrets", `{"secret":"`+sidehook.NewKey().Reveal()+`"}`).want(201)
	}
	p.do(p.admin, "PATCH", all+"/"+text, `{"format":"standard"}`).want(200)
	p.do(p.admin, "PATCH", all+"/"+pair, `{"format":"twenty","signing":null}`).want(200)
	p.do(p.admin, "PATCH", all+"/"+shared, `{"format":"twenty"}`).want(200)
	p.do(p.admin, "POST", all+"/"+shared+"/secrets", `{"secret":"your-secret"}`).want(201)
}

func TestBadSigning(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const all = "/v1/apps/demo/webhooks"
	id := p.do(p.admin, "POST", all, webhookJSON("w")).want(201).str("id")
	for _, c := range []struct{ more, location, words string }{
		{`"signing":{"scheme":"md5"}`, "body.signing.scheme", "standard-ed25519"},
		{`"signing":{"scheme":"hmac"}`, "body.signing.header", "is required"},
		{`"signing":{"header":"X"}`, "body.signing.header", "hmac"},
		{`"signing":{"scheme":"hmac","header":"Webhook-Signature"}`, "body.signing.header", "Sidehook"},
		{`"signing":{"scheme":"hmac","header":"X","algorithm":"md5"}`, "body.signing.algorithm", "sha256"},
		{`"signing":{"scheme":"hmac","header":"X","encoding":"base32"}`, "body.signing.encoding", "hex"},
		{`"signing":{"scheme":"hmac","header":"X","template":"{timestamp}"}`, "body.signing.template", "{body}"},
		{`"signing":{"scheme":"hmac","header":"X","template":"{now}{body}"}`, "body.signing.template", "{now}"},
		{`"signing":{"scheme":"hmac","header":"X","prefix":"a\r\nb"}`, "body.signing.prefix", "control"},
		{`"signing":{"scheme":"hmac","header":"X","secret":"a"}`, "body.signing.secret", "not a known field"},
		{`"signing":"hmac"`, "body.signing", "must be an object"},
		{`"format":"twenty","headers":[{"key":"X-Twenty-Webhook-Signature","value":"x"}]`, "body.headers[0].key", "signing scheme"},
		{`"format":"cloudevents-binary","headers":[{"key":"ce-id","value":"x"}]`, "body.headers[0].key", "format"},
	} {
		p.do(p.admin, "POST", all, signedJSON("x", c.more)).wantProblem(422, c.location, c.words)
		p.do(p.admin, "PATCH", all+"/"+id, "{"+c.more+"}").wantProblem(422, c.location, c.words)
	}
	for _, c := range []struct{ secret, words string }{
		{`"short"`, "8 to 256"},
		{`"your-secret"`, "must start with whsec_"},
		{`"whsec_hush-hush"`, "base64"},
		{`"whsk_aHVzaC1odXNo"`, "32"},
		{`"whpk_aHVzaC1odXNo"`, "public key"},
		{`""`, "8 to 256"},
		{`["hush-hush"]`, "string"},
	} {
		a := p.do(p.admin, "POST", all, signedJSON("x", `"secret":`+c.secret))
		a.wantProblem(422, "body.secret", c.words)
		b := p.do(p.admin, "POST", all+"/"+id+"/secrets", `{"secret":`+c.secret+`}`)
		b.wantProblem(422, "body.secret", c.words)
		if strings.Contains(a.raw+b.raw+p.log.String(), "hush") {
			t.Errorf("a refused secret is shown: %s %s", a.raw, b.raw)
		}
	}
	p.do(p.admin, "PATCH", all+"/"+id, `{"secret":"your-secret"}`).wantProblem(422, "body.secret", "not a known field")
	if n := len(p.do(p.admin, "GET", all, "").want(200).data()); n != 1 {
		t.Errorf("%d webhooks, want the first alone", n)
	}
}
