package send_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// Responses that break a rule or a limit: each is refused with a reason, and its connection is closed.
func TestMalformedResponses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	const invalid = "invalid HTTP response: "
	for _, tc := range []struct {
		name   string
		answer string
		text   string
		status int
	}{
		{"garbage", "\x16\x03\x01garbage\r\n", `it starts with "\x16\x03\x01garbage" and not with an HTTP/1.1 status line`, 0},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", `it starts with "SSH-2.0-OpenSSH_9.2" and not with an HTTP/1.1 status line`, 0},
		{"empty line first", "\r\n" + okAnswer, `it starts with "" and not with an HTTP/1.1 status line`, 0},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", `it starts with "HTTP/2.0 200 OK" and not with an HTTP/1.1 status line`, 0},
		{"two digits", "HTTP/1.1 20 OK\r\n\r\n", `it starts with "HTTP/1.1 20 OK" and not with an HTTP/1.1 status line`, 0},
		{"four digits", "HTTP/1.1 2000\r\n\r\n", `it starts with "HTTP/1.1 2000" and not with an HTTP/1.1 status line`, 0},
		{"negative", "HTTP/1.1 -20 OK\r\n\r\n", `it starts with "HTTP/1.1 -20 OK" and not with an HTTP/1.1 status line`, 0},
		{"lower case", "http/1.1 200 OK\r\n\r\n", `it starts with "http/1.1 200 OK" and not with an HTTP/1.1 status line`, 0},
		{"status 042", "HTTP/1.1 042 OK\r\n\r\n", "status 042 is less than 100", 0},
		{"NUL in reason", "HTTP/1.1 200 O\x00K\r\n\r\n", "status line with control characters", 0},
		{"no colon", ok + "Nonsense\r\n\r\n", `header line "Nonsense" has no legal name`, 0},
		{"space before colon", ok + "Content-Length : 2\r\n\r\nok", `header line "Content-Length : 2" has no legal name`, 0},
		{"empty name", ok + ": x\r\n\r\n", `header line ": x" has no legal name`, 0},
		{"CR in value", ok + "X: a\rb\r\n\r\n", "header X has control characters in it", 0},
		{"NUL in value", ok + "X: a\x00b\r\n\r\n", "header X has control characters in it", 0},
		{"first header folded", ok + " X: y\r\n\r\n", "a header is folded over several lines", 0},
		{"length folded", ok + "Content-Length: 2\r\n 2\r\n\r\nok", "a header is folded over several lines", 0},
		{"two lengths", ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "Content-Length is given twice, and differs", 0},
		{"list of lengths", ok + "Content-Length: 2, 2\r\n\r\nok", `Content-Length "2, 2" is not a length`, 0},
		{"signed length", ok + "Content-Length: +2\r\n\r\nok", `Content-Length "+2" is not a length`, 0},
		{"negative length", ok + "Content-Length: -2\r\n\r\nok", `Content-Length "-2" is not a length`, 0},
		{"empty length", ok + "Content-Length:\r\n\r\nok", `Content-Length "" is not a length`, 0},
		{"hex length", ok + "Content-Length: 0x2\r\n\r\nok", `Content-Length "0x2" is not a length`, 0},
		{"huge length", ok + "Content-Length: 9999999999999999999\r\n\r\n", `Content-Length "9999999999999999999" is not a length`, 0},
		{"length and chunked", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "both Transfer-Encoding and Content-Length are given", 0},
		{"gzip, chunked", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", `Transfer-Encoding "gzip, chunked" is not supported, only one chunked`, 0},
		{"identity", ok + "Transfer-Encoding: identity\r\n\r\n", `Transfer-Encoding "identity" is not supported, only one chunked`, 0},
		{"chunked twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", `Transfer-Encoding "chunked" is not supported, only one chunked`, 0},
		{"chunked in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding in HTTP/1.0", 0},
		{"upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "101 Switching Protocols was not asked for", 0},
		{"1xx flood", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 6) + okAnswer, "more than 5 interim (1xx) responses", 0},
		{"many headers", ok + strings.Repeat("X: y\r\n", 101) + "\r\n", "more than 100 headers", 0},
		{"many headers in 1xx", strings.Repeat("HTTP/1.1 103 E\r\n"+strings.Repeat("X: y\r\n", 30)+"\r\n", 5), "more than 100 headers", 0},
		{"large headers", ok + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 40) + "\r\n", "headers of more than 32 KiB", 0},
		{"one long header", ok + "X: " + strings.Repeat("y", 40<<10), "headers of more than 32 KiB", 0},
		{"one long status line", "HTTP/1.1 200 " + strings.Repeat("y", 40<<10), "headers of more than 32 KiB", 0},
		{"many folds", ok + "X: y\r\n" + strings.Repeat(" "+strings.Repeat("y", 1000)+"\r\n", 40), "headers of more than 32 KiB", 0},
		{"chunk size", chunked + "zz\r\n", `chunk size "zz" is not a hexadecimal number`, 200},
		{"signed chunk size", chunked + "+2\r\nok\r\n0\r\n\r\n", `chunk size "+2" is not a hexadecimal number`, 200},
		{"prefixed chunk size", chunked + "0x2\r\nok\r\n0\r\n\r\n", `chunk size "0x2" is not a hexadecimal number`, 200},
		{"space before chunk size", chunked + " 2\r\nok\r\n0\r\n\r\n", `chunk size " 2" is not a hexadecimal number`, 200},
		{"empty chunk size", chunked + "\r\n", `chunk size "" is not a hexadecimal number`, 200},
		{"huge chunk size", chunked + "fffffffffffffffff\r\n", "a chunk size of more than 15 digits", 200},
		{"chunk longer", chunked + "1\r\nok\r\n0\r\n\r\n", "a chunk is longer than its size", 200},
		{"chunk shorter", chunked + "3\r\nok\r\n0\r\n\r\n", "a chunk line that does not end with CR LF", 200},
		{"chunk line with LF", chunked + "2\nok\r\n0\r\n\r\n", "a chunk line that does not end with CR LF", 200},
		{"chunk data with LF", chunked + "2\r\nok\n0\r\n\r\n", "a chunk line that does not end with CR LF", 200},
		{"CR in extension", chunked + "2;a\rb\r\nok\r\n0\r\n\r\n", "a chunk line that does not end with CR LF", 200},
		{"long extension", chunked + "2;" + strings.Repeat("x", 2000) + "\r\nok\r\n0\r\n\r\n", "a chunk line of more than 1 KiB", 200},
		{"extensions without end", chunked + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 100), "more than 64 KiB of chunk lines and trailers", 200},
		{"bad trailer", chunked + "2\r\nok\r\n0\r\nnonsense\r\n\r\n", `header line "nonsense" has no legal name`, 200},
		{"many trailers", chunked + "2\r\nok\r\n0\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n", "more than 100 trailers", 200},
		{"large trailers", chunked + "2\r\nok\r\n0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 2000)+"\r\n", 40) + "\r\n", "more than 64 KiB of chunk lines and trailers", 200},
		{"bad length of trailer", chunked + "2\r\nok\r\n0\r\nContent-Length: x\r\n\r\n", `Content-Length "x" is not a length`, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
				if _, err := readRequest(r); err == nil {
					_, _ = io.WriteString(c, tc.answer)
					untilClosed(c)
				}
			})
			c := newClient(t, send.Options{})
			resp, err := post(t, c, srv.endpoint())
			wantError(t, err, send.KindProtocol, invalid+tc.text)
			if resp.Status != tc.status {
				t.Errorf("status %d, want %d", resp.Status, tc.status)
			}
			if s := c.Stats(); s.Open != 0 || s.Retried != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Connections that end too early.
func TestBrokenOffResponses(t *testing.T) {
	for _, tc := range []struct {
		name, answer, text string
		status             int
		body               string
	}{
		{"at once", "", "connection closed by the receiver while waiting for the response", 0, ""},
		{"in the status line", "HTTP/1.1 2", "connection closed by the receiver while waiting for the response", 0, ""},
		{"in the headers", "HTTP/1.1 200 OK\r\nX: y\r\n", "connection closed by the receiver while reading the response headers", 0, ""},
		{"after a 1xx", "HTTP/1.1 100 Continue\r\n\r\n", "connection closed by the receiver while reading the response headers", 0, ""},
		{"in the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "connection closed by the receiver while reading the response body", 200, "ok"},
		{"in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "connection closed by the receiver while reading the response body", 200, "ok"},
		{"between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "connection closed by the receiver while reading the response body", 200, "ok"},
		{"in the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n", "connection closed by the receiver while reading the response body", 200, "ok"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := newRawServer(t, answering(tc.answer, true))
			c := newClient(t, send.Options{})
			resp, err := post(t, c, srv.endpoint())
			wantError(t, err, send.KindReset, tc.text)
			if resp.Status != tc.status || string(resp.Body) != tc.body {
				t.Errorf("%+v", resp)
			}
			if n := srv.accepted(); n != 1 {
				t.Errorf("%d connections, want 1: a new connection's failure is not retried", n)
			}
			if s := c.Stats(); s.Open != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestResetByReceiver(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = readRequest(r)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	_, err := post(t, newClient(t, send.Options{}), srv.endpoint())
	wantError(t, err, send.KindReset, "connection reset by the receiver while waiting for the response")
}

// Oddities that are fine.
func TestAcceptedOddities(t *testing.T) {
	for _, answer := range []string{
		strings.Repeat("HTTP/1.1 103 Early Hints\r\nContent-Length: 99\r\n\r\n", 5) + okAnswer,
		"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 \xe9t\xe9\r\ncontent-LENGTH:2  \r\n\r\nok",
		"HTTP/1.1 200 OK\r\nX-" + strings.Repeat("y", 20000) + ": z\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n00001;a=b;c=\"d\"\r\nk\r\n0 \r\nX: y\r\n\r\n",
		"HTTP/1.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
	} {
		srv := newRawServer(t, answering(answer, false))
		c := newClient(t, send.Options{})
		for i := range 2 {
			resp := mustPost(t, c, srv.endpoint())
			if resp.Status != 200 || string(resp.Body) != "ok" || resp.Truncated || resp.Reused != (i == 1) {
				t.Errorf("%.80q: %+v", answer, resp)
			}
		}
	}
}

// 204 and 304 have no body whatever their headers say; bytes that follow cost the connection.
func TestNoBody(t *testing.T) {
	for answer, reused := range map[string]bool{
		"HTTP/1.1 204 No Content\r\n\r\n":                                true,
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n":           true,
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n":         true,
		"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n":  true,
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello":      false,
		"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n":        true,
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                   true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": true,
	} {
		srv := newRawServer(t, answering(answer, false))
		c := newClient(t, send.Options{})
		for range 2 {
			if resp := mustPost(t, c, srv.endpoint()); len(resp.Body) != 0 || resp.Truncated {
				t.Errorf("%q: %+v", answer, resp)
			}
		}
		if got := c.Stats().Reused == 1; got != reused {
			t.Errorf("%q: reused %t, want %t", answer, got, reused)
		}
	}
}

// A body without end is left as soon as enough of it has come.
func TestEndlessBodies(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	block := strings.Repeat("0123456789abcdef", 1024)
	for name, tc := range map[string]struct{ head, piece string }{
		"to the end of the connection": {ok + "\r\n", block},
		"chunked":                      {ok + "Transfer-Encoding: chunked\r\n\r\n", "4000\r\n" + block + "\r\n"},
		"one huge chunk":               {ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", block},
		"huge length":                  {ok + "Content-Length: 100000000000\r\n\r\n", block},
		"tiny chunks":                  {ok + "Transfer-Encoding: chunked\r\n\r\n", strings.Repeat("1\r\na\r\n", 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan bool, 1)
			srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
				if _, err := readRequest(r); err != nil {
					return
				}
				_, err := io.WriteString(c, tc.head)
				for err == nil {
					_, err = io.WriteString(c, tc.piece)
				}
				gone <- true
			})
			resp := mustPost(t, newClient(t, send.Options{}), srv.endpoint())
			toEOF := name == "to the end of the connection"
			if resp.Status != 200 || len(resp.Body) != 1024 || !resp.Truncated || resp.Cut == toEOF {
				t.Errorf("status %d, %d bytes, truncated %t, cut %t", resp.Status, len(resp.Body), resp.Truncated, resp.Cut)
			}
			await(t, gone, "the client to hang up")
		})
	}
}

// A receiver that stalls behind the part of the body that is kept does not hold the delivery up.
func TestStallBehindTheKeptPart(t *testing.T) {
	for name, head := range map[string]string{
		"length":  "Content-Length: 2000\r\n\r\n" + strings.Repeat("x", 1024),
		"chunked": "Transfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("x", 1024) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
				if _, err := readRequest(r); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head)
					untilClosed(c)
				}
			})
			start := time.Now()
			resp := mustPost(t, newClient(t, send.Options{}), srv.endpoint())
			if len(resp.Body) != 1024 || !resp.Truncated {
				t.Errorf("%d bytes, truncated %t", len(resp.Body), resp.Truncated)
			}
			if d := time.Since(start); d > patience/2 {
				t.Errorf("took %s", d)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	const short = 300 * time.Millisecond
	for _, tc := range []struct {
		name, answer, text string
		status             int
	}{
		{"silence", "", "timeout after 300ms waiting for the response", 0},
		{"half a status line", "HTTP/1.1", "timeout after 300ms waiting for the response", 0},
		{"half a head", "HTTP/1.1 200 OK\r\nX: y\r\n", "timeout after 300ms reading the response headers", 0},
		{"1xx only", "HTTP/1.1 100 Continue\r\n\r\n", "timeout after 300ms reading the response headers", 0},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "timeout after 300ms reading the response body", 200},
		{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "timeout after 300ms reading the response body", 200},
		{"open end", "HTTP/1.1 200 OK\r\n\r\nok", "timeout after 300ms reading the response body", 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
				if _, err := readRequest(r); err == nil {
					_, _ = io.WriteString(c, tc.answer)
					untilClosed(c)
				}
			})
			c := newClient(t, send.Options{})
			resp, err := c.Send(t.Context(), &send.Request{URL: srv.endpoint()}, short)
			wantError(t, err, send.KindTimeout, tc.text)
			if resp.Status != tc.status {
				t.Errorf("status %d", resp.Status)
			}
			if s := c.Stats(); s.Open != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The timeout is for the whole request: bytes that drip in do not extend it.
func TestDripDoesNotExtendTheTimeout(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readRequest(r); err != nil {
			return
		}
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
		for err == nil {
			<-tick.C
			_, err = io.WriteString(c, "y")
		}
	})
	c := newClient(t, send.Options{})
	_, err := c.Send(t.Context(), &send.Request{URL: srv.endpoint()}, 300*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 300ms reading the response headers")
}

func TestTimeoutOfARequestThatIsNotRead(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, _ *bufio.Reader) {
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		<-t.Context().Done()
	})
	c := newClient(t, send.Options{})
	_, err := c.Send(t.Context(), &send.Request{URL: srv.endpoint(), Body: make([]byte, 32<<20)}, 400*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 400ms sending the request")
}

func TestTimeoutInTLSHandshake(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, _ *bufio.Reader) { untilClosed(c) })
	e := endpoint(t, "https://"+srv.ln.Addr().String())
	c := newClient(t, send.Options{})
	_, err := c.Send(t.Context(), &send.Request{URL: e}, 300*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 300ms in the TLS handshake")

	c = newClient(t, send.Options{DialTimeout: 250 * time.Millisecond})
	_, err = c.Send(t.Context(), &send.Request{URL: e}, patience)
	wantError(t, err, send.KindTimeout, "timeout after 250ms in the TLS handshake")
}

func TestDeadlineOfTheContext(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, _ *bufio.Reader) { untilClosed(c) })
	c := newClient(t, send.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Send(ctx, &send.Request{URL: srv.endpoint()}, patience)
	var se *send.Error
	if !errors.As(err, &se) || se.Kind != send.KindTimeout || !se.Timeout() {
		t.Errorf("%v", err)
	}
}

var errReason = errors.New("the sidecar is stopping")

// The end of the context aborts a request at once, wherever it is, and the error says why.
func TestCancel(t *testing.T) {
	arrived := make(chan bool, 1)
	for _, tc := range []struct {
		name, scheme, text string
		serve              func(net.Conn, *bufio.Reader)
	}{
		{
			"waiting", "http", "canceled while waiting for the response: the sidecar is stopping",
			func(c net.Conn, r *bufio.Reader) {
				_, _ = readRequest(r)
				arrived <- true
				untilClosed(c)
			},
		},
		{
			"in the handshake", "https", "canceled while in the TLS handshake: the sidecar is stopping",
			func(c net.Conn, r *bufio.Reader) {
				_, _ = r.ReadByte()
				arrived <- true
				untilClosed(c)
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := newRawServer(t, tc.serve)
			c := newClient(t, send.Options{})
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-arrived
				cancel(errReason)
			}()
			_, err := c.Send(ctx, &send.Request{URL: endpoint(t, tc.scheme+"://"+srv.ln.Addr().String())}, patience)
			wantError(t, err, send.KindCanceled, tc.text)
			if !errors.Is(err, errReason) {
				t.Error("the cause is lost")
			}
			if s := c.Stats(); s.Open != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestCanceledBefore(t *testing.T) {
	srv := newRawServer(t, answering(okAnswer, false))
	c := newClient(t, send.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	req := &send.Request{URL: srv.endpoint()}
	if _, err := c.Send(ctx, req, patience); err != nil {
		t.Fatal(err)
	}
	cancel(errReason)
	for range 2 { // with an idle connection, then without
		if _, err := c.Send(ctx, req, patience); !errors.Is(err, errReason) {
			t.Errorf("%v", err)
		}
	}
	if s := c.Stats(); s.Dials != 1 {
		t.Errorf("%+v", s)
	}
}

// Requests are canceled at random moments, on connections that are used again and again by requests with other
// contexts: none may hang, none that is not canceled may fail.
func TestCancelStorm(t *testing.T) {
	srv := newRawServer(t, answering(okAnswer, false))
	c := newClient(t, send.Options{})
	e := srv.endpoint()
	done := make(chan error, 8)
	for w := range cap(done) {
		go func() {
			for i := range 300 {
				ctx, cancel := context.WithCancelCause(t.Context())
				if w%2 == 0 {
					delay := time.Duration(i%50) * 4 * time.Microsecond
					stop := time.AfterFunc(delay, func() { cancel(errReason) })
					defer stop.Stop()
				}
				_, err := c.Send(ctx, &send.Request{URL: e}, patience)
				cancel(nil)
				if err != nil && (w%2 == 1 || !errors.Is(err, errReason)) {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := await(t, done, "the requests"); err != nil {
			t.Error(err)
		}
	}
}

// A receiver that refuses a large request before it has read it: its answer counts, not the broken write.
func TestEarlyAnswer(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
		_ = c.(*net.TCPConn).CloseWrite()
		untilClosed(c)
	})
	c := newClient(t, send.Options{})
	resp, err := c.Send(t.Context(), &send.Request{URL: srv.endpoint(), Body: make([]byte, 8<<20)}, patience)
	if err != nil || resp.Status != 413 || string(resp.Body) != "big" {
		t.Errorf("%+v %v", resp, err)
	}
}

// A receiver that answers whoever connects, such as nc with an answer for its input, has answered before the request is
// out, and says no more.
func TestAnswerBeforeTheRequest(t *testing.T) {
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
		_, _ = readRequest(r)
		untilClosed(c)
	})
	c := newClient(t, send.Options{})
	e := srv.endpoint()
	for range 500 { // whether the answer or the request is first is chance
		if resp := mustPost(t, c, e); string(resp.Body) != "ok" {
			t.Fatalf("%+v", resp)
		}
	}
}
