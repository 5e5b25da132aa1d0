package inbox

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzArrival: whatever arrives is kept or refused, and then every view of it works: as JSON, as a page, as a detail.
// No byte of it gets into a page as markup.
func FuzzArrival(f *testing.F) {
	for _, s := range [][4]string{
		{"POST", "b", "Content-Type: application/json\nWebhook-Id: 1\nWebhook-Timestamp: 1\nWebhook-Signature: v1,x", `{"a":1}`},
		{"PUT", "b/x/y?z", "Content-Type: application/x-www-form-urlencoded", "a=b&c=<fuzzed>"},
		{"POST", "b", "X: <fuzzed>\nX-Signature: sha256=00", "<fuzzed>\x00\xff"},
		{"DELETE", "..", "Content-Encoding: gzip", ""},
		{"POST", strings.Repeat("b", 200), ": y", "{"},
		{"POST", "b%2Fc", "Webhook-Timestamp: 99999999999999999999", strings.Repeat("[", 100)},
	} {
		f.Add(s[0], s[1], s[2], []byte(s[3]))
	}
	f.Fuzz(func(t *testing.T, method, bin, headers string, body []byte) {
		b := New(Options{})
		defer b.Close()
		handler := b.Handler()
		ask := func(method, path string, header http.Header, body string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "http://127.0.0.1/", strings.NewReader(body))
			u, err := url.Parse("http://127.0.0.1" + path)
			if err != nil {
				return nil
			}
			r.Method, r.URL, r.RequestURI = method, u, path
			if header != nil {
				r.Header = header
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code >= 500 {
				t.Fatalf("%s %q is answered %d %s", method, path, w.Code, w.Body)
			}
			return w
		}
		h := http.Header{}
		for line := range strings.Lines(headers) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h.Add(name, value)
		}
		if w := ask(method, "/in/"+bin, h, string(body)); w == nil {
			return
		}
		var bins struct {
			Bins []struct{ Name string } `json:"bins"`
		}
		list := ask("GET", "/bins", nil, "")
		if err := json.Unmarshal(list.Body.Bytes(), &bins); err != nil {
			t.Fatalf("/bins is %s: %v", list.Body, err)
		}
		name, _, _ := strings.Cut(bin, "/")
		name, _, _ = strings.Cut(name, "?")
		for _, path := range []string{"/", "/bins/" + name, "/bins/" + name + "/view"} {
			if w := ask("GET", path, nil, ""); w != nil && strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") &&
				strings.Contains(w.Body.String(), "<fuzzed>") {
				t.Fatalf("%s shows what arrived as markup", path)
			}
		}
	})
}
