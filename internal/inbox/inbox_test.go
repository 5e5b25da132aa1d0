package inbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	waitLimit = 10 * time.Second
	secret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	other     = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka"
)

// open serves an inbox on loopback and returns it with its URL.
func open(t testing.TB) (*Inbox, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := New(Options{})
	srv := &http.Server{Handler: b.Handler(), ReadHeaderTimeout: waitLimit}
	srv.RegisterOnShutdown(b.Close)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return b, "http://" + l.Addr().String()
}

// ask sends a request with headers in pairs.
func ask(t testing.TB, method, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Add(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// signed gives the headers of a signed request, in pairs.
func signed(t testing.TB, key, id string, at time.Time, body string) []string {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := hook.Sign(id, at, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return []string{"webhook-id", id, "webhook-timestamp", strconv.FormatInt(at.Unix(), 10), "webhook-signature", sig}
}

func arrivals(t testing.TB, url, bin string) binAnswer {
	t.Helper()
	code, _, body := ask(t, http.MethodGet, url+"/bins/"+bin, "")
	var a binAnswer
	if err := json.Unmarshal([]byte(body), &a); err != nil || code != 200 {
		t.Fatalf("%d %v %s", code, err, body)
	}
	return a
}

func mustPut(t testing.TB, url, bin, settings string) {
	t.Helper()
	if code, _, body := ask(t, http.MethodPut, url+"/bins/"+bin, settings); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
}

// TestVerdictIsOverTheWholeBody: more than is kept of a body still has to be signed.
func TestVerdictIsOverTheWholeBody(t *testing.T) {
	_, url := open(t)
	mustPut(t, url, "big", `{"secrets":["`+secret+`"]}`)
	body := strings.Repeat("é", 300<<10)
	ask(t, http.MethodPost, url+"/in/big", body, signed(t, secret, "m", time.Now(), body)...)
	a := arrivals(t, url, "big").Arrivals[0]
	if !a.Verdict.OK || !a.Truncated || a.BodySize != len(body) || len(a.Body) > MaxKeptBody+8 {
		t.Errorf("%+v, kept %d of %d, truncated %v", a.Verdict, len(a.Body), a.BodySize, a.Truncated)
	}
}

func TestArrivalsAreListedNewestFirst(t *testing.T) {
	_, url := open(t)
	ask(t, http.MethodPost, url+"/in/b", "one", "webhook-id", "x", "X-Two", "1", "X-Two", "2")
	ask(t, http.MethodPut, url+"/in/b/below/it?q=%20", "two", "webhook-id", "x")
	ask(t, http.MethodDelete, url+"/in/b/", "", "webhook-id", "y")
	got := arrivals(t, url, "b")
	if got.Total != 3 || len(got.Arrivals) != 3 {
		t.Fatalf("%+v", got)
	}
	newest, middle, oldest := got.Arrivals[0], got.Arrivals[1], got.Arrivals[2]
	if newest.Method != "DELETE" || newest.Repeat != 0 || middle.Path != "/in/b/below/it?q=%20" || middle.Repeat != 1 || middle.Body != "two" ||
		oldest.Repeat != 0 || len(oldest.Headers["X-Two"]) != 2 || !(newest.ID > middle.ID && middle.ID > oldest.ID) {
		t.Errorf("%+v %+v %+v", newest, middle, oldest)
	}
}

func TestLimits(t *testing.T) {
	b, url := open(t)
	if code, _, _ := ask(t, http.MethodPost, url+"/in/b", strings.Repeat("x", MaxBody+1)); code != 413 {
		t.Errorf("too large: %d", code)
	}
	for _, name := range []string{"..", "a.b", "a%20b", strings.Repeat("x", 65), "%00"} {
		if code, _, _ := ask(t, http.MethodPost, url+"/in/"+name, ""); code < 300 || code == 503 {
			t.Errorf("bin %q: %d", name, code)
		}
	}
	for i := range MaxArrivals + 3 {
		ask(t, http.MethodPost, url+"/in/b", "", "webhook-id", fmt.Sprint(i))
	}
	got := arrivals(t, url, "b")
	if got.Total != MaxArrivals+3 || len(got.Arrivals) != MaxArrivals || got.Arrivals[MaxArrivals-1].WebhookID() != "3" {
		t.Errorf("%d kept of %d", len(got.Arrivals), got.Total)
	}
	for i := range MaxBins {
		ask(t, http.MethodPost, url+"/in/n"+fmt.Sprint(i), "")
	}
	if code, _, _ := ask(t, http.MethodGet, url+"/bins/b", ""); code != 404 {
		t.Errorf("the idlest bin is still there: %d", code)
	}
	ask(t, http.MethodPost, url+"/in/h", "", "X-Long", strings.Repeat("x", maxHeaderText), "X-Short", "1")
	if h := arrivals(t, url, "h").Arrivals[0].Headers; h.Get("Sidehook-Inbox") == "" || h.Get("X-Long") != "" {
		t.Errorf("headers: %d", len(h))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.bins); n != MaxBins {
		t.Errorf("%d bins", n)
	}
	if n := len(b.bins["n49"].seen); n != 0 {
		t.Errorf("%d ids seen", n)
	}
}

// TestKeptBytesAreBounded: however large the arrivals, the oldest of the fullest bin go.
func TestKeptBytesAreBounded(t *testing.T) {
	b := New(Options{})
	body := strings.Repeat("x", MaxKeptBody)
	for i := range 2 * MaxKept / MaxKeptBody {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/in/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("webhook-id", fmt.Sprint(i))
		b.take(fmt.Sprintf("b%d", i%20), newArrival(r, []byte(body), time.Now()), nil, r.Header)
	}
	kept := 0
	for _, bn := range b.bins {
		if len(bn.seen) != len(bn.arrivals) {
			t.Errorf("%d ids for %d arrivals", len(bn.seen), len(bn.arrivals))
		}
		for _, a := range bn.arrivals {
			kept += a.size
		}
	}
	if kept != b.kept || kept > MaxKept || kept < MaxKept/2 {
		t.Errorf("%d bytes kept, counted %d", kept, b.kept)
	}
}

// sse reads a stream of arrivals.
type sse struct {
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func watchBin(t testing.TB, url, query string) *sse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s := &sse{resp: resp, lines: bufio.NewScanner(resp.Body), cancel: cancel}
	s.lines.Buffer(nil, 1<<20)
	t.Cleanup(func() { cancel(); _ = resp.Body.Close() })
	if !s.lines.Scan() || s.lines.Text() != ": watching" || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %q", resp.StatusCode, s.lines.Text())
	}
	return s
}

func (s *sse) next(t testing.TB) *Arrival {
	t.Helper()
	for s.lines.Scan() {
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			var a Arrival
			if err := json.Unmarshal([]byte(data), &a); err != nil {
				t.Fatal(err)
			}
			return &a
		}
	}
	t.Fatalf("the stream ended: %v", s.lines.Err())
	return nil
}

func TestStream(t *testing.T) {
	_, url := open(t)
	ask(t, http.MethodPost, url+"/in/b", "before")
	fresh := watchBin(t, url, "/bins/b/stream")
	all := watchBin(t, url, "/bins/b/stream?after=0")
	hostile := "a\n\ndata: {}\r\nevent: x\u2028"
	ask(t, http.MethodPost, url+"/in/b", hostile, "webhook-id", "m-1")
	ask(t, http.MethodPost, url+"/in/elsewhere", "no")
	ask(t, http.MethodPost, url+"/in/b", "last")
	if a := fresh.next(t); a.Body != hostile || a.WebhookID() != "m-1" {
		t.Errorf("got %+v", a)
	}
	if a := fresh.next(t); a.Body != "last" {
		t.Errorf("got %+v", a)
	}
	first := all.next(t)
	for i, want := range []string{hostile, "last"} {
		if a := all.next(t); a.Body != want {
			t.Errorf("%d: %+v", i, a)
		}
	}
	again := watchBin(t, url, fmt.Sprintf("/bins/b/stream?after=%d", first.ID))
	if a := again.next(t); a.Body != hostile {
		t.Errorf("resumed at %+v", a)
	}
	if code, _, _ := ask(t, http.MethodGet, url+"/bins/b/stream?after=x", ""); code != 400 {
		t.Errorf("after=x: %d", code)
	}
}

func TestStreamEndsWithItsBinAndTheInbox(t *testing.T) {
	b, url := open(t)
	gone := watchBin(t, url, "/bins/gone/stream")
	stays := watchBin(t, url, "/bins/stays/stream")
	if code, _, _ := ask(t, http.MethodDelete, url+"/bins/gone", ""); code != 204 {
		t.Errorf("DELETE: %d", code)
	}
	for gone.lines.Scan() {
	}
	if err := gone.lines.Err(); err != nil {
		t.Error(err)
	}
	if code, _, _ := ask(t, http.MethodDelete, url+"/bins/gone", ""); code != 404 {
		t.Errorf("DELETE again: %d", code)
	}
	ask(t, http.MethodPost, url+"/in/stays", "x")
	stays.next(t)
	b.Close()
	for stays.lines.Scan() {
	}
	if err := stays.lines.Err(); err != nil {
		t.Error(err)
	}
	if code, _, _ := ask(t, http.MethodGet, url+"/bins/stays/stream", ""); code != 503 {
		t.Errorf("a stream of a closed inbox: %d", code)
	}
}

func TestTooManyWatchers(t *testing.T) {
	b, url := open(t)
	var stops []func()
	for range maxWatchers {
		_, stop := b.watch("b", onlyNew)
		stops = append(stops, stop)
	}
	if code, _, _ := ask(t, http.MethodGet, url+"/bins/b/stream", ""); code != 503 {
		t.Errorf("got %d", code)
	}
	for _, stop := range stops {
		stop()
	}
	watchBin(t, url, "/bins/b/stream")
}

func TestASlowReaderHoldsUpNobody(t *testing.T) {
	b := New(Options{})
	w, stop := b.watch("b", onlyNew)
	defer stop()
	for i := range MaxArrivals + 5 {
		b.take("b", &Arrival{Body: fmt.Sprint(i), Headers: http.Header{}}, nil, nil)
	}
	got := w.take().pending
	if len(got) != MaxArrivals || got[0].Body != "5" {
		t.Errorf("%d waiting, the first %q", len(got), got[0].Body)
	}
}

const hostileText = `</pre><script>alert(1)</script><img src=x onerror=alert(2)>"'&{{.}}`

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPagesEscapeWhatArrived(t *testing.T) {
	_, url := open(t)
	hostileJSON := []byte(mustJSON(t, map[string]string{"type": hostileText, hostileText: "v"}))
	raw := []byte(`{"type":"` + strings.ReplaceAll(hostileText, `"`, `\"`) + `","<b>k</b>":["<i>"],"n":-1.5e3,"t":true}`)
	for _, body := range [][]byte{hostileJSON, raw, []byte(hostileText), []byte("\x00\xff<script>")} {
		ask(t, http.MethodPost, url+"/in/b/<script>?q=<script>", string(body), "X-Evil", hostileText, "webhook-id", hostileText,
			"Content-Type", "text/html<script>")
	}
	mustPut(t, url, "b", `{"title":`+mustJSON(t, hostileText)+`,"body":`+mustJSON(t, hostileText)+`,"content_type":"text/html"}`)
	paths := []string{"/bins/b/view", "/bins/b/view?lang=vi", "/bins/b/facts", "/"}
	for _, a := range arrivals(t, url, "b").Arrivals {
		paths = append(paths, fmt.Sprintf("/bins/b/cards/%d", a.ID))
	}
	for _, path := range paths {
		code, header, page := ask(t, http.MethodGet, url+path, "")
		if code != 200 || header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("%s: %d", path, code)
		}
		for _, bad := range []string{"<script>alert", "q=<script>", "html<script>", "<img", "<b>k", "<i>\"", "onerror=alert(2)>"} {
			if strings.Contains(strings.ReplaceAll(page, `<i></i>`, ""), bad) {
				t.Errorf("%s holds %q", path, bad)
			}
		}
		csp := header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, header)
		}
		if strings.Contains(page, "http://") && !strings.Contains(page, "http://127.0.0.1:4480") || strings.Contains(page, "style=") || strings.Contains(page, "onclick") {
			t.Errorf("%s loads from elsewhere or has inline code", path)
		}
	}
	// The JSON, too, must not be taken for a page.
	if _, header, _ := ask(t, http.MethodGet, url+"/bins/b", ""); header.Get("Content-Type") != "application/json" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", header)
	}
}

func TestPages(t *testing.T) {
	_, url := open(t)
	if _, _, page := ask(t, http.MethodGet, url+"/", ""); !strings.Contains(page, "No bins yet") {
		t.Error("the empty inbox says nothing")
	}
	if code, _, page := ask(t, http.MethodGet, url+"/bins/new/view", ""); code != 200 || !strings.Contains(page, "Waiting for the first arrival") {
		t.Errorf("a bin that is not there yet: %d", code)
	}
	mustPut(t, url, "b", `{"secrets":["`+secret+`"],"fail_first":1}`)
	body := `{"type":"person.created","data":{"name":"Lan"}}`
	ask(t, http.MethodPost, url+"/in/b", body, signed(t, secret, "evt-1", time.Now(), body)...)
	ask(t, http.MethodPost, url+"/in/b", body, signed(t, secret, "evt-1", time.Now(), body)...)
	ask(t, http.MethodPost, url+"/in/b", body, signed(t, other, "evt-2", time.Now(), body)...)
	_, _, page := ask(t, http.MethodGet, url+"/bins/b/view", "")
	for _, want := range []string{">valid<", ">wrong signature<", "attempt 2", "seen 1× before", "answered 503", "evt-2.", "Show only this id", `data-show="evt-1"`, "person.created", "evt-1", `<span class="k">&#34;name&#34;</span>: <span class="s">&#34;Lan&#34;</span>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, secret) {
		t.Error("the page tells the secret")
	}
	for path, contentType := range map[string]string{
		"/assets/inbox.css": "text/css; charset=utf-8", "/assets/inbox.js": "text/javascript; charset=utf-8", "/assets/icon.svg": "image/svg+xml",
	} {
		if code, header, _ := ask(t, http.MethodGet, url+path, ""); code != 200 || header.Get("Content-Type") != contentType {
			t.Errorf("%s: %d %q", path, code, header.Get("Content-Type"))
		}
	}
	for _, path := range []string{"/assets/pages.html", "/assets/nothing", "/assets/..%2finbox.go", "/nowhere", "/bins/a.b/view", "/bins/b/cards/x", "/bins/b/cards/9999", "/bins/nothing/facts", "/assets/locales/en.json"} {
		if code, _, _ := ask(t, http.MethodGet, url+path, ""); code != 404 && code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestPagesAreNotForOtherSites(t *testing.T) {
	_, url := open(t)
	ask(t, http.MethodPost, url+"/in/b", "x")
	for _, path := range []string{"/", "/bins", "/bins/b", "/bins/b/view", "/bins/b/stream"} {
		if code, _, _ := ask(t, http.MethodGet, url+path, "", "Host", "rebound.example"); code != 421 {
			t.Errorf("%s under another name: %d", path, code)
		}
	}
	if code, _, _ := ask(t, http.MethodDelete, url+"/bins/b", "", "Sec-Fetch-Site", "cross-site"); code != 403 {
		t.Errorf("DELETE from another site: %d", code)
	}
	if code, _, _ := ask(t, http.MethodPost, url+"/in/b", "x", "Host", "webhooks.example"); code != 200 {
		t.Errorf("an arrival under another name: %d", code)
	}
}

func FuzzTint(f *testing.F) {
	for _, s := range []string{`{"a":"b","c":[1,-2.5e3,true,null]}`, `"\\\""`, `{}`, `{"a\"":"\u2028"}`, `[[],{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var indented bytes.Buffer
		if json.Indent(&indented, b, "", "  ") != nil {
			return
		}
		var joined strings.Builder
		for _, tok := range tint(indented.String()) {
			joined.WriteString(tok.Text)
		}
		if joined.String() != indented.String() {
			t.Fatalf("%q became %q", indented.String(), joined.String())
		}
	})
}
