package twenty

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
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
			p.Create(sidehook.Webhook{Name: "Made natively", URL: "https://example.com/native", Events: []string{"*"}})
		case "limit":
			for n := range sidehook.DefaultMaxWebhooks {
				p.Create(sidehook.Webhook{Name: fmt.Sprint("Webhook ", n), URL: "https://example.com/", Events: []string{"*"}})
			}
		}
	})
}

func auth(p *dialecttest.Plane) [2]string {
	return [2]string{"Authorization", "Bearer " + p.Tokens["token"]}
}

// TestBadInput: each refusal is in Twenty's shape and names the field; nothing is saved.
func TestBadInput(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	_, body := p.Call(t, "POST", plainBase, `{"targetUrl":"https://example.com/keep"}`, auth(p))
	var made webhook
	if err := json.Unmarshal(body, &made); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	const url = `"targetUrl":"https://example.com/"`
	for _, bad := range []struct{ body, field, code string }{
		{``, "", codeBadInput},
		{`[]`, "", codeBadInput},
		{`null`, "", codeBadInput},
		{`{` + url + `} x`, "", codeBadInput},
		{`{"targetUrl":7}`, "targetUrl", codeBadInput},
		{`{"targetUrl":"example.com"}`, "targetUrl", codeBadURL},
		{`{"targetUrl":"ftp://example.com"}`, "targetUrl", codeBadURL},
		{`{"targetUrl":"https://user:pass@example.com"}`, "targetUrl", codeBadURL},
		{`{"targetUrl":"https://example.com/` + strings.Repeat("x", sidehook.MaxURLLen) + `"}`, "targetUrl", codeBadURL},
		{`{` + url + `,"operations":"*.*"}`, "operations", codeBadInput},
		{`{` + url + `,"operations":[]}`, "operations", codeBadInput},
		{`{` + url + `,"operations":[1]}`, "operations", codeBadInput},
		{`{` + url + `,"operations":["person.created","a*b"]}`, "operations[1]", codeBadInput},
		{`{` + url + `,"operations":[""]}`, "operations[0]", codeBadInput},
		{`{` + url + `,"description":{}}`, "description", codeBadInput},
		{`{` + url + `,"description":"` + strings.Repeat("x", maxDescription+1) + `"}`, "description", codeBadInput},
		{`{` + url + `,"secret":"short"}`, "secret", codeBadInput},
		{`{` + url + `,"secret":" spaces around "}`, "secret", codeBadInput},
		{`{` + url + `,"secret":"whsk_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="}`, "secret", codeBadInput},
		{`{` + url + `,"secret":false}`, "secret", codeBadInput},
		{`{` + url + `,"operation":["*.*"]}`, "operation", codeBadInput},
	} {
		for method, path := range map[string]string{"POST": plainBase, "PATCH": metadataBase + "/" + made.ID} {
			resp, body := p.Call(t, method, path, bad.body, auth(p))
			var got failure
			if err := json.Unmarshal(body, &got); err != nil {
				t.Errorf("%s %s: %v in %s", method, bad.body, err, body)
				continue
			}
			if resp.StatusCode != 400 || got.StatusCode != 400 || got.Name != "BadRequestException" || got.Code != bad.code {
				t.Errorf("%s %.200s: %d %s", method, bad.body, resp.StatusCode, body)
			}
			if last := got.Messages[len(got.Messages)-1]; bad.field != "" && !strings.HasPrefix(last, bad.field+": ") {
				t.Errorf("%s %.200s: %q does not name %s", method, bad.body, last, bad.field)
			}
		}
	}
	if all := p.Webhooks(); len(all) != 1 || all[0].URL != "https://example.com/keep" || !all[0].UpdatedAt.Equal(all[0].CreatedAt) {
		t.Errorf("bad input was saved: %+v", all[0])
	}
	resp, _ := p.Call(t, "POST", plainBase, strings.Repeat(" ", control.MaxBody+1), auth(p))
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body that is too large: %s", resp.Status)
	}
}

// TestSameWebhookEverywhere: what is made here is a webhook like any other, of the format twenty.
func TestSameWebhookEverywhere(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	_, body := p.Call(t, "POST", plainBase,
		`{"targetUrl":"https://EXAMPLE.com","operations":["person.*","*.created"],"description":"CRM\n sync","secret":"your-secret"}`, auth(p))
	all := p.Webhooks()
	if len(all) != 1 {
		t.Fatalf("%d webhooks after %s", len(all), body)
	}
	w := all[0]
	if w.Name != "CRM sync" || w.URL != "https://example.com/" || w.Format != sidehook.FormatTwenty || !w.AutomaticRetry ||
		w.Scheme() != sidehook.SchemeTwenty || !slices.Equal(w.Events, []string{"person.*", "*.created"}) {
		t.Errorf("got %+v", w)
	}
	key, err := p.Service.RevealKey(t.Context(), w.Key())
	if err != nil || key.Kind() != sidehook.KeyText || key.Reveal() != "your-secret" {
		t.Errorf("key of the kind %s, %v", key.Kind(), err)
	}
	var v webhook
	if err := json.Unmarshal(body, &v); err != nil || v.ID != idOf(w.ID) || *v.Description != "CRM\n sync" {
		t.Errorf("answer %s, %v", body, err)
	}
}

// TestSecretSentBack: a client that sends back what it was shown changes no secret.
func TestSecretSentBack(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	p.Create(sidehook.Webhook{Name: "Standard", URL: "https://example.com/", Events: []string{"*"}})
	_, body := p.Call(t, "GET", plainBase, "", auth(p))
	var shown []json.RawMessage
	if err := json.Unmarshal(body, &shown); err != nil || len(shown) != 1 {
		t.Fatalf("%v in %s", err, body)
	}
	w := p.Webhooks()[0]
	before, err := p.Service.ListSecrets(t.Context(), w.Key())
	p.Check(err)
	if resp, body := p.Call(t, "PATCH", plainBase+"/"+idOf(w.ID), string(shown[0]), auth(p)); resp.StatusCode != 200 {
		t.Fatalf("%s: %s", resp.Status, body)
	}
	after, err := p.Service.ListSecrets(t.Context(), w.Key())
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("secrets were %v and are %v, %v", before, after, err)
	}
}

// TestNames: descriptions need not differ, names must.
func TestNames(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	long := strings.Repeat("â", 60)
	for _, description := range []string{`"Same"`, `"Same"`, `null`, `""`, `"\u0000"`, `"` + long + `"`, `"` + long + `"`} {
		resp, body := p.Call(t, "POST", plainBase, `{"targetUrl":"https://example.com/","description":`+description+`}`, auth(p))
		if resp.StatusCode != 201 {
			t.Fatalf("%s: %s: %s", description, resp.Status, body)
		}
	}
	var names []string
	for _, w := range p.Webhooks() {
		names = append(names, w.Name)
	}
	slices.Sort(names)
	want := []string{
		"Same", "Same (2)", "example.com", "example.com (2)", "example.com (3)", strings.Repeat("â", 46) + " (2)",
		strings.Repeat("â", 50),
	}
	if slices.Sort(want); !slices.Equal(names, want) {
		t.Errorf("names are %q, want %q", names, want)
	}
}

// TestLimitHolds under concurrent creates, also through this door.
func TestLimitHolds(t *testing.T) {
	p := dialecttest.NewPlane(t, served)
	codes := make(chan int, 30)
	var all sync.WaitGroup
	for range cap(codes) {
		all.Go(func() {
			resp, _ := p.Call(t, "POST", plainBase, `{"targetUrl":"https://example.com/"}`, auth(p))
			codes <- resp.StatusCode
		})
	}
	all.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	if count[201] != sidehook.DefaultMaxWebhooks || count[409] != 20 || len(p.Webhooks()) != sidehook.DefaultMaxWebhooks {
		t.Errorf("answers by status: %v; webhooks: %d", count, len(p.Webhooks()))
	}
}
