package control_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage/memkv"
)

// handlerOf is the management API of a service without sidecars.
func handlerOf(f *testing.F, svc *control.Service) http.Handler {
	f.Helper()
	fleet, err := control.NewFleet(control.FleetOptions{Authenticate: svc.AuthenticateSidecar})
	if err != nil {
		f.Fatal(err)
	}
	return control.NewHandler(svc, fleet, control.HandlerOptions{})
}

// FuzzAuthorization: of all credentials only the token itself opens a door, and only its own door. TOKEN and SIDECAR in
// a seed stand for the tokens there are.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{
		"Bearer TOKEN", "bearer TOKEN", "Bearer  TOKEN", "Bearer TOKEN ", "Bearer\tTOKEN", "BearerTOKEN", "TOKEN", "Basic TOKEN", "Bearer SIDECAR",
		"Bearer ", "", "Bearer TOKENTOKEN", "Bearer TOKEN,SIDECAR", "Bearer \x00TOKEN", "Bearer sht_", "Bearer sht_AAAA_AAAA", "Bearer sht_TOKEN", "SIDECAR TOKEN",
	} {
		f.Add(s)
	}
	svc, err := control.New(control.Options{KV: memkv.New()})
	if err != nil {
		f.Fatal(err)
	}
	if _, _, err := svc.PutApp(f.Context(), "demo", control.AppSpec{}); err != nil {
		f.Fatal(err)
	}
	_, admin, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "admin", Kind: control.TokenAdmin})
	if err != nil {
		f.Fatal(err)
	}
	_, sidecar, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "car", Kind: control.TokenSidecar, Apps: []string{"demo"}})
	if err != nil {
		f.Fatal(err)
	}
	handler := handlerOf(f, svc)
	f.Fuzz(func(t *testing.T, header string) {
		header = strings.NewReplacer("TOKEN", admin, "SIDECAR", sidecar).Replace(header)
		scheme, token, _ := strings.Cut(header, " ")
		is := strings.EqualFold(scheme, "Bearer")

		r := httptest.NewRequest("GET", "/v1/apps", nil)
		r.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		switch {
		case is && token == admin:
			if w.Code != http.StatusOK {
				t.Fatalf("the admin's token is answered %d", w.Code)
			}
		case w.Code == http.StatusOK, w.Code >= 500:
			t.Fatalf("%q is answered %d", header, w.Code)
		case strings.Contains(w.Body.String(), admin), strings.Contains(w.Body.String(), sidecar):
			t.Fatalf("the answer shows a token: %s", w.Body)
		}

		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs("authorization", header))
		apps, _, err := svc.AuthenticateSidecar(ctx)
		if got, want := err == nil, is && token == sidecar; got != want || got && len(apps) != 1 {
			t.Fatalf("%q opens the sidecars' door: %t, %v, %v", header, got, apps, err)
		}
	})
}

// FuzzRequest throws requests at every operation with the token of one app: none is the server's own fault, whatever is
// refused is a whole problem, and nothing of another app is in any answer. WEBHOOK stands for a webhook that there is.
func FuzzRequest(f *testing.F) {
	const webhooks = "/v1/apps/demo/webhooks"
	for _, s := range [][4]string{
		{"GET", webhooks, "limit=1&cursor=x", ""},
		{"GET", webhooks + "/WEBHOOK", "", ""},
		{"DELETE", webhooks + "/none", "", ""},
		{"POST", webhooks + "/WEBHOOK/test", "", `{"event_type":"a.b"}`},
		{"POST", webhooks + "/WEBHOOK/enable", "", ""},
		{"POST", webhooks + "/WEBHOOK/disable", "", ""},
		{"GET", webhooks + "/WEBHOOK/secrets", "", ""},
		{"POST", webhooks + "/WEBHOOK/secrets", "", `{"overlap":"1h","key":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`},
		{"GET", webhooks + "/WEBHOOK/deliveries", "since=2026-01-02T03:04:05Z&state=dead&limit=0", ""},
		{"POST", webhooks + "/WEBHOOK/replay", "", `{"since":"x","event_type":"a.*"}`},
		{"GET", "/v1/apps/demo/deliveries", "webhook=WEBHOOK&cursor=%00", ""},
		{"GET", "/v1/apps/demo/deliveries/dlv_e55afm80000000000010000000", "", ""},
		{"POST", "/v1/apps/demo/deliveries/dlv_e55afm80000000000010000000/retry", "", ""},
		{"PUT", "/v1/apps/demo/event-types/a.b", "", `{"type":"a.b"}`},
		{"GET", "/v1/apps/demo/event-types", "product=%ff", ""},
		{"POST", "/v1/apps/demo/event-types/import", "", `{"catalogue":"sigma"}`},
		{"PUT", "/v1/apps/demo", "", `{}`},
		{"GET", "/v1/apps/other/webhooks", "", ""},
		{"GET", "/v1/apps/demo/../other/webhooks", "", ""},
		{"GET", "/v1/apps/demo%2F..%2Fother/webhooks", "", ""},
		{"POST", "/v1/tokens", "", `{"kind":"admin","name":"x"}`},
		{"GET", "/v1/sidecars", "", ""},
		{"GET", "/openapi.json", "", ""},
		{"TRACE", "/v1/apps", "", ""},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	svc, err := control.New(control.Options{KV: memkv.New(), MaxWebhooks: 1 << 30})
	if err != nil {
		f.Fatal(err)
	}
	handler := handlerOf(f, svc)
	_, admin, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "admin", Kind: control.TokenAdmin})
	if err != nil {
		f.Fatal(err)
	}
	ask := func(token, method, path, query, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL = method, &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	const hidden = "of another app"
	var made struct{ ID string }
	for app, name := range map[string]string{"demo": "own", "other": hidden} {
		ask(admin, "PUT", "/v1/apps/"+app, "", "")
		w := ask(admin, "POST", "/v1/apps/"+app+"/webhooks", "", strings.Replace(webhookJSON("own"), `"own"`, `"`+name+`"`, 1))
		if w.Code != http.StatusCreated {
			f.Fatalf("%d %s", w.Code, w.Body)
		}
		if app == "demo" {
			if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil {
				f.Fatal(err)
			}
		}
	}
	if w := ask(admin, "GET", "/v1/apps/other/webhooks", "", ""); !strings.Contains(w.Body.String(), hidden) {
		f.Fatalf("there is nothing to find: %s", w.Body)
	}
	_, token, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "fuzz", Kind: control.TokenApp, Apps: []string{"demo"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		if !strings.HasPrefix(path, "/") || method == http.MethodHead {
			return // what no server hands on, and what has no body to look at
		}
		path = strings.ReplaceAll(path, "WEBHOOK", made.ID)
		w := ask(token, method, path, strings.ReplaceAll(query, "WEBHOOK", made.ID), body)
		if strings.Contains(w.Body.String(), hidden) {
			t.Fatalf("%s %s?%s shows what is another app's: %s", method, path, query, w.Body)
		}
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable && w.Code != http.StatusGatewayTimeout {
			t.Fatalf("%s %s?%s %q is answered %d %s", method, path, query, body, w.Code, w.Body)
		}
		var problem struct{ Detail string }
		if w.Code >= 400 && (json.Unmarshal(w.Body.Bytes(), &problem) != nil || problem.Detail == "") {
			t.Fatalf("%s %s?%s %q is answered %d %s", method, path, query, body, w.Code, w.Body)
		}
	})
}
