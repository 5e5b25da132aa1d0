package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage/memkv"
)

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
	kv := memkv.New()
	svc, err := control.New(control.Options{KV: kv, MaxWebhooks: 1 << 30})
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
