package send

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
)

// tape is a connection that brings recorded bytes, at most step at a time.
type tape struct {
	net.Conn
	data []byte
	step int
}

func (t *tape) Read(p []byte) (int, error) {
	if len(t.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), t.step)], t.data)
	t.data = t.data[n:]
	return n, nil
}

func (*tape) SetDeadline(time.Time) error { return nil }

// parse reads data as a response.
func parse(data []byte, step, maxBody int) (*Response, bool, error) {
	c := &Client{}
	c.opts.setDefaults()
	resp := new(Response)
	x := new(exchange)
	x.begin(context.Background(), nil, resp, time.Hour, maxBody)
	x.cn = &conn{Conn: &tape{data: data, step: step}, pool: &pool{client: c}}
	x.in.reset(x.cn)
	err := x.read()
	return resp, x.reusable, err
}

var responseSeeds = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 x\r\n\r\n",
	"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5, max=9\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 503 No\r\nRetry-After: 120\r\nConnection: close\r\n\r\nbusy",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + strings.Repeat("a", 1024) + "\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 200\nContent-Length: 2\n\nok",
	"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + strings.Repeat("b", 5000),
	"HTTP/2.0 200 OK\r\n\r\n",
	"\x16\x03\x01\x02\x00",
	"",
}

// FuzzResponse checks three things of any bytes that a receiver may send: limits hold; the way in which the bytes are
// cut into reads does not matter; and where net/http accepts them too, it reads the same response.
func FuzzResponse(f *testing.F) {
	for _, s := range responseSeeds {
		f.Add([]byte(s), uint8(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		const limit = 64
		resp, reusable, err := parse(data, len(data)+1, limit)
		if len(resp.Body) > limit || len(resp.RetryAfter) > maxRetryAfter || resp.Status != 0 && resp.Status < 200 {
			t.Fatalf("out of limits: %+v", resp)
		}
		if err != nil && reusable {
			t.Fatalf("the connection is used again after %v", err)
		}

		resp2, reusable2, err2 := parse(data, int(step)+1, limit)
		if resp.Status != resp2.Status || !bytes.Equal(resp.Body, resp2.Body) || resp.RetryAfter != resp2.RetryAfter ||
			(err == nil) != (err2 == nil) || err == nil && resp.Truncated != resp2.Truncated {
			t.Fatalf("in one piece %+v %v\nin pieces %+v %v", resp, err, resp2, err2)
		}
		// Bytes behind the response's end may not have come yet when it is read in pieces.
		if reusable && !reusable2 {
			t.Fatal("the connection is used again only when the response comes in one piece")
		}
		if err != nil {
			return
		}
		want, rest, err := readWithNetHTTP(data)
		if err != nil {
			return
		}
		if resp.Status != want.status || !bytes.Equal(resp.Body, want.body[:min(len(want.body), limit)]) {
			t.Fatalf("%+v\nnet/http reads %+v", resp, want)
		}
		if len(want.body) > limit && !resp.Truncated {
			t.Fatalf("not truncated: %+v, net/http reads %d bytes", resp, len(want.body))
		}
		if resp.RetryAfter != want.retryAfter {
			t.Fatalf("Retry-After %q, net/http reads %q", resp.RetryAfter, want.retryAfter)
		}
		if reusable && (want.close || rest != 0) {
			t.Fatalf("the connection is used again; net/http: close %t, %d bytes left", want.close, rest)
		}
	})
}

type netResponse struct {
	status     int
	body       []byte
	retryAfter string
	close      bool
}

// readWithNetHTTP reads data as net/http does, and says how many bytes follow.
func readWithNetHTTP(data []byte) (netResponse, int, error) {
	r := bufio.NewReaderSize(bytes.NewReader(data), len(data)+16)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodPost})
		if err != nil {
			return netResponse{}, 0, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return netResponse{}, 0, err
		}
		if resp.StatusCode < 200 {
			continue
		}
		// Of several Retry-After headers the last counts here, and the first there.
		retryAfter := ""
		if all := resp.Header.Values("Retry-After"); len(all) > 0 {
			retryAfter = all[len(all)-1]
		}
		return netResponse{
			status:     resp.StatusCode,
			body:       body,
			retryAfter: retryAfter[:min(len(retryAfter), maxRetryAfter)],
			close:      resp.Close,
		}, r.Buffered(), nil
	}
}

// FuzzEndpoint checks that what is accepted as a URL makes one well-formed request head, for the host that was given.
func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{
		"http://example.com/a?b=c", "https://[2001:db8::1]:8443/x", "http://127.0.0.1:80", "http://0177.0.0.1/",
		"http://2130706433/", "http://a@b/", "http://example.com/%0d%0aX:%20y", "http://[::1%25lo]/", "http://a.b./?",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		e, err := ParseEndpoint(raw)
		if err != nil {
			var fe *sidehook.FieldError
			if !errors.As(err, &fe) {
				t.Fatalf("error is %T", err)
			}
			return
		}
		if _, _, hasQuery := strings.Cut(e.String(), "?"); hasQuery {
			t.Fatalf("%q is shown as %q", raw, e)
		}
		if addr, err := netip.ParseAddr(e.Host()); (err == nil) != e.addr.IsValid() || err == nil && addr != e.addr {
			t.Fatalf("host %q, address %v", e.Host(), e.addr)
		}
		x := &exchange{req: &Request{URL: e, Body: []byte("{}")}}
		if err := x.encode("test"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(bytes.NewReader(x.out))
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("%q: %v", x.out, err)
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || string(body) != "{}" || r.Buffered() != 0 || len(req.Header) != 2 || req.Method != "POST" {
			t.Fatalf("%q: %v, %q, %d bytes left, %v", x.out, err, body, r.Buffered(), req.Header)
		}
		host := strings.Trim(req.URL.Hostname(), "[]")
		if host == "" {
			host, _, _ = strings.Cut(req.Host, ":")
		}
		if !e.addr.IsValid() && host != e.Host() {
			t.Fatalf("host %q of %q", host, x.out)
		}
	})
}

// FuzzTunnel checks that of any bytes that a proxy may answer with, only a plain 2xx opens a tunnel, and nothing that
// came behind it is taken for the endpoint's.
func FuzzTunnel(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", "HTTP/1.1 407 No\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n", "\x05\x00", "", "HTTP/1.1 200",
	} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		c := &Client{}
		c.opts.setDefaults()
		t1 := &tape{data: bytes.Clone(data), step: int(step) + 1}
		err := c.readTunnel(t.Context(), &link{Conn: t1})
		var own *Error
		if err != nil && !errors.As(err, &own) {
			t.Fatalf("error is %T %v", err, err)
		}
		if err != nil {
			return
		}
		if !bytes.Contains(data, []byte(" 2")) || !bytes.HasPrefix(data, []byte("HTTP/1.")) {
			t.Fatalf("%q opens a tunnel", data)
		}
		if len(t1.data) == 0 && !bytes.HasSuffix(bytes.ReplaceAll(data, []byte("\r"), nil), []byte("\n\n")) {
			t.Fatalf("%q opens a tunnel with something behind it", data)
		}
	})
}
