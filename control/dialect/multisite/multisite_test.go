package multisite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/catalogue"
	"github.com/sidehook/sidehook/control/dialect/dialecttest"
)

func TestMain(m *testing.M) { dialecttest.Main(m) }

func served(svc *control.Service) http.Handler {
	return dialecttest.Mount(Patterns(), New(svc, Options{}))
}

func TestConversations(t *testing.T) {
	dialecttest.Replay(t, served, func(p *dialecttest.Plane, file string) {
		switch file {
		case "elsewhere":
			p.Create(sidehook.Webhook{
				Name: "Made natively", URL: "https://example.com/native", Events: []string{"payment_received", "site_published"},
			})
		case "limit":
			for n := range sidehook.DefaultMaxWebhooks {
				p.Create(sidehook.Webhook{Name: fmt.Sprint("Webhook ", n), URL: "https://example.com/", Events: []string{"*"}})
			}
		case "hooks":
			_, _, err := p.Service.PutEventType(t.Context(), sidehook.EventType{
				App: dialecttest.App, Type: "payment_received", Name: map[string]string{"en": "Payment Received", "vi": "Nhận được thanh toán"},
				Description: map[string]string{"en": "A payment came in", "vi": "Có một khoản thanh toán"},
				Sample:      []byte(`{"payment_id":1,"customer_name":"John McMocked"}`),
			})
			p.Check(err)
			_, _, err = p.Service.PutEventType(t.Context(), sidehook.EventType{App: dialecttest.App, Type: "plain"})
			p.Check(err)
		}
	})
}

func call(t *testing.T, p *dialecttest.Plane, method, path, body string) (int, []byte) {
	t.Helper()
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(p.Tokens["token_id"], p.Tokens["token"])
	resp, answer := p.Call(t, method, base+path, body, [2]string{"Authorization", req.Header.Get("Authorization")})
	return resp.StatusCode, answer
}

func made(t *testing.T, p *dialecttest.Plane, body string) webhook {
	t.Helper()
	code, answer := call(t, p, "POST", "/webhook", body)
	var v webhook
	if err := json.Unmarshal(answer, &v); err != nil || code != 200 {
		t.Fatalf("%d %s: %v", code, answer, err)
	}
	return v
}

const complete = `{"name":"Kept","webhook_url":"https://example.com/keep","event":"payment_received"}`

// reported is a fleet that has heard of one webhook.
type reported map[sidehook.WebhookKey]control.WebhookHealth

func (r reported) WebhookHealth(k sidehook.WebhookKey) control.WebhookHealth { return r[k] }

// TestCounts: what the sidecars reported stands in the product's own fields.
func TestCounts(t *testing.T) {
	fleet := reported{}
	p := dialecttest.NewPlane(t, func(svc *control.Service) http.Handler {
		return dialecttest.Mount(Patterns(), New(svc, Options{Health: fleet}))
	})
	busy := p.Create(sidehook.Webhook{Name: "Busy", URL: "https://example.com/", Events: []string{"payment_received"}})
	quiet := p.Create(sidehook.Webhook{Name: "Quiet", URL: "https://example.com/", Events: []string{"payment_received"}})
	fleet[busy.Key()] = control.WebhookHealth{
		Delivered: 40, Dead: 2, FailedAttempts: 9,
		LastFailure: time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("ICT", 7*3600)),
	}
	for w, want := range map[*sidehook.Webhook]string{
		busy: `42 "2026-02-02 21:05:06"`, quiet: `0 null`,
	} {
		code, answer := call(t, p, "GET", fmt.Sprint("/webhook/", idOf(w.ID)), "")
		var v struct {
			EventCount     json.RawMessage `json:"event_count"`
			DateLastFailed json.RawMessage `json:"date_last_failed"`
		}
		if err := json.Unmarshal(answer, &v); err != nil || code != 200 {
			t.Fatalf("%d %s: %v", code, answer, err)
		}
		if got := string(v.EventCount) + " " + string(v.DateLastFailed); got != want {
			t.Errorf("%s: %s, want %s", w.Name, got, want)
		}
	}
}

// TestBadInput: each refusal is in the shape of WordPress and names the parameter; nothing is saved.
func TestBadInput(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	v := made(t, p, complete)
	with := func(name, value string) string {
		return `{"name":"New","webhook_url":"https://example.com/","event":"site_published","` + name + `":` + value + `}`
	}
	for _, bad := range []struct{ body, param, code string }{
		{``, "", codeJSON},
		{`[]`, "", codeJSON},
		{`null`, "", codeJSON},
		{complete + `x`, "", codeJSON},
		{`name=x`, "", codeJSON},
		{with("name", `"x"`), "name", codeInvalid},
		{with("name", `7`), "name", codeInvalid},
		{with("name", `"\u0001\u0002"`), "name", codeInvalid},
		{with("name", `"`+strings.Repeat("x", maxName+1)+`"`), "name", codeInvalid},
		{with("webhook_url", `"example.com"`), "webhook_url", codeInvalid},
		{with("webhook_url", `"ftp://example.com"`), "webhook_url", codeInvalid},
		{with("webhook_url", `""`), "webhook_url", codeInvalid},
		{with("webhook_url", `["https://example.com/"]`), "webhook_url", codeInvalid},
		{with("event", `""`), "event", codeInvalid},
		{with("event", `"a b"`), "event", codeInvalid},
		{with("event", `"payment_received,"`), "event", codeInvalid},
		{with("active", `"maybe"`), "active", codeInvalid},
		{with("active", `[true]`), "active", codeInvalid},
		{with("hidden", `2`), "hidden", codeInvalid},
		{with("integration", `"x"`), "integration", codeInvalid},
		{with("migrated_from_id", `"seven"`), "migrated_from_id", codeInvalid},
		{with("colour", `"red"`), "", codeNoSetter},
	} {
		for method, path := range map[string]string{"POST": "/webhook", "PUT": fmt.Sprint("/webhook/", v.ID)} {
			code, body := call(t, p, method, path, bad.body)
			var got struct {
				Code, Message string
				Data          struct {
					Status int
					Params map[string]string
				}
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Errorf("%s %.200s: %v in %s", method, bad.body, err, body)
				continue
			}
			if code != 400 || got.Data.Status != 400 || got.Code != bad.code || got.Message == "" {
				t.Errorf("%s %.200s: %d %s", method, bad.body, code, body)
			}
			if bad.param != "" && !strings.HasPrefix(got.Data.Params[bad.param], bad.param+" ") {
				t.Errorf("%s %.200s: %s does not name %s", method, bad.body, body, bad.param)
			}
		}
	}
	if all := p.Webhooks(); len(all) != 1 || all[0].Name != "Kept" || !all[0].UpdatedAt.Equal(all[0].CreatedAt) {
		t.Errorf("bad input was saved: %+v", all[0])
	}
	if code, _ := call(t, p, "POST", "/webhook", strings.Repeat(" ", control.MaxBody+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %d", code)
	}
}

// TestSameWebhookEverywhere: what is made here is a webhook like any other, of the format multisite.
func TestSameWebhookEverywhere(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	v := made(t, p, `{"name":"Mailing list","webhook_url":"https://example.com/","event":"customer_created","active":false}`)
	w := p.Webhooks()[0]
	if w.Name != "Mailing list" || w.Format != sidehook.FormatMultisite || w.Timeout != timeout || !w.AutomaticRetry ||
		w.Status != sidehook.WebhookDisabled || !slices.Equal(w.Events, []string{"customer_created"}) || idOf(w.ID) != v.ID {
		t.Errorf("got %+v", w)
	}
	for _, active := range []string{`true`, `0`, `"1"`, `"false"`, `1`} {
		if code, body := call(t, p, "PATCH", fmt.Sprint("/webhook/", v.ID), `{"active":`+active+`}`); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		want := sidehook.WebhookEnabled
		if strings.Trim(active, `"`) == "0" || strings.Trim(active, `"`) == "false" {
			want = sidehook.WebhookDisabled
		}
		if got := p.Webhooks()[0].Status; got != want {
			t.Errorf("active %s: status is %s", active, got)
		}
	}
}

// TestNames: two webhooks may have the same name here, and one of 191 characters; in Sidehook they differ.
func TestNames(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	long := strings.Repeat("ộ", maxName)
	first := made(t, p, `{"name":"`+long+`","webhook_url":"https://example.com/1","event":"*"}`)
	second := made(t, p, `{"name":"`+long+`","webhook_url":"https://example.com/2","event":"*"}`)
	if first.Name != long || second.Name != long {
		t.Errorf("names are %q and %q", first.Name, second.Name)
	}
	names := []string{p.Webhooks()[0].Name, p.Webhooks()[1].Name}
	slices.Sort(names)
	if want := []string{strings.Repeat("ộ", 46) + " (2)", strings.Repeat("ộ", 50)}; !slices.Equal(names, want) {
		t.Errorf("saved as %q, want %q", names, want)
	}

	at := fmt.Sprint("/webhook/", second.ID)
	sent, err := json.Marshal(second)
	p.Check(err)
	_, same := call(t, p, "PUT", at, string(sent))
	if err := json.Unmarshal(same, &second); err != nil || second.Name != long {
		t.Errorf("sent back as shown: %s, %v", same, err)
	}
	third := made(t, p, complete)
	if code, body := call(t, p, "PUT", at, `{"name":"Kept"}`); code != 200 || !bytes.Contains(body, []byte(`"name":"Kept"`)) {
		t.Errorf("a name that another webhook has: %d %s", code, body)
	}
	renamed := "Renamed natively"
	for _, w := range p.Webhooks() {
		if idOf(w.ID) == third.ID {
			_, err := p.Service.UpdateWebhook(t.Context(), w.Key(), control.WebhookPatch{Name: &renamed})
			p.Check(err)
		}
	}
	if _, body := call(t, p, "GET", fmt.Sprint("/webhook/", third.ID), ""); !bytes.Contains(body, []byte(`"name":"Renamed natively"`)) {
		t.Errorf("after it was renamed elsewhere: %s", body)
	}
}

// TestHooksOfTheProduct: an app without event types of its own is shown the product's, in order, with whole payloads.
func TestHooksOfTheProduct(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	code, body := call(t, p, "GET", "/hooks", "")
	var got map[string]hook
	if err := json.Unmarshal(body, &got); err != nil || code != 200 {
		t.Fatalf("%d %v in %s", code, err, body)
	}
	product, _ := catalogue.Lookup("multisite")
	at := 0
	for _, e := range product.EventTypes {
		next := bytes.Index(body[at:], []byte(`"`+e.Type+`":{"name"`))
		if next < 0 {
			t.Fatalf("%s is not there, or not in order", e.Type)
		}
		at += next
		if h := got[e.Type]; h.Name != e.Name["en"] || h.Desc != e.Description["en"] || !bytes.Equal(h.Payload, e.Sample) {
			t.Errorf("%s: %+v", e.Type, h)
		}
	}
	if len(got) != len(product.EventTypes) || !bytes.Contains(got["payment_received"].Payload, []byte(`"payment_invoice_url"`)) {
		t.Errorf("%d hooks; payload %s", len(got), got["payment_received"].Payload)
	}
}

// TestCredentialsInQuery, under both of their spellings.
func TestCredentialsInQuery(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	for _, names := range [][2]string{{"api_key", "api_secret"}, {"api-key", "api-secret"}} {
		query := url.Values{names[0]: {p.Tokens["token_id"]}, names[1]: {p.Tokens["token"]}}
		if resp, body := p.Call(t, "GET", base+"/auth?"+query.Encode(), ""); resp.StatusCode != 200 {
			t.Errorf("%v: %s: %s", names, resp.Status, body)
		}
		query.Set(names[0], "tok_other")
		if resp, body := p.Call(t, "GET", base+"/auth?"+query.Encode(), ""); resp.StatusCode != 401 {
			t.Errorf("%v with a wrong key: %s: %s", names, resp.Status, body)
		}
	}
}

// TestOtherOrigin: a page of another site cannot use the Basic credentials that the browser remembers.
func TestOtherOrigin(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth(p.Tokens["token_id"], p.Tokens["token"])
	resp, body := p.Call(t, "POST", base+"/webhook", complete, [2]string{"Authorization", req.Header.Get("Authorization")},
		[2]string{"Sec-Fetch-Site", "cross-site"}, [2]string{"Origin", "https://evil.example"})
	if resp.StatusCode != 403 || len(p.Webhooks()) != 0 {
		t.Errorf("%s: %s", resp.Status, body)
	}
}

// TestLimitHolds under concurrent creates, also through this door.
func TestLimitHolds(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	codes := make(chan int, 30)
	var all sync.WaitGroup
	for range cap(codes) {
		all.Go(func() {
			code, _ := call(t, p, "POST", "/webhook", complete)
			codes <- code
		})
	}
	all.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	if count[200] != sidehook.DefaultMaxWebhooks || count[409] != 20 || len(p.Webhooks()) != sidehook.DefaultMaxWebhooks {
		t.Errorf("answers by status: %v; webhooks: %d", count, len(p.Webhooks()))
	}
}
