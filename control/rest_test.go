package control_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sidehook/sidehook"
)

func TestWebhookLifecycle(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	const all = "/v1/apps/demo/webhooks"
	made := p.do(p.admin, "POST", all, `{"name":" CRM ","url":"https://example.com/in","events":["person.*","*.created"],
		"headers":[{"key":"X-A","value":"1"}],"automatic_retry":false,"format":"cloudevents","transformer":"redact",
		"timeout":"2s","retry_policy":{"schedule":["5s","5m"]},"ordering":"key","rate_limit":{"per_second":2.5},
		"history_sample":0,"filter":"data.amount > 100"}`).want(201)
	id := made.str("id")
	if !regexp.MustCompile(`^wh_[a-z2-7]{20,}$`).MatchString(id) {
		t.Errorf("id is %q", id)
	}
	if _, err := sidehook.ParseKey(made.str("secret")); err != nil {
		t.Errorf("secret: %v", err)
	}
	for field, want := range map[string]any{
		"app": "demo", "name": "CRM", "url": "https://example.com/in", "automatic_retry": false, "format": "cloudevents",
		"transformer": "redact", "timeout": "2s", "status": "enabled",
		"ordering": "key", "history_sample": 0.0, "filter": "data.amount > 100",
	} {
		if made.body[field] != want {
			t.Errorf("%s is %v, want %v", field, made.body[field], want)
		}
	}
	got := p.do(p.admin, "GET", all+"/"+id, "").want(200)
	delete(made.body, "secret")
	delete(got.body, "health")
	if fmt.Sprint(got.body) != fmt.Sprint(made.body) {
		t.Errorf("GET gives %v, POST gave %v", got.body, made.body)
	}

	r := p.pub.get("demo", "apps/demo/webhooks/"+id)
	if got := fmt.Sprint(made.body["rate_limit"]); got != "map[burst:3 per_second:2.5]" {
		t.Errorf("rate limit is %s", got)
	}
	if r != nil && (r.Webhook.Ordering != sidehook.OrderingKey || r.Webhook.RateLimit.Burst != 3 || r.Webhook.Sample() != 0) {
		t.Errorf("published %+v", r.Webhook)
	}
	if r == nil || r.Webhook.Name != "CRM" || len(r.Webhook.RetrySchedule) != 2 || r.Webhook.Headers[0].Key != "X-A" {
		t.Fatalf("published %+v", r)
	}
	if n := len(p.pub.names("demo", "/secrets/"+id+".")); n != 1 {
		t.Errorf("%d secrets are published", n)
	}

	patched := p.do(p.admin, "PATCH", all+"/"+id, `{"name":"Sales","headers":null,"automatic_retry":null,"retry_policy":null,
		"timeout":null,"transformer":null,"format":null,"filter":null,"ordering":null,"rate_limit":null,"history_sample":null}`).want(200)
	for field, want := range map[string]any{
		"name": "Sales", "automatic_retry": true, "format": "standard", "timeout": "15s", "transformer": nil,
		"filter": nil, "ordering": "none", "rate_limit": nil, "history_sample": 1.0,
		"retry_policy": nil, "url": "https://example.com/in", "created_at": made.body["created_at"],
	} {
		if patched.body[field] != want {
			t.Errorf("after PATCH %s is %v, want %v", field, patched.body[field], want)
		}
	}
	if patched.str("updated_at") <= made.str("updated_at") {
		t.Errorf("updated_at went from %s to %s", made.str("updated_at"), patched.str("updated_at"))
	}
	if r := p.pub.get("demo", "apps/demo/webhooks/"+id); r.Webhook.Name != "Sales" {
		t.Errorf("published %+v after PATCH", r.Webhook)
	}

	off := p.do(p.admin, "POST", all+"/"+id+"/disable", `{"reason":"too slow"}`).want(200)
	if off.str("status") != "disabled" || off.str("disabled_reason") != "too slow" ||
		off.body["disabled_at"] != off.body["updated_at"] || off.body["disabled_cause"] != nil {
		t.Errorf("after disable: %s", off.raw)
	}
	if r := p.pub.get("demo", "apps/demo/webhooks/"+id); r.Webhook.Status != sidehook.WebhookDisabled {
		t.Errorf("published %+v after disable", r.Webhook)
	}
	if again := p.do(p.admin, "POST", all+"/"+id+"/disable", "").want(200); again.str("disabled_reason") != "too slow" {
		t.Errorf("after disable again: %s", again.raw)
	}
	on := p.do(p.admin, "POST", all+"/"+id+"/enable", "").want(200)
	if on.str("status") != "enabled" || on.body["disabled_reason"] != nil || on.body["disabled_at"] != nil {
		t.Errorf("after enable: %s", on.raw)
	}

	p.do(p.admin, "DELETE", all+"/"+id, "").want(204)
	p.do(p.admin, "GET", all+"/"+id, "").wantProblem(404, "", id)
	if names := p.pub.names("demo", id); len(names) != 0 {
		t.Errorf("still published: %q", names)
	}
	p.makeWebhook("demo", "Sales") // the name is free again
}

func TestDefaults(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	a := p.do(p.admin, "POST", "/v1/apps/demo/webhooks", webhookJSON("a")).want(201)
	if a.body["automatic_retry"] != true || a.str("format") != "standard" || a.str("timeout") != "15s" ||
		a.body["retry_policy"] != nil || fmt.Sprint(a.body["headers"]) != "[]" {
		t.Errorf("defaults: %s", a.raw)
	}
}

func TestBadWebhooks(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	p.do(p.admin, "PUT", "/v1/apps/secure", `{"https_only":true}`).want(201)
	id, _ := p.makeWebhook("demo", "taken by create")
	p.makeWebhook("demo", "taken")
	headers := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"key":"X-%d","value":"v"}`, i))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	for _, c := range []struct{ name, field, value, location, words string }{
		{"no name", "name", ``, "body.name", "is required"},
		{"null name", "name", `null`, "body.name", "is required"},
		{"blank name", "name", `"  "`, "body.name", "is required"},
		{"number as name", "name", `7`, "body.name", "must be a string"},
		{"long name", "name", `"` + strings.Repeat("ü", 51) + `"`, "body.name", "at most 50"},
		{"control in name", "name", `"a\u0007"`, "body.name", "control"},
		{"no url", "url", ``, "body.url", "is required"},
		{"ftp url", "url", `"ftp://a/b"`, "body.url", "http://"},
		{"relative url", "url", `"/in"`, "body.url", "http://"},
		{"url with password", "url", `"https://a:b@c/"`, "body.url", "password"},
		{"url with fragment", "url", `"https://c/#x"`, "body.url", "fragment"},
		{"url with line break", "url", `"https://c/\r\nX: y"`, "body.url", "visible ASCII"},
		{"no events", "events", ``, "body.events", "is required"},
		{"empty events", "events", `[]`, "body.events", "at least one"},
		{"null events", "events", `null`, "body.events", "at least one"},
		{"bad event", "events", `["a","*.b.*.c"]`, "body.events[1]", "*"},
		{"events as string", "events", `"a"`, "body.events", "must be an array"},
		{"header without key", "headers", `[{"value":"x"}]`, "body.headers[0].key", "is required"},
		{"bad header key", "headers", `[{"key":"A","value":"1"},{"key":"a b","value":"x"}]`, "body.headers[1].key", "legal"},
		{"reserved header", "headers", `[{"key":"Webhook-Id","value":"x"}]`, "body.headers[0].key", "Sidehook"},
		{"injected header", "headers", `[{"key":"A","value":"x\r\nB: y"}]`, "body.headers[0].value", "line breaks"},
		{"header twice", "headers", `[{"key":"A","value":"1"},{"key":"a","value":"2"}]`, "body.headers[1].key", "twice"},
		{"header with more", "headers", `[{"key":"A","value":"1","x":1}]`, "body.headers[0].x", "not a known field"},
		{"11 headers", "headers", headers(11), "body.headers", "at most 10"},
		{"unknown format", "format", `"xml"`, "body.format", "standard"},
		{"retry as string", "automatic_retry", `"yes"`, "body.automatic_retry", "must be a boolean"},
		{"bad transformer", "transformer", `"../x"`, "body.transformer", "A-Z"},
		{"no duration", "timeout", `"15"`, "body.timeout", "duration"},
		{"number as timeout", "timeout", `15`, "body.timeout", "must be a string"},
		{"no timeout", "timeout", `"0s"`, "body.timeout", "100ms"},
		{"long timeout", "timeout", `"2m"`, "body.timeout", "1m0s"},
		{"bad wait", "retry_policy", `{"schedule":["5s","soon"]}`, "body.retry_policy.schedule[1]", "duration"},
		{"short wait", "retry_policy", `{"schedule":["5s","1ms"]}`, "body.retry_policy.schedule[1]", "1s"},
		{"unknown in policy", "retry_policy", `{"max":3}`, "body.retry_policy.max", "not a known field"},
		{"bad filter", "filter", `"data.x >"`, "body.filter", "line 1, column 9"},
		{"filter of no bool", "filter", `"size(type)"`, "body.filter", "true or false"},
		{"long filter", "filter", `"` + strings.Repeat("x", 2049) + `"`, "body.filter", "at most 2048"},
		{"unknown ordering", "ordering", `"strict"`, "body.ordering", "none or key"},
		{"number as ordering", "ordering", `1`, "body.ordering", "must be a string"},
		{"no rate", "rate_limit", `{"burst":3}`, "body.rate_limit.per_second", "is required"},
		{"zero rate", "rate_limit", `{"per_second":0}`, "body.rate_limit.per_second", "0.001"},
		{"big rate", "rate_limit", `{"per_second":1e300}`, "body.rate_limit.per_second", "100000"},
		{"bad burst", "rate_limit", `{"per_second":1,"burst":-1}`, "body.rate_limit.burst", "1 to"},
		{"broken burst", "rate_limit", `{"per_second":1,"burst":1.5}`, "body.rate_limit.burst", "integer"},
		{"rate as number", "rate_limit", `5`, "body.rate_limit", "must be an object"},
		{"big sample", "history_sample", `1.1`, "body.history_sample", "0 to 1"},
		{"sample as string", "history_sample", `"1"`, "body.history_sample", "must be a number"},
		{"unknown field", "status", `"disabled"`, "body.status", "not a known field"},
		{"read-only field", "id", `"wh_mine"`, "body.id", "not a known field"},
	} {
		fields := map[string]string{"name": `"new"`, "url": `"https://example.com/"`, "events": `["*"]`, c.field: c.value}
		var parts []string
		for k, v := range fields {
			if v != "" {
				parts = append(parts, `"`+k+`":`+v)
			}
		}
		t.Run("create/"+c.name, func(t *testing.T) {
			a := p.do(p.admin, "POST", "/v1/apps/demo/webhooks", "{"+strings.Join(parts, ",")+"}")
			a.t = t
			a.wantProblem(422, c.location, c.words)
		})
		if c.value == "" {
			continue // absent means unchanged in a patch
		}
		t.Run("patch/"+c.name, func(t *testing.T) {
			a := p.do(p.admin, "PATCH", "/v1/apps/demo/webhooks/"+id, `{"`+c.field+`":`+c.value+`}`)
			a.t = t
			a.wantProblem(422, c.location, c.words)
		})
	}
	const all = "/v1/apps/demo/webhooks"
	p.do(p.admin, "POST", all, webhookJSON("taken")).wantProblem(409, "body.name", "choose another")
	p.do(p.admin, "POST", all, webhookJSON(" taken ")).wantProblem(409, "body.name", "choose another")
	p.do(p.admin, "PATCH", all+"/"+id, `{"name":"taken"}`).wantProblem(409, "body.name", "choose another")
	p.do(p.admin, "PATCH", all+"/"+id, `{"name":"Taken"}`).want(200) // case counts
	p.do(p.admin, "POST", "/v1/apps/secure/webhooks", `{"name":"a","url":"http://a/","events":["*"]}`).
		wantProblem(422, "body.url", "https://")
	p.do(p.admin, "POST", all, `{`).wantProblem(400, "body", "")
	p.do(p.admin, "POST", all, ``).wantProblem(400, "", "body")
	p.do(p.admin, "POST", all, `[]`).wantProblem(422, "body", "object")
	p.do(p.admin, "POST", all, `{"name":"`+strings.Repeat("x", 257<<10)+`"}`).wantProblem(413, "", "too large")
	p.do(p.admin, "POST", all+"/"+id+"/disable", `{"reason":"a\nb"}`).wantProblem(422, "body.reason", "line breaks")
	p.do(p.admin, "POST", all+"/"+id+"/disable", `{"why":"x"}`).wantProblem(422, "body.why", "known field")
	p.do(p.admin, "POST", all+"/"+id+"/secrets", `{"overlap":"8d"}`).wantProblem(422, "body.overlap", "duration")
	p.do(p.admin, "POST", all+"/"+id+"/secrets", `{"overlap":"169h"}`).wantProblem(422, "body.overlap", "168h")
	p.do(p.admin, "POST", all+"/"+id+"/secrets", `{"overlap":"-1s"}`).wantProblem(422, "body.overlap", "0s")
	p.do(p.admin, "GET", all+"?limit=0", "").wantProblem(422, "query.limit", "1")
	p.do(p.admin, "GET", all+"?limit=201", "").wantProblem(422, "query.limit", "200")
	p.do(p.admin, "GET", all+"?limit=x", "").wantProblem(422, "query.limit", "integer")
	p.do(p.admin, "GET", all+"?cursor=!", "").wantProblem(422, "query.cursor", "next_cursor")
	p.do(p.admin, "GET", all+"?page=2", "").wantProblem(422, "query.page", "")
}

func TestNotFound(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/v1/apps/none", ""},
		{"GET", "/v1/apps/a%2Fb", ""},
		{"DELETE", "/v1/apps/none", ""},
		{"GET", "/v1/apps/none/webhooks", ""},
		{"POST", "/v1/apps/none/webhooks", webhookJSON("a")},
		{"GET", "/v1/apps/demo/webhooks/none", ""},
		{"GET", "/v1/apps/demo/webhooks/..%2F..%2Fx", ""},
		{"PATCH", "/v1/apps/demo/webhooks/none", `{"name":"x"}`},
		{"DELETE", "/v1/apps/demo/webhooks/none", ""},
		{"POST", "/v1/apps/demo/webhooks/none/enable", ""},
		{"POST", "/v1/apps/demo/webhooks/none/disable", ""},
		{"POST", "/v1/apps/demo/webhooks/none/secrets", ""},
		{"GET", "/v1/apps/demo/webhooks/none/secrets", ""},
		{"DELETE", "/v1/tokens/none", ""},
		{"GET", "/v1/nothing", ""},
		{"GET", "/nothing", ""},
	} {
		a := p.do(p.admin, c.method, c.path, c.body)
		if a.code != 404 || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s answered %d %s", c.method, c.path, a.code, a.raw)
		}
	}
	a := p.do(p.admin, "PUT", "/v1/apps/demo/webhooks", "")
	a.wantProblem(405, "", "GET")
	if allow := a.header.Get("Allow"); !strings.Contains(allow, "POST") {
		t.Errorf("Allow is %q", allow)
	}
	p.do(p.admin, "PUT", "/v1/apps/a%20b", "").wantProblem(422, "path.app", "A-Z")
}

func TestApps(t *testing.T) {
	p := newPlane(t)
	if a := p.do(p.admin, "GET", "/v1/apps", "").want(200); len(a.data()) != 0 {
		t.Fatalf("a new control plane has apps: %s", a.raw)
	}
	p.do(p.admin, "PUT", "/v1/apps/b", `{"display_name":"Bee"}`).want(201)
	if r := p.pub.get("b", "apps/b/policy"); r == nil || r.AppPolicy.DisplayName != "Bee" {
		t.Fatalf("published %+v", r)
	}
	p.makeApp("a")
	p.makeApp("c")
	id, _ := p.makeWebhook("b", "w")
	p.do(p.admin, "PATCH", "/v1/apps/b/webhooks/"+id, `{"url":"http://example.com/"}`).want(200)
	p.do(p.admin, "PUT", "/v1/apps/b", `{"https_only":true}`).wantProblem(409, "body.https_only", "http://")
	p.do(p.admin, "PATCH", "/v1/apps/b/webhooks/"+id, `{"url":"https://example.com/"}`).want(200)
	a := p.do(p.admin, "PUT", "/v1/apps/b", `{"https_only":true}`).want(200)
	if a.body["https_only"] != true || a.str("display_name") != "" {
		t.Errorf("PUT replaces: %s", a.raw)
	}
	p.do(p.admin, "PATCH", "/v1/apps/b/webhooks/"+id, `{"url":"http://example.com/"}`).wantProblem(422, "body.url", "https://")
	p.do(p.admin, "PUT", "/v1/apps/a", `{"name":"x"}`).wantProblem(422, "body.name", "known field")
	p.do(p.admin, "PUT", "/v1/apps/a", `{"display_name":"`+strings.Repeat("x", 101)+`"}`).
		wantProblem(422, "body.display_name", "at most 100")

	page := p.do(p.admin, "GET", "/v1/apps?limit=2", "").want(200)
	rest := p.do(p.admin, "GET", "/v1/apps?limit=2&cursor="+page.str("next_cursor"), "").want(200)
	var ids []string
	for _, app := range append(page.data(), rest.data()...) {
		ids = append(ids, app["id"].(string))
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) || rest.str("next_cursor") != "" {
		t.Errorf("listed %q, then %q", ids, rest.str("next_cursor"))
	}

	p.do(p.admin, "DELETE", "/v1/apps/b", "").wantProblem(409, "", "delete them first")
	p.do(p.admin, "DELETE", "/v1/apps/b/webhooks/"+id, "").want(204)
	token, _ := p.makeToken("app", "b")
	p.do(p.admin, "DELETE", "/v1/apps/b", "").want(204)
	p.do(p.admin, "GET", "/v1/apps/b", "").want(404)
	p.do(token, "GET", "/v1/apps/b", "").want(401)
	if names := p.pub.names("b", ""); names != nil {
		t.Errorf("still published: %q", names)
	}
	p.makeApp("b")
	p.makeWebhook("b", "w")
}

func TestListIsNewestFirstAndPaged(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	p.makeApp("other")
	p.makeWebhook("other", "not mine")
	var want []string
	for i := range 5 {
		id, _ := p.makeWebhook("demo", fmt.Sprint(i))
		want = slices.Insert(want, 0, id)
	}
	var got []string
	for cursor := ""; ; {
		a := p.do(p.admin, "GET", "/v1/apps/demo/webhooks?limit=2&cursor="+cursor, "").want(200)
		for _, w := range a.data() {
			got = append(got, w["id"].(string))
		}
		if cursor = a.str("next_cursor"); cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestConcurrentCreatesKeepTheLimit(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	codes := p.together(50, func(i int) int {
		return p.do(p.admin, "POST", "/v1/apps/demo/webhooks", webhookJSON(fmt.Sprint(i))).code
	})
	if codes[201] != 10 || codes[409] != 40 {
		t.Fatalf("answers by status: %v", codes)
	}
	if a := p.do(p.admin, "GET", "/v1/apps/demo/webhooks", ""); len(a.data()) != 10 {
		t.Fatalf("%d webhooks are listed", len(a.data()))
	}
	if n := len(p.pub.names("demo", "/webhooks/")); n != 10 {
		t.Fatalf("%d webhooks are published", n)
	}
	p.do(p.admin, "POST", "/v1/apps/demo/webhooks", webhookJSON("one more")).wantProblem(409, "", "10 webhooks")
	first := p.do(p.admin, "GET", "/v1/apps/demo/webhooks", "").data()[0]["id"].(string)
	p.do(p.admin, "DELETE", "/v1/apps/demo/webhooks/"+first, "").want(204)
	p.makeWebhook("demo", "one more")
}

func TestConcurrentCreatesKeepNamesUnique(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	codes := p.together(50, func(int) int {
		return p.do(p.admin, "POST", "/v1/apps/demo/webhooks", webhookJSON("same")).code
	})
	if codes[201] != 1 || codes[409] != 49 {
		t.Fatalf("answers by status: %v", codes)
	}
}

func TestConcurrentRenamesKeepNamesUnique(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	var ids []string
	for i := range 10 {
		id, _ := p.makeWebhook("demo", fmt.Sprint(i))
		ids = append(ids, id)
	}
	codes := p.together(10, func(i int) int {
		return p.do(p.admin, "PATCH", "/v1/apps/demo/webhooks/"+ids[i], `{"name":"same"}`).code
	})
	if codes[200] != 1 || codes[409] != 9 {
		t.Fatalf("answers by status: %v", codes)
	}
}

func TestConcurrentDeleteHappensOnce(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	id, _ := p.makeWebhook("demo", "a")
	codes := p.together(20, func(int) int {
		return p.do(p.admin, "DELETE", "/v1/apps/demo/webhooks/"+id, "").code
	})
	if codes[204] != 1 || codes[404] != 19 {
		t.Fatalf("answers by status: %v", codes)
	}
	for i := range 10 { // the count is right again
		p.makeWebhook("demo", fmt.Sprint(i))
	}
}

// together runs f n times at once and counts its results.
func (p *plane) together(n int, f func(i int) int) map[int]int {
	p.t.Helper()
	results := make([]int, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			results[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	count := make(map[int]int)
	for _, r := range results {
		count[r]++
	}
	return count
}

func TestRestart(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	id, _ := p.makeWebhook("demo", "CRM")
	token, _ := p.makeToken("app", "demo")
	before := p.do(p.admin, "GET", "/v1/apps/demo/webhooks/"+id, "").want(200)
	admin, names := p.admin, p.pub.names("demo", "")
	key := p.pub.get("demo", p.pub.names("demo", "/secrets/")[0]).Secret.Key
	p.reopen()
	if p.admin != admin {
		t.Error("the admin token changed")
	}
	if after := p.do(token, "GET", "/v1/apps/demo/webhooks/"+id, "").want(200); after.raw != before.raw {
		t.Errorf("the webhook was %s and is %s", before.raw, after.raw)
	}
	if got := p.pub.names("demo", ""); !slices.Equal(got, names) {
		t.Errorf("published %q, before the restart %q", got, names)
	}
	if got := p.pub.get("demo", p.pub.names("demo", "/secrets/")[0]).Secret.Key; !got.Equal(key) {
		t.Error("the secret changed")
	}
	p.do(p.admin, "POST", "/v1/apps/demo/webhooks", webhookJSON("CRM")).want(409)
}

func TestSecretsAreShownOnce(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	id, first := p.makeWebhook("demo", "CRM")
	second := p.do(p.admin, "POST", "/v1/apps/demo/webhooks/"+id+"/secrets", "").want(201).str("secret")
	appToken, tokenID := p.makeToken("app", "demo")
	sidecarToken, _ := p.makeToken("sidecar", "demo")
	p.do(p.admin, "PATCH", "/v1/apps/demo/webhooks/"+id, `{"name":"b","x":1}`).want(422)
	var seen strings.Builder
	for _, path := range []string{
		"/v1/apps", "/v1/apps/demo", "/v1/apps/demo/webhooks", "/v1/apps/demo/webhooks/" + id,
		"/v1/apps/demo/webhooks/" + id + "/secrets", "/v1/tokens", "/v1/sidecars", "/openapi.json", "/ready",
	} {
		seen.WriteString(p.do(p.admin, "GET", path, "").want(200).raw)
	}
	p.do(p.admin, "DELETE", "/v1/tokens/"+tokenID, "").want(204)
	seen.WriteString(p.log.String())
	if !strings.Contains(p.log.String(), "webhook created") {
		t.Error("the log is empty; it cannot be searched for secrets")
	}
	for what, secret := range map[string]string{
		"first secret": first, "second secret": second, "app token": appToken, "sidecar token": sidecarToken,
		"admin token": p.admin,
	} {
		if len(secret) < 40 {
			t.Fatalf("%s is %q", what, secret)
		}
		if strings.Contains(seen.String(), secret[6:]) {
			t.Errorf("the %s is shown again", what)
		}
	}
}

func TestRotate(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	id, first := p.makeWebhook("demo", "CRM")
	path := "/v1/apps/demo/webhooks/" + id + "/secrets"
	rotated := p.do(p.admin, "POST", path, `{"overlap":"1h"}`).want(201)
	if rotated.str("secret") == first || rotated.body["live"] != true {
		t.Errorf("rotated: %s", rotated.raw)
	}
	listed := p.do(p.admin, "GET", path, "").want(200).data()
	if len(listed) != 2 || listed[0]["id"] != rotated.str("id") || listed[0]["not_after"] != nil ||
		listed[1]["not_after"] == nil || listed[1]["live"] != true {
		t.Errorf("listed: %v", listed)
	}
	if n := len(p.pub.names("demo", "/secrets/")); n != 2 {
		t.Errorf("%d secrets are published", n)
	}
	for range 3 {
		p.do(p.admin, "POST", path, "").want(201)
	}
	p.do(p.admin, "POST", path, "").wantProblem(409, "", "overlap 0s")
	for _, s := range p.do(p.admin, "GET", path, "").data()[1:] {
		if s["not_after"] == nil {
			t.Errorf("an old secret never ends: %v", s)
		}
	}
	p.do(p.admin, "POST", path, `{"overlap":"0s"}`).want(201)
	if listed := p.do(p.admin, "GET", path, "").data(); len(listed) != 1 {
		t.Errorf("after rotation without overlap: %v", listed)
	}
	if n := len(p.pub.names("demo", "/secrets/")); n != 1 {
		t.Errorf("%d secrets are published", n)
	}
}

func TestConcurrentRotationsKeepTheLimit(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	id, _ := p.makeWebhook("demo", "CRM")
	path := "/v1/apps/demo/webhooks/" + id + "/secrets"
	codes := p.together(20, func(int) int { return p.do(p.admin, "POST", path, "").code })
	if codes[201] != 4 || codes[409] != 16 {
		t.Fatalf("answers by status: %v", codes)
	}
	forever := 0
	for _, s := range p.do(p.admin, "GET", path, "").data() {
		if s["not_after"] == nil {
			forever++
		}
	}
	if forever != 1 {
		t.Errorf("%d secrets never end", forever)
	}
}

func TestOpenAPI(t *testing.T) {
	p := newPlane(t)
	a := p.do("", "GET", "/openapi.json", "").want(200)
	if !strings.HasPrefix(a.str("openapi"), "3.1") {
		t.Errorf("version is %q", a.str("openapi"))
	}
	const one = "/v1/apps/{app}/webhooks/{id}"
	for path, methods := range map[string]string{
		"/v1/apps": "get", "/v1/apps/{app}": "get put delete", "/v1/apps/{app}/webhooks": "get post",
		one: "get patch delete", one + "/enable": "post", one + "/disable": "post", one + "/secrets": "get post",
		"/v1/tokens": "get post", "/v1/tokens/{id}": "delete", "/v1/sidecars": "get",
	} {
		item, _ := a.body["paths"].(map[string]any)[path].(map[string]any)
		for _, method := range strings.Fields(methods) {
			if item[method] == nil {
				t.Errorf("%s %s is not described", method, path)
			}
		}
	}
	schemas := a.body["components"].(map[string]any)["schemas"].(map[string]any)
	b, err := json.Marshal(schemas["NewWebhookFields"])
	p.check(err)
	if !strings.Contains(string(b), `"required":["name","url","events"]`) {
		t.Errorf("the schema of a new webhook is %s", b)
	}
}

func TestHealth(t *testing.T) {
	p := newPlane(t)
	p.do("", "GET", "/live", "").want(200)
	p.do("", "GET", "/ready", "").want(200)
	p.check(p.svc.Close())
	p.do("", "GET", "/live", "").want(200)
	p.do("", "GET", "/ready", "").want(503)
}

func TestClosedStoreIsUnavailable(t *testing.T) {
	p := newPlane(t)
	p.check(p.kv.Close())
	a := p.do(p.admin, "GET", "/v1/apps", "")
	a.wantProblem(503, "", "stopping")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestTwoReplicas runs a second control plane's service on the same store: each publishes what the other changes, and
// the limit holds over both.
func TestTwoReplicas(t *testing.T) {
	p := newPlane(t)
	p.makeApp("demo")
	second := p.replica()
	var made atomic.Int32
	p.together(30, func(i int) int {
		svc := p.svc
		if i%2 == 0 {
			svc = second.svc
		}
		_, _, err := svc.CreateWebhook(t.Context(), sidehook.Webhook{
			App: "demo", Name: fmt.Sprint(i), URL: "https://example.com/", Events: []string{"*"},
		})
		if err == nil {
			made.Add(1)
		}
		return 0
	})
	if made.Load() != 10 {
		t.Fatalf("made %d webhooks", made.Load())
	}
	// One more change through each makes sure that both have seen all before it.
	for _, r := range []*plane{p, second} {
		_, _, err := r.svc.PutApp(t.Context(), "demo", appSpec)
		p.check(err)
	}
	a, b := p.pub.names("demo", "/webhooks/"), second.pub.names("demo", "/webhooks/")
	if len(a) != 10 || !slices.Equal(a, b) {
		t.Errorf("published %q and %q", a, b)
	}
}
