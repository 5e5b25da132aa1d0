package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailFirst(t *testing.T) {
	_, url := open(t)
	mustPut(t, url, "b", `{"fail_first":2,"fail_status":429,"status":202,"retry_after":"7"}`)
	for i, want := range []int{429, 429, 202, 202} {
		code, header, _ := ask(t, http.MethodPost, url+"/in/b", "")
		if code != want || (header.Get("Retry-After") == "7") != (want == 429) {
			t.Errorf("arrival %d: %d, Retry-After %q", i, code, header.Get("Retry-After"))
		}
	}
	mustPut(t, url, "b", `{"fail_first":-1}`)
	for range 3 {
		if code, _, _ := ask(t, http.MethodPost, url+"/in/b", ""); code != 503 {
			t.Errorf("got %d", code)
		}
	}
	got := arrivals(t, url, "b")
	if got.Arrivals[0].Answered != 503 || got.Arrivals[6].Answered != 429 || got.Arrivals[4].Answered != 202 || got.FailsLeft != -1 {
		t.Errorf("%+v", got.Arrivals)
	}
}

func TestStatusesAndBodies(t *testing.T) {
	_, url := open(t)
	for _, code := range []int{200, 201, 204, 299, 304, 308, 400, 410, 418, 429, 500, 599} {
		mustPut(t, url, "b", fmt.Sprintf(`{"status":%d,"retry_after":"9"}`, code))
		got, header, _ := ask(t, http.MethodPost, url+"/in/b", "x")
		if got != code || (header.Get("Retry-After") == "9") != (code >= 300) {
			t.Errorf("%d: got %d, Retry-After %q", code, got, header.Get("Retry-After"))
		}
	}
	mustPut(t, url, "b", `{"body":"<script>alert(1)</script>","content_type":"text/html"}`)
	_, header, body := ask(t, http.MethodPost, url+"/in/b", "x")
	if body != "<script>alert(1)</script>" || header.Get("Content-Type") != "text/html" ||
		header.Get("Content-Security-Policy") != "default-src 'none'; sandbox" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%q %v", body, header)
	}
}

// TestDelay: an arrival shows at once and is answered after the delay.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		if err := b.Put("b", Settings{Delay: "60s", Status: 202}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		done := make(chan int, 1)
		go func() { done <- post(t.Context(), b) }()
		synctest.Wait()
		if a, _ := b.snapshot("b"); len(a.Arrivals) != 1 || a.Arrivals[0].Answered != 202 {
			t.Errorf("while it waits: %+v", a)
		}
		if code := <-done; code != 202 || time.Since(start) != time.Minute {
			t.Errorf("%d after %v", code, time.Since(start))
		}

		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- post(ctx, b) }()
		synctest.Wait()
		cancel() // the sender gives up
		<-done
		if b.waiting != 0 || time.Since(start) != time.Minute {
			t.Errorf("%d wait after %v", b.waiting, time.Since(start))
		}
	})
}

func TestWaitingIsBoundedAndEndsWithTheInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		if err := b.Put("b", Settings{Delay: "1m"}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		done := make(chan int, MaxWaiting)
		for range MaxWaiting {
			go func() { done <- post(t.Context(), b) }()
		}
		synctest.Wait()
		if code := post(t.Context(), b); code != 503 || time.Since(start) != 0 {
			t.Errorf("one more: %d after %v", code, time.Since(start))
		}
		if a, _ := b.snapshot("b"); !a.Arrivals[0].Busy || a.Arrivals[0].Answered != 503 {
			t.Errorf("one more: %+v", a.Arrivals[0])
		}
		b.Close()
		b.Close()
		for range MaxWaiting {
			if code := <-done; code != 200 {
				t.Errorf("got %d", code)
			}
		}
		if time.Since(start) != 0 || b.waiting != 0 {
			t.Errorf("%d wait after %v", b.waiting, time.Since(start))
		}
	})
}

func post(ctx context.Context, b *Inbox) int {
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/in/b", strings.NewReader("x")))
	return w.Code
}

func TestSettingsRefuse(t *testing.T) {
	_, url := open(t)
	mustPut(t, url, "there", `{"secrets":["`+secret+`"],"status":202}`)
	for _, tc := range []struct{ body, field string }{
		{`{"title":"` + strings.Repeat("x", 81) + `"}`, "title"},
		{`{"title":"a\nb"}`, "title"},
		{`{"secrets":["whsec_*"]}`, "secrets"},
		{`{"secrets":["short"]}`, "secrets"},
		{`{"secrets":"` + secret + `"}`, "secrets"},
		{`{"secrets":[` + strings.Repeat(`"`+secret+`",`, 8) + `"` + secret + `"]}`, "secrets"},
		{`{"fail_first":-2}`, "fail_first"},
		{`{"fail_first":"two"}`, "fail_first"},
		{`{"fail_status":204}`, "fail_status"},
		{`{"status":100}`, "status"},
		{`{"status":199}`, "status"},
		{`{"status":600}`, "status"},
		{`{"status":-1}`, "status"},
		{`{"delay":"soon"}`, "delay"},
		{`{"delay":"-1s"}`, "delay"},
		{`{"delay":"61s"}`, "delay"},
		{`{"retry_after":"1\r\nX: y"}`, "retry_after"},
		{`{"content_type":"text/html\r\nX: y"}`, "content_type"},
		{`{"content_type":"html"}`, "content_type"},
		{`{"body":"` + strings.Repeat("x", maxAnswer+1) + `"}`, "body"},
		{`{"signing":{"scheme":"rot13"}}`, "signing.scheme"},
		{`{"signing":{"scheme":"auto","header":"X"}}`, "signing.scheme"},
		{`{"signing":{"scheme":"hmac"}}`, "signing.header"},
		{`{"signing":{"scheme":"hmac","header":"X Y"}}`, "signing.header"},
		{`{"signing":{"scheme":"hmac","header":"X","template":"{body}{body}"}}`, "signing.template"},
		{`{"signing":{"scheme":"hmac","header":"X","template":"{nope}{body}"}}`, "signing.template"},
		{`{"signing":{"scheme":"hmac","header":"X","template":"{timestamp}{body}"}}`, "signing.timestamp_header"},
		{`{"signing":{"scheme":"hmac","header":"X","algorithm":"md5"}}`, "signing.algorithm"},
		{`{"signing":{"scheme":"hmac","header":"X","encoding":"base32"}}`, "signing.encoding"},
		{`{"sekrets":[]}`, "sekrets"},
		{`{"status":1e3}`, "status"},
		{`{"signing":"hmac"}`, "signing"},
		{`{} {}`, ""},
		{`[]`, ""},
		{``, ""},
	} {
		for method, path := range map[string]string{http.MethodPut: "/bins/b", http.MethodPatch: "/bins/there", http.MethodPost: "/bins"} {
			code, header, body := ask(t, method, url+path, tc.body)
			if code != 400 || header.Get("Content-Type") != "application/problem+json" || tc.field != "" && !strings.Contains(body, `"field":"`+tc.field+`"`) {
				t.Errorf("%s %.60s: %d %s", method, tc.body, code, body)
			}
			if strings.Contains(body, secret) {
				t.Errorf("the answer tells a secret: %s", body)
			}
			for _, goes := range []string{"json:", "Go value", "struct"} {
				if strings.Contains(body, goes) {
					t.Errorf("%s %.60s is answered in the words of the program: %s", method, tc.body, body)
				}
			}
		}
	}
	if code, _, body := ask(t, http.MethodPut, url+"/bins/b", `{"delay":"`+strings.Repeat("x", maxSettings)+`"}`); code != 413 {
		t.Errorf("settings too large: %d %s", code, body)
	}
	if code, _, _ := ask(t, http.MethodGet, url+"/bins/b", ""); code != 404 {
		t.Errorf("a refused setting made the bin: %d", code)
	}
	if got := arrivals(t, url, "there"); got.Status != 202 || got.Secrets != 1 {
		t.Errorf("a refused setting changed the bin: %+v", got)
	}
}

func TestBinsAreMadeChangedClearedAndDeleted(t *testing.T) {
	_, url := open(t)
	var made struct {
		binInfo
		URL string `json:"url"`
	}
	code, header, body := ask(t, http.MethodPost, url+"/bins", `{}`)
	if err := json.Unmarshal([]byte(body), &made); err != nil || code != 201 || made.URL != url+"/in/"+made.Name || header.Get("Location") != "/bins/"+made.Name {
		t.Fatalf("%d %v %s", code, err, body)
	}
	if code, _, body := ask(t, http.MethodPost, url+"/bins", `{"name":"`+made.Name+`"}`); code != 409 || !strings.Contains(body, `"field":"name"`) {
		t.Errorf("the same name: %d %s", code, body)
	}
	if code, _, body := ask(t, http.MethodPost, url+"/bins", `{"name":"a.b"}`); code != 400 || !strings.Contains(body, `"field":"name"`) {
		t.Errorf("a bad name: %d %s", code, body)
	}
	bin := url + "/bins/" + made.Name
	watching := watchBin(t, url, "/bins/"+made.Name+"/stream")
	patch := func(body string) binInfo {
		t.Helper()
		code, _, answer := ask(t, http.MethodPatch, bin, body)
		var info binInfo
		if err := json.Unmarshal([]byte(answer), &info); err != nil || code != 200 {
			t.Fatalf("%d %v %s", code, err, answer)
		}
		return info
	}
	if i := patch(`{"title":"  Kế toán ","secrets":["` + secret + `"],"fail_first":2}`); i.Title != "Kế toán" || i.Secrets != 1 || i.Status != 200 {
		t.Errorf("%+v", i)
	}
	watching.awaitEvent(t, "changed")
	ask(t, http.MethodPost, made.URL, "x")
	watching.awaitEvent(t, "arrival")
	if i := patch(`{"status":202}`); i.FailsLeft != 1 || i.Secrets != 1 || i.Title != "Kế toán" || i.Status != 202 {
		t.Errorf("what was not given changed: %+v", i)
	}
	if i := patch(`{"fail_first":2,"secrets":[]}`); i.FailsLeft != 2 || i.Secrets != 0 {
		t.Errorf("%+v", i)
	}
	if code, _, _ := ask(t, http.MethodDelete, bin+"/arrivals", ""); code != 204 {
		t.Errorf("clear: %d", code)
	}
	watching.awaitEvent(t, "cleared")
	if got := arrivals(t, url, made.Name); len(got.Arrivals) != 0 || got.Total != 0 || got.Title != "Kế toán" {
		t.Errorf("after clear: %+v", got)
	}
	ask(t, http.MethodDelete, bin, "")
	watching.awaitEvent(t, "gone")
	for _, c := range []struct{ method, path string }{{http.MethodPatch, bin}, {http.MethodDelete, bin + "/arrivals"}, {http.MethodGet, bin + "/facts"}} {
		if code, _, _ := ask(t, c.method, c.path, "{}"); code != 404 {
			t.Errorf("%s %s of a bin that is gone: %d", c.method, c.path, code)
		}
	}
}

func (s *sse) awaitEvent(t testing.TB, name string) {
	t.Helper()
	for s.lines.Scan() {
		if s.lines.Text() == "event: "+name {
			return
		}
	}
	t.Fatalf("the stream ended before %s: %v", name, s.lines.Err())
}
