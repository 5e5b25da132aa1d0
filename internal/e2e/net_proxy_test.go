package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// socksServer is a SOCKS5 proxy (RFC 1928) with a login (RFC 1929). It connects to this machine for whatever address it
// is asked, and keeps what it was asked for.
type socksServer struct {
	net.Listener
	mu    sync.Mutex
	asked []string
	open  []net.Conn
	ends  sync.WaitGroup
}

func newSOCKS(t *testing.T) *socksServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &socksServer{Listener: ln}
	p.ends.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.keep(c)
			p.ends.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		for _, c := range p.open {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.ends.Wait()
	})
	return p
}

func (p *socksServer) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
}

func (p *socksServer) was() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// serve opens a tunnel and carries it to its end.
func (p *socksServer) serve(down net.Conn) {
	defer down.Close()
	target, err := p.negotiate(down)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, target.String())
	p.mu.Unlock()
	up, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", target.Port()))
	if err != nil {
		_, _ = down.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	p.keep(up)
	defer up.Close()
	if _, err := down.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(down, up)
		_ = down.Close()
	})
	_, _ = io.Copy(up, down)
	_ = up.Close()
	back.Wait()
}

// negotiate asks for the login and reads which address is wanted; names are not taken.
func (p *socksServer) negotiate(c net.Conn) (netip.AddrPort, error) {
	none := netip.AddrPort{}
	head, err := take(c, 2)
	if err != nil {
		return none, err
	}
	if methods, err := take(c, int(head[1])); err != nil || !slices.Contains(methods, 2) {
		return none, errors.Join(err, errors.New("no login is offered"))
	}
	_, _ = c.Write([]byte{5, 2})
	if _, err := take(c, 1); err != nil {
		return none, err
	}
	var login []string
	for range 2 {
		size, err := take(c, 1)
		if err != nil {
			return none, err
		}
		part, err := take(c, int(size[0]))
		if err != nil {
			return none, err
		}
		login = append(login, string(part))
	}
	if strings.Join(login, ":") != proxyLogin {
		_, _ = c.Write([]byte{1, 1})
		return none, errors.New("wrong login")
	}
	_, _ = c.Write([]byte{1, 0})
	ask, err := take(c, 4)
	if err != nil {
		return none, err
	}
	size, ok := map[byte]int{1: 4, 4: 16}[ask[3]]
	if !ok {
		p.mu.Lock()
		p.asked = append(p.asked, fmt.Sprintf("an address of type %d", ask[3]))
		p.mu.Unlock()
		return none, errors.New("not an address")
	}
	rest, err := take(c, size+2)
	if err != nil {
		return none, err
	}
	addr, _ := netip.AddrFromSlice(rest[:size])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(rest[size:])), nil
}

func take(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// refusedHosts are hosts of URLs that no sidecar connects to by default: each kind of address, as text and as a name.
var refusedHosts = []string{
	"127.0.0.1", "127.8.8.8", "localhost", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.1.1",
	"100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"[::1]", "[::]", "[fd00::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[fd00:ec2::254]",
	"[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
	"[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2a00::5efe:10.0.0.1]",
}

// TestNetworkProxiesHoldTheRules: through an HTTP and a SOCKS5 proxy, deliveries arrive over HTTP/1.1 and HTTP/2 with one
// tunnel for each endpoint. What is refused without a proxy is refused with it, in the same words, and the proxy is not
// asked; nor is it asked for where a redirect points to.
func TestNetworkProxiesHoldTheRules(t *testing.T) {
	refusedWith := map[string]map[string]string{} // by way out, then host
	for _, way := range []string{"direct", "http", "socks5"} {
		t.Run(way, func(t *testing.T) {
			proxy, asked := "", func() []string { return nil }
			switch way {
			case "http":
				p := newTunneller(t)
				proxy, asked = p.Listener.Addr().String(), p.was
			case "socks5":
				p := newSOCKS(t)
				proxy, asked = p.Addr().String(), p.was
			}
			refusedWith[way] = throughProxy(t, way, proxy, asked)
		})
	}
	for _, host := range refusedHosts {
		want := refusedWith["direct"][host]
		if want == "" || refusedWith["http"][host] != want || refusedWith["socks5"][host] != want {
			t.Errorf("%s is refused with %q, over HTTP %q, over SOCKS5 %q", host, want, refusedWith["http"][host], refusedWith["socks5"][host])
		}
	}
}

// throughProxy runs a sidecar that goes out through a proxy, or directly when there is none, and returns the errors of
// attempts at refused hosts.
func throughProxy(t *testing.T, scheme, proxy string, asked func() []string) map[string]string {
	own := newAuthority(t, "corp")
	plain, secure, redirecting := newCounted(t, "plain"), newCountedH2(t, outside, own), newCounted(t, "redirecting")
	redirecting.hang(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusTemporaryRedirect)
	}))
	way := "outbound: {ca_file: ca.pem}\n"
	if proxy != "" {
		way = fmt.Sprintf("outbound: {ca_file: ca.pem, proxy: {url: %q}}\n", scheme+"://"+proxyLogin+"@"+proxy)
	}
	pl := newPlace(t, "config_file: webhooks.yaml", way)
	pl.files("ca", own.cert)
	var text strings.Builder
	webhook := func(id, url, events string, e *counted) {
		fmt.Fprintf(&text, "      - {id: %s, url: %q, events: [%q], automatic_retry: false, secrets: [{id: s, key: %s}]}\n",
			id, url, events, e.secret.Reveal())
	}
	text.WriteString("apps:\n  - id: demo\n    webhooks:\n")
	var tunnels []string
	for _, to := range []struct {
		id, events string
		*counted
	}{{"plain", "person.created", plain}, {"secure", "person.created", secure}, {"redirecting", "only.redirected", redirecting}} {
		url := strings.Replace(to.url, "127.0.0.1", outside, 1)
		webhook(to.id, url, to.events, to.counted)
		tunnels = append(tunnels, outside+url[strings.LastIndex(url, ":"):strings.LastIndex(url, "/")])
	}
	for i, host := range refusedHosts {
		webhook(fmt.Sprintf("r%d", i), "https://"+host+"/in", "only.refused", plain)
	}
	pl.write("webhooks.yaml", text.String())
	s := pl.open()

	if proxy != "" {
		events := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc))
		for _, id := range numbered("evt", 25) { // one after the other
			publishOn(t, events, id)
			plain.awaitArrival(t, id)
			secure.awaitArrival(t, id)
			s.awaitIdle()
		}
		publish(t, s.grpc, "only.redirected", "evt_redirected")
		s.awaitIdle()
		if h := s.history("redirecting"); len(h) != 1 || h[0].State != "dead" || h[0].Attempts[0].Status != http.StatusTemporaryRedirect {
			t.Errorf("what became of the redirected delivery: %+v", h)
		}
	}
	publish(t, s.grpc, "only.refused", "evt_refused")
	s.awaitIdle()
	var got []string
	for _, a := range asked() {
		got = append(got, strings.TrimPrefix(a, "CONNECT "))
	}
	slices.Sort(got)
	slices.Sort(tunnels)
	if proxy != "" && !slices.Equal(got, tunnels) {
		t.Errorf("the proxy was asked for %q, want one tunnel to each of %q", got, tunnels)
	}
	refused := map[string]string{}
	for i, host := range refusedHosts {
		failed := s.failuresOf(fmt.Sprintf("r%d", i))
		if len(failed) != 1 || !strings.Contains(failed[0], "which deliveries may not go to") {
			t.Errorf("%s: the failures are %q", host, failed)
			continue
		}
		refused[host] = failed[0]
	}
	s.stop(syscall.SIGTERM)
	if said := s.out.String() + s.log.String(); strings.Contains(said, "hush") {
		t.Errorf("the login of the proxy shows: %s", said)
	}
	return refused
}
