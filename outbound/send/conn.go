package send

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is one connection. At any time either one request or a pool's idle list has it.
//
// What ends a request early is the connection's I/O deadline: a timeout sets it ahead, the end of a context sets it
// to the past. Watching a context costs more than a small request's parsing, so the watch stays in place when the
// connection goes idle and is used again by the next request whose context has the same Done channel.
//
// Invariant: while a request has the connection, either the watch of the request's context is in place and will set
// the deadline to the past, or that has been done (aborted). What a watch does while the connection is idle has no
// effect, because begin sets the deadline anew; a watch of an earlier request's context does nothing.
type conn struct {
	pool *pool
	net.Conn
	socket *socket // below Conn, the same for plain HTTP
	h2     *mux    // set when HTTP/2 is spoken; then many requests have it, and what is said below of one is not so
	// creds were used for TLS; nil for plain HTTP.
	creds *credentials
	// shown says what came of the receiver's wish for a client certificate, should it hang up after that; "" when it
	// had none.
	shown string
	seq   uint64 // counts the Client's connections

	idleSince time.Time
	idleUntil time.Time

	mu      sync.Mutex
	aborted bool
	watched <-chan struct{} // the Done channel being watched; nil for none
	unwatch func() bool
}

var (
	longAgo    = time.Unix(1, 0)
	noDeadline time.Time
)

// begin gives the connection to a request: I/O fails after deadline, and as soon as ctx ends. It must be followed by
// end or close.
func (cn *conn) begin(ctx context.Context, deadline time.Time) error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	cn.aborted = false
	if err := cn.SetDeadline(deadline); err != nil {
		return err
	}
	if done := ctx.Done(); done != cn.watched {
		if cn.unwatch != nil {
			cn.unwatch()
		}
		cn.watched, cn.unwatch = done, nil
		if done != nil {
			cn.unwatch = context.AfterFunc(ctx, func() { cn.abort(done) })
		}
	}
	// A watch kept from an earlier request may have fired already, and what it did is undone above. Then the context
	// has ended, which shows here.
	if ctx.Err() != nil {
		cn.aborted = true
		return cn.SetDeadline(longAgo)
	}
	return nil
}

// limit brings the deadline forward for the rest of the request.
func (cn *conn) limit(deadline time.Time) error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.aborted {
		return nil
	}
	return cn.SetDeadline(deadline)
}

// abort ends the request in flight, if done belongs to its context.
func (cn *conn) abort(done <-chan struct{}) {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.watched == done {
		cn.aborted = true
		_ = cn.SetDeadline(longAgo) // fails only on a closed connection, which is as good
	}
}

// end reports, at the end of a request, whether the connection can still be used.
func (cn *conn) end() bool {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return !cn.aborted
}

// detach ends what begin began, and reports whether the connection can still be used. It leaves no deadline.
func (cn *conn) detach() bool {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.unwatch != nil {
		cn.unwatch()
		cn.watched, cn.unwatch = nil, nil
	}
	return !cn.aborted && cn.SetDeadline(noDeadline) == nil
}

// outdated reports whether the connection was made with credentials that have been replaced.
func (cn *conn) outdated() bool { return cn.creds != nil && cn.creds.replaced.Load() }

// close gives the connection up.
func (cn *conn) close() {
	if cn.h2 != nil {
		_ = cn.h2.cc.Close() // it is counted out when its socket is closed, which the receiver may have caused before
		return
	}
	cn.mu.Lock()
	if cn.unwatch != nil {
		cn.unwatch()
		cn.watched, cn.unwatch = nil, nil
	}
	cn.mu.Unlock()
	_ = cn.Conn.Close() // nothing is lost: the response has been read, or has been given up
	cn.pool.client.open.Add(-1)
}

// quiet reports whether an idle connection is still open and nothing came in on it. Bytes that came while no request
// was out are no answer to the next one: they are the goodbye of a receiver that is about to close (status 408, a TLS
// alert), or an attempt to confuse.
func (cn *conn) quiet() bool {
	if cn.h2 != nil {
		return cn.h2.cc.Err() == nil // net/http reads what comes in
	}
	return cn.socket.quiet()
}

// direct is the socket when nothing is between it and the request, nil otherwise.
func (cn *conn) direct() *socket {
	if s, ok := cn.Conn.(*socket); ok {
		return s
	}
	return nil
}

// politeConn is the TCP connection under a TLS one. Closing a TLS connection first writes a goodbye, for up to 5 s if
// the socket's buffer is full; the reaper cannot wait so long for a receiver that does not read.
type politeConn struct {
	net.Conn
	reads atomic.Int64 // that brought something

	mu      sync.Mutex
	closed  bool
	onClose func()
}

func (c *politeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.reads.Add(1)
	}
	return n, err
}

// Close is called by whoever ends the connection, perhaps more than once.
func (c *politeConn) Close() error {
	c.mu.Lock()
	first, onClose := !c.closed, c.onClose
	c.closed = true
	c.mu.Unlock()
	if first && onClose != nil {
		onClose()
	}
	return c.Conn.Close()
}

// whenClosed has f called once, when the connection is closed or at once if it has been.
func (c *politeConn) whenClosed(f func()) {
	c.mu.Lock()
	c.onClose = f
	closed := c.closed
	c.mu.Unlock()
	if closed {
		f()
	}
}

const goodbyeTime = 20 * time.Millisecond

// SetWriteDeadline is called by tls.Conn only to write the goodbye; everything else here goes through SetDeadline.
func (c *politeConn) SetWriteDeadline(t time.Time) error {
	if limit := time.Now().Add(goodbyeTime); t.After(limit) {
		t = limit
	}
	return c.Conn.SetWriteDeadline(t)
}
