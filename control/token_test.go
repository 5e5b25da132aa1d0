package control_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestUnauthenticated(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	revoked, id := p.makeToken("app", "demo")
	p.do(p.admin, "DELETE", "/v1/tokens/"+id, "").want(204)
	for name, headers := range map[string][]string{
		"none":            nil,
		"empty":           {""},
		"no scheme":       {p.admin},
		"other scheme":    {"Basic " + p.admin},
		"no token":        {"Bearer "},
		"unknown token":   {"Bearer sht_" + strings.Repeat("A", 43)},
		"cut token":       {"Bearer " + p.admin[:20]},
		"more after it":   {"Bearer " + p.admin + " x"},
		"hash of nothing": {"Bearer sht_"},
		"revoked token":   {"Bearer " + revoked},
		"two headers":     {"Bearer " + p.admin, "Bearer " + p.admin},
		"path in token":   {"Bearer ../apps/demo"},
	} {
		for _, path := range []string{"/v1/apps", "/v1/apps/demo/webhooks", "/v1/tokens", "/v1/nothing", "/v1"} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", p.http.URL+path, nil)
			p.check(err)
			if headers != nil {
				r.Header["Authorization"] = headers
			}
			a := p.send(r)
			if a.code != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") ||
				a.header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: GET %s answered %d %v %s", name, path, a.code, a.header, a.raw)
			}
		}
	}
}

func TestScopes(t *testing.T) {
	p := newPlane(t)
	p.makeApp("mine")
	p.makeApp("theirs")
	mine, _ := p.makeWebhook("mine", "a")
	theirs, _ := p.makeWebhook("theirs", "a")
	app, _ := p.makeToken("app", "mine")
	sidecar, _ := p.makeToken("sidecar", "mine", "theirs")
	const myAll, theirAll = "/v1/apps/mine/webhooks", "/v1/apps/theirs/webhooks"
	for _, c := range []struct {
		method, path, body string
		app, sidecar       int
	}{
		{"GET", "/v1/apps", "", 200, 403},
		{"GET", "/v1/apps/mine", "", 200, 403},
		{"PUT", "/v1/apps/mine", "", 403, 403},
		{"DELETE", "/v1/apps/mine", "", 403, 403},
		{"GET", myAll, "", 200, 403},
		{"POST", myAll, webhookJSON("b"), 201, 403},
		{"GET", myAll + "/" + mine, "", 200, 403},
		{"PATCH", myAll + "/" + mine, `{"name":"c"}`, 200, 403},
		{"POST", myAll + "/" + mine + "/disable", "", 200, 403},
		{"POST", myAll + "/" + mine + "/enable", "", 200, 403},
		{"POST", myAll + "/" + mine + "/secrets", "", 201, 403},
		{"GET", myAll + "/" + mine + "/secrets", "", 200, 403},
		{"GET", myAll + "/" + theirs, "", 404, 403},
		{"DELETE", myAll + "/" + mine, "", 204, 403},
		{"GET", "/v1/apps/theirs", "", 404, 403},
		{"GET", "/v1/apps/none", "", 404, 403},
		{"PUT", "/v1/apps/theirs", "", 404, 403},
		{"PUT", "/v1/apps/none", "", 404, 403},
		{"DELETE", "/v1/apps/theirs", "", 404, 403},
		{"GET", theirAll, "", 404, 403},
		{"POST", theirAll, webhookJSON("b"), 404, 403},
		{"POST", theirAll, `{"bad":1}`, 404, 403},
		{"GET", theirAll + "/" + theirs, "", 404, 403},
		{"PATCH", theirAll + "/" + theirs, `{"name":"c"}`, 404, 403},
		{"DELETE", theirAll + "/" + theirs, "", 404, 403},
		{"POST", theirAll + "/" + theirs + "/disable", "", 404, 403},
		{"POST", theirAll + "/" + theirs + "/enable", "", 404, 403},
		{"POST", theirAll + "/" + theirs + "/secrets", "", 404, 403},
		{"GET", theirAll + "/" + theirs + "/secrets", "", 404, 403},
		{"GET", "/v1/tokens", "", 403, 403},
		{"POST", "/v1/tokens", `{"name":"x","kind":"admin"}`, 403, 403},
		{"DELETE", "/v1/tokens/x", "", 403, 403},
		{"GET", "/v1/sidecars", "", 403, 403},
	} {
		if a := p.do(sidecar, c.method, c.path, c.body); a.code != c.sidecar {
			t.Errorf("sidecar token: %s %s answered %d, want %d: %s", c.method, c.path, a.code, c.sidecar, a.raw)
		}
		a := p.do(app, c.method, c.path, c.body)
		if a.code != c.app {
			t.Errorf("app token: %s %s answered %d, want %d: %s", c.method, c.path, a.code, c.app, a.raw)
		}
	}
	if w := p.do(p.admin, "GET", theirAll+"/"+theirs, "").want(200); w.str("name") != "a" || w.str("status") != "enabled" {
		t.Errorf("their webhook became %s", w.raw)
	}
	if apps := p.do(app, "GET", "/v1/apps", "").data(); len(apps) != 1 || apps[0]["id"] != "mine" {
		t.Errorf("an app token lists %v", apps)
	}
	there := p.do(app, "GET", "/v1/apps/theirs", "")
	none := p.do(app, "GET", "/v1/apps/nobody", "")
	if strings.ReplaceAll(there.raw, "theirs", "?") != strings.ReplaceAll(none.raw, "nobody", "?") {
		t.Errorf("an app token can tell an app that is there from one that is not: %s, %s", there.raw, none.raw)
	}
}

func TestTokens(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	for _, c := range []struct{ body, location, words string }{
		{`{"kind":"admin"}`, "body.name", "is required"},
		{`{"name":" ","kind":"admin"}`, "body.name", "is required"},
		{`{"name":"x"}`, "body.kind", "is required"},
		{`{"name":"x","kind":"root"}`, "body.kind", "admin, app or sidecar"},
		{`{"name":"x","kind":"admin","apps":["demo"]}`, "body.apps", "must be empty"},
		{`{"name":"x","kind":"app"}`, "body.apps", "exactly one"},
		{`{"name":"x","kind":"app","apps":["demo","b"]}`, "body.apps", "exactly one"},
		{`{"name":"x","kind":"sidecar","apps":[]}`, "body.apps", "1 to 100"},
		{`{"name":"x","kind":"sidecar","apps":["demo","a/b"]}`, "body.apps[1]", "A-Z"},
		{`{"name":"x","kind":"sidecar","apps":["demo","demo"]}`, "body.apps[1]", "twice"},
		{`{"name":"x","kind":"sidecar","apps":["demo","none"]}`, "body.apps[1]", "create it first"},
		{`{"name":"x","kind":"admin","token":"mine"}`, "body.token", "known field"},
	} {
		p.do(p.admin, "POST", "/v1/tokens", c.body).wantProblem(422, c.location, c.words)
	}
	token, id := p.makeToken("app", "demo")
	p.do(token, "GET", "/v1/apps/demo", "").want(200)
	if listed := p.do(p.admin, "GET", "/v1/tokens", "").want(200).data(); listed[0]["id"] != id || listed[0]["token"] != nil {
		t.Errorf("listed %v", listed)
	}
	p.do(p.admin, "DELETE", "/v1/tokens/"+id, "").want(204)
	if got := <-p.revoked; got != id {
		t.Errorf("revoked %q, want %q", got, id)
	}
	p.do(token, "GET", "/v1/apps/demo", "").want(401)
	p.do(p.admin, "DELETE", "/v1/tokens/"+id, "").want(404)
}

func TestOneAdminTokenStays(t *testing.T) {
	p := newPlane(t)
	var ids, tokens []string
	for _, x := range p.do(p.admin, "GET", "/v1/tokens", "").data() {
		ids, tokens = append(ids, x["id"].(string)), append(tokens, p.admin)
	}
	p.do(p.admin, "DELETE", "/v1/tokens/"+ids[0], "").wantProblem(409, "", "last admin token")
	for range 4 {
		a := p.do(p.admin, "POST", "/v1/tokens", `{"name":"more","kind":"admin"}`).want(201)
		ids, tokens = append(ids, a.str("id")), append(tokens, a.str("token"))
	}
	codes := p.together(5, func(i int) int { return p.do(tokens[i], "DELETE", "/v1/tokens/"+ids[i], "").code })
	if codes[204] != 4 || codes[409] != 1 {
		t.Errorf("answers by status: %v", codes)
	}
}
