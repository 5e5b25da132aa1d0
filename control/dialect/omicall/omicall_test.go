package omicall_test

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
	"github.com/sidehook/sidehook/control/dialect/omicall"
)

func TestMain(m *testing.M) { dialecttest.Main(m) }

// dialect mounts the dialect as the control plane does.
func dialect(svc *control.Service) http.Handler {
	return dialecttest.Mount(omicall.Patterns(), omicall.New(svc, omicall.Options{InstanceID: "stg"}))
}

// api is the dialect over a Plane.
type api struct {
	*dialecttest.Plane
	t      *testing.T
	access string // token of the app shop
}

func open(t *testing.T) *api {
	t.Helper()
	a := &api{dialecttest.NewPlane(t, dialect), t, ""}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	a.access = a.login("token")
	return a
}

func (a *api) login(name string) string {
	a.t.Helper()
	_, body := a.Call(a.t, "GET", "/api/auth?apiKey="+a.Tokens[name], "")
	var answer struct {
		Payload struct {
			AccessToken string `json:"access_token"`
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Payload.AccessToken == "" {
		a.t.Fatalf("%s %v", body, err)
	}
	return answer.Payload.AccessToken
}

// envelope is every answer.
type envelope struct {
	HTTP       int `json:"-"`
	StatusCode int `json:"status_code"`
	Message    string
	Payload    []struct{ URL, Type, Status string }
}

// types are those of the webhooks that an answer lists.
func (e envelope) types() (all []string) {
	for _, w := range e.Payload {
		all = append(all, w.Type)
	}
	return all
}

func (a *api) as(access, request, body string) envelope {
	a.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	response, b := a.Call(a.t, method, path, body, [2]string{"Authorization", "Bearer " + access})
	e := envelope{HTTP: response.StatusCode}
	if len(b) == 0 {
		return e
	}
	if err := json.Unmarshal(b, &e); err != nil {
		a.t.Errorf("%s answered %q", request, b)
	}
	if (e.StatusCode == 9999) != (e.HTTP == 200) || e.StatusCode != 9999 && e.StatusCode != -9999 {
		a.t.Errorf("%s answered %d with %s", request, e.HTTP, b)
	}
	return e
}

func (a *api) do(request, body string) envelope {
	a.t.Helper()
	return a.as(a.access, request, body)
}

func (a *api) register(hookType, url string) envelope {
	a.t.Helper()
	return a.do("POST /api/webhooks/register", `{"webhook":{"type":"`+hookType+`","url":"`+url+`"}}`)
}

func TestConversations(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	dialecttest.Replay(t, dialect, nil)
}

func TestAccessTokens(t *testing.T) {
	a := open(t)
	const list = "GET /api/webhooks/list"
	other := a.login("other_token")
	a.register("call", "https://example.com")
	if e := a.as(other, list, ""); e.HTTP != 200 || len(e.Payload) != 0 {
		t.Errorf("the other app sees %+v", e)
	}
	last := a.access[len(a.access)-1]
	for name, access := range map[string]string{
		"empty": "", "prefix alone": control.AccessPrefix, "without id": strings.SplitN(a.access, ".", 2)[0],
		"end changed": strings.Replace(a.access, control.AccessPrefix+"AAAA", control.AccessPrefix+"AAAB", 1),
		"other's id":  strings.SplitN(a.access, ".", 2)[0] + "." + strings.SplitN(other, ".", 2)[1],
		"id changed":  a.access[:len(a.access)-1] + string(last^1), "long": a.access + strings.Repeat("a", 4000),
		"the API key": a.Tokens["token"],
	} {
		if e := a.as(access, list, ""); access == a.access || e.HTTP != 401 || !strings.HasPrefix(e.Message, "access_token_") {
			t.Errorf("%s: %+v", name, e)
		}
	}
	for range int(omicall.AccessLifetime.Seconds()) - 1 {
		a.Tick()
	}
	if e := a.do(list, ""); e.HTTP != 200 {
		t.Errorf("a second before its end: %+v", e)
	}
	a.Tick()
	if e := a.do(list, ""); e.HTTP != 401 || e.Message != "access_token_expired" {
		t.Errorf("after 24 hours: %+v", e)
	}
	a.access = a.login("token")
	token, err := a.Service.Authenticate(t.Context(), a.Tokens["token"])
	a.Check(err)
	a.Check(a.Service.RevokeToken(t.Context(), token.ID))
	if e := a.do(list, ""); e.HTTP != 401 || e.Message != "access_token_invalid" {
		t.Errorf("after the key was revoked: %+v", e)
	}
}

// TestBadInput: each is refused in the dialect's shape, names the field, and saves nothing.
func TestBadInput(t *testing.T) {
	a := open(t)
	for body, message := range map[string]string{
		``:                       "request_body_required",
		` `:                      "request_body_required",
		`{`:                      "request_body_invalid",
		`{} {}`:                  "request_body_invalid",
		`[]`:                     "webhook: is required",
		`{}`:                     "webhook: is required",
		`null`:                   "webhook: is required",
		`{"webhook":null}`:       "webhook: is required",
		`{"webhook":"https://"}`: "webhook: must be an object",
		`{"webhook":{}}`:         "webhook.type: is required",
		`{"webhook":{"type":7,"url":"https://example.com"}}`:                                              "webhook.type: must be a string",
		`{"webhook":{"type":"contact","url":"https://example.com"}}`:                                      "webhook.type: must be call or call_event",
		`{"webhook":{"type":"call"}}`:                                                                     "webhook.url: is required",
		`{"webhook":{"type":"call","url":" "}}`:                                                           "webhook.url: is required",
		`{"webhook":{"type":"call","url":["https://example.com"]}}`:                                       "webhook.url: must be a string",
		`{"type":"call","url":3}`:                                                                         "webhook.url: must be a string",
		`{"type":"call","url":"ftp://example.com"}`:                                                       "webhook.url: must start with",
		`{"webhook":{"type":"call","url":"https://u:p@example.com"}}`:                                     "webhook.url: must not carry",
		`{"webhook":{"type":"call","url":"https://example.com/` + strings.Repeat("a", 2048) + `"}}`:       "webhook.url: must be at most 2048",
		`{"webhook":{"type":"call","url":"https://example.com/"}}` + strings.Repeat(" ", control.MaxBody): "the body is over 256 KiB",
	} {
		if e := a.do("POST /api/webhooks/register", body); e.HTTP/100 != 4 || !strings.Contains(e.Message, message) {
			t.Errorf("%.80s answered %+v, want %q", body, e, message)
		}
	}
	for request, message := range map[string]string{
		"POST /api/webhooks/destroy?hook_type=":                        "hook_type: is required",
		"POST /api/webhooks/destroy?hook_type=all":                     "hook_type: must be call",
		"POST /api/webhooks/destroy?hook_type=call&hook_type=call":     "hook_type: is given 2 times",
		"POST /api/webhooks/destroy?hook_type=%zz":                     "query_invalid",
		"GET /api/auth?apiKey=" + a.Tokens["sidecar_token"]:            "api_key_invalid",
		"GET /api/auth?apiKey=a&apiKey=b":                              "apiKey: is given 2 times",
		"GET /api/auth?apiKey=" + control.TokenPrefix + "AAAAAAAAAAAA": "api_key_invalid",
	} {
		if e := a.do(request, ""); e.HTTP/100 != 4 || !strings.HasPrefix(e.Message, message) {
			t.Errorf("%s answered %+v, want %q", request, e, message)
		}
	}
	response, body := a.Call(t, "POST", "/api/webhooks/register", `{}`, [2]string{"Authorization", a.access}, [2]string{"Content-Type", "text/plain"})
	if response.StatusCode != http.StatusUnsupportedMediaType || !strings.Contains(string(body), `"status_code":-9999`) {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if all := a.Webhooks(); len(all) != 0 {
		t.Errorf("something was saved: %+v", all)
	}
}

// TestOnePerType: registering again moves the webhook, which keeps its id and secret, and enables it.
func TestOnePerType(t *testing.T) {
	a := open(t)
	a.register("call", "https://example.com/1")
	first := a.Webhooks()[0]
	key, err := a.Service.RevealKey(t.Context(), first.Key())
	a.Check(err)
	if first.Format != sidehook.FormatOMICall || !first.AutomaticRetry || first.Name != "OMICall call" {
		t.Errorf("%+v", first)
	}
	_, err = a.Service.DisableWebhook(t.Context(), first.Key(), "")
	a.Check(err)
	if e := a.do("GET /api/webhooks/list", ""); e.Payload[0].Status != "deactived" {
		t.Errorf("%+v", e)
	}
	e := a.register("call", "https://example.com/2")
	again := a.Webhooks()[0]
	if len(e.Payload) != 1 || e.Payload[0].Status != "actived" || again.ID != first.ID || again.URL != "https://example.com/2" || again.DisabledReason != "" {
		t.Errorf("%+v: %+v", e, again)
	}
	if kept, err := a.Service.RevealKey(t.Context(), first.Key()); err != nil || !kept.Equal(key) {
		t.Errorf("the secret changed, %v", err)
	}

	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { a.register("call_event", fmt.Sprintf("https://example.com/%d", i)) })
	}
	wg.Wait()
	if all := a.Webhooks(); len(all) != 2 {
		t.Errorf("there are %d webhooks", len(all))
	}
}

// TestOtherWebhooks: those made elsewhere are seen, and left alone unless they are of a type.
func TestOtherWebhooks(t *testing.T) {
	a := open(t)
	a.Create(sidehook.Webhook{Name: "OMICall call", URL: "https://example.com/taken", Events: []string{"call"}})
	a.Tick()
	a.Create(sidehook.Webhook{Name: "B", URL: "https://example.com/b", Events: []string{"person.*", "*.created"}})
	for i := range 2 {
		a.Tick()
		a.Create(sidehook.Webhook{Name: fmt.Sprint(i), URL: "https://example.com/in", Events: []string{"call_event"}, Format: sidehook.FormatOMICall})
	}
	a.Tick()
	e := a.register("call", "https://example.com/call")
	if want := []string{"call", "call_event", "call_event", "person.*,*.created", "call"}; !slices.Equal(e.types(), want) {
		t.Errorf("listed %q, want %q", e.types(), want)
	}
	// Of several of a type the newest is moved and the others go.
	e = a.register("call_event", "https://example.com/event")
	if want := []string{"call", "call_event", "person.*,*.created", "call"}; !slices.Equal(e.types(), want) || e.Payload[1].URL != "https://example.com/event" {
		t.Errorf("listed %+v, want %q", e, want)
	}
	a.do("POST /api/webhooks/destroy?hook_type=call", "")
	e = a.do("GET /api/webhooks/list", "")
	if want := []string{"call_event", "person.*,*.created", "call"}; !slices.Equal(e.types(), want) || e.Payload[2].URL != "https://example.com/taken" {
		t.Errorf("left %+v, want %q", e, want)
	}
}

func TestLimitOfTen(t *testing.T) {
	a := open(t)
	for i := range 10 {
		a.Create(sidehook.Webhook{Name: fmt.Sprint(i), URL: "https://example.com/in", Events: []string{"*"}})
	}
	if e := a.register("call", "https://example.com"); e.HTTP != 409 || !strings.Contains(e.Message, "10 webhooks, the most it may have") {
		t.Errorf("%+v", e)
	}
	if n := len(a.Webhooks()); n != 10 {
		t.Errorf("there are %d", n)
	}
}

func TestHTTPSOnly(t *testing.T) {
	a := open(t)
	if e := a.register("call", "http://example.com"); e.HTTP != 200 {
		t.Errorf("%+v", e)
	}
	a.do("POST /api/webhooks/destroy?hook_type=call", "")
	_, _, err := a.Service.PutApp(t.Context(), dialecttest.App, control.AppSpec{HTTPSOnly: true})
	a.Check(err)
	if e := a.register("call", "http://example.com"); e.HTTP != 400 || !strings.HasPrefix(e.Message, "webhook.url: must start with https://") {
		t.Errorf("%+v", e)
	}
}

func FuzzRegister(f *testing.F) {
	for _, body := range []string{`{"webhook":{"type":"call","url":"https://example.com"}}`, `{"type":"call_event","url":"http://a.b"}`, `{"webhook":[]}`, "\x00"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a := open(t)
		e := a.do("POST /api/webhooks/register", body)
		if n := len(a.Webhooks()); e.HTTP >= 500 || (e.HTTP == 200) != (n == 1) {
			t.Errorf("answered %+v, and there are %d webhooks", e, n)
		}
	})
}
