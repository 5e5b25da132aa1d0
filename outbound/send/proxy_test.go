package send_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/send"
)

// outside is an address that no test machine reaches by itself: what arrives came through the proxy.
var outside = netip.MustParseAddr("93.184.215.14")

// forwarder is a proxy of both kinds, told apart by the first byte. It connects to 127.0.0.1 whatever public address it
// is asked for, so that tests can see that it is asked and the sidecar does not connect by itself.
type forwarder struct {
	*rawServer
	login   string // user:password to ask for; "" for none
	refuse  int    // status to refuse tunnels with
	tls     *tls.Config
	conns   atomic.Int64
	mu      sync.Mutex
	targets []string
}

func newForwarder(t testing.TB, change func(*forwarder)) *forwarder {
	t.Helper()
	f := &forwarder{}
	if change != nil {
		change(f)
	}
	f.rawServer = newRawServer(t, func(c net.Conn, r *bufio.Reader) {
		f.conns.Add(1)
		if f.tls != nil {
			c = tls.Server(c, f.tls)
			r = bufio.NewReader(c)
		}
		first, err := r.Peek(1)
		if err != nil {
			return
		}
		var target string
		if first[0] == 5 {
			target = f.socks(c, r)
		} else {
			target = f.connect(c, r)
		}
		if target != "" {
			f.forward(c, r, target)
		}
	})
	return f
}

func (f *forwarder) note(target string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.targets = append(f.targets, target)
}

func (f *forwarder) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.targets...)
}

func (f *forwarder) connect(c net.Conn, r *bufio.Reader) string {
	req, err := http.ReadRequest(r)
	if err != nil {
		return ""
	}
	f.note(req.Method + " " + req.RequestURI)
	switch want := "Basic " + base64.StdEncoding.EncodeToString([]byte(f.login)); {
	case f.login != "" && req.Header.Get("Proxy-Authorization") != want:
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return ""
	case f.refuse != 0:
		_, _ = fmt.Fprintf(c, "HTTP/1.1 %d No\r\nContent-Length: 6\r\n\r\nsorry!", f.refuse)
		return ""
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
	return req.RequestURI
}

func (f *forwarder) socks(c net.Conn, r *bufio.Reader) string {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return ""
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(r, methods); err != nil {
		return ""
	}
	if f.login == "" {
		_, _ = c.Write([]byte{5, 0})
	} else {
		_, _ = c.Write([]byte{5, 2})
		if !f.socksLogin(c, r) {
			return ""
		}
	}
	ask := make([]byte, 4)
	if _, err := io.ReadFull(r, ask); err != nil {
		return ""
	}
	size := map[byte]int{1: 4, 4: 16}[ask[3]]
	rest := make([]byte, size+2)
	if _, err := io.ReadFull(r, rest); err != nil || size == 0 {
		f.note(fmt.Sprintf("SOCKS address type %d", ask[3]))
		return ""
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	target := netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest[size:])).String()
	f.note("SOCKS " + target)
	_, _ = c.Write([]byte{5, byte(f.refuse), 0, 1, 0, 0, 0, 0, 0, 0})
	if f.refuse != 0 {
		return ""
	}
	return target
}

func (f *forwarder) socksLogin(c net.Conn, r *bufio.Reader) bool {
	var parts []string
	if v, err := r.ReadByte(); err != nil || v != 1 {
		return false
	}
	for range 2 {
		n, err := r.ReadByte()
		if err != nil {
			return false
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			return false
		}
		parts = append(parts, string(b))
	}
	ok := strings.Join(parts, ":") == f.login
	answer := []byte{1, 0}
	if !ok {
		answer[1] = 1
	}
	_, _ = c.Write(answer)
	return ok
}

// forward copies both ways until one side ends.
func (f *forwarder) forward(c net.Conn, r *bufio.Reader, target string) {
	_, port, err := net.SplitHostPort(target)
	if err != nil {
		return
	}
	up, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(up, r)
		_ = up.Close()
	})
	_, _ = io.Copy(c, up)
	_ = c.Close()
	_ = up.Close()
	wg.Wait()
}

func viaProxy(t testing.TB, url string, noProxy ...string) *send.Proxy {
	t.Helper()
	p, err := send.ParseProxy(url, noProxy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// proxies are the ways to go out through a forwarder: what to tell it, the URL's scheme and login.
var proxies = []struct {
	name, scheme, login string
}{
	{"HTTP", "http", ""},
	{"HTTP with a login", "http", "user:p@ss word"},
	{"HTTPS", "https", ""},
	{"HTTPS with a login", "https", "user:p@ss word"},
	{"SOCKS5", "socks5", ""},
	{"SOCKS5 with a login", "socks5", "user:p@ss word"},
}

// throughProxies runs a test for each kind of proxy. Name resolves to outside.
func throughProxies(t *testing.T, run func(t *testing.T, f *forwarder, opts send.Options)) {
	cert := certificate(t, func(*x509.Certificate) {})
	for _, tc := range proxies {
		t.Run(tc.name, func(t *testing.T) {
			f := newForwarder(t, func(f *forwarder) {
				f.login = tc.login
				if tc.scheme == "https" {
					f.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
				}
			})
			login := ""
			if tc.login != "" {
				login = strings.NewReplacer("@", "%40", " ", "%20").Replace(tc.login) + "@"
			}
			opts := send.Options{
				Proxy: viaProxy(t, tc.scheme+"://"+login+f.ln.Addr().String()), Guard: send.NewGuard(send.GuardOptions{}),
				Resolver: fixedResolver{outside}, TLS: &tls.Config{RootCAs: x509.NewCertPool()},
			}
			opts.TLS.RootCAs.AddCert(cert.Leaf)
			run(t, f, opts)
		})
	}
}

func portOf(t testing.TB, url string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(url[strings.Index(url, "//")+2:])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// In every mode the proxy is asked for the checked address, once: later requests go over the same connection.
func TestProxies(t *testing.T) {
	throughProxies(t, func(t *testing.T, f *forwarder, opts send.Options) {
		named := certificate(t, func(c *x509.Certificate) { c.DNSNames = []string{"hooks.example.com"} })
		opts.TLS.RootCAs.AddCert(named.Leaf)
		ok := func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto+" "+r.Host) }
		plain := newHTTPServer(t, ok)
		over := newTLSServer(t, &tls.Config{Certificates: []tls.Certificate{named}}, ok)
		two := httptest.NewUnstartedServer(http.HandlerFunc(ok))
		two.EnableHTTP2, two.TLS = true, &tls.Config{Certificates: []tls.Certificate{named}}
		two.StartTLS()
		t.Cleanup(two.Close)
		opts.HTTP2 = true
		clk := newClock()
		opts.Now = clk.Now
		c := newClient(t, opts)
		for _, tc := range []struct{ url, proto string }{{plain.URL, "HTTP/1.1"}, {over.URL, "HTTP/1.1"}, {two.URL, "HTTP/2.0"}} {
			scheme, _, _ := strings.Cut(tc.url, ":")
			host := "hooks.example.com:" + portOf(t, tc.url)
			e := endpoint(t, scheme+"://"+host+"/in")
			before := len(f.asked())
			for i := range 20 {
				resp := mustPost(t, c, e)
				if want := tc.proto + " " + host; string(resp.Body) != want || resp.Reused != (i > 0) {
					t.Fatalf("%d: %+v, body %s, want %s", i, resp, resp.Body, want)
				}
				clk.advance(time.Second) // so that the check for a quiet connection is made
			}
			asked := f.asked()[before:]
			if len(asked) != 1 || !strings.HasSuffix(asked[0], " "+outside.String()+":"+portOf(t, tc.url)) {
				t.Errorf("the proxy was asked for %q", asked)
			}
		}
		if s := c.Stats(); s.Dials != 3 || s.Reused != 57 || s.Retried != 0 || s.Open != 3 {
			t.Errorf("%+v", s)
		}
		c.Close()
		if s := c.Stats(); s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Addresses that may not be connected to are not asked for: the table of refused addresses, as an address in the URL
// and as what a name resolves to, over HTTP/1.1 and where HTTP/2 is offered.
func TestProxiesAreNotAskedForRefusedAddresses(t *testing.T) {
	throughProxies(t, func(t *testing.T, f *forwarder, opts send.Options) {
		opts.HTTP2 = true
		for _, tc := range refusedAddrs {
			addr := netip.MustParseAddr(tc.addr)
			opts.Resolver = fixedResolver{addr}
			c := newClient(t, opts)
			urls := []string{"http://evil.test:9/", "https://evil.test:9/"}
			if addr.Zone() == "" {
				urls = append(urls, "http://"+netip.AddrPortFrom(addr, 9).String()+"/", "https://"+netip.AddrPortFrom(addr, 9).String()+"/")
			}
			for _, u := range urls {
				_, err := post(t, c, endpoint(t, u))
				var se *send.Error
				var blocked *send.BlockedError
				// A name that resolves to a mapped address means the IPv4 address; that is refused, too, or public.
				if errors.As(err, &se) && se.Kind == send.KindBlocked && errors.As(err, &blocked) {
					continue
				}
				if mapped := addr.Is4In6() && strings.Contains(u, "evil.test"); !mapped || addr.Unmap().String() != "8.8.8.8" {
					t.Errorf("%s for %s: %v", u, addr, err)
				}
			}
			c.Close()
		}
		for _, asked := range f.asked() {
			if !strings.HasSuffix(asked, " 8.8.8.8:9") {
				t.Errorf("the proxy was asked for %s", asked)
			}
		}
	})
}

// An answer of DNS that changes after the check gains nothing: the proxy gets the address that was checked.
func TestProxyAndRebinding(t *testing.T) {
	srv := newHTTPServer(t, func(http.ResponseWriter, *http.Request) {})
	f := newForwarder(t, nil)
	dns, resolver := newDNS(t, func(_ string, query int64) []netip.Addr {
		if query > 1 {
			return addrs("169.254.169.254")
		}
		return []netip.Addr{outside}
	})
	c := newClient(t, send.Options{Resolver: resolver, Proxy: viaProxy(t, "http://"+f.ln.Addr().String()), Guard: send.NewGuard(send.GuardOptions{})})
	e := endpoint(t, "http://rebind.test.:"+portOf(t, srv.URL)+"/")
	mustPost(t, c, e)
	if asked := f.asked(); len(asked) != 1 || !strings.HasPrefix(asked[0], "CONNECT "+outside.String()) || dns.queries.Load() != 1 {
		t.Errorf("asked for %q after %d queries", asked, dns.queries.Load())
	}
}

// Denied networks are stronger than whatever is allowed, through a proxy as well.
func TestDeniedNetworksThroughAProxy(t *testing.T) {
	f := newForwarder(t, nil)
	c := newClient(t, send.Options{
		Resolver: fixedResolver{outside}, Proxy: viaProxy(t, "http://"+f.ln.Addr().String()),
		Guard: send.NewGuard(send.GuardOptions{Deny: prefixes("93.184.215.0/24"), Allow: prefixes("0.0.0.0/0")}),
	})
	_, err := post(t, c, endpoint(t, "https://denied.test/"))
	wantError(t, err, send.KindBlocked,
		"denied.test resolves to 93.184.215.14, in a denied range, which deliveries may not go to; take its range out of outbound.deny_cidrs to allow it")
	if asked := f.asked(); len(asked) != 0 {
		t.Errorf("asked for %q", asked)
	}
}

func TestNoProxy(t *testing.T) {
	srv := newHTTPServer(t, func(http.ResponseWriter, *http.Request) {})
	port := portOf(t, srv.URL)
	f := newForwarder(t, nil)
	via := "http://" + f.ln.Addr().String()
	for name, tc := range map[string]struct {
		host    string
		noProxy []string
		addr    string
	}{
		"loopback always":    {"local.test", nil, "127.0.0.1"},
		"a loopback address": {"127.0.0.1", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			opts := send.Options{Proxy: viaProxy(t, via, tc.noProxy...)}
			if tc.addr != "" {
				opts.Resolver = fixedResolver(addrs(tc.addr))
			}
			c := newClient(t, opts)
			mustPost(t, c, endpoint(t, "http://"+tc.host+":"+port+"/"))
		})
	}
	for name, noProxy := range map[string]string{"name": "internal.test", "domain": "*.test", "network": "93.184.215.0/24", "all": "*"} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, send.Options{Resolver: fixedResolver{outside}, Proxy: viaProxy(t, via, noProxy), DialTimeout: 50 * time.Millisecond})
			if _, err := post(t, c, endpoint(t, "http://internal.test:"+port+"/")); err == nil {
				t.Error("reached an address that can only be reached through the proxy")
			}
		})
	}
	if asked := f.asked(); len(asked) != 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
	if _, err := send.ParseProxy(via, []string{"a", "b c"}); err == nil || !strings.HasPrefix(err.Error(), "[1] ") {
		t.Errorf("%v", err)
	}
}

func TestProxyFailures(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := closed.Addr().String()
	_ = closed.Close()
	answer := func(s string) *rawServer {
		return newRawServer(t, func(c net.Conn, r *bufio.Reader) {
			if _, err := http.ReadRequest(r); err == nil {
				_, _ = io.WriteString(c, s)
			}
		})
	}
	refusing := newForwarder(t, func(f *forwarder) { f.refuse = 5 })
	forbidding := newForwarder(t, func(f *forwarder) { f.refuse = 403 })
	locked := newForwarder(t, func(f *forwarder) { f.login = "user:right" })
	garbage, early := answer("SSH-2.0-x\r\n\r\n"), answer("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 Smuggled\r\nContent-Length: 0\r\n\r\n")
	flood := answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 64<<10) + "\r\n\r\n")
	silent := newRawServer(t, func(c net.Conn, _ *bufio.Reader) { untilClosed(c) })
	for name, tc := range map[string]struct {
		url     string
		kind    send.Kind
		text    string
		timeout time.Duration
	}{
		"away":           {"http://s3cr3t:s3cr3t@" + away, send.KindProxy, "cannot reach the proxy: connection refused", patience},
		"away, SOCKS":    {"socks5://s3cr3t:s3cr3t@" + away, send.KindProxy, "cannot reach the proxy: connection refused", patience},
		"forbidden":      {"http://" + forbidding.ln.Addr().String(), send.KindProxy, "the proxy refused the connection (status 403)", patience},
		"refused, SOCKS": {"socks5://" + refusing.ln.Addr().String(), send.KindProxy, "the proxy refused the connection: connection refused", patience},
		"no login":       {"http://" + locked.ln.Addr().String(), send.KindProxy, "the proxy refused the login (status 407)", patience},
		"wrong login":    {"http://user:s3cr3t@" + locked.ln.Addr().String(), send.KindProxy, "the proxy refused the login (status 407)", patience},
		"wrong, SOCKS":   {"socks5://user:s3cr3t@" + locked.ln.Addr().String(), send.KindProxy, "the proxy refused the connection: username/password authentication failed", patience},
		"no HTTP":        {"http://" + garbage.ln.Addr().String(), send.KindProxy, `the proxy does not answer: invalid HTTP response: it starts with "SSH-2.0-x" and not with an HTTP/1.1 status line`, patience},
		"speaks first":   {"http://" + early.ln.Addr().String(), send.KindProxy, "the proxy sent something before the endpoint could", patience},
		"endless head":   {"http://" + flood.ln.Addr().String(), send.KindProxy, "the proxy does not answer: invalid HTTP response: headers of more than 32 KiB", patience},
		"no TLS":         {"https://" + forbidding.ln.Addr().String(), send.KindProxy, "", patience},
		"silent":         {"http://s3cr3t:s3cr3t@" + silent.ln.Addr().String(), send.KindTimeout, "timeout after 100ms asking the proxy", 100 * time.Millisecond},
		"silent, SOCKS":  {"socks5://s3cr3t:s3cr3t@" + silent.ln.Addr().String(), send.KindTimeout, "timeout after 100ms asking the proxy", 100 * time.Millisecond},
		"silent, HTTPS":  {"https://s3cr3t:s3cr3t@" + silent.ln.Addr().String(), send.KindTimeout, "timeout after 100ms asking the proxy", 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var logged strings.Builder
			c := newClient(t, send.Options{
				Resolver: fixedResolver{outside}, Proxy: viaProxy(t, tc.url),
				Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
			})
			_, err := c.Send(t.Context(), &send.Request{URL: endpoint(t, "http://hooks.test/?q=s3cr3t")}, tc.timeout)
			if tc.text != "" {
				wantError(t, err, tc.kind, tc.text)
			} else if !strings.HasPrefix(err.Error(), "the proxy cannot be trusted: TLS: ") {
				t.Errorf("%v", err)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if strings.Contains(fmt.Sprintf("%v %+v", e, e), "s3cr3t") {
					t.Errorf("the login shows in %+v", e)
				}
			}
			if strings.Contains(logged.String(), "s3cr3t") {
				t.Errorf("the login shows in the log: %s", &logged)
			}
			if s := c.Stats(); s.Open != 0 || s.Dials != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("canceled", func(t *testing.T) {
		for _, scheme := range []string{"http", "https", "socks5"} {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := time.AfterFunc(50*time.Millisecond, func() { cancel(errReason) })
			c := newClient(t, send.Options{Resolver: fixedResolver{outside}, Proxy: viaProxy(t, scheme+"://"+silent.ln.Addr().String())})
			_, err := c.Send(ctx, &send.Request{URL: endpoint(t, "http://hooks.test/")}, patience)
			wantError(t, err, send.KindCanceled, "canceled while asking the proxy: the sidecar is stopping")
			stop.Stop()
		}
	})
}

// The proxy itself may stand where deliveries may not go, and be found by its name.
func TestProxyIsExempt(t *testing.T) {
	srv := newHTTPServer(t, func(http.ResponseWriter, *http.Request) {})
	f := newForwarder(t, nil)
	_, resolver := newDNS(t, func(name string, _ int64) []netip.Addr {
		if name == "proxy.test." {
			return addrs("127.0.0.1")
		}
		return []netip.Addr{outside}
	})
	c := newClient(t, send.Options{
		Resolver: resolver, Guard: send.NewGuard(send.GuardOptions{}),
		Proxy: viaProxy(t, "http://proxy.test:"+portOf(t, f.url()[:strings.LastIndex(f.url(), "/")])),
	})
	mustPost(t, c, endpoint(t, "http://hooks.test:"+portOf(t, srv.URL)+"/"))
	_, err := post(t, c, endpoint(t, "http://proxy.test:"+portOf(t, srv.URL)+"/"))
	var blocked *send.BlockedError
	if !errors.As(err, &blocked) {
		t.Errorf("the proxy's exemption is open to webhooks: %v", err)
	}
}

func TestProxyCannotPrintItsLogin(t *testing.T) {
	p := viaProxy(t, "http://user1:s3cr3t@proxy.test:3128")
	for _, s := range []string{p.String(), fmt.Sprintf("%v %+v %#v %s", p, p, p, p), fmt.Sprintf("%+v", send.Options{Proxy: p}), fmt.Sprint(p.LogValue())} {
		if strings.Contains(s, "s3cr3t") || strings.Contains(s, "user1") {
			t.Errorf("printed as %s", s)
		}
	}
}
