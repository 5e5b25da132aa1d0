package send

import (
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
)

// exchange is the state of one request and its response, with the buffers for both. It is pooled: idle connections
// own no buffers.
type exchange struct {
	ctx      context.Context
	req      *Request
	resp     *Response
	maxBody  int
	start    time.Time
	deadline time.Time

	phase    phase
	reusable bool // the response has ended cleanly and the connection can carry another request
	draining bool // waiting only for bytes to throw away
	dropped  int  // bytes of the body thrown away
	cn       *conn
	out      []byte // head, and body when that is small
	split    bool   // the body is not in out
	vecs     net.Buffers
	vecArray [2][]byte
	in       reader
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

const (
	// copyBody is the size up to which a body is copied behind the head, to be written with it. Larger ones go out
	// from where they are, in the same system call over TCP.
	copyBody = 16 << 10
	// keepBuffer is the largest buffer that goes back to the pool.
	keepBuffer = copyBody + 8<<10
)

func (x *exchange) begin(ctx context.Context, req *Request, resp *Response, timeout time.Duration, maxBody int) {
	x.ctx, x.req, x.resp, x.maxBody = ctx, req, resp, maxBody
	x.start = time.Now()
	x.deadline = x.start.Add(timeout)
	if d, ok := ctx.Deadline(); ok {
		x.deadline = earlier(x.deadline, d)
	}
}

// release gives the exchange back to the pool, without references to the caller's data.
func (x *exchange) release() {
	x.ctx, x.req, x.resp, x.cn = nil, nil, nil, nil
	x.vecs, x.vecArray = nil, [2][]byte{}
	if cap(x.out) > keepBuffer {
		x.out = nil
	}
	x.in.release()
	exchanges.Put(x)
}

// encode writes the request to out. Headers are validated long before; that none can start a new line, and so a
// request of its own, is checked here once more.
func (x *exchange) encode(userAgent string) error {
	b := append(x.out[:0], x.req.URL.head...)
	b = append(b, "User-Agent: "...)
	b = append(b, userAgent...)
	b = append(b, "\r\n"...)
	for i := range x.req.Headers {
		h := &x.req.Headers[i]
		if h.Key == "" || !isCleanValue(h.Key) || !isCleanValue(h.Value) {
			return &Error{Kind: KindProtocol, Err: sidehook.Fieldf("headers["+strconv.Itoa(i)+"]",
				"%.60q has no name or a line break in it", h.Key)}
		}
		b = append(b, h.Key...)
		b = append(b, ": "...)
		b = append(b, h.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(x.req.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	x.split = len(x.req.Body) > copyBody
	if !x.split {
		b = append(b, x.req.Body...)
	}
	x.out = b
	return nil
}

// isCleanValue reports whether s has no CR, LF or NUL.
func isCleanValue(s string) bool {
	return strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0 && strings.IndexByte(s, 0) < 0
}

// run sends the request over cn and reads the response. Its error is raw: for stale and explain.
func (x *exchange) run(cn *conn) error {
	x.cn = cn
	x.reusable, x.draining, x.dropped = false, false, 0
	x.in.reset(cn)
	x.phase = phaseWrite
	if err := cn.begin(x.ctx, x.deadline); err != nil {
		return err
	}
	writeErr := x.write()
	// A receiver that refuses a request early may answer and close while the request is still being written. Its
	// answer says more than the failed write.
	if writeErr != nil && !isHangup(writeErr) {
		return writeErr
	}
	if writeErr == nil {
		x.phase = phaseAwait
	}
	err := x.read()
	if writeErr != nil {
		x.reusable = false
		if !x.in.got {
			return writeErr
		}
	}
	return err
}

func (x *exchange) write() error {
	if !x.split {
		out := x.out
		// A new connection may have brought something before the request, which roundTrip would not see.
		if s := x.cn.direct(); s != nil && x.resp.Reused {
			wrote, n, err := s.roundTrip(out, x.in.buf)
			if out = out[wrote:]; len(out) == 0 {
				x.in.brought(n, err)
				return nil
			}
			if err != nil {
				return err
			}
		}
		_, err := x.cn.Write(out)
		return err
	}
	x.vecArray = [2][]byte{x.out, x.req.Body}
	x.vecs = x.vecArray[:]
	_, err := x.vecs.WriteTo(x.cn.Conn)
	return err
}

// read reads the response and decides whether the connection can be used again.
func (x *exchange) read() error {
	h, err := x.readHead()
	if err != nil {
		return err
	}
	x.phase = phaseBody
	x.resp.Status = h.status
	x.resp.RetryAfter = h.retryAfter
	ended, err := x.readBody(&h)
	if err != nil {
		return err
	}
	// Bytes behind the response's end are no part of the next one.
	x.reusable = ended && h.persistent() && x.in.buffered() == 0
	if x.reusable {
		c := x.cn.pool.client
		x.cn.idleSince = c.opts.Now()
		x.cn.idleUntil = x.cn.idleSince.Add(h.idleTime(c.opts.IdleTimeout))
	}
	return nil
}

// stale reports whether err, on a reused connection, looks like a receiver that closed it before it saw the request.
func (x *exchange) stale(err error) bool {
	return !x.in.got && isHangup(err) && x.ctx.Err() == nil && time.Now().Before(x.deadline)
}

// explain puts an error of run into words.
func (x *exchange) explain(err error) error {
	switch {
	case isTimeout(err) && x.ctx.Err() != nil:
		return ended(x.ctx, x.start, x.phase)
	case isTimeout(err):
		return timeoutError(x.deadline.Sub(x.start), x.phase, err)
	case x.cn != nil && x.cn.shown != "" && !x.in.got && !x.resp.Reused && (isHangup(err) || isAlert(err) || x.cn.h2 != nil && connGone(err)):
		return &Error{Kind: KindTLS, Err: err, text: x.cn.shown}
	}
	return wireError(err, x.phase)
}
