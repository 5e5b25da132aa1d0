package send

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// HTTP/2 is spoken with endpoints that choose it in the TLS handshake. The protocol is net/http's, one connection at a
// time (http.ClientConn); resolving, the Guard, proxies, TLS and the keeping of connections are the same as for
// HTTP/1.1, because the connection is made before net/http sees it.

// Limits of an HTTP/2 connection. A response is cut after a few KiB, so that small windows cost nothing and bound what
// a receiver can make us hold.
const (
	h2StreamWindow = 64 << 10
	h2ConnWindow   = 1 << 20
	// h2Ping is after how much silence a ping asks whether the receiver is still there, and how long the answer may
	// take. A connection that has died without a word is thus found out in twice the time.
	h2Ping = 5 * time.Second
)

// mux is what a conn that speaks HTTP/2 has more. Fields are guarded by the pool's mu.
type mux struct {
	cc    *http.ClientConn
	wire  *politeConn // counts what comes in
	using int         // requests that have a stream
	// answered: a request has ended on it, so the receiver's limit of streams is known. Before that net/http takes 100
	// for granted, and lets what is over the limit wait in line.
	answered bool
	// leaving: out of the pool's list; closed by the last request that uses it.
	leaving bool
}

// newTransport makes the transport whose connections are all made by dial.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			nc, ok := ctx.Value(handedConn{}).(net.Conn)
			if !ok {
				return nil, errors.New("no connection was handed over")
			}
			return nc, nil
		},
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     h2StreamWindow,
			MaxReceiveBufferPerConnection: h2ConnWindow,
			SendPingTimeout:               h2Ping,
			PingTimeout:                   h2Ping,
		},
	}
}

// handedConn is the key of the connection in the context of a DialTLSContext.
type handedConn struct{}

// multiplex turns a connection whose handshake chose HTTP/2 into one that carries many requests, with a stream
// reserved for the caller.
func (c *Client) multiplex(ctx context.Context, cn *conn, over *tls.Conn, wire *politeConn) error {
	if !cn.detach() {
		return errors.Join(errors.New("the connection was given up"), context.Cause(ctx))
	}
	address := strings.TrimPrefix(cn.pool.key, "https://")
	cc, err := c.transport.NewClientConn(context.WithValue(ctx, handedConn{}, over), "https", address)
	if err == nil && cc.Reserve() != nil {
		err = io.ErrUnexpectedEOF // a new connection has room for one request, unless it has ended
	}
	if err != nil {
		return fmt.Errorf("HTTP/2: %w", err) // dial closes
	}
	wire.whenClosed(func() { c.open.Add(-1) }) // net/http may close it at any time, and may have
	cn.h2 = &mux{cc: cc, wire: wire, using: 1}
	return nil
}

// runStream sends the request on a stream of cn and reads the response.
func (x *exchange) runStream(cn *conn) error {
	ctx, cancel := context.WithDeadline(x.ctx, x.deadline)
	defer cancel()
	x.cn = cn
	x.in.reset(nil)
	body := &sentBody{}
	body.Reset(x.req.Body)
	resp, err := cn.h2.cc.RoundTrip(x.h2Request(ctx, cn.pool.client.opts.UserAgent, body))
	if err != nil {
		x.phase = phaseWrite
		if body.sent.Load() || len(x.req.Body) == 0 {
			x.phase = phaseAwait
		}
		return err
	}
	x.in.got = true
	x.phase = phaseBody
	x.resp.Status = resp.StatusCode
	if all := resp.Header["Retry-After"]; len(all) > 0 {
		last := all[len(all)-1]
		x.resp.RetryAfter = last[:min(len(last), maxRetryAfter)]
	}
	err = x.readStream(resp, cancel)
	_ = resp.Body.Close() // resets the stream if the response has not ended; the connection lives on
	return err
}

// h2Request is the request in net/http's form.
func (x *exchange) h2Request(ctx context.Context, userAgent string, body *sentBody) *http.Request {
	e := x.req.URL
	r := &http.Request{
		Method: http.MethodPost, URL: e.url, Host: e.url.Host, ContentLength: int64(len(x.req.Body)),
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header, len(x.req.Headers)+1),
	}
	if len(x.req.Body) > 0 {
		r.Body = body
	}
	r.Header.Set("User-Agent", userAgent)
	for i := range x.req.Headers {
		r.Header.Add(x.req.Headers[i].Key, x.req.Headers[i].Value)
	}
	return r.WithContext(ctx)
}

// sentBody is a request's body that knows whether it has been read to its end.
type sentBody struct {
	bytes.Reader
	sent atomic.Bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.Len() == 0 {
		b.sent.Store(true)
	}
	return n, err
}

func (b *sentBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.Reader.WriteTo(w)
	b.sent.Store(b.Len() == 0)
	return n, err
}

// Close is asked for by net/http; there is nothing to close.
func (*sentBody) Close() error { return nil }

// readStream reads as much of the body as is kept. Unlike with HTTP/1.1 the rest need not be read for the connection to
// be of further use; one more read only tells whether there is any.
func (x *exchange) readStream(resp *http.Response, cancel context.CancelFunc) error {
	for {
		if x.room() == 0 {
			if int64(len(x.resp.Body)) == resp.ContentLength {
				return nil
			}
			stop := time.AfterFunc(drainTime, cancel)
			defer stop.Stop()
		}
		n, err := resp.Body.Read(x.in.buf)
		keep := min(n, x.room())
		x.resp.Body = append(x.resp.Body, x.in.buf[:keep]...)
		switch {
		case n > keep, err != nil && err != io.EOF && x.room() == 0 && n == 0:
			x.resp.Truncated = true
			return nil
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// streamLost reports whether err means that the receiver did not take the request up, or that the connection is gone:
// then the request may be sent again on another one.
func streamLost(cn *conn, err error) bool {
	se, isStream := asStreamError(err)
	return cn.h2.cc.Err() != nil || isStream && se.Code == h2RefusedStream ||
		strings.Contains(err.Error(), "GOAWAY") || connGone(err)
}

// unread reports whether err means that the receiver did not take the request up, for certain, because of what others
// made of the connection: it took leave of it in good order, or it was no more before all of the request was written.
func (x *exchange) unread(err error) bool {
	return strings.Contains(err.Error(), "graceful shutdown GOAWAY") || x.phase == phaseWrite && connGone(err)
}

// connGone recognises what net/http says of a connection that ended. It has no types for that.
func connGone(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, "http2: client conn is closed") || strings.HasPrefix(text, "http2: client conn not usable") ||
		strings.HasPrefix(text, "http2: client conn could not be established") || strings.HasPrefix(text, "http2: client connection")
}

// wantsHTTP1 reports whether the receiver takes the request over HTTP/1.1 only.
func wantsHTTP1(err error) bool {
	se, ok := asStreamError(err)
	return ok && se.Code == h2HTTP11Required
}

// streamError has the shape of net/http's error for a reset stream, whose As copies itself into it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "HTTP/2 stream error" }

// Error codes of RFC 9113, section 7.
const (
	h2RefusedStream  = 0x7
	h2HTTP11Required = 0xd
)

var h2Codes = []string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

func asStreamError(err error) (streamError, bool) {
	var se streamError
	ok := errors.As(err, &se)
	return se, ok
}

// h2Error puts an error of net/http's HTTP/2 into words; nil when it is none of those.
func h2Error(err error, at phase) *Error {
	if se, ok := asStreamError(err); ok {
		code := fmt.Sprintf("error %#x", se.Code)
		if int(se.Code) < len(h2Codes) {
			code = h2Codes[se.Code]
		}
		if se.Cause != nil && se.Cause.Error() != "received from peer" {
			return &Error{Kind: KindProtocol, Err: err, text: "invalid HTTP/2 response: " + se.Cause.Error()}
		}
		return &Error{Kind: KindReset, Err: err, text: "request reset by the receiver while " + string(at) + " (HTTP/2 " + code + ")"}
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "client connection lost"):
		return &Error{Kind: KindReset, Err: err, text: "connection lost while " + string(at)}
	case strings.Contains(text, "GOAWAY"):
		return &Error{Kind: KindReset, Err: err, text: "connection ended by the receiver while " + string(at) + " (HTTP/2 GOAWAY)"}
	case connGone(err):
		return &Error{Kind: KindReset, Err: err, text: "connection closed by the receiver while " + string(at)}
	case strings.HasPrefix(text, "connection error: "):
		return &Error{Kind: KindProtocol, Err: err, text: "invalid HTTP/2 response: " + strings.TrimPrefix(text, "connection error: ")}
	case strings.HasPrefix(text, "http2: "), strings.HasPrefix(text, "net/http: HTTP/2 "):
		return &Error{Kind: KindProtocol, Err: err, text: "invalid HTTP/2 response: " + strings.TrimPrefix(text, "http2: ")}
	}
	return nil
}
