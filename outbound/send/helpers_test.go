package send_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

func TestMain(m *testing.M) {
	if os.Getenv(receiverEnv) != "" {
		receive()
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is the timeout of requests that are expected to succeed, or to fail for another reason.
const patience = 20 * time.Second

// newClient makes a Client that may connect to loopback addresses, where the test servers are.
func newClient(t testing.TB, opts send.Options) *send.Client {
	t.Helper()
	if opts.Guard == nil {
		opts.Guard = send.NewGuard(send.GuardOptions{AllowLoopback: true})
	}
	c := send.New(opts)
	t.Cleanup(c.Close)
	return c
}

func endpoint(t testing.TB, rawURL string) *send.Endpoint {
	t.Helper()
	e, err := send.ParseEndpoint(rawURL)
	if err != nil {
		t.Fatalf("ParseEndpoint(%q): %v", rawURL, err)
	}
	return e
}

// post sends a small body and returns what came of it.
func post(t testing.TB, c *send.Client, e *send.Endpoint) (*send.Response, error) {
	t.Helper()
	return c.Send(t.Context(), &send.Request{URL: e, Body: []byte(`{"a":1}`)}, patience)
}

// mustPost is post where the request has to succeed.
func mustPost(t testing.TB, c *send.Client, e *send.Endpoint) *send.Response {
	t.Helper()
	resp, err := post(t, c, e)
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	return resp
}

// wantError checks that err is a *send.Error of that kind and text.
func wantError(t testing.TB, err error, kind send.Kind, text string) {
	t.Helper()
	var se *send.Error
	if !errors.As(err, &se) {
		t.Fatalf("error is %T %v, want a *send.Error", err, err)
	}
	if se.Kind != kind || se.Error() != text {
		t.Fatalf("error is %s %q\nwant     %s %q", se.Kind, se.Error(), kind, text)
	}
}

// rawServer runs serve for every connection; the connection is closed when serve returns. All are closed, and
// waited for, at the end of the test.
type rawServer struct {
	t     testing.TB
	ln    net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]bool
	count int
}

func newRawServer(t testing.TB, serve func(c net.Conn, r *bufio.Reader)) *rawServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{t: t, ln: ln, conns: make(map[net.Conn]bool)}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.count++
			s.mu.Unlock()
			s.wg.Go(func() {
				serve(c, bufio.NewReader(c))
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *rawServer) url() string { return "http://" + s.ln.Addr().String() + "/in" }

func (s *rawServer) endpoint() *send.Endpoint { return endpoint(s.t, s.url()) }

// accepted is how many connections have come in.
func (s *rawServer) accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// readRequest reads one request to its end.
func readRequest(r *bufio.Reader) (*http.Request, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return req, err
}

// answering serves the same bytes for every request; after one it closes when once is set.
func answering(answer string, once bool) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			if _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil || once {
				return
			}
		}
	}
}

// untilClosed reads until the client has gone.
func untilClosed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newHTTPServer(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func await[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// clock is a settable Options.Now.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A delivery as it looks in real life.
var benchBody = bytes.Repeat([]byte("x"), 1024)

var benchHeaders = []sidehook.Header{
	{Key: "Content-Type", Value: "application/json"},
	{Key: "webhook-id", Value: "evt_0123456789abcdefghijklmnop"},
	{Key: "webhook-timestamp", Value: "1700000000"},
	{Key: "webhook-signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	{Key: "Sidehook-Delivery", Value: "dlv_0123456789abcdefghjkmnpqrs"},
	{Key: "Sidehook-Attempt", Value: "1"},
	{Key: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
}
