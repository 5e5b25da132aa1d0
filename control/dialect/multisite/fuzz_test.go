package multisite

import (
	"encoding/json"
	"fmt"
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
		``, `null`, `{}`, `[{}]`, `{"name":"ab","webhook_url":"https://example.com","event":"*"}`,
		`{"name":"\u0000\ud800x","webhook_url":"https://[::1]:1","event":"a,b","active":"0","hidden":1}`,
		`{"name":"  ","webhook_url":"https://exa\nmple.com/","event":","}`, `{"name":null,"webhook_url":{},"event":1e999}`,
		`{"name":"ab","webhook_url":"https://example.com","event":"*","migrated_from_id":9223372036854775808}`,
		`{"name":"ab","webhook_url":"https://example.com","event":"*","api_key":"x","integration":"ộộ","id":1}`, "{\"\xff\":1}",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		p := dialecttest.NewPlane(t, served)
		h := served(p.Service)
		post := httptest.NewRequest("POST", base+"/webhook", strings.NewReader(body))
		post.SetBasicAuth(p.Tokens["token_id"], p.Tokens["token"])
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, post)
		if answer.Code != http.StatusOK {
			var refusal failure
			if err := json.Unmarshal(answer.Body.Bytes(), &refusal); err != nil || answer.Code >= 500 || refusal.Message == "" ||
				refusal.Data.Status != answer.Code {
				t.Errorf("%q: %d %s %v", body, answer.Code, answer.Body, err)
			}
			return
		}
		var made webhook
		if err := json.Unmarshal(answer.Body.Bytes(), &made); err != nil {
			t.Fatalf("%q: %s: %v", body, answer.Body, err)
		}
		get := httptest.NewRequest("GET", fmt.Sprint(base, "/webhook/", made.ID), nil)
		get.SetBasicAuth(p.Tokens["token_id"], p.Tokens["token"])
		again := httptest.NewRecorder()
		if h.ServeHTTP(again, get); again.Body.String() != answer.Body.String() {
			t.Errorf("%q: made %s, read %s", body, answer.Body, again.Body)
		}
	})
}
