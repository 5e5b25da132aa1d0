package send

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// maxAddrs bounds how many addresses of one name are tried.
const maxAddrs = 8

// baseTLS fills the defaults of a TLS configuration for the client's use.
func baseTLS(base *tls.Config) *tls.Config {
	cfg := &tls.Config{}
	if base != nil {
		cfg = base.Clone()
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = []string{"http/1.1"}
	// Requests are small: one record and one system call instead of records that grow with the connection's age.
	cfg.DynamicRecordSizingDisabled = true
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(256)
	}
	return cfg
}

// link is a connection to an endpoint, direct or through a proxy, before TLS with the endpoint.
type link struct {
	net.Conn
	socket *socket // below Conn
}

// dial makes a new connection for x, within x's deadline and DialTimeout. If it speaks HTTP/2, x has a stream of it.
func (c *Client) dial(x *exchange, p *pool) (*conn, error) {
	e := x.req.URL
	limit := earlier(x.deadline, time.Now().Add(c.opts.DialTimeout))
	ctx, cancel := context.WithDeadline(x.ctx, limit)
	defer cancel()

	x.phase = phaseResolve
	addrs, err := c.resolve(ctx, e)
	if err != nil {
		return nil, c.dialFailed(x, limit, err)
	}
	x.phase = phaseConnect
	l, err := c.connect(ctx, x, addrs)
	if err != nil {
		return nil, c.dialFailed(x, limit, err)
	}
	c.dials.Add(1)
	c.open.Add(1)
	cn := &conn{pool: p, Conn: l.Conn, socket: l.socket, seq: c.seq.Add(1)}
	if !e.tls {
		return cn, nil
	}
	x.phase = phaseHandshake
	if err := c.handshake(x.ctx, cn, e, limit); err != nil {
		if cn.shown != "" && (isHangup(err) || isAlert(err)) {
			err = &Error{Kind: KindTLS, Err: err, text: cn.shown}
		}
		err = c.dialFailed(x, limit, err)
		cn.close()
		return nil, err
	}
	p.learn(cn)
	return cn, nil
}

// dialFailed puts an error of dial into words.
func (c *Client) dialFailed(x *exchange, limit time.Time, err error) error {
	var blocked *BlockedError
	var own *Error
	switch {
	case errors.As(err, &blocked):
		return &Error{Kind: KindBlocked, Err: blocked}
	case x.ctx.Err() != nil:
		return ended(x.ctx, x.start, x.phase)
	case errors.As(err, &own):
		return own
	case !time.Now().Before(limit), isDialTimeout(err):
		return timeoutError(min(time.Since(x.start), limit.Sub(x.start)), x.phase, err)
	case x.phase == phaseHandshake:
		return handshakeError(err)
	}
	return dialError(err)
}

// resolve returns the addresses of e that may be connected to; an error when there are none.
func (c *Client) resolve(ctx context.Context, e *Endpoint) ([]netip.Addr, error) {
	if e.addr.IsValid() {
		return []netip.Addr{e.addr}, c.opts.Guard.Check(e.host, e.addr)
	}
	found, err := c.opts.Resolver.LookupNetIP(ctx, "ip", e.host)
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: e.host, IsNotFound: true}
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, resolveError(e.host, err)
	}
	var refused error
	addrs := make([]netip.Addr, 0, len(found))
	for _, a := range found {
		// net.Resolver gives IPv4 addresses in their mapped form, and a mapped address is reached over IPv4 anyway.
		a = a.Unmap()
		if err := c.opts.Guard.Check(e.host, a); err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		if !slices.Contains(addrs, a) && len(addrs) < maxAddrs {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, refused
	}
	return addrs, nil
}

// connect tries the addresses in turn. Each gets its share of the time that is left, so that one that does not answer
// leaves time for the others.
func (c *Client) connect(ctx context.Context, x *exchange, addrs []netip.Addr) (*link, error) {
	var first error
	for i, addr := range addrs {
		l, err := c.reach(ctx, x, netip.AddrPortFrom(addr, x.req.URL.port), len(addrs)-i)
		if err == nil {
			return l, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil || errors.Is(err, errProxyAway) {
			break
		}
	}
	return nil, first
}

// reach connects to one address, of left that can be tried.
func (c *Client) reach(ctx context.Context, x *exchange, to netip.AddrPort, left int) (*link, error) {
	host := x.req.URL.host
	if c.opts.Proxy.takes(host, to.Addr()) {
		ctx, cancel := withShare(ctx, left)
		defer cancel()
		return c.tunnel(ctx, x, to)
	}
	x.phase = phaseConnect
	dialer := net.Dialer{KeepAlive: -1, ControlContext: c.checkSocket(host)}
	s, err := connectOne(ctx, &dialer, to, left)
	if err != nil {
		return nil, err
	}
	return &link{Conn: s, socket: s}, nil
}

// leastShare of the time that is left goes to an address, if there is as much.
const leastShare = time.Second

// withShare bounds ctx to the share of one of left addresses.
func withShare(ctx context.Context, left int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || left <= 1 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, max(time.Until(deadline)/time.Duration(left), leastShare))
}

func connectOne(ctx context.Context, dialer *net.Dialer, to netip.AddrPort, left int) (*socket, error) {
	ctx, cancel := withShare(ctx, left)
	defer cancel()
	nc, err := dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	s, err := newSocket(nc.(*net.TCPConn))
	if err != nil {
		_ = nc.Close() // nothing was sent
		return nil, err
	}
	return s, nil
}

// checkSocket asks the Guard once more, right before connect(2), about the address that the socket goes to: nothing
// between the resolution and the socket can put another address in.
func (c *Client) checkSocket(host string) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return &BlockedError{Host: host, Reason: "not an IP address", remedy: "only IP addresses are connected to"}
		}
		return c.opts.Guard.Check(host, to.Addr())
	}
}

// credentials are those for a host.
func (c *Client) credentials(host string) *credentials {
	if creds := c.opts.TLSRules.find(host); creds != nil {
		return creds
	}
	return c.base
}

// handshake puts TLS on top of the connection, and HTTP/2 if the endpoint chooses it.
func (c *Client) handshake(ctx context.Context, cn *conn, e *Endpoint, limit time.Time) error {
	cn.creds = c.credentials(e.host)
	cfg := cn.creds.cfg.Clone()
	if cfg.ServerName == "" {
		cfg.ServerName = e.host
	}
	if cn.pool.speaksHTTP2() {
		cfg.NextProtos = []string{"h2", "http/1.1"}
	}
	if cfg.GetClientCertificate == nil {
		cfg.GetClientCertificate = cn.clientCertificate(cfg.Certificates)
	}
	if err := cn.begin(ctx, limit); err != nil {
		return err
	}
	wire := &politeConn{Conn: cn.Conn}
	over := tls.Client(wire, cfg)
	// Not HandshakeContext: begin watches the context already.
	if err := over.Handshake(); err != nil {
		return err
	}
	cn.mu.Lock()
	cn.Conn = over // under the lock, because abort uses it
	cn.mu.Unlock()
	if over.ConnectionState().NegotiatedProtocol == "h2" {
		return c.multiplex(ctx, cn, over, wire)
	}
	return nil
}

// clientCertificate shows the first of certs that the receiver accepts, as crypto/tls does by itself, and notes what
// was shown. With TLS 1.3 a receiver refuses after the handshake, and the request may see no more than a reset.
func (cn *conn) clientCertificate(certs []tls.Certificate) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for i := range certs {
			if info.SupportsCertificate(&certs[i]) == nil {
				cn.shown = "TLS: the receiver hung up after it saw the client certificate that outbound.tls has for it"
				return &certs[i], nil
			}
		}
		cn.shown = "TLS: the receiver hung up after it asked for a client certificate, and outbound.tls has none for it"
		if len(certs) > 0 {
			cn.shown = "TLS: the receiver hung up after it asked for a client certificate of another kind or authority than outbound.tls has for it"
		}
		return new(tls.Certificate), nil
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
