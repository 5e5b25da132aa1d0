package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/console"
	"github.com/sidehook/sidehook/storage/memkv"
)

// FuzzForms posts anything to every page with the session of one app: none is the server's own fault, nothing of another
// app is shown, and nothing that was typed becomes markup. WEBHOOK stands for a webhook that there is.
func FuzzForms(f *testing.F) {
	const webhooks = "/console/apps/demo/webhooks"
	const whole = "name=a&url=https://example.com/&patterns=a.*+b&events=x&automatic_retry=on&format=standard&timeout=1s&retry_schedule=5s,1m" +
		"&header_key=A&header_value=1&scheme=hmac&algorithm=sha256&encoding=hex&signing_header=X&template={body}&filter=data.a==1&in_order=on" +
		"&rate_per_second=NaN&rate_burst=1&history_sample=NaN&as_of=1"
	for _, s := range []struct {
		post       bool
		path, form string
	}{
		{true, webhooks, whole},
		{true, webhooks + "/WEBHOOK/edit", whole},
		{true, webhooks, "name=<fuzzed>&url=javascript:<fuzzed>&header_key=<fuzzed>&header_key=b&header_value=&filter=<fuzzed>"},
		{true, webhooks + "/WEBHOOK/enable", "from=//evil.test"},
		{true, webhooks + "/WEBHOOK/delete", "from=/console/../"},
		{true, webhooks + "/WEBHOOK/test", "event_type=<fuzzed>&data={"},
		{true, webhooks + "/WEBHOOK/secrets", "overlap=1h&key=whsec_x"},
		{true, webhooks + "/WEBHOOK/secrets/reveal", "id=<fuzzed>"},
		{true, webhooks + "/WEBHOOK/replay", "since=2026-01-02T03:04&until=x"},
		{true, "/console/apps/demo/event-types", "type=a.b&sample={&name_en=<fuzzed>&schema={}"},
		{true, "/console/apps/demo/event-types/import", "catalogue=sigma"},
		{true, "/console/apps/demo/deliveries/x/retry", ""},
		{true, "/console/language", "language=xx&from=https://evil.test"},
		{true, "/console/apps/other/webhooks", whole},
		{false, webhooks, "q=<fuzzed>&cursor=%00"},
		{false, webhooks + "/new", "from=<fuzzed>"},
		{false, "/console/apps/demo/deliveries", "status=dead&since=<fuzzed>&webhook=WEBHOOK"},
		{false, "/console/apps/demo/%2e%2e/other/webhooks", ""},
		{false, "/console/tokens", ""},
	} {
		f.Add(s.post, s.path, s.form)
	}
	svc, err := control.New(control.Options{KV: memkv.New(), MaxWebhooks: 1 << 30})
	if err != nil {
		f.Fatal(err)
	}
	fleet, err := control.NewFleet(control.FleetOptions{Authenticate: svc.AuthenticateSidecar})
	if err != nil {
		f.Fatal(err)
	}
	pages, err := console.New(console.Options{Service: svc, Fleet: fleet})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := pages.Close(); err != nil {
			f.Error(err)
		}
	})
	const hidden = "name of another"
	var own string
	for app, name := range map[string]string{"demo": "own", "other": hidden} {
		if _, _, err := svc.PutApp(f.Context(), app, control.AppSpec{}); err != nil {
			f.Fatal(err)
		}
		w, _, err := svc.CreateWebhook(f.Context(), sidehook.Webhook{App: app, Name: name, URL: "https://example.com/in", Events: []string{"*"}})
		if err != nil {
			f.Fatal(err)
		}
		if app == "demo" {
			own = w.ID
		}
	}
	_, token, err := svc.CreateToken(f.Context(), control.TokenSpec{Name: "t", Kind: control.TokenApp, Apps: []string{"demo"}})
	if err != nil {
		f.Fatal(err)
	}
	var cookies []*http.Cookie
	ask := func(method, path, query, form string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1/", strings.NewReader(form))
		r.URL = &url.URL{Path: path, RawQuery: query}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		return w
	}
	cookies = ask("POST", "/console/sign-in", "", url.Values{"token": {token}}.Encode()).Result().Cookies()
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(ask("GET", webhooks+"/new", "", "").Body.String())
	if csrf == nil {
		f.Fatal("the session's pages have no csrf field")
	}
	good := url.Values{"csrf": {csrf[1]}, "name": {"made"}, "url": {"https://example.com/"}, "patterns": {"a.*"}, "automatic_retry": {"on"}}
	if w := ask("POST", webhooks, "", good.Encode()); w.Code != http.StatusSeeOther {
		f.Fatalf("a good form is answered %d", w.Code)
	}
	f.Fuzz(func(t *testing.T, post bool, path, form string) {
		path, form = strings.ReplaceAll(path, "WEBHOOK", own), strings.ReplaceAll(form, "WEBHOOK", own)
		if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/sign-out") || strings.HasSuffix(path, "/live") {
			return // the session is needed, and what is live does not end by itself
		}
		var w *httptest.ResponseRecorder
		if post {
			w = ask("POST", path, "", form+"&csrf="+url.QueryEscape(csrf[1]))
		} else {
			w = ask("GET", path, form, "")
		}
		page := w.Body.String()
		switch {
		case w.Code >= 500 && w.Code != http.StatusServiceUnavailable && w.Code != http.StatusGatewayTimeout:
			t.Fatalf("%s %q is answered %d: %s", path, form, w.Code, page)
		case strings.Contains(page, hidden):
			t.Fatalf("%s %q shows what is another app's", path, form)
		case strings.Contains(page, "<fuzzed>"):
			t.Fatalf("%s %q: what was typed is markup", path, form)
		case strings.Contains(w.Header().Get("Location"), "//"):
			t.Fatalf("%s %q leads away, to %s", path, form, w.Header().Get("Location"))
		}
	})
}
