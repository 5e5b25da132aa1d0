package send_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// secondTime answers the first request of the first connection and calls then for the second; later connections are
// answered as usual.
func secondTime(then func(c *net.TCPConn, r *bufio.Reader)) func(net.Conn, *bufio.Reader) {
	first := make(chan bool, 1)
	first <- true
	return func(c net.Conn, r *bufio.Reader) {
		select {
		case <-first:
		default:
			answering(okAnswer, false)(c, r)
			return
		}
		if _, err := readRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, okAnswer)
		then(c.(*net.TCPConn), r)
	}
}

// A kept-alive connection that ends before a byte of the response is replaced, once.
func TestStaleConnectionIsReplaced(t *testing.T) {
	for name, then := range map[string]func(*net.TCPConn, *bufio.Reader){
		"closed after the request": func(_ *net.TCPConn, r *bufio.Reader) { _, _ = readRequest(r) },
		"reset after the request": func(c *net.TCPConn, r *bufio.Reader) {
			_, _ = readRequest(r)
			_ = c.SetLinger(0)
		},
		"reset in the request": func(c *net.TCPConn, r *bufio.Reader) {
			_, _ = r.ReadByte() // unread bytes make the close a reset
			_ = c.SetLinger(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := newRawServer(t, secondTime(then))
			// A clock that stands still keeps the check for a quiet connection away.
			c := newClient(t, send.Options{Now: newClock().Now})
			e := srv.endpoint()
			mustPost(t, c, e)
			resp := mustPost(t, c, e)
			if string(resp.Body) != "ok" || resp.Reused {
				t.Errorf("%+v", resp)
			}
			if s := c.Stats(); s.Dials != 2 || s.Retried != 1 || s.Open != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The large body of a request that has to be sent again is complete the second time.
func TestStaleConnectionAndLargeBody(t *testing.T) {
	srv := newRawServer(t, secondTime(func(_ *net.TCPConn, r *bufio.Reader) { _, _ = r.ReadByte() }))
	c := newClient(t, send.Options{Now: newClock().Now})
	e := srv.endpoint()
	mustPost(t, c, e)
	resp, err := c.Send(t.Context(), &send.Request{URL: e, Body: make([]byte, 4<<20)}, patience)
	if err != nil || string(resp.Body) != "ok" {
		t.Errorf("%+v %v", resp, err)
	}
	if s := c.Stats(); s.Retried != 1 {
		t.Errorf("%+v", s)
	}
}

func TestNoSecondTryOnceAnswerHasBegun(t *testing.T) {
	srv := newRawServer(t, secondTime(func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = readRequest(r)
		_, _ = io.WriteString(c, "HTTP/1.")
	}))
	c := newClient(t, send.Options{Now: newClock().Now})
	e := srv.endpoint()
	mustPost(t, c, e)
	_, err := post(t, c, e)
	wantError(t, err, send.KindReset, "connection closed by the receiver while waiting for the response")
	if s := c.Stats(); s.Dials != 1 || s.Retried != 0 || s.Open != 0 {
		t.Errorf("%+v", s)
	}
}

func TestNoSecondTryAfterTimeout(t *testing.T) {
	srv := newRawServer(t, secondTime(func(c *net.TCPConn, _ *bufio.Reader) { untilClosed(c) }))
	c := newClient(t, send.Options{Now: newClock().Now})
	e := srv.endpoint()
	mustPost(t, c, e)
	_, err := c.Send(t.Context(), &send.Request{URL: e}, 300*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 300ms waiting for the response")
	if s := c.Stats(); s.Dials != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOnlyOneSecondTry(t *testing.T) {
	served := make(chan bool, 1)
	srv := newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readRequest(r); err != nil {
			return
		}
		select {
		case served <- true: // the very first request is answered, all others are hung up on
			_, _ = io.WriteString(c, okAnswer)
			_, _ = readRequest(r)
		default:
		}
	})
	c := newClient(t, send.Options{Now: newClock().Now})
	e := srv.endpoint()
	mustPost(t, c, e)
	_, err := post(t, c, e)
	wantError(t, err, send.KindReset, "connection closed by the receiver while waiting for the response")
	if n := srv.accepted(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// Before a connection that has been idle for a while is used, it is checked: what came in meanwhile is no answer to
// the next request.
func TestIdleConnectionThatIsNotQuiet(t *testing.T) {
	for name, goodbye := range map[string]string{
		"closed":       "",
		"status 408":   "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"early answer": "HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			left := make(chan bool, 1)
			srv := newRawServer(t, secondTime(func(c *net.TCPConn, _ *bufio.Reader) {
				_, _ = io.WriteString(c, goodbye)
				_ = c.CloseWrite()
				left <- true
				untilClosed(c)
			}))
			clk := newClock()
			c := newClient(t, send.Options{Now: clk.Now})
			e := srv.endpoint()
			mustPost(t, c, e)
			await(t, left, "the goodbye")
			clk.advance(time.Second)
			if resp := mustPost(t, c, e); resp.Status != 200 || resp.Reused {
				t.Errorf("%+v", resp)
			}
			if s := c.Stats(); s.Dials != 2 || s.Retried != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
