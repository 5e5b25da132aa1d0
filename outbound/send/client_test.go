package send_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

func TestRequestOnTheWire(t *testing.T) {
	got := make(chan string, 1)
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		var b bytes.Buffer
		_, _ = readRequest(bufio.NewReader(io.TeeReader(r, &b)))
		got <- b.String()
		_, _ = io.WriteString(c, okAnswer)
	})
	c := newClient(t, send.Options{})
	req := &send.Request{
		URL: endpoint(t, srv.url()+"/a%2Fb?x=1&y=%20"),
		Headers: []sidehook.Header{
			{Key: "webhook-id", Value: "evt_1"},
			{Key: "Content-Type", Value: "application/json"},
			{Key: "X-Empty", Value: ""},
		},
		Body: []byte(`{"a":1}`),
	}
	if _, err := c.Send(t.Context(), req, patience); err != nil {
		t.Fatal(err)
	}
	want := "POST /in/a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: " + srv.ln.Addr().String() + "\r\nUser-Agent: Sidehook\r\n" +
		"webhook-id: evt_1\r\nContent-Type: application/json\r\nX-Empty: \r\nContent-Length: 7\r\n\r\n" + `{"a":1}`
	if g := await(t, got, "the request"); g != want {
		t.Errorf("request\n%q\nwant\n%q", g, want)
	}
}

func TestBodiesOfAllSizes(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || int64(len(b)) != r.ContentLength {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintf(w, "%d %x", len(b), checksum(b))
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(echo))
			var opts send.Options
			if scheme == "https" {
				srv.StartTLS()
				opts.TLS = trusting(srv)
			} else {
				srv.Start()
			}
			t.Cleanup(srv.Close)
			c := newClient(t, opts)
			e := endpoint(t, srv.URL)
			for _, n := range []int{0, 1, 1000, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 300_000, 5 << 20} {
				body := make([]byte, n)
				for i := range body {
					body[i] = byte(i * 7)
				}
				resp, err := c.Send(t.Context(), &send.Request{URL: e, Body: body}, patience)
				if err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				if want := fmt.Sprintf("%d %x", n, checksum(body)); resp.Status != 200 || string(resp.Body) != want {
					t.Errorf("%d bytes: %d %q, want 200 %q", n, resp.Status, resp.Body, want)
				}
			}
			if s := c.Stats(); s.Dials != 1 {
				t.Errorf("%d connections made, want 1", s.Dials)
			}
		})
	}
}

func checksum(b []byte) (sum uint32) {
	for _, c := range b {
		sum = sum*31 + uint32(c)
	}
	return sum
}

func TestHeaderInjectionIsRefused(t *testing.T) {
	srv := newRawServer(t, answering(okAnswer, false))
	c := newClient(t, send.Options{})
	for _, h := range []sidehook.Header{
		{Key: "X", Value: "a\r\nHost: other"},
		{Key: "X", Value: "a\nb"},
		{Key: "X", Value: "a\rb"},
		{Key: "X", Value: "a\x00b"},
		{Key: "X\r\nY", Value: "a"},
		{Key: "X\n", Value: "a"},
		{Key: "", Value: "a"},
	} {
		_, err := c.Send(t.Context(), &send.Request{URL: srv.endpoint(), Headers: []sidehook.Header{h}}, patience)
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) || fe.Field != "headers[0]" {
			t.Errorf("%q: %v, want a FieldError of headers[0]", h, err)
		}
	}
	if n := c.Stats().Dials; n != 0 {
		t.Errorf("%d connections made, want none", n)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	srv := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) })
	c := newClient(t, send.Options{})
	for i := range 100 {
		resp := mustPost(t, c, endpoint(t, srv.URL)) // an Endpoint of its own each time: they share the pool
		if resp.Reused != (i > 0) {
			t.Fatalf("request %d: reused is %t", i, resp.Reused)
		}
	}
	if s := c.Stats(); s.Dials != 1 || s.Reused != 99 || s.Open != 1 || s.Idle != 1 {
		t.Errorf("after 100 requests in turn: %+v", s)
	}

	const workers, each = 64, 50
	e := endpoint(t, srv.URL)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if resp, err := post(t, c, e); err != nil || resp.Status != 200 {
					t.Errorf("%+v %v", resp, err)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Dials > workers || s.Dials+s.Reused != 100+workers*each || s.Open != s.Idle {
		t.Errorf("after %d parallel requests: %+v", workers*each, s)
	}
}

// A request's context often ends right after the request. That must not cost the connection.
func TestEndOfContextDoesNotHarmIdleConnection(t *testing.T) {
	srv := newHTTPServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	c := newClient(t, send.Options{})
	e := endpoint(t, srv.URL)
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := c.Send(ctx, &send.Request{URL: e}, patience)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	if s := c.Stats(); s.Dials != 1 {
		t.Errorf("%d connections made, want 1", s.Dials)
	}
}

func TestRedirectIsJustAStatus(t *testing.T) {
	srv := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/in" {
			t.Errorf("the redirect was followed")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	resp := mustPost(t, newClient(t, send.Options{}), endpoint(t, srv.URL+"/in"))
	if resp.Status != http.StatusTemporaryRedirect {
		t.Errorf("status %d", resp.Status)
	}
}

func TestRetryAfter(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"120":                           "120",
		"Fri, 31 Dec 1999 23:59:59 GMT": "Fri, 31 Dec 1999 23:59:59 GMT",
		strings.Repeat("9", 500):        strings.Repeat("9", 128),
	} {
		srv := newHTTPServer(t, func(w http.ResponseWriter, _ *http.Request) {
			if in != "" {
				w.Header().Set("Retry-After", in)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		resp := mustPost(t, newClient(t, send.Options{}), endpoint(t, srv.URL))
		if resp.RetryAfter != want || resp.Status != 503 {
			t.Errorf("status %d, Retry-After %q, want 503 and %q", resp.Status, resp.RetryAfter, want)
		}
	}
}

// What of a body is kept, and whether the connection survives it.
func TestBodyLimit(t *testing.T) {
	const kept = sidehook.MaxRecordedResponse
	for _, tc := range []struct {
		name      string
		size      int
		chunked   bool
		truncated bool
		reused    bool
	}{
		{"empty", 0, false, false, true},
		{"at the limit", kept, false, false, true},
		{"at the limit, chunked", kept, true, false, true},
		{"one over", kept + 1, false, true, true},
		{"one over, chunked", kept + 1, true, true, true},
		{"drained", kept + 60<<10, false, true, true},
		{"drained, chunked", kept + 60<<10, true, true, true},
		{"too much to drain", kept + 100<<10, false, true, false},
		{"too much to drain, chunked", kept + 100<<10, true, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := bytes.Repeat([]byte("0123456789"), tc.size/10+1)[:tc.size]
			srv := newHTTPServer(t, func(w http.ResponseWriter, _ *http.Request) {
				if !tc.chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				_, _ = w.Write(body)
			})
			c := newClient(t, send.Options{})
			e := endpoint(t, srv.URL)
			for range 2 {
				resp := mustPost(t, c, e)
				if !bytes.Equal(resp.Body, body[:min(len(body), kept)]) || resp.Truncated != tc.truncated || resp.Cut == tc.reused {
					t.Fatalf("%d bytes, truncated %t, cut %t", len(resp.Body), resp.Truncated, resp.Cut)
				}
			}
			if reused := c.Stats().Reused == 1; reused != tc.reused {
				t.Errorf("connection reused: %t, want %t", reused, tc.reused)
			}
		})
	}
}

func TestMaxBody(t *testing.T) {
	srv := newHTTPServer(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "0123456789") })
	for limit, want := range map[int]string{-1: "", 4: "0123", 100: "0123456789"} {
		resp := mustPost(t, newClient(t, send.Options{MaxBody: limit}), endpoint(t, srv.URL))
		if string(resp.Body) != want || resp.Truncated != (len(want) < 10) {
			t.Errorf("MaxBody %d: %q, truncated %t", limit, resp.Body, resp.Truncated)
		}
	}
}

func TestDoUsesTheResponseAgain(t *testing.T) {
	answers := []string{
		"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000),
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	}
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		for _, a := range answers {
			if _, err := readRequest(r); err != nil {
				return
			}
			_, _ = io.WriteString(c, a)
		}
		untilClosed(c)
	})
	c := newClient(t, send.Options{})
	var resp send.Response
	req := &send.Request{URL: srv.endpoint()}
	for range answers {
		if err := c.Do(t.Context(), req, patience, &resp); err != nil {
			t.Fatal(err)
		}
	}
	if resp.Status != 200 || string(resp.Body) != "ok" || resp.RetryAfter != "" || resp.Truncated || cap(resp.Body) < 1024 {
		t.Errorf("second response: %+v", resp)
	}
}

func TestClose(t *testing.T) {
	arrived, answer := make(chan bool), make(chan bool)
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readRequest(r); err != nil {
			return
		}
		arrived <- true
		<-answer
		_, _ = io.WriteString(c, okAnswer)
		untilClosed(c)
	})
	c := newClient(t, send.Options{})
	e := srv.endpoint()
	done := make(chan error, 1)
	go func() {
		_, err := post(t, c, e)
		done <- err
	}()
	await(t, arrived, "the request")
	c.Close()
	c.Close() // a second time does no harm
	answer <- true
	if err := await(t, done, "the answer"); err != nil {
		t.Errorf("the request in flight failed: %v", err)
	}
	if s := c.Stats(); s.Open != 0 || s.Idle != 0 {
		t.Errorf("connections left: %+v", s)
	}
	_, err := post(t, c, e)
	if !errors.Is(err, sidehook.ErrStopping) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseClosesIdleConnections(t *testing.T) {
	gone := make(chan bool, 1)
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		answering(okAnswer, false)(c, r)
		gone <- true
	})
	c := newClient(t, send.Options{})
	mustPost(t, c, srv.endpoint())
	c.Close()
	await(t, gone, "the connection to close")
	if s := c.Stats(); s.Open != 0 || s.Idle != 0 {
		t.Errorf("connections left: %+v", s)
	}
}

func TestIdleConnectionsAreReaped(t *testing.T) {
	gone := make(chan bool, 1)
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		answering(okAnswer, false)(c, r)
		gone <- true
	})
	c := newClient(t, send.Options{IdleTimeout: 40 * time.Millisecond})
	mustPost(t, c, srv.endpoint())
	await(t, gone, "the idle connection to be closed")
	mustPost(t, c, srv.endpoint())
	if s := c.Stats(); s.Dials != 2 {
		t.Errorf("%d connections made, want 2", s.Dials)
	}
}

func TestIdleTimeoutHoldsWithoutTheReaper(t *testing.T) {
	clk := newClock()
	srv := newRawServer(t, answering(okAnswer, false))
	c := newClient(t, send.Options{Now: clk.Now, IdleTimeout: time.Minute})
	for _, step := range []struct {
		idle   time.Duration
		reused bool
	}{{0, false}, {59 * time.Second, true}, {60 * time.Second, false}} {
		clk.advance(step.idle)
		if resp := mustPost(t, c, srv.endpoint()); resp.Reused != step.reused {
			t.Errorf("after %s idle: reused is %t", step.idle, resp.Reused)
		}
	}
}

func TestKeepAliveHeaderIsHonoured(t *testing.T) {
	for _, tc := range []struct {
		header string
		idle   time.Duration
		reused bool
	}{
		{"Keep-Alive: timeout=5\r\n", 3 * time.Second, true},
		{"Keep-Alive: timeout=5\r\n", 4 * time.Second, false},
		{"Keep-Alive: timeout=5, max=100\r\n", 4 * time.Second, false},
		{"Keep-Alive: timeout=100000000\r\n", 61 * time.Second, false},
		{"Keep-Alive: max=0\r\n", 0, false},
		{"Keep-Alive: timeout=0\r\n", 0, false},
		{"Keep-Alive: timeout=-1\r\n", 4 * time.Second, true},
		{"Keep-Alive: nonsense\r\n", 4 * time.Second, true},
		{"Connection: close\r\n", 0, false},
		{"Connection: x, CLOSE\r\n", 0, false},
		{"Connection: keep-alive\r\nConnection: close\r\n", 0, false},
	} {
		t.Run(tc.header, func(t *testing.T) {
			clk := newClock()
			srv := newRawServer(t, answering("HTTP/1.1 200 OK\r\n"+tc.header+"Content-Length: 2\r\n\r\nok", false))
			c := newClient(t, send.Options{Now: clk.Now})
			mustPost(t, c, srv.endpoint())
			clk.advance(tc.idle)
			if resp := mustPost(t, c, srv.endpoint()); resp.Reused != tc.reused {
				t.Errorf("reused is %t, want %t", resp.Reused, tc.reused)
			}
		})
	}
}

func TestHTTP10(t *testing.T) {
	for answer, reused := range map[string]bool{
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok":                              false,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok":    true,
		"HTTP/1.0 200 OK\r\n\r\nok":                                                   false,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nok":                         false,
		"HTTP/1.1 200 OK\r\n\r\nok":                                                   false,
		"HTTP/1.1 200\nContent-Length: 2\n\nok":                                       true,
		"HTTP/1.1 200 OK\r\nX-Long: a\r\n b\r\n\tc\r\nContent-Length: 2\r\n\r\nok":    true,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok":         true,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 smuggled\r\n\r\n": false,
	} {
		once := !strings.Contains(answer, "ontent-Length")
		srv := newRawServer(t, answering(answer, once))
		c := newClient(t, send.Options{})
		for range 2 {
			if resp := mustPost(t, c, srv.endpoint()); resp.Status != 200 || string(resp.Body) != "ok" {
				t.Errorf("%q: %+v", answer, resp)
			}
		}
		if got := c.Stats().Reused == 1; got != reused {
			t.Errorf("%q: reused %t, want %t", answer, got, reused)
		}
	}
}

func TestMaxIdlePerHost(t *testing.T) {
	const parallel = 8
	arrived, barrier := make(chan bool), make(chan bool)
	srv := newHTTPServer(t, func(http.ResponseWriter, *http.Request) {
		arrived <- true
		<-barrier
	})
	c := newClient(t, send.Options{MaxIdlePerHost: 3})
	var wg sync.WaitGroup
	e := endpoint(t, srv.URL)
	for range parallel {
		wg.Go(func() {
			if _, err := post(t, c, e); err != nil {
				t.Error(err)
			}
		})
	}
	for range parallel {
		await(t, arrived, "a request")
	}
	close(barrier)
	wg.Wait()
	if s := c.Stats(); s.Dials != parallel || s.Idle != 3 || s.Open != 3 {
		t.Errorf("%+v", s)
	}
}

// With all places taken by connections that nobody uses, the oldest make room for new ones.
func TestMaxIdleMakesRoom(t *testing.T) {
	clk := newClock()
	closed := make(chan int, 100)
	c := newClient(t, send.Options{MaxIdle: 4, Now: clk.Now})
	for i := range 4 {
		srv := newRawServer(t, func(conn net.Conn, r *bufio.Reader) {
			answering(okAnswer, false)(conn, r)
			closed <- i
		})
		mustPost(t, c, srv.endpoint())
		clk.advance(time.Second)
	}
	if s := c.Stats(); s.Idle != 4 {
		t.Fatalf("%+v", s)
	}
	srv := newRawServer(t, func(conn net.Conn, r *bufio.Reader) {
		answering(okAnswer, false)(conn, r)
		closed <- 100
	})
	mustPost(t, c, srv.endpoint())
	got := []int{await(t, closed, "a close"), await(t, closed, "a close"), await(t, closed, "a close")}
	seen := map[int]bool{got[0]: true, got[1]: true, got[2]: true}
	if !seen[0] || !seen[1] || !seen[100] {
		t.Errorf("closed %v, want the two oldest and the one without room", got)
	}
	mustPost(t, c, srv.endpoint())
	if resp := mustPost(t, c, srv.endpoint()); !resp.Reused {
		t.Error("there was no room for a connection in use")
	}
}

func TestAllocations(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, _ *bufio.Reader) {
		buf := make([]byte, 64<<10)
		answer := []byte(okAnswer)
		for { // one read is one request here: small, and written at once
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	c := newClient(t, send.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req := &send.Request{URL: srv.endpoint(), Headers: benchHeaders, Body: benchBody}
	var resp send.Response
	n := testing.AllocsPerRun(500, func() {
		if err := c.Do(ctx, req, patience, &resp); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 { // 0 in fact; the race detector makes sync.Pool forget at random
		t.Errorf("%.1f allocations per request on a kept-alive connection", n)
	}
	if s := c.Stats(); s.Dials != 1 {
		t.Errorf("%+v", s)
	}
}
