package send

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
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
	// adds Host, Content-Length and User-Agent.
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
	// the least version, ALPN is http/1.1, and a session cache is added when it has none.
	TLS *tls.Config
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

	// mu guards pools and closed. Where both are held, mu is taken before a pool's mu.
	mu     sync.RWMutex
	pools  map[string]*pool
	closed bool

	idle   atomic.Int64  // connections in all pools' idle lists
	nudge  chan struct{} // asks the reaper to make room; capacity 1
	stop   chan struct{}
	reaper sync.WaitGroup

	dials, reused, retried, open atomic.Int64
}

// New makes a Client and starts the goroutine that closes connections which have been idle for too long.
func New(opts Options) *Client {
	opts.setDefaults()
	c := &Client{
		opts:  opts,
		pools: make(map[string]*pool),
		nudge: make(chan struct{}, 1),
		stop:  make(chan struct{}),
	}
	c.reaper.Go(c.reap)
	return c
}

// Close closes the idle connections and waits for the Client's goroutine. Requests in flight go on, and their
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
	c.reaper.Wait()
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

// exchange sends x on an idle connection of p if there is one, else, or if that one turns out to be stale, on a new
// one. It returns the connection when it can be used again.
func (c *Client) exchange(x *exchange, p *pool) (*conn, error) {
	if cn := p.take(); cn != nil {
		c.reused.Add(1)
		x.resp.Reused = true
		err := x.run(cn)
		if err == nil && x.reusable {
			return cn, nil
		}
		stale := err != nil && x.stale(err)
		if err != nil && !stale {
			err = x.explain(err)
		}
		cn.close()
		if !stale {
			return nil, err
		}
		c.retried.Add(1)
		c.opts.Logger.DebugContext(x.ctx, "kept-alive connection was stale, sending again", "endpoint", p.key, "err", err)
		x.resp.Reused = false
	}
	cn, err := c.dial(x, p)
	if err != nil {
		return nil, err
	}
	if err := x.run(cn); err != nil {
		err = x.explain(err)
		cn.close()
		return nil, err
	}
	if !x.reusable {
		cn.close()
		return nil, nil
	}
	return cn, nil
}
