package send

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidehook/sidehook"
)

// Request is one POST.
type Request struct {
	// URL to ask; parse it once per webhook with ParseEndpoint.
	URL *Endpoint
	// Headers in the order in which they are sent, already validated (sidehook.ValidateHeader). The client itself
	// adds Host, Content-Length and User-Agent. Neither changed nor kept.
	Headers []sidehook.Header
	// Body is not changed and not kept.
	Body []byte
}

// Response is what came back.
type Response struct {
	// Status is the status code, 100 to 999; 0 when no response head arrived. It is set even when Do fails later on,
	// for example because the body broke off.
	Status int
	// RetryAfter is the Retry-After header as sent, at most 128 bytes; "" for none.
	RetryAfter string
	// Body is the beginning of the body, at most Options.MaxBody bytes.
	Body []byte
	// Truncated: the body has, or may have, more than Body.
	Truncated bool
	// Cut: there was so much more that it was not worth reading to its end, which cost the connection. It is not set
	// when the end of the connection would have been the end of the body.
	Cut bool
	// Reused: the request went over a kept-alive connection.
	Reused bool
}

// Resolver finds the addresses of a host name. *net.Resolver is one. It must honour ctx.
type Resolver interface {
	// LookupNetIP is asked with the network "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options configure a Client. The zero value is ready for use.
type Options struct {
	// Guard decides which addresses may be connected to; nil refuses all that are not public.
	Guard *Guard
	// MaxBody is how many bytes of a response body are kept; 0 for sidehook.MaxRecordedResponse, negative for none.
	MaxBody int
	// MaxIdlePerHost is how many idle connections are kept per scheme, host and port; 0 for 256.
	MaxIdlePerHost int
	// MaxIdle is how many idle connections are kept in all; 0 for 4096.
	MaxIdle int
	// IdleTimeout is how long an idle connection is kept; 0 for 60 s. A shorter time that the receiver states in a
	// Keep-Alive header is honoured.
	IdleTimeout time.Duration
	// DialTimeout bounds resolving, connecting and the TLS handshake of one connection; 0 for 10 s. The timeout of
	// the request bounds them too.
	DialTimeout time.Duration
	// TLS is the base configuration (RootCAs, MinVersion, ...), nil for the system's roots. It is copied; TLS 1.2 is
	// the least version, ALPN is as HTTP2 says, and a session cache is added when it has none.
	TLS *tls.Config
	// TLSRules say what is different from TLS for some hosts; nil for nothing. Their files are read again when they
	// change.
	TLSRules *TLSRules
	// TLSReload is how often the files of TLSRules are looked at; 0 for 10 s.
	TLSReload time.Duration
	// HTTP2 offers HTTP/2 to https endpoints, and speaks it with those that choose it.
	HTTP2 bool
	// Proxy is what connections are made through; nil for none. The environment is not looked at.
	Proxy *Proxy
	// UserAgent is sent with every request; "" for "Sidehook", and so is one that has a line break in it.
	UserAgent string
	// Resolver finds addresses; nil for net.DefaultResolver.
	Resolver Resolver
	// Logger gets debug records; nil for none.
	Logger *slog.Logger
	// Now tells how long connections have been idle; nil for time.Now. Timeouts always follow the real clock.
	Now func() time.Time
}

// The defaults of Options.
const (
	DefaultMaxIdlePerHost = 256
	DefaultMaxIdle        = 4096
	DefaultIdleTimeout    = 60 * time.Second
	DefaultDialTimeout    = 10 * time.Second
	DefaultTLSReload      = 10 * time.Second
	DefaultUserAgent      = "Sidehook"
)

func (o *Options) setDefaults() {
	switch {
	case o.MaxBody == 0:
		o.MaxBody = sidehook.MaxRecordedResponse
	case o.MaxBody < 0:
		o.MaxBody = 0
	}
	if o.MaxIdlePerHost <= 0 {
		o.MaxIdlePerHost = DefaultMaxIdlePerHost
	}
	if o.MaxIdle <= 0 {
		o.MaxIdle = DefaultMaxIdle
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = DefaultIdleTimeout
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = DefaultDialTimeout
	}
	if o.TLSReload <= 0 {
		o.TLSReload = DefaultTLSReload
	}
	if o.UserAgent == "" || !isCleanValue(o.UserAgent) {
		o.UserAgent = DefaultUserAgent
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.TLS = baseTLS(o.TLS)
}

// Client sends requests over connections that it keeps alive. It is safe for concurrent use. Make one per process
// and Close it.
type Client struct {
	opts Options
	// base are the credentials for hosts that no rule is for.
	base *credentials
	// transport speaks HTTP/2; nil when it is not offered.
	transport *http.Transport

	// mu guards pools and closed. Where both are held, mu is taken before a pool's mu.
	mu     sync.RWMutex
	pools  map[string]*pool
	closed bool

	seq   atomic.Uint64 // numbers connections in the order in which they are made
	idle  atomic.Int64  // connections in all pools that no request uses
	nudge chan struct{} // asks the reaper to make room; capacity 1
	stop  chan struct{}
	owned sync.WaitGroup // the Client's goroutines

	dials, reused, retried, open atomic.Int64
}

// New makes a Client and starts the goroutines that close connections which have been idle for too long, and that look
// for changed files of TLSRules.
func New(opts Options) *Client {
	opts.setDefaults()
	c := &Client{
		opts:  opts,
		base:  &credentials{cfg: opts.TLS},
		pools: make(map[string]*pool),
		nudge: make(chan struct{}, 1),
		stop:  make(chan struct{}),
	}
	if opts.HTTP2 {
		c.transport = newTransport()
	}
	c.owned.Go(c.reap)
	if opts.TLSRules != nil && len(opts.TLSRules.rules) > 0 {
		c.owned.Go(c.watchFiles)
	}
	return c
}

// Close closes the idle connections and waits for the Client's goroutines. Requests in flight go on, and their
// connections are closed at their end; requests that begin later fail with sidehook.ErrStopping. It may be called
// more than once.
func (c *Client) Close() {
	c.mu.Lock()
	pools := c.pools
	c.pools = nil
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if first {
		close(c.stop)
	}
	for _, p := range pools {
		p.retire()
	}
	c.owned.Wait()
}

// Stats counts what a Client has done.
type Stats struct {
	Dials   int64 // connections made
	Reused  int64 // requests written to a kept-alive connection
	Retried int64 // of those, how many had to be sent again on a new connection
	Open    int64 // connections open now, idle ones included
	Idle    int64 // connections idle now
}

// Stats returns the counters.
func (c *Client) Stats() Stats {
	return Stats{
		Dials:   c.dials.Load(),
		Reused:  c.reused.Load(),
		Retried: c.retried.Load(),
		Open:    c.open.Load(),
		Idle:    c.idle.Load(),
	}
}

// Send is Do with a new Response.
func (c *Client) Send(ctx context.Context, req *Request, timeout time.Duration) (*Response, error) {
	resp := new(Response)
	err := c.Do(ctx, req, timeout, resp)
	return resp, err
}

// Do sends req and fills resp, whose Body's capacity is used again. The timeout (0 for sidehook.DefaultTimeout) spans
// everything from resolving to the end of the response; the end of ctx aborts at once. Errors are *Error. What is in
// resp after an error is what had arrived by then.
//
// A Client watches a context's Done channel per connection and keeps doing so between requests, so requests that
// share one channel (values on top are fine) are the cheapest.
func (c *Client) Do(ctx context.Context, req *Request, timeout time.Duration, resp *Response) error {
	*resp = Response{Body: resp.Body[:0]}
	if timeout <= 0 {
		timeout = sidehook.DefaultTimeout
	}
	x := exchanges.Get().(*exchange)
	defer x.release()
	x.begin(ctx, req, resp, timeout, c.opts.MaxBody)
	if err := x.encode(c.opts.UserAgent); err != nil {
		return err
	}
	p, err := c.enter(req.URL)
	if err != nil {
		return err
	}
	cn, err := c.exchange(x, p)
	p.leave(cn)
	return err
}

// watchFiles looks for changed files of TLSRules until the Client is closed. An error is logged when it is a new one.
func (c *Client) watchFiles() {
	tick := time.NewTicker(c.opts.TLSReload)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-c.stop:
			return
		case <-tick.C:
		}
		changed, err := c.opts.TLSRules.Reload()
		if changed {
			c.opts.Logger.Info("TLS files for endpoints have changed and are in use")
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != last && err != nil {
			c.opts.Logger.Error("TLS files for endpoints cannot be used; what was read before stays in use", "err", err)
		}
		last = text
	}
}

// resend says when a request that failed is sent again, within the same attempt.
type resend uint8

const (
	never    resend = iota
	ifUnread        // when it is certain that the receiver did not take it up
	ifStale         // also when the receiver may have closed the connection before it saw the request
)

// maxSends is how often a request is sent, at most, in one attempt. It takes more than two where many requests share
// connections that the receiver takes leave of.
const maxSends = 5

// exchange sends x on a kept-alive connection of p if there is one, else, or if that one turns out to be stale, on a
// new one. It returns the connection when it can be used again and is nobody else's.
func (c *Client) exchange(x *exchange, p *pool) (*conn, error) {
	cn, mine, err := c.find(x, p, 0)
	if err != nil {
		return nil, err
	}
	may := ifUnread
	if cn != nil {
		c.reused.Add(1)
		x.resp.Reused = true
		may = ifStale
	}
	for left := maxSends - 1; ; left-- {
		if cn == nil {
			cn, err = c.dial(x, p)
			p.endTurn(mine, err)
			if err != nil {
				return nil, err
			}
		}
		if left == 0 {
			may = never
		}
		seq := cn.seq
		keep, again, err := c.run(x, cn, may)
		if !again {
			return keep, err
		}
		if may == ifStale {
			c.retried.Add(1)
		}
		c.opts.Logger.DebugContext(x.ctx, "sending again on another connection", "endpoint", p.key, "err", err)
		may, x.resp.Reused = ifUnread, false
		if cn, mine, err = c.find(x, p, seq); err != nil {
			return nil, err
		}
	}
}

// run sends x over cn. It returns cn when it can be used again and is nobody else's, and whether x is to be sent again
// on another connection.
func (c *Client) run(x *exchange, cn *conn, may resend) (keep *conn, again bool, err error) {
	if cn.h2 != nil {
		again, err = c.runShared(x, cn, may)
		return nil, again, err
	}
	if err = x.run(cn); err == nil && x.reusable {
		return cn, false, nil
	}
	if err != nil {
		if again = may == ifStale && x.stale(err); !again {
			err = x.explain(err)
		}
	}
	cn.close()
	return nil, again, err
}

// runShared is run over a connection that others use at the same time.
func (c *Client) runShared(x *exchange, cn *conn, may resend) (again bool, err error) {
	heard := cn.h2.wire.reads.Load()
	err = x.runStream(cn)
	suspect := false
	if err != nil {
		if wantsHTTP1(err) && !x.in.got {
			cn.pool.forceHTTP1()
			again, suspect = may != never, true
		} else {
			lost := may == ifStale && streamLost(cn, err) || may == ifUnread && x.unread(err)
			again = lost && !x.in.got && x.ctx.Err() == nil && time.Now().Before(x.deadline)
			// A receiver that has not sent a byte in all the time that the request took may be gone for good.
			suspect = again || isTimeout(err) && cn.h2.wire.reads.Load() == heard
		}
		if !again {
			err = x.explain(err)
		}
	}
	cn.pool.endStream(cn, suspect)
	return again, err
}
