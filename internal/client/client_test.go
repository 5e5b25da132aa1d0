package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is what the server got.
type seen struct {
	Method, Path, Query, Body, Auth, Type string
}

// answer is what it says.
type answer struct {
	status int
	kind   string // content type; default application/json
	body   string
}

// serve starts a server that gives the answers in turn, the last one again and again, and records what it got.
func serve(t *testing.T, answers ...answer) (*client.Client, *[]seen) {
	t.Helper()
	var got []seen
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		a := answers[min(len(got), len(answers)-1)]
		got = append(got, seen{
			r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(b), r.Header.Get("Authorization"),
			r.Header.Get("Content-Type"),
		})
		if a.kind == "" {
			a.kind = "application/json"
		}
		w.Header().Set("Content-Type", a.kind)
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(srv.Close)
	c, err := client.New(client.Options{Server: srv.URL + "/", Token: "sht_x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, &got
}

func ptr[T any](v T) *T { return &v }

// TestRequests: each method asks what the API documents, and reads what it answers.
func TestRequests(t *testing.T) {
	ctx := t.Context()
	const wire = `{"id":"wh_1","app":"demo","name":"CRM","url":"https://x","headers":[{"key":"A","value":"b"}],` +
		`"events":["*"],"automatic_retry":true,"format":"standard","timeout":"15s","status":"enabled",` +
		`"created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T03:04:05Z","secret":"whsec_x","new_field":1}`
	webhook := &client.Webhook{
		ID: "wh_1", App: "demo", Name: "CRM", URL: "https://x", Headers: []client.Header{{Key: "A", Value: "b"}},
		Events: []string{"*"}, AutomaticRetry: true, Format: "standard", Timeout: "15s", Status: "enabled",
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Secret: "whsec_x",
	}
	none := (*client.RetryPolicy)(nil)
	dlv := sidehook.DeliveryID{Batch: 1}.String()
	for _, tc := range []struct {
		name   string
		answer string
		call   func(c *client.Client) (any, error)
		asked  seen
		want   any
	}{
		{
			"put app", `{"id":"demo","display_name":"Demo","https_only":true}`,
			func(c *client.Client) (any, error) {
				return c.PutApp(ctx, "demo", client.AppSettings{DisplayName: "Demo", HTTPSOnly: true})
			},
			seen{"PUT", "/v1/apps/demo", "", `{"display_name":"Demo","https_only":true}`, "", "application/json"},
			&client.App{ID: "demo", DisplayName: "Demo", HTTPSOnly: true},
		},
		{
			"delete app", "", func(c *client.Client) (any, error) { return nil, c.DeleteApp(ctx, "demo") },
			seen{"DELETE", "/v1/apps/demo", "", "", "", ""},
			nil,
		},
		{
			"create webhook", wire,
			func(c *client.Client) (any, error) {
				return c.CreateWebhook(ctx, "demo", client.WebhookFields{
					Name: ptr("CRM"), URL: ptr("https://x"), Events: ptr([]string{"*"}), AutomaticRetry: ptr(false),
					RetryPolicy: ptr(&client.RetryPolicy{Schedule: []string{"5s"}}),
				})
			},
			seen{
				"POST", "/v1/apps/demo/webhooks", "",
				`{"name":"CRM","url":"https://x","events":["*"],"automatic_retry":false,"retry_policy":{"schedule":["5s"]}}`,
				"", "application/json",
			},
			webhook,
		},
		{
			"get webhook", wire, func(c *client.Client) (any, error) { return c.Webhook(ctx, "demo", "wh_1") },
			seen{"GET", "/v1/apps/demo/webhooks/wh_1", "", "", "", ""},
			webhook,
		},
		{
			"update webhook", wire,
			func(c *client.Client) (any, error) {
				return c.UpdateWebhook(ctx, "demo", "wh_1", client.WebhookFields{
					Headers: ptr([]client.Header{}), Transformer: ptr(""), RetryPolicy: &none,
					Ordering: ptr("key"), RateLimit: ptr(&client.RateLimit{PerSecond: 2.5}), HistorySample: ptr(0.0),
				})
			},
			seen{
				"PATCH", "/v1/apps/demo/webhooks/wh_1", "", `{"headers":[],"transformer":"","retry_policy":null,"ordering":"key","rate_limit":{"per_second":2.5},"history_sample":0}`, "",
				"application/merge-patch+json",
			},
			webhook,
		},
		{
			"delete webhook", "", func(c *client.Client) (any, error) { return nil, c.DeleteWebhook(ctx, "demo", "wh_1") },
			seen{"DELETE", "/v1/apps/demo/webhooks/wh_1", "", "", "", ""},
			nil,
		},
		{
			"enable webhook", wire, func(c *client.Client) (any, error) { return c.EnableWebhook(ctx, "demo", "wh_1") },
			seen{"POST", "/v1/apps/demo/webhooks/wh_1/enable", "", "", "", ""},
			webhook,
		},
		{
			"disable webhook", wire,
			func(c *client.Client) (any, error) { return c.DisableWebhook(ctx, "demo", "wh_1", "noisy") },
			seen{"POST", "/v1/apps/demo/webhooks/wh_1/disable", "", `{"reason":"noisy"}`, "", "application/json"},
			webhook,
		},
		{
			"rotate", `{"id":"sec_2","live":true,"secret":"whsec_y"}`,
			func(c *client.Client) (any, error) { return c.RotateSecret(ctx, "demo", "wh_1", 48*time.Hour) },
			seen{"POST", "/v1/apps/demo/webhooks/wh_1/secrets", "", `{"overlap":"48h0m0s"}`, "", "application/json"},
			&client.Secret{ID: "sec_2", Live: true, Secret: "whsec_y"},
		},
		{
			"rotate with the default overlap", `{"id":"sec_2"}`,
			func(c *client.Client) (any, error) { return c.RotateSecret(ctx, "demo", "wh_1", -1) },
			seen{"POST", "/v1/apps/demo/webhooks/wh_1/secrets", "", `{}`, "", "application/json"},
			&client.Secret{ID: "sec_2"},
		},
		{
			"secrets", `{"data":[{"id":"sec_2","live":true}]}`,
			func(c *client.Client) (any, error) { return c.Secrets(ctx, "demo", "wh_1") },
			seen{"GET", "/v1/apps/demo/webhooks/wh_1/secrets", "", "", "", ""},
			[]client.Secret{{ID: "sec_2", Live: true}},
		},
		{
			"test", `{"succeeded":false,"status":502,"latency_ms":1.5,"outcome":"retry","error":"e","delivery_id":"dlv_1",` +
				`"request":{"url":"https://x","headers":[{"key":"A","value":"b"}],"body":"{}"},"response":"no"}`,
			func(c *client.Client) (any, error) {
				return c.TestWebhook(ctx, "demo", "wh_1", "person.created", json.RawMessage(`{"n":"<"}`))
			},
			seen{"POST", "/v1/apps/demo/webhooks/wh_1/test", "", `{"event_type":"person.created","data":{"n":"<"}}`, "", "application/json"},
			&client.TestResult{
				Status: 502, LatencyMS: 1.5, Outcome: "retry", Error: "e", DeliveryID: "dlv_1", Response: "no",
				Request: client.TestRequest{
					URL: "https://x", Headers: []client.Header{{Key: "A", Value: "b"}}, RequestBody: client.RequestBody{Body: "{}"},
				},
			},
		},
		{
			"replay", `{"deliveries":3,"missing":[{"id":"sc_1","reason":"is slow"}]}`,
			func(c *client.Client) (any, error) {
				return c.ReplayWebhook(ctx, "demo", "wh_1", client.ReplayFields{
					Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), States: []string{"dead"},
				})
			},
			seen{
				"POST", "/v1/apps/demo/webhooks/wh_1/replay", "", `{"since":"2026-01-02T03:04:05.000000006Z","states":["dead"]}`, "",
				"application/json",
			},
			&client.Replayed{Deliveries: 3, Missing: []client.MissingSidecar{{ID: "sc_1", Reason: "is slow"}}},
		},
		{
			"deliveries", `{"data":[{"id":"dlv_1","state":"dead","attempts":[{"status":500}]}],"missing":[],"next_cursor":"c"}`,
			func(c *client.Client) (any, error) {
				return c.Deliveries(ctx, "demo", client.DeliveryFilter{
					Webhook: "wh_1", State: "dead", EventType: "a.b", Since: time.Unix(0, 5),
				}, 1)
			},
			seen{
				"GET", "/v1/apps/demo/deliveries",
				"event_type=a.b&limit=1&since=1970-01-01T00%3A00%3A00.000000005Z&state=dead&webhook=wh_1", "", "", "",
			},
			&client.DeliveryList{
				Data:    []client.Delivery{{ID: "dlv_1", State: "dead", Attempts: []client.Attempt{{Status: 500}}}},
				Missing: []client.MissingSidecar{}, NextCursor: "c",
			},
		},
		{
			"delivery", `{"id":"` + dlv + `","event":{"id":"e","data":{"n":1}},"request":{"body_base64":"/w==","made_again":true}}`,
			func(c *client.Client) (any, error) { return c.Delivery(ctx, "demo", dlv) },
			seen{"GET", "/v1/apps/demo/deliveries/" + dlv, "", "", "", ""},
			&client.Delivery{
				ID: dlv, Event: &client.Event{ID: "e", Data: json.RawMessage(`{"n":1}`)},
				Request: &client.RequestBody{BodyBase64: "/w==", MadeAgain: true},
			},
		},
		{
			"retry", "", func(c *client.Client) (any, error) { return nil, c.RetryDelivery(ctx, "demo", dlv) },
			seen{"POST", "/v1/apps/demo/deliveries/" + dlv + "/retry", "", "", "", ""},
			nil,
		},
		{
			"drain", `{"pending":7}`, func(c *client.Client) (any, error) { return c.Drain(ctx, "sc_1") },
			seen{"POST", "/v1/sidecars/sc_1/drain", "", "", "", ""},
			7,
		},
		{
			"create token", `{"id":"tok_1","kind":"sidecar","name":"n","apps":["demo"],"token":"sht_y"}`,
			func(c *client.Client) (any, error) {
				return c.CreateToken(ctx, client.TokenFields{Kind: "sidecar", Name: "n", Apps: []string{"demo"}})
			},
			seen{"POST", "/v1/tokens", "", `{"kind":"sidecar","name":"n","apps":["demo"]}`, "", "application/json"},
			&client.Token{ID: "tok_1", Kind: "sidecar", Name: "n", Apps: []string{"demo"}, Token: "sht_y"},
		},
		{
			"revoke token", "", func(c *client.Client) (any, error) { return nil, c.RevokeToken(ctx, "tok_1") },
			seen{"DELETE", "/v1/tokens/tok_1", "", "", "", ""},
			nil,
		},
		{
			"put app that is strict", `{"id":"demo","publish":"strict"}`,
			func(c *client.Client) (any, error) {
				return c.PutApp(ctx, "demo", client.AppSettings{Publish: "strict"})
			},
			seen{"PUT", "/v1/apps/demo", "", `{"https_only":false,"publish":"strict"}`, "", "application/json"},
			&client.App{ID: "demo", Publish: "strict"},
		},
		{
			"event types", `{"data":[{"type":"a.b","product":"P","name":{"en":"A"},"sample":{"x":[1]}}]}`,
			func(c *client.Client) (any, error) { return c.EventTypes(ctx, "demo", "") },
			seen{"GET", "/v1/apps/demo/event-types", "limit=200", "", "", ""},
			[]client.EventType{{
				Type: "a.b", Product: "P", Name: map[string]string{"en": "A"}, Sample: json.RawMessage(`{"x":[1]}`),
			}},
		},
		{
			"event types of a product", `{"data":[]}`,
			func(c *client.Client) (any, error) { return c.EventTypes(ctx, "demo", "Media VOD") },
			seen{"GET", "/v1/apps/demo/event-types", "limit=200&product=Media+VOD", "", "", ""},
			[]client.EventType{},
		},
		{
			"event type with slashes", `{"type":"a/b:c"}`,
			func(c *client.Client) (any, error) { return c.EventType(ctx, "demo", "a/b:c") },
			seen{"GET", "/v1/apps/demo/event-types/a%2Fb:c", "", "", "", ""},
			&client.EventType{Type: "a/b:c"},
		},
		{
			"put event type", `{"type":"a","sample":"<&>","schema":{"const":"<"}}`,
			func(c *client.Client) (any, error) {
				return c.PutEventType(ctx, "demo", client.EventType{
					Type: "a", Sample: json.RawMessage(`"<&>"`), Schema: json.RawMessage(`{"const":"<"}`),
				})
			},
			seen{"PUT", "/v1/apps/demo/event-types/a", "", `{"type":"a","sample":"<&>","schema":{"const":"<"}}`, "", "application/json"},
			&client.EventType{Type: "a", Sample: json.RawMessage(`"<&>"`), Schema: json.RawMessage(`{"const":"<"}`)},
		},
		{
			"delete event type", "", func(c *client.Client) (any, error) { return nil, c.DeleteEventType(ctx, "demo", "a") },
			seen{"DELETE", "/v1/apps/demo/event-types/a", "", "", "", ""},
			nil,
		},
		{
			"replace event types", `{"added":1,"changed":2,"removed":3,"kept":4}`,
			func(c *client.Client) (any, error) {
				return c.ReplaceEventTypes(ctx, "demo", []client.EventType{{Type: "a"}})
			},
			seen{"PUT", "/v1/apps/demo/event-types", "", `{"data":[{"type":"a"}]}`, "", "application/json"},
			&client.EventTypeChanges{Added: 1, Changed: 2, Removed: 3, Kept: 4},
		},
		{
			"replace event types by none", `{"removed":3}`,
			func(c *client.Client) (any, error) { return c.ReplaceEventTypes(ctx, "demo", nil) },
			seen{"PUT", "/v1/apps/demo/event-types", "", `{"data":[]}`, "", "application/json"},
			&client.EventTypeChanges{Removed: 3},
		},
		{
			"import event types", `{"added":8}`,
			func(c *client.Client) (any, error) { return c.ImportEventTypes(ctx, "demo", "sigma", true) },
			seen{
				"POST", "/v1/apps/demo/event-types/import", "", `{"catalogue":"sigma","overwrite":true}`, "", "application/json",
			},
			&client.EventTypeChanges{Added: 8},
		},
		{
			"catalogues", `{"data":[{"name":"sigma","title":{"en":"S"},"products":["DAI"],"event_types":8}]}`,
			func(c *client.Client) (any, error) { return c.Catalogues(ctx) },
			seen{"GET", "/v1/catalogues", "", "", "", ""},
			[]client.Catalogue{{
				Name: "sigma", Title: map[string]string{"en": "S"}, Products: []string{"DAI"}, EventTypes: 8,
			}},
		},
		{
			"sidecars", `{"data":[{"id":"sc_1","connected":true,"pending":3,"oldest_age":"1m30s","rejections":[{"resource":"r","reason":"x"}]}]}`,
			func(c *client.Client) (any, error) { return c.Sidecars(ctx) },
			seen{"GET", "/v1/sidecars", "limit=200", "", "", ""},
			[]client.Sidecar{{
				ID: "sc_1", Connected: true, Pending: 3, OldestAge: "1m30s",
				Rejections: []client.Rejection{{Resource: "r", Reason: "x"}},
			}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := answer{status: 200, body: tc.answer}
			if tc.answer == "" {
				a.status = 204
			}
			c, got := serve(t, a)
			result, err := tc.call(c)
			if err != nil {
				t.Fatal(err)
			}
			tc.asked.Auth = "Bearer sht_x"
			if diff := cmp.Diff([]seen{tc.asked}, *got); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, result); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

func TestListsAreReadToTheEnd(t *testing.T) {
	c, got := serve(t,
		answer{status: 200, body: `{"data":[{"id":"a"},{"id":"b"}],"next_cursor":"c/1"}`},
		answer{status: 200, body: `{"data":[{"id":"c"}],"next_cursor":"c/2"}`},
		answer{status: 200, body: `{"data":[]}`})
	apps, err := c.Apps(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(apps) != 3 || apps[2].ID != "c" {
		t.Errorf("got %v", apps)
	}
	var queries []string
	for _, s := range *got {
		queries = append(queries, s.Query)
	}
	if diff := cmp.Diff([]string{"limit=200", "cursor=c%2F1&limit=200", "cursor=c%2F2&limit=200"}, queries); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

func TestAListThatRepeatsItsCursorEnds(t *testing.T) {
	c, got := serve(t, answer{status: 200, body: `{"data":[{"id":"a"}],"next_cursor":"x"}`})
	if _, err := c.Tokens(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(*got) != 2 {
		t.Errorf("asked %d times, want 2", len(*got))
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	c, _ := serve(t, answer{status: 200, body: `{"data":null}`})
	apps, err := c.Apps(t.Context())
	if b, _ := json.Marshal(apps); err != nil || string(b) != "[]" {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestProblems(t *testing.T) {
	const problem = "application/problem+json"
	for _, tc := range []struct {
		name string
		in   answer
		want string
	}{
		{
			"field",
			answer{422, problem, `{"title":"Unprocessable Entity","detail":"validation failed","errors":[` +
				`{"location":"body.headers[0].key","message":"is required","value":"s3cret"},{"location":"body","message":"is odd"}]}`},
			"validation failed (status 422)\n  headers[0].key: is required\n  is odd",
		},
		{
			"detail says it already",
			answer{409, problem, `{"title":"Conflict","detail":"name: is taken by wh_2","errors":[` +
				`{"location":"body.name","message":"is taken by wh_2"}]}`},
			"name: is taken by wh_2 (status 409)",
		},
		{"title alone", answer{404, problem, `{"title":"Not Found"}`}, "Not Found (status 404)"},
		{"a proxy's page", answer{502, "text/html", "<h1>oops</h1>"}, "Bad Gateway (status 502)"},
		{"broken problem", answer{400, problem, `{"title":`}, "Bad Request (status 400)"},
		{"wrong types", answer{400, problem, `{"title":7,"errors":"x"}`}, "Bad Request (status 400)"},
		{"a redirect", answer{302, "text/html", ""}, "Found (status 302)"},
		{"terminal escapes", answer{400, problem, `{"detail":"a\u001b[2Jb\nc"}`}, "a [2Jb c (status 400)"},
		{"long", answer{400, problem, `{"detail":"` + strings.Repeat("x", 600) + `"}`}, strings.Repeat("x", 500) + "… (status 400)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, got := serve(t, tc.in)
			_, err := c.Webhook(t.Context(), "demo", "wh_1")
			var p *client.Problem
			if !errors.As(err, &p) || p.Status != tc.in.status {
				t.Fatalf("got %v, want a problem of status %d", err, tc.in.status)
			}
			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if errors.Is(err, sidehook.ErrNotFound) != (tc.in.status == 404) {
				t.Error("ErrNotFound must hold for 404 and nothing else")
			}
			if len(*got) != 1 {
				t.Errorf("asked %d times", len(*got))
			}
		})
	}
}

func TestOddAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		in   answer
		want string
	}{
		"a web page": {answer{200, "text/html", "<h1>hi</h1>"}, "does not answer as a control plane does"},
		"broken":     {answer{200, "", `{"id":`}, "does not answer as a control plane does"},
		"wrong type": {answer{200, "", `{"id":7}`}, "does not answer as a control plane does"},
		"too large":  {answer{200, "", `"` + strings.Repeat("x", 17<<20) + `"`}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, tc.in)
			if _, err := c.Webhook(t.Context(), "demo", "wh_1"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestIDsCannotLeadElsewhere(t *testing.T) {
	c, got := serve(t, answer{status: 204})
	ctx := t.Context()
	for _, id := range []string{"", "..", "a/b", "a?b", "%2e%2e", "a b", strings.Repeat("x", 65)} {
		for name, err := range map[string]error{
			"webhook": c.DeleteWebhook(ctx, "demo", id), "app": c.DeleteWebhook(ctx, id, "wh_1"),
			"app ":  c.DeleteApp(ctx, id),
			"token": c.RevokeToken(ctx, id),
		} {
			var fe *sidehook.FieldError
			if !errors.As(err, &fe) || fe.Field != strings.TrimSpace(name) {
				t.Errorf("%q as %s: %v, want a FieldError", id, name, err)
			}
		}
	}
	if len(*got) != 0 {
		t.Errorf("the server was asked %v", *got)
	}
}

func TestNothingAnswers(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	c, err := client.New(client.Options{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apps(t.Context())
	var unreachable *client.UnreachableError
	if !errors.As(err, &unreachable) || !strings.HasPrefix(err.Error(), "no control plane answers at "+srv.URL+": ") {
		t.Errorf("got %v", err)
	}
}

func TestCancelling(t *testing.T) {
	entered := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}))
	defer srv.Close()
	c, err := client.New(client.Options{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		<-entered
		cancel(why)
	}()
	if _, err := c.Apps(ctx); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestTheTokenDoesNotFollowRedirects(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	c, err := client.New(client.Options{Server: srv.URL, Token: "sht_x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Apps(t.Context()); err == nil || asked {
		t.Errorf("got %v, followed: %v", err, asked)
	}
}

func TestOptions(t *testing.T) {
	for _, server := range []string{
		"x", "127.0.0.1:4471", "ftp://x", "http://", "http://u:p@x", "http://x?a", "http://x#a", "http://[::1", "://",
	} {
		var fe *sidehook.FieldError
		if _, err := client.New(client.Options{Server: server}); !errors.As(err, &fe) || fe.Field != "server" {
			t.Errorf("server %q: %v", server, err)
		}
	}
	for _, token := range []string{"a b", "a\r\nX: y", "é"} {
		var fe *sidehook.FieldError
		_, err := client.New(client.Options{Token: token})
		if !errors.As(err, &fe) || fe.Field != "token" || strings.Contains(err.Error(), token) {
			t.Errorf("token %q: %v", token, err)
		}
	}
	dir := t.TempDir()
	if _, err := client.New(client.Options{CAFile: filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a CA file that is not there: %v", err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.New(client.Options{CAFile: empty}); err == nil {
		t.Error("a CA file without a certificate was accepted")
	}
}

func TestCAFile(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"data":[{"id":"demo"}]}`)
	}))
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	trusting, err := client.New(client.Options{Server: srv.URL, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	defer trusting.Close()
	if apps, err := trusting.Apps(t.Context()); err != nil || len(apps) != 1 {
		t.Errorf("with the CA: %v, %v", apps, err)
	}
}

func TestExposed(t *testing.T) {
	for server, want := range map[string]bool{
		"http://127.0.0.1:1": false, "http://localhost:1": false, "http://[::1]:1": false, "http://LOCALHOST": false,
		"https://control.internal": false, "http://control.internal": true, "http://10.0.0.1": true,
		"http://localhost.evil.example": true,
	} {
		c, err := client.New(client.Options{Server: server, Token: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if c.Exposed() != want {
			t.Errorf("%s: exposed is %v", server, !want)
		}
	}
	if c, _ := client.New(client.Options{Server: "http://10.0.0.1"}); c.Exposed() {
		t.Error("there is no token to expose")
	}
}

// TestEventTypesThatLeadElsewhere: a type that cannot be part of a path asks nothing.
func TestEventTypesThatLeadElsewhere(t *testing.T) {
	c, got := serve(t, answer{status: 200, body: `{}`})
	for _, typ := range []string{"", ".", "..", "a b", "a?b", "a#b", "ä", strings.Repeat("a", 257)} {
		var field *sidehook.FieldError
		if _, err := c.EventType(t.Context(), "demo", typ); !errors.As(err, &field) || field.Field != "type" {
			t.Errorf("%q: %v", typ, err)
		}
		if _, err := c.PutEventType(t.Context(), "demo", client.EventType{Type: typ}); !errors.As(err, &field) {
			t.Errorf("put %q: %v", typ, err)
		}
		if err := c.DeleteEventType(t.Context(), "demo", typ); !errors.As(err, &field) {
			t.Errorf("delete %q: %v", typ, err)
		}
	}
	if _, err := c.EventTypes(t.Context(), "../x", ""); err == nil {
		t.Error("an app with a slash was asked for")
	}
	if len(*got) != 0 {
		t.Errorf("asked %v", *got)
	}
}
