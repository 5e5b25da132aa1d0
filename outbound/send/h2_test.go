package send_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

// h2Server is a net/http server that prefers HTTP/2, and counts connections.
type h2Server struct {
	*httptest.Server
	conns atomic.Int64
}

func newH2Server(t testing.TB, h http.HandlerFunc) *h2Server {
	t.Helper()
	s := &h2Server{}
	s.Server = httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func newH2Client(t testing.TB, srv *httptest.Server, opts send.Options) *send.Client {
	t.Helper()
	opts.HTTP2, opts.TLS = true, trusting(srv)
	return newClient(t, opts)
}

func TestHTTP2(t *testing.T) {
	srv := newH2Server(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Proto != "HTTP/2.0" || r.Method != "POST" || r.ContentLength != int64(len(body)) || r.URL.RawQuery != "q=1" {
			t.Errorf("%s %s %s, Content-Length %d of %d, %v", r.Method, r.URL, r.Proto, r.ContentLength, len(body), err)
		}
		if r.Host != srvHost(r) || r.UserAgent() != "Sidehook" || r.Header.Get("webhook-id") != "evt_1" || len(r.Header["X-Twice"]) != 2 ||
			r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("host %s, headers %v", r.Host, r.Header)
		}
		w.Header().Add("Retry-After", "1")
		w.Header().Add("Retry-After", strings.Repeat("2", 200))
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, "got %d", len(body))
	})
	c := newH2Client(t, srv.Server, send.Options{})
	e := endpoint(t, srv.URL+"/in?q=1")
	for i, n := range []int{0, 7, 300_000} {
		resp, err := c.Send(t.Context(), &send.Request{URL: e, Body: make([]byte, n), Headers: []sidehook.Header{
			{Key: "webhook-id", Value: "evt_1"}, {Key: "X-Twice", Value: "a"}, {Key: "x-twice", Value: "b"},
		}}, patience)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Status != 503 || string(resp.Body) != fmt.Sprintf("got %d", n) || resp.Truncated || resp.Reused != (i > 0) ||
			resp.RetryAfter != strings.Repeat("2", 128) {
			t.Errorf("%+v", resp)
		}
	}
	if s := c.Stats(); s.Dials != 1 || s.Reused != 2 || s.Open != 1 || s.Idle != 1 {
		t.Errorf("%+v", s)
	}
	c.Close()
	if s := c.Stats(); s.Open != 0 || s.Idle != 0 {
		t.Errorf("after Close: %+v", s)
	}
}

func srvHost(r *http.Request) string {
	return r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
}

// Many requests at once, from the very first on, share one connection.
func TestHTTP2SharesOneConnection(t *testing.T) {
	const parallel = 64
	var arrived sync.WaitGroup
	arrived.Add(parallel)
	srv := newH2Server(t, func(http.ResponseWriter, *http.Request) {
		arrived.Done()
		arrived.Wait() // all are here at the same time
	})
	c := newH2Client(t, srv.Server, send.Options{})
	e := endpoint(t, srv.URL)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			if resp, err := post(t, c, e); err != nil || resp.Status != 200 {
				t.Errorf("%+v %v", resp, err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Dials != 1 || s.Reused != parallel-1 || srv.conns.Load() != 1 || s.Idle != 1 {
		t.Errorf("%+v, the server saw %d", s, srv.conns.Load())
	}
}

// More requests than the receiver allows per connection get another connection, and no more than needed.
func TestHTTP2MakesAnotherConnectionWhenOneIsFull(t *testing.T) {
	const parallel = 9
	var arrived sync.WaitGroup
	arrived.Add(parallel)
	srv := &h2Server{Server: httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			return
		}
		arrived.Done()
		arrived.Wait()
	}))}
	srv.EnableHTTP2 = true
	srv.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 3}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	c := newH2Client(t, srv.Server, send.Options{})
	mustPost(t, c, endpoint(t, srv.URL+"/first")) // from here on the limit is known
	e := endpoint(t, srv.URL)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			if resp, err := post(t, c, e); err != nil || resp.Status != 200 {
				t.Errorf("%+v %v", resp, err)
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Dials < 3 || s.Dials > 5 || s.Retried != 0 {
		t.Errorf("%+v", s)
	}
}

// An https endpoint that knows no HTTP/2 gets HTTP/1.1, over connections that are used again.
func TestHTTP2IsNotForced(t *testing.T) {
	srv := newTLSServer(t, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Error(r.Proto)
		}
		_, _ = io.WriteString(w, "ok")
	})
	c := newClient(t, send.Options{TLS: trusting(srv), HTTP2: true})
	e := endpoint(t, srv.URL)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if resp, err := post(t, c, e); err != nil || string(resp.Body) != "ok" {
					t.Errorf("%+v %v", resp, err)
				}
			}
		})
	}
	wg.Wait()
	if s := c.Stats(); s.Dials > 8 || s.Reused != 160-s.Dials {
		t.Errorf("%+v", s)
	}
}

func TestHTTP2IsOffUnlessAskedFor(t *testing.T) {
	srv := newH2Server(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })
	c := newClient(t, send.Options{TLS: trusting(srv.Server)})
	if resp := mustPost(t, c, endpoint(t, srv.URL)); string(resp.Body) != "HTTP/1.1" {
		t.Errorf("%s", resp.Body)
	}
}

func TestHTTP2Bodies(t *testing.T) {
	hang := make(chan bool)
	srv := newH2Server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/exact" {
			w.Header().Set("Content-Length", "16")
			_, _ = io.WriteString(w, "0123456789abcdef")
			return
		}
		if r.URL.Path == "/exact-hang" {
			_, _ = io.WriteString(w, "0123456789abcdef")
			w.(http.Flusher).Flush()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		for n := 0; r.URL.Path == "/endless" || n < 1000; n++ {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
				return
			}
		}
	})
	defer close(hang)
	c := newH2Client(t, srv.Server, send.Options{MaxBody: 16})
	for _, tc := range []struct {
		path      string
		truncated bool
	}{{"/exact", false}, {"/exact-hang", true}, {"/megabyte", true}, {"/endless", true}, {"/exact", false}} {
		resp := mustPost(t, c, endpoint(t, srv.URL+tc.path))
		if len(resp.Body) != 16 || resp.Truncated != tc.truncated {
			t.Errorf("%s: %+v", tc.path, resp)
		}
	}
	if s := c.Stats(); s.Dials != 1 || s.Open != 1 {
		t.Errorf("an unread body costs the connection: %+v", s)
	}
}

// A request that times out costs its stream and not the connection, as long as the receiver is there.
func TestHTTP2Timeout(t *testing.T) {
	srv := newH2Server(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
	})
	c := newH2Client(t, srv.Server, send.Options{})
	slow, fast := endpoint(t, srv.URL+"/slow"), endpoint(t, srv.URL+"/fast")
	mustPost(t, c, fast)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.Send(t.Context(), &send.Request{URL: slow, Body: []byte("x")}, 500*time.Millisecond)
		wantError(t, err, send.KindTimeout, "timeout after 500ms waiting for the response")
	})
	for range 50 {
		mustPost(t, c, fast)
	}
	wg.Wait()
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := time.AfterFunc(50*time.Millisecond, func() { cancel(errReason) })
	defer stop.Stop()
	_, err := c.Send(ctx, &send.Request{URL: slow, Body: []byte("x")}, patience)
	wantError(t, err, send.KindCanceled, "canceled while waiting for the response: the sidecar is stopping")
	mustPost(t, c, fast)
	if s := c.Stats(); s.Dials > 2 || s.Retried != 0 {
		t.Errorf("%+v", s)
	}
}

// rawH2 answers HTTP/2 frame by frame.
type rawH2 struct {
	url   string
	cert  tls.Certificate
	conns atomic.Int64
}

// newRawH2 calls answer for each request, with the number of the connection and of the request on it, from 1. An answer
// of false closes the connection.
func newRawH2(t *testing.T, answer func(f *http2.Framer, stream uint32, conn, request int64) bool) (*rawH2, *send.Client) {
	t.Helper()
	s := &rawH2{cert: certificate(t, func(*xCertificate) {})}
	srv := newRawTLS(t, &tls.Config{Certificates: []tls.Certificate{s.cert}, NextProtos: []string{"h2"}}, func(c net.Conn) {
		n := s.conns.Add(1)
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		if f.WriteSettings() != nil {
			return
		}
		requests := int64(0)
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			switch fr := frame.(type) {
			case *http2.SettingsFrame:
				if !fr.IsAck() {
					_ = f.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !fr.IsAck() {
					_ = f.WritePing(true, fr.Data)
				}
			case *http2.MetaHeadersFrame, *http2.DataFrame:
				if fr.Header().Flags.Has(http2.FlagDataEndStream) {
					requests++
					if !answer(f, fr.Header().StreamID, n, requests) {
						return
					}
				}
			}
		}
	})
	s.url = srv
	return s, newClient(t, send.Options{TLS: trustingCert(s.cert), HTTP2: true})
}

// respond writes a response without a body.
func respond(f *http2.Framer, stream uint32, fields ...string) bool {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}) == nil
}

func TestHTTP2ReceiversThatMisbehave(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(f *http2.Framer, stream uint32) bool
		kind   send.Kind
		text   string
	}{
		{
			"reset", func(f *http2.Framer, s uint32) bool { return f.WriteRSTStream(s, http2.ErrCodeInternal) == nil },
			send.KindReset, "request reset by the receiver while waiting for the response (HTTP/2 INTERNAL_ERROR)",
		},
		{
			"calm", func(f *http2.Framer, s uint32) bool { return f.WriteRSTStream(s, http2.ErrCodeEnhanceYourCalm) == nil },
			send.KindReset, "request reset by the receiver while waiting for the response (HTTP/2 ENHANCE_YOUR_CALM)",
		},
		{
			"unknown code", func(f *http2.Framer, s uint32) bool { return f.WriteRSTStream(s, 0x77) == nil },
			send.KindReset, "request reset by the receiver while waiting for the response (HTTP/2 error 0x77)",
		},
		{
			"closed", func(*http2.Framer, uint32) bool { return false },
			send.KindReset, "connection closed by the receiver while waiting for the response",
		},
		{
			"goaway", func(f *http2.Framer, _ uint32) bool {
				_ = f.WriteGoAway(0, http2.ErrCodeProtocol, []byte("s3cret"))
				return false
			},
			send.KindReset, "connection ended by the receiver while waiting for the response (HTTP/2 GOAWAY)",
		},
		{
			"no status", func(f *http2.Framer, s uint32) bool { return respond(f, s, "x", "y") },
			send.KindProtocol, "invalid HTTP/2 response: malformed response from server: missing status pseudo header",
		},
		{
			"bad status", func(f *http2.Framer, s uint32) bool { return respond(f, s, ":status", "2x0") },
			send.KindProtocol, "invalid HTTP/2 response: malformed response from server: malformed non-numeric status pseudo header",
		},
		{
			"upper case", func(f *http2.Framer, s uint32) bool { return respond(f, s, ":status", "200", "X-Y", "z") },
			send.KindProtocol, `invalid HTTP/2 response: invalid header field name "X-Y"`,
		},
		{
			"large headers", func(f *http2.Framer, s uint32) bool {
				return respond(f, s, ":status", "200", "x", strings.Repeat("y", 15000), "z", strings.Repeat("y", 100))
			},
			"", "",
		},
		{
			"frame of the wrong kind", func(f *http2.Framer, s uint32) bool {
				return f.WriteRawFrame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, s, []byte{0, 0, 0, 2}) == nil
			},
			send.KindProtocol, "invalid HTTP/2 response: PROTOCOL_ERROR",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, c := newRawH2(t, func(f *http2.Framer, s uint32, _, _ int64) bool { return tc.answer(f, s) })
			resp, err := post(t, c, endpoint(t, srv.url+"/in?token=s3cret"))
			if tc.kind == "" {
				if err != nil || resp.Status != 200 {
					t.Fatalf("%+v %v", resp, err)
				}
				return
			}
			wantError(t, err, tc.kind, tc.text)
			if n := srv.conns.Load(); n != 1 {
				t.Errorf("%d connections for a request that failed on a new one", n)
			}
		})
	}
}

// A connection that ends, or that takes no more requests, is replaced without a failure.
func TestHTTP2StaleConnectionIsReplaced(t *testing.T) {
	for name, second := range map[string]func(f *http2.Framer, s uint32) bool{
		"closed":  func(*http2.Framer, uint32) bool { return false },
		"refused": func(f *http2.Framer, s uint32) bool { return f.WriteRSTStream(s, http2.ErrCodeRefusedStream) == nil },
		"goaway":  func(f *http2.Framer, s uint32) bool { _ = f.WriteGoAway(s-2, http2.ErrCodeNo, nil); return false },
	} {
		t.Run(name, func(t *testing.T) {
			srv, c := newRawH2(t, func(f *http2.Framer, s uint32, conn, request int64) bool {
				if conn == 1 && request == 2 {
					return second(f, s)
				}
				return respond(f, s, ":status", "200")
			})
			e := endpoint(t, srv.url)
			mustPost(t, c, e)
			if resp := mustPost(t, c, e); resp.Reused {
				t.Errorf("%+v", resp)
			}
			for range 3 {
				mustPost(t, c, e)
			}
			if s := c.Stats(); s.Dials != 2 || s.Retried != 1 || s.Open != 1 || srv.conns.Load() != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What a receiver takes leave of in good order, it has not taken up: it is sent again, on one connection after another, but
// not for ever.
func TestHTTP2GoodbyesCostNoAttempt(t *testing.T) {
	for goodbyes, want := range map[int64]string{
		1: "", 4: "", 5: "connection ended by the receiver while waiting for the response (HTTP/2 GOAWAY)",
	} {
		t.Run(strconv.FormatInt(goodbyes, 10), func(t *testing.T) {
			srv, c := newRawH2(t, func(f *http2.Framer, s uint32, conn, _ int64) bool {
				if conn <= goodbyes {
					_ = f.WriteGoAway(0, http2.ErrCodeNo, nil)
					return false
				}
				return respond(f, s, ":status", "200")
			})
			resp, err := post(t, c, endpoint(t, srv.url))
			if want == "" {
				if err != nil || resp.Status != 200 || resp.Reused {
					t.Errorf("%+v %v", resp, err)
				}
			} else {
				wantError(t, err, send.KindReset, want)
			}
			if n := srv.conns.Load(); n != min(goodbyes+1, 5) {
				t.Errorf("%d connections", n)
			}
			if s := c.Stats(); s.Retried != 0 || s.Reused != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A receiver that chooses HTTP/2 and then asks for HTTP/1.1 gets it, from then on.
func TestHTTP2AskedForHTTP1(t *testing.T) {
	cert := certificate(t, func(*xCertificate) {})
	var h1, h2 atomic.Int64
	url := newRawTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, func(c net.Conn) {
		tc := c.(*tls.Conn)
		if err := tc.Handshake(); err != nil {
			return
		}
		if tc.ConnectionState().NegotiatedProtocol != "h2" {
			h1.Add(1)
			answering(okAnswer, false)(c, newReader(c))
			return
		}
		h2.Add(1)
		preface := make([]byte, len(http2.ClientPreface))
		_, _ = io.ReadFull(c, preface)
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if fr := frame.Header(); fr.Type == http2.FrameHeaders {
				_ = f.WriteRSTStream(fr.StreamID, http2.ErrCodeHTTP11Required)
			}
		}
	})
	c := newClient(t, send.Options{TLS: trustingCert(cert), HTTP2: true})
	e := endpoint(t, url)
	for range 4 {
		if resp := mustPost(t, c, e); string(resp.Body) != "ok" {
			t.Errorf("%+v", resp)
		}
	}
	if h1.Load() != 1 || h2.Load() != 1 {
		t.Errorf("%d connections with HTTP/1.1, %d with HTTP/2", h1.Load(), h2.Load())
	}
}

// What waits for another request's connection fails in its own time, and goes on when that connection cannot be made.
func TestWaitingForAnothersConnection(t *testing.T) {
	release := make(chan bool)
	dialled := make(chan bool, 10)
	srv := newRawServer(t, func(c net.Conn, _ *bufioReader) {
		dialled <- true
		<-release // no handshake until then
	})
	c := newClient(t, send.Options{HTTP2: true})
	e := endpoint(t, "https"+strings.TrimPrefix(srv.url(), "http"))
	var wg sync.WaitGroup
	first := make(chan error, 2)
	wg.Go(func() {
		_, err := post(t, c, e)
		first <- err
	})
	await(t, dialled, "the first connection")
	_, err := c.Send(t.Context(), &send.Request{URL: e}, 60*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 60ms waiting for a connection")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errReason)
	_, err = c.Send(ctx, &send.Request{URL: e}, patience)
	wantError(t, err, send.KindCanceled, "canceled while waiting for a connection: the sidecar is stopping")
	if n := srv.accepted(); n != 1 {
		t.Errorf("%d connections", n)
	}
	wg.Go(func() {
		_, err := post(t, c, e)
		first <- err
	})
	close(release)
	for range 2 {
		wantError(t, await(t, first, "the requests"), send.KindTLS, "TLS: connection closed by the receiver during the handshake")
	}
	wg.Wait()
}

func TestHTTP2IdleConnectionsAreClosed(t *testing.T) {
	closed := make(chan bool, 1)
	srv := newH2Server(t, func(http.ResponseWriter, *http.Request) {})
	c := newH2Client(t, srv.Server, send.Options{IdleTimeout: 40 * time.Millisecond})
	mustPost(t, c, endpoint(t, srv.URL))
	go func() {
		for c.Stats().Open != 0 {
			<-time.After(time.Millisecond)
		}
		closed <- true
	}()
	await(t, closed, "the reaper")
	if s := c.Stats(); s.Idle != 0 {
		t.Errorf("%+v", s)
	}
	if resp := mustPost(t, c, endpoint(t, srv.URL)); resp.Reused {
		t.Errorf("%+v", resp)
	}
}

// A request in flight when the Client is closed ends as usual, and its connection with it.
func TestHTTP2Close(t *testing.T) {
	entered, proceed := make(chan bool), make(chan bool)
	srv := newH2Server(t, func(http.ResponseWriter, *http.Request) {
		entered <- true
		<-proceed
	})
	c := newH2Client(t, srv.Server, send.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if resp, err := post(t, c, endpoint(t, srv.URL)); err != nil || resp.Status != 200 {
			t.Errorf("%+v %v", resp, err)
		}
	})
	await(t, entered, "the request")
	c.Close()
	proceed <- true
	wg.Wait()
	if s := c.Stats(); s.Open != 0 || s.Idle != 0 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkHTTP2(b *testing.B) {
	srv := newH2Server(b, func(http.ResponseWriter, *http.Request) {})
	for name, h2 := range map[string]bool{"h2": true, "h1": false} {
		b.Run(name, func(b *testing.B) {
			c := newClient(b, send.Options{TLS: trusting(srv.Server), HTTP2: h2})
			e := endpoint(b, srv.URL)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				var resp send.Response
				for pb.Next() {
					if err := c.Do(b.Context(), &send.Request{URL: e, Headers: benchHeaders, Body: benchBody}, patience, &resp); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// A receiver that has gone without a word costs the request that is under way and not the next one.
func TestHTTP2SilentConnectionIsLeft(t *testing.T) {
	over := make(chan bool)
	srv, c := newRawH2(t, func(f *http2.Framer, s uint32, conn, request int64) bool {
		if conn == 1 && request > 1 {
			<-over // nothing is read and nothing is sent any more
			return false
		}
		return respond(f, s, ":status", "200")
	})
	t.Cleanup(func() { close(over) })
	e := endpoint(t, srv.url)
	mustPost(t, c, e)
	_, err := c.Send(t.Context(), &send.Request{URL: e, Body: []byte("x")}, 200*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 200ms waiting for the response")
	for range 3 {
		mustPost(t, c, e)
	}
	if s := c.Stats(); s.Dials != 2 || s.Open != 1 || s.Retried != 0 {
		t.Errorf("%+v", s)
	}
}
