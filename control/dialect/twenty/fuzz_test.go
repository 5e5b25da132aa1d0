package twenty

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/control/dialect/dialecttest"
)

// FuzzCreate: whatever is sent, the answer is JSON, and either a webhook that can be read again or a refusal that says
// why.
func FuzzCreate(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `[{}]`, `{"targetUrl":"https://example.com"}`, `{"targetUrl":"HTTPS://[::1]:0"}`,
		`{"targetUrl":"https://example.com/","operations":["*.*","person.*"],"description":"\u0000\ud800","secret":"whsec_"}`,
		`{"targetUrl":"https://example.com/","operations":[null],"secret":"whpk_abcdefgh"}`,
		`{"targetUrl":"https://exa\nmple.com/\r\nX: y","description":null}`, `{"targetUrl":1e999}`, "{\"\xff\":1}",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		p := dialecttest.NewPlane(t, served)
		h := served(p.Service)
		post := httptest.NewRequest("POST", plainBase, strings.NewReader(body))
		post.Header.Set(auth(p)[0], auth(p)[1])
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, post)
		if answer.Code != http.StatusCreated {
			var refusal failure
			if err := json.Unmarshal(answer.Body.Bytes(), &refusal); err != nil || answer.Code >= 500 || len(refusal.Messages) == 0 ||
				refusal.StatusCode != answer.Code {
				t.Errorf("%q: %d %s %v", body, answer.Code, answer.Body, err)
			}
			return
		}
		var made webhook
		if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil {
			t.Fatalf("%q: %s: %v", body, answer.Body, err)
		}
		get := httptest.NewRequest("GET", plainBase+"/"+made.ID, nil)
		get.Header.Set(auth(p)[0], auth(p)[1])
		again := httptest.NewRecorder()
		if h.ServeHTTP(again, get); again.Body.String() != answer.Body.String() {
			t.Errorf("%q: made %s, read %s", body, answer.Body, again.Body)
		}
	})
}
