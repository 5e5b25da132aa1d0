package send

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/proxy"

	"github.com/sidehook/sidehook/internal/egress"
)

// Proxy is a host through which connections are made. Nothing prints its login.
//
// It is asked for addresses, never for names: an endpoint's name is resolved here and its addresses are checked by the
// Guard, and with a name the proxy could be made to connect to another address than the one that was checked. The
// proxy's own address is the operator's choice and is not checked.
type Proxy struct {
	at     egress.Proxy
	direct egress.Hosts
}

// ParseProxy reads the URL of a proxy (http, https or socks5, with or without user:password@) and the hosts that are
// reached without it: names (api.example.com, *.example.com) as they stand in the URL, and addresses and networks
// (10.0.0.0/8) that the connection would go to. Loopback addresses never go through a proxy, which would reach itself.
// An error never shows the login; one about noProxy is an *egress.PatternError.
func ParseProxy(rawURL string, noProxy []string) (*Proxy, error) {
	at, err := egress.ParseProxy(rawURL)
	if err != nil {
		return nil, err
	}
	direct, err := egress.ParseHosts(noProxy)
	if err != nil {
		return nil, err
	}
	return &Proxy{at: at, direct: direct}, nil
}

// String is the URL without the login.
func (p *Proxy) String() string { return p.at.String() }

// Format writes what String returns for every verb.
func (p *Proxy) Format(f fmt.State, verb rune) { p.at.Format(f, verb) }

// LogValue gives what String returns to slog.
func (p *Proxy) LogValue() slog.Value { return p.at.LogValue() }

// takes reports whether connections to addr, for a URL with that host, go through the proxy.
func (p *Proxy) takes(host string, addr netip.Addr) bool {
	return p != nil && !addr.IsLoopback() && !p.direct.MatchName(host) && !p.direct.MatchAddr(addr)
}

// proxyError is a failure of the proxy, as against of the endpoint.
func proxyError(text string, cause error) *Error {
	if cause == nil {
		cause = errors.New(text)
	}
	return &Error{Kind: KindProxy, Err: cause, text: text}
}

// errProxyAway marks errors of reaching the proxy itself: no use in asking it for another address.
var errProxyAway = errors.New("the proxy cannot be used")

// tunnel connects to an address through the proxy.
func (c *Client) tunnel(ctx context.Context, x *exchange, to netip.AddrPort) (*link, error) {
	p := c.opts.Proxy
	if err := c.opts.Guard.Check(x.req.URL.host, to.Addr()); err != nil { // once more, as at a socket
		return nil, err
	}
	x.phase = phaseProxy
	s, err := c.reachProxy(ctx, p.at)
	if err != nil {
		if isDialTimeout(err) {
			return nil, err
		}
		return nil, proxyError("cannot reach the proxy: "+strings.TrimPrefix(dialText(err), "cannot connect: "), errors.Join(errProxyAway, err))
	}
	l := &link{Conn: s, socket: s}
	// As with begin, the end of the context reaches the connection as a deadline in the past.
	deadline, _ := ctx.Deadline()
	_ = s.SetDeadline(deadline) // fails only on a closed connection, which the next line finds out
	unwatch := context.AfterFunc(ctx, func() { _ = s.SetDeadline(longAgo) })
	if p.at.Scheme == egress.SOCKS5 {
		err = c.askSOCKS(ctx, l, to)
	} else {
		err = c.askHTTP(ctx, l, to)
	}
	if !unwatch() && err == nil {
		err = ctx.Err() // the deadline in the past may be set yet
	}
	if err != nil {
		_ = l.Close() // nothing was sent to the endpoint yet
		return nil, err
	}
	x.phase = phaseConnect
	return l, l.SetDeadline(noDeadline)
}

// reachProxy makes a connection to the proxy itself.
func (c *Client) reachProxy(ctx context.Context, at egress.Proxy) (*socket, error) {
	port := at.Port
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(at.Host); err == nil {
		addrs = append(addrs, a)
	} else {
		found, err := c.opts.Resolver.LookupNetIP(ctx, "ip", at.Host)
		if err != nil {
			return nil, err
		}
		for _, a := range found[:min(len(found), maxAddrs)] {
			addrs = append(addrs, a.Unmap())
		}
	}
	err := errors.New("its name has no addresses")
	for i, a := range addrs {
		dialer := net.Dialer{KeepAlive: -1}
		var s *socket
		if s, err = connectOne(ctx, &dialer, netip.AddrPortFrom(a, port), len(addrs)-i); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// askHTTP asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6).
func (c *Client) askHTTP(ctx context.Context, l *link, to netip.AddrPort) error {
	at := c.opts.Proxy.at
	if at.Scheme == egress.HTTPS {
		cfg := c.credentials(at.Host).cfg.Clone()
		cfg.ServerName, cfg.NextProtos = at.Host, []string{"http/1.1"}
		over := tls.Client(&politeConn{Conn: l.socket}, cfg)
		l.Conn = over
		if err := over.HandshakeContext(ctx); err != nil {
			return c.proxyFailed(ctx, "the proxy cannot be trusted: ", handshakeError(err).Error(), err)
		}
	}
	target := to.String()
	b := append([]byte("CONNECT "), target...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), target...), "\r\nUser-Agent: "...)
	b = append(append(b, c.opts.UserAgent...), "\r\n"...)
	if at.User != "" {
		login := base64.StdEncoding.EncodeToString([]byte(at.User + ":" + at.Password))
		b = append(append(append(b, "Proxy-Authorization: Basic "...), login...), "\r\n"...)
	}
	if _, err := l.Write(append(b, "\r\n"...)); err != nil {
		return c.proxyFailed(ctx, "the proxy does not answer: ", wireError(err, phaseProxy).Error(), err)
	}
	return c.readTunnel(ctx, l)
}

// readTunnel reads the proxy's answer to CONNECT.
func (c *Client) readTunnel(ctx context.Context, l *link) error {
	x := exchanges.Get().(*exchange)
	defer x.release()
	x.in.reset(l)
	h, err := x.readHead()
	switch {
	case err != nil:
		return c.proxyFailed(ctx, "the proxy does not answer: ", wireError(err, phaseProxy).Error(), err)
	case h.status == 407:
		return proxyError("the proxy refused the login (status 407)", errProxyAway)
	case h.status < 200 || h.status > 299:
		return proxyError("the proxy refused the connection (status "+strconv.Itoa(h.status)+")", nil)
	case x.in.buffered() > 0:
		// The endpoint speaks second in HTTP and in TLS: what comes before is no answer to the request.
		return proxyError("the proxy sent something before the endpoint could", nil)
	}
	return nil
}

// proxyFailed is an error of talking to the proxy, or of ctx if that ended meanwhile.
func (c *Client) proxyFailed(ctx context.Context, what, text string, err error) error {
	if ctx.Err() != nil || isTimeout(err) {
		return err
	}
	return proxyError(what+text, errors.Join(errProxyAway, err))
}

// askSOCKS asks a SOCKS5 proxy for a connection.
func (c *Client) askSOCKS(ctx context.Context, l *link, to netip.AddrPort) error {
	at := c.opts.Proxy.at
	var login *proxy.Auth
	if at.User != "" {
		login = &proxy.Auth{User: at.User, Password: at.Password}
	}
	d, err := proxy.SOCKS5("tcp", at.Address(), login, handOver{l})
	if err != nil {
		return proxyError("the proxy cannot be used: "+err.Error(), err)
	}
	// What DialContext returns is l in a wrapper that adds nothing needed here.
	if _, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", to.String()); err != nil {
		if ctx.Err() != nil || isTimeout(err) {
			return err
		}
		return proxyError("the proxy refused the connection: "+strings.TrimPrefix(plain(err), "unknown error "), err)
	}
	return nil
}

// handOver gives a connection that there is already to a library that wants to dial.
type handOver struct{ l *link }

func (h handOver) Dial(string, string) (net.Conn, error) { return h.l, nil }

func (h handOver) DialContext(context.Context, string, string) (net.Conn, error) { return h.l, nil }
