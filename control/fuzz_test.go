package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage/memkv"
	"github.com/sidehook/sidehook/xds"
)

// memoryPlane is a control plane with the app demo on a store in memory, and what asks it as an admin.
func memoryPlane(f *testing.F) (*control.Service, func(method, path, body string) *httptest.ResponseRecorder) {
	f.Helper()
	svc, err := control.New(control.Options{KV: memkv.New(), MaxWebhooks: 1 << 30})
	if err != nil {
		f.Fatal(err)
	}
	fleet, err := control.NewFleet(control.FleetOptions{Authenticate: svc.AuthenticateSidecar})
	if err != nil {
		f.Fatal(err)
	}
	handler := control.NewHandler(svc, fleet, control.HandlerOptions{})
	_, admin, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "fuzz", Kind: control.TokenAdmin})
	if err != nil {
		f.Fatal(err)
	}
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+admin)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	ask("PUT", "/v1/apps/demo", "")
	return svc, ask
}

// FuzzWebhookBody throws bodies at create and patch: each answer is a success or a whole problem of the 4xx kind, and
// what was accepted is valid.
func FuzzWebhookBody(f *testing.F) {
	for _, seed := range []string{
		webhookJSON("a"), `{}`, `null`, `[]`, `"x"`, `{"name":null}`, `{"Name":"a"}`, `{"name":"a","name":"b"}`,
		`{"headers":[null]}`, `{"headers":[{"key":"A","value":"\r\n"}]}`, `{"events":[null,1]}`, `{"timeout":"1e9s"}`,
		`{"timeout":"9223372036854775807ns"}`, `{"retry_policy":{"schedule":["-1s"]}}`, `{"retry_policy":[]}`,
		`{"url":"http://[::1%25eth0]/"}`, `{"url":"https://a:99999/"}`, "{\"name\":\"\xff\"}", `{"automatic_retry":0}`,
	} {
		f.Add(seed)
	}
	_, ask := memoryPlane(f)
	var patched struct{ ID string }
	made := ask("POST", "/v1/apps/demo/webhooks", webhookJSON("patched"))
	if err := json.Unmarshal(made.Body.Bytes(), &patched); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, w := range []*httptest.ResponseRecorder{
			ask("POST", "/v1/apps/demo/webhooks", body),
			ask("PATCH", "/v1/apps/demo/webhooks/"+patched.ID, body),
		} {
			var answer struct {
				ID, Name, URL, Detail string
				Status                any
				Events                []string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("answered %d with %q", w.Code, w.Body)
			}
			switch {
			case w.Code == http.StatusOK || w.Code == http.StatusCreated:
				if answer.ID == "" || answer.Name == "" || !strings.HasPrefix(answer.URL, "http") || len(answer.Events) == 0 {
					t.Errorf("accepted %q as %s", body, w.Body)
				}
			case w.Code < 400 || w.Code >= 500 || answer.Detail == "" ||
				w.Header().Get("Content-Type") != "application/problem+json":
				t.Errorf("%q was answered %d %s", body, w.Code, w.Body)
			}
		}
	})
}

// FuzzEventTypeBody throws bodies at an entry and at a list of one: each answer is a success or a whole problem of the
// 4xx kind, what was refused changed nothing, and what was accepted is what a sidecar accepts.
func FuzzEventTypeBody(f *testing.F) {
	for _, seed := range []string{
		`{"type":"fuzz"}`, `{"type":"fuzz","sample":null}`, `{"type":"fuzz","sample":{"a":[1,2,{"b":"\u2028"}]}}`, `{}`,
		`{"type":"fuzz","name":{"en":"x","vi":"ữ"},"product":"P"}`, `{"type":"fuzz","name":{"":""}}`, `null`, `[]`, ``,
		`{"type":"fuzz","description":{"en":"\ud800"}}`, `{"type":"fuzz","product":"\u0000"}`, `{"type":"other"}`,
		`{"type":"fuzz","sample":"\ud800"}`, `{"type":"fuzz","sample":1e999}`, `{"type":"fuzz","sample":{"a":1,"a":2}}`,
		`{"type":"fuzz","name":null,"description":null,"product":null}`, `{"type":"fuzz","type":"fuzz"}`,
		`{"type":"fuzz","sample":"<&>\u2028"}`, "{\"type\":\"fuzz\",\"sample\":\"\xff\"}",
	} {
		f.Add(seed)
	}
	svc, ask := memoryPlane(f)
	f.Fuzz(func(t *testing.T, body string) {
		for path, body := range map[string]string{
			eventTypes + "/fuzz": body,
			eventTypes:           `{"data":[` + body + `]}`,
		} {
			before, _, err := svc.ListEventTypes(t.Context(), "demo", "", control.PageRequest{})
			if err != nil {
				t.Fatal(err)
			}
			w := ask("PUT", path, body)
			var answer struct{ Detail string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%q was answered %d with %q", body, w.Code, w.Body)
			}
			after, _, err := svc.ListEventTypes(t.Context(), "demo", "", control.PageRequest{})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case w.Code == http.StatusOK || w.Code == http.StatusCreated:
				for _, e := range after {
					r := xds.OfEventType(e)
					wire, err := r.Any()
					if err != nil {
						t.Fatalf("accepted %q: %v", body, err)
					}
					if _, err := xds.Parse(r.Name, wire); err != nil {
						t.Fatalf("accepted %q: %v", body, err)
					}
				}
			case w.Code < 400 || w.Code >= 500 || answer.Detail == "" ||
				w.Header().Get("Content-Type") != "application/problem+json":
				t.Errorf("%q was answered %d %s", body, w.Code, w.Body)
			case !cmp.Equal(before, after):
				t.Errorf("%q was refused and changed %s", body, cmp.Diff(before, after))
			}
		}
	})
}
