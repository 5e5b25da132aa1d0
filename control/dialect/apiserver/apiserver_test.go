package apiserver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect/apiserver"
	"github.com/sidehook/sidehook/control/dialect/dialecttest"
)

func TestMain(m *testing.M) { dialecttest.Main(m) }

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// dialect mounts the dialect as the control plane does.
func dialect(opts apiserver.Options) func(*control.Service) http.Handler {
	return func(svc *control.Service) http.Handler {
		return dialecttest.Mount(apiserver.Patterns(), apiserver.New(svc, opts))
	}
}

// nameTokens adds the ids of tokens to those that a Plane has.
func nameTokens(p *dialecttest.Plane) {
	for name, id := range map[string]string{"token": "token_id", "other_token": "other_id", "admin_token": "admin_id"} {
		token, err := p.Service.Authenticate(context.Background(), p.Tokens[name])
		p.Check(err)
		p.Tokens[id] = token.ID
	}
}

// api is the dialect over a service.
type api struct {
	t           *testing.T
	svc         *control.Service
	plane       *dialecttest.Plane
	url         string
	credentials string // of the app shop
}

func open(t *testing.T, opts apiserver.Options) *api {
	t.Helper()
	p := dialecttest.NewPlane(t, dialect(opts))
	nameTokens(p)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return &api{t, p.Service, p, p.URL, basic(p.Tokens["token_id"], p.Tokens["token"])}
}

// do sends a request of the app shop and returns the status and the body.
func (a *api) do(method, path, contentType, body string) (int, string) {
	a.t.Helper()
	return a.as(a.credentials, method, path, contentType, body)
}

func (a *api) as(credentials, method, path, contentType, body string) (int, string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return 0, ""
	}
	r.Header.Set("Authorization", "Basic "+credentials)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Error(err)
		return 0, ""
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Error(err)
	}
	return response.StatusCode, strings.TrimSpace(string(b))
}

const jsonType, formType = "application/json", "application/x-www-form-urlencoded"

func (a *api) create(body string) (id string) {
	a.t.Helper()
	status, answer := a.do("POST", "/v1/webhook", jsonType, body)
	var v struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &v); err != nil || status != 200 {
		a.t.Fatalf("%d %s %v", status, answer, err)
	}
	return v.ID
}

func (a *api) get(id string) *sidehook.Webhook {
	a.t.Helper()
	w, err := a.svc.GetWebhook(a.t.Context(), sidehook.WebhookKey{App: "shop", ID: id})
	if err != nil {
		a.t.Fatal(err)
	}
	return w
}

func TestConversations(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	dialecttest.Replay(t, dialect(apiserver.Options{}), func(p *dialecttest.Plane, _ string) { nameTokens(p) })
}

func TestDeleteByGet(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			a := open(t, apiserver.Options{DeleteByGet: on})
			id := a.create(`{"uri":"https://example.com","event":"channel_live,channel_stop"}`)
			if status, _ := a.do("HEAD", "/v1/webhook/"+id, "", ""); status != 200 {
				t.Errorf("HEAD answered %d", status)
			}
			a.get(id) // HEAD deletes nothing
			status, answer := a.do("GET", "/v1/webhook/"+id+"?event=channel_stop", "", "")
			if !on {
				want := `{"id":"` + id + `","uri":"https://example.com","event":["channel_live","channel_stop"]}`
				if status != 200 || answer != want {
					t.Errorf("%d %s", status, answer)
				}
				return
			}
			if got := a.get(id).Events; status != 200 || answer != "{}" || !slices.Equal(got, []string{"channel_live"}) {
				t.Errorf("%d %s, left %q", status, answer, got)
			}
			if status, answer := a.do("GET", "/v1/webhook/"+id, "", ""); status != 200 || answer != "{}" {
				t.Errorf("%d %s", status, answer)
			}
			_, err := a.svc.GetWebhook(t.Context(), sidehook.WebhookKey{App: "shop", ID: id})
			if !errors.Is(err, sidehook.ErrNotFound) {
				t.Errorf("still there: %v", err)
			}
		})
	}
}

func TestDeleteByGetIsNotForOtherSites(t *testing.T) {
	a := open(t, apiserver.Options{DeleteByGet: true})
	id := a.create(`{"uri":"https://example.com","event":"all"}`)
	r, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/v1/webhook/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic "+a.credentials)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("answered %d", response.StatusCode)
	}
	a.get(id)
}

// TestBadInput: each is refused in the dialect's shape, names the field, and saves nothing.
func TestBadInput(t *testing.T) {
	a := open(t, apiserver.Options{})
	id := a.create(`{"uri":"https://example.com","event":"all"}`)
	for _, c := range []struct {
		contentType, body string
		status            int
		msg               string
	}{
		{jsonType, ``, 400, "not JSON"},
		{jsonType, `[]`, 422, "must be an object"},
		{jsonType, `"x"`, 422, "must be an object"},
		{jsonType, `null`, 422, "uri: is required"},
		{jsonType, `{} {}`, 400, "more than one"},
		{jsonType, `{"uri":7,"event":"all"}`, 422, "uri: must be a string"},
		{jsonType, `{"uri":" ","event":"all"}`, 422, "uri: is required"},
		{jsonType, `{"uri":"https://u:p@example.com","event":"all"}`, 422, "uri: must not carry a user name"},
		{jsonType, `{"uri":"https://example.com/` + strings.Repeat("a", 2048) + `","event":"all"}`, 422, "uri: must be at most 2048"},
		{jsonType, `{"uri":"https://example.com/a b","event":"all"}`, 422, "uri: must be visible ASCII"},
		{jsonType, `{"uri":"https://example.com"}`, 422, "event: is required"},
		{jsonType, `{"uri":"https://example.com","event":null}`, 422, "event: is required"},
		{jsonType, `{"uri":"https://example.com","event":[]}`, 422, "event: is required"},
		{jsonType, `{"uri":"https://example.com","event":" , "}`, 422, "event: is required"},
		{jsonType, `{"uri":"https://example.com","event":{}}`, 422, "event: must be a string with commas"},
		{jsonType, `{"uri":"https://example.com","event":[1]}`, 422, "event: must be a string with commas"},
		{jsonType, `{"uri":"https://example.com","event":"channel live"}`, 422, "event: "},
		{jsonType, `{"uri":"https://example.com","event":"channel_dead"}`, 422, "event: \"channel_dead\" is not an event"},
		{jsonType, strings.Repeat(" ", control.MaxBody+1), 413, "over 256 KiB"},
		{formType, `%zz`, 400, "not a form"},
		{formType, `event=all`, 422, "uri: is required"},
		{formType, `uri=https://a.example&uri=https://b.example&event=all`, 422, "uri: is given 2 times"},
		{formType, `uri=https://example.com`, 422, "event: is required"},
		{"", `{"uri":"https://example.com","event":"all"}`, 415, "application/json"},
		{"application/json; =", `{"uri":"https://example.com","event":"all"}`, 415, "Content-Type"},
	} {
		for _, request := range []string{"POST /v1/webhook", "PUT /v1/webhook/" + id} {
			method, path, _ := strings.Cut(request, " ")
			status, answer := a.do(method, path, c.contentType, c.body)
			a.wantProblem(request+" "+c.body[:min(60, len(c.body))], status, answer, c.status, c.msg)
		}
	}
	for path, msg := range map[string]string{
		"/v1/webhook?page=x":            "page: must be a number",
		"/v1/webhook?page=1&page=2":     "page: is given 2 times",
		"/v1/webhook?page=99999999999":  "page: must be a number",
		"/v1/webhook?length=0":          "length: must be a number",
		"/v1/webhook?length=1.5":        "length: must be a number",
		"/v1/webhook?event=a%20b":       "event: ",
		"DELETE " + id + "?event=":      "event: is empty",
		"DELETE " + id + "?event=a%20b": "event: ",
	} {
		method, path := "GET", path
		if rest, ok := strings.CutPrefix(path, "DELETE "); ok {
			method, path = "DELETE", "/v1/webhook/"+rest
		}
		status, answer := a.do(method, path, "", "")
		a.wantProblem(method+" "+path, status, answer, 422, msg)
	}
	status, answer := a.do("GET", "/v1/webhook?event=%zz", "", "")
	a.wantProblem("a query that cannot be read", status, answer, 400, "query")
	if status, answer := a.do("GET", "/v1/webhook", "", ""); !strings.Contains(answer, `"total":1,`) || a.get(id).URL != "https://example.com" {
		t.Errorf("something was saved: %d %s", status, answer)
	}
}

func (a *api) wantProblem(what string, status int, answer string, wantStatus int, msg string) {
	a.t.Helper()
	var p struct {
		EC  int
		Msg string
	}
	if err := json.Unmarshal([]byte(answer), &p); err != nil || status != wantStatus || p.EC != wantStatus || !strings.Contains(p.Msg, msg) {
		a.t.Errorf("%s answered %d %s, want %d %q", what, status, answer, wantStatus, msg)
	}
}

func TestLimitOfTen(t *testing.T) {
	a := open(t, apiserver.Options{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 50 {
		wg.Go(func() {
			status, _ := a.do("POST", "/v1/webhook", formType, "uri=https://example.com/same&event=all")
			mu.Lock()
			defer mu.Unlock()
			statuses[status]++
		})
	}
	wg.Wait()
	if statuses[200] != 10 || statuses[422] != 40 {
		t.Errorf("answered %v", statuses)
	}
	status, answer := a.do("POST", "/v1/webhook", formType, "uri=https://example.com&event=all")
	a.wantProblem("the 11th", status, answer, 422, "10 webhooks, the most it may have")
}

// TestAppsAreApart: what another app has is not there.
func TestAppsAreApart(t *testing.T) {
	a := open(t, apiserver.Options{})
	id := a.create(`{"uri":"https://example.com","event":"all"}`)
	other, token := a.plane.Tokens["other_id"], a.plane.Tokens["other_token"]
	for request, want := range map[string]int{
		"GET /v1/webhook/" + id: 404, "DELETE /v1/webhook/" + id: 404, "DELETE /v1/webhook/" + id + "?event=all": 404,
		"GET /v1/webhook": 200,
	} {
		method, path, _ := strings.Cut(request, " ")
		status, answer := a.as(basic(other, token), method, path, "", "")
		if status != want || strings.Contains(answer, "https://example.com") {
			t.Errorf("%s answered %d %s", request, status, answer)
		}
	}
	if err := a.svc.RevokeToken(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if status, _ := a.as(basic(other, token), "GET", "/v1/webhook", "", ""); status != 401 {
		t.Errorf("a revoked token got %d", status)
	}
}

// TestOtherWebhooks: those made elsewhere are seen, and keep what this API does not know.
func TestOtherWebhooks(t *testing.T) {
	a := open(t, apiserver.Options{})
	made, _, err := a.svc.CreateWebhook(t.Context(), sidehook.Webhook{
		App: "shop", Name: "CRM", URL: "https://example.com", Events: []string{"person.*", "channel_live"}, Format: sidehook.FormatTwenty,
		Headers: []sidehook.Header{{Key: "X-A", Value: "1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, answer := a.do("GET", "/v1/webhook?event=person.created", "", "")
	want := `{"data":[{"id":"` + made.ID + `","uri":"https://example.com","event":["person.*","channel_live"]}],"total":1,"length":1,"page":0}`
	if answer != want {
		t.Errorf("got  %s\nwant %s", answer, want)
	}
	// An event that it has already is no surprise.
	status, answer := a.do("PUT", "/v1/webhook/"+made.ID, jsonType, `{"uri":"https://example.com/2","event":["person.*"]}`)
	if w := a.get(made.ID); status != 200 || w.URL != "https://example.com/2" || w.Name != "CRM" || w.Format != sidehook.FormatTwenty || len(w.Headers) != 1 {
		t.Errorf("%d %s: %+v", status, answer, w)
	}
	own := a.get(a.create(`{"uri":"https://example.org:8443/x","event":"channel_live"}`))
	if own.Format != sidehook.FormatAPIServer || !own.AutomaticRetry || own.Name != "example.org" {
		t.Errorf("%+v", own)
	}
	// Its disabled webhooks stay disabled.
	if _, err := a.svc.DisableWebhook(t.Context(), own.Key(), "because"); err != nil {
		t.Fatal(err)
	}
	a.do("PUT", "/v1/webhook/"+own.ID, jsonType, `{"uri":"https://example.org","event":"all"}`)
	if w := a.get(own.ID); w.Status != sidehook.WebhookDisabled || w.DisabledReason != "because" {
		t.Errorf("%+v", w)
	}
}

// TestCatalogue: events of the app's catalogue can be wanted, and remain when others are taken from all.
func TestCatalogue(t *testing.T) {
	a := open(t, apiserver.Options{})
	if status, answer := a.do("POST", "/v1/webhook", formType, "uri=https://example.com&event=order.paid"); status != 422 {
		t.Errorf("%d %s", status, answer)
	}
	_, _, err := a.svc.PutEventType(t.Context(), sidehook.EventType{App: "shop", Type: "order.paid"})
	if err != nil {
		t.Fatal(err)
	}
	a.create(`{"uri":"https://example.com","event":"order.paid"}`)
	id := a.create(`{"uri":"https://example.com","event":"all"}`)
	a.do("DELETE", "/v1/webhook/"+id+"?event=channel_live", "", "")
	if got := a.get(id).Events; !slices.Equal(got, []string{"channel_stop", "channel_ended", "order.paid"}) {
		t.Errorf("left %q", got)
	}
}

// TestEventsGoTogether: several that take different events from one webhook at once do not undo each other.
func TestEventsGoTogether(t *testing.T) {
	a := open(t, apiserver.Options{})
	id := a.create(`{"uri":"https://example.com","event":"all"}`)
	var wg sync.WaitGroup
	for _, e := range []string{"channel_live", "channel_stop"} {
		wg.Go(func() { a.do("DELETE", "/v1/webhook/"+id+"?event="+e, "", "") })
	}
	wg.Wait()
	if got := a.get(id).Events; !slices.Equal(got, []string{"channel_ended"}) {
		t.Errorf("left %q", got)
	}
}

func FuzzInput(f *testing.F) {
	for _, body := range []string{`{"uri":"https://example.com","event":"all"}`, `{"event":[1]}`, `uri=a&event=b`, "\x00", `{"uri":{}}`} {
		f.Add(body, true)
		f.Add(body, false)
	}
	f.Fuzz(func(t *testing.T, body string, asJSON bool) {
		a := open(t, apiserver.Options{})
		contentType := formType
		if asJSON {
			contentType = jsonType
		}
		status, answer := a.do("POST", "/v1/webhook", contentType, body)
		if !json.Valid([]byte(answer)) || status >= 500 {
			t.Errorf("%d %s", status, answer)
		}
		all, err := a.svc.AllWebhooks(context.Background(), "shop")
		if err != nil || (status == 200) != (len(all) == 1) {
			t.Errorf("answered %d, and there are %d webhooks, %v", status, len(all), err)
		}
	})
}
