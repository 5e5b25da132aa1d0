package send_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sidehook/sidehook/outbound/send"
)

// dnsServer is a DNS server over UDP, with Go's own resolver asking it. Answer gives the addresses of a name; none
// for "no such host".
type dnsServer struct {
	pc      net.PacketConn
	queries atomic.Int64 // for A records
	answer  func(name string, query int64) []netip.Addr
	alias   atomic.Pointer[string] // when set, every other name is a CNAME of that one
}

func newDNS(t *testing.T, answer func(name string, query int64) []netip.Addr) (*dnsServer, *net.Resolver) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dnsServer{pc: pc, answer: answer}
	done := make(chan bool)
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		_ = pc.Close()
		<-done
	})
	return s, &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "udp", pc.LocalAddr().String())
		},
	}
}

func (s *dnsServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply, err := s.reply(buf[:n]); err == nil && reply != nil {
			_, _ = s.pc.WriteTo(reply, from)
		}
	}
}

func (s *dnsServer) reply(packet []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	n := s.queries.Load()
	if q.Type == dnsmessage.TypeA {
		n = s.queries.Add(1)
	}
	owner := q.Name
	if to := s.alias.Load(); to != nil && *to != q.Name.String() {
		owner = dnsmessage.MustNewName(*to)
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeCNAME}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: owner}})
	}
	addrs := s.answer(owner.String(), n)
	if addrs == nil {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range addrs {
		h := dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, Type: q.Type}
		switch {
		case a.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}

func addrs(ss ...string) (out []netip.Addr) {
	for _, s := range ss {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestNamesThatResolveToRefusedAddresses(t *testing.T) {
	byName := map[string][]netip.Addr{
		"loopback.test.": addrs("127.0.0.1"),
		"six.test.":      addrs("::1"),
		"metadata.test.": addrs("169.254.169.254"),
		"mapped.test.":   addrs("::ffff:10.0.0.1"),
		"nat64.test.":    addrs("64:ff9b::a9fe:a9fe"),
		"mixed.test.":    addrs("10.0.0.1", "192.168.0.1", "fe80::1"),
	}
	_, resolver := newDNS(t, func(name string, _ int64) []netip.Addr { return byName[name] })
	c := send.New(send.Options{Resolver: resolver})
	t.Cleanup(c.Close)
	for name := range byName {
		_, err := post(t, c, endpoint(t, "http://"+name+":9/"))
		var se *send.Error
		var blocked *send.BlockedError
		if !errors.As(err, &se) || se.Kind != send.KindBlocked || !errors.As(err, &blocked) || blocked.Host != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := post(t, c, endpoint(t, "http://nowhere.test.:9/?token=s3cret"))
	wantError(t, err, send.KindDNS, "DNS: no such host nowhere.test.")
	if s := c.Stats(); s.Dials != 0 {
		t.Errorf("%+v", s)
	}
}

// A name that is harmless when it is checked and loopback afterwards gains nothing: one connection asks once, and
// connects to what it has checked.
func TestRebinding(t *testing.T) {
	srv := newRawServer(t, answering(okAnswer, true))
	dns, resolver := newDNS(t, func(_ string, query int64) []netip.Addr {
		if query <= 1 {
			return addrs("127.0.0.2") // where nobody listens, and where the Guard lets us go
		}
		return addrs("127.0.0.1")
	})
	c := newClient(t, send.Options{
		Resolver: resolver,
		Guard:    send.NewGuard(send.GuardOptions{Allow: prefixes("127.0.0.2/32")}),
	})
	_, port, _ := net.SplitHostPort(srv.ln.Addr().String())
	e := endpoint(t, "http://rebind.test.:"+port+"/")
	_, err := post(t, c, e)
	wantError(t, err, send.KindDial, "connection refused")
	if n := dns.queries.Load(); n != 1 {
		t.Errorf("%d queries, want 1", n)
	}
	_, err = post(t, c, e)
	var blocked *send.BlockedError
	if !errors.As(err, &blocked) || blocked.Addr != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("second request: %v", err)
	}
	if n := srv.accepted(); n != 0 {
		t.Errorf("%d connections reached the server", n)
	}
}

// Refused addresses are passed over, dead ones too, as long as one is left.
func TestFirstGoodAddressIsUsed(t *testing.T) {
	srv := newRawServer(t, answering(okAnswer, true))
	_, resolver := newDNS(t, func(string, int64) []netip.Addr {
		return addrs("10.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.1")
	})
	c := newClient(t, send.Options{Resolver: resolver})
	_, port, _ := net.SplitHostPort(srv.ln.Addr().String())
	if resp := mustPost(t, c, endpoint(t, "http://many.test.:"+port+"/")); resp.Status != 200 {
		t.Errorf("%+v", resp)
	}
}

type fixedResolver []netip.Addr

func (r fixedResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return r, nil
}

// Resolvers may give IPv4 addresses in mapped form, which says nothing about the name; they are judged as IPv4.
func TestMappedAddressesFromTheResolver(t *testing.T) {
	srv := newRawServer(t, answering(okAnswer, true))
	c := newClient(t, send.Options{Resolver: fixedResolver(addrs("::ffff:10.0.0.1", "::ffff:127.0.0.1"))})
	_, port, _ := net.SplitHostPort(srv.ln.Addr().String())
	if resp := mustPost(t, c, endpoint(t, "http://mapped.test:"+port+"/")); resp.Status != 200 {
		t.Errorf("%+v", resp)
	}
	c = newClient(t, send.Options{Resolver: fixedResolver(addrs("::ffff:10.0.0.1"))})
	_, err := post(t, c, endpoint(t, "http://mapped.test:"+port+"/"))
	var blocked *send.BlockedError
	if !errors.As(err, &blocked) || blocked.Addr != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("%v", err)
	}
}

func TestConnectionRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + ln.Addr().String() + "/in?token=s3cret"
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = post(t, newClient(t, send.Options{}), endpoint(t, url))
	wantError(t, err, send.KindDial, "connection refused")
}

// hangingResolver answers when the context ends.
type hangingResolver struct{ asked chan bool }

func (r hangingResolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	r.asked <- true
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestResolverThatHangs(t *testing.T) {
	r := hangingResolver{make(chan bool, 2)}
	c := newClient(t, send.Options{Resolver: r})
	e := endpoint(t, "http://example.com/")
	_, err := c.Send(t.Context(), &send.Request{URL: e}, 50*time.Millisecond)
	wantError(t, err, send.KindTimeout, "timeout after 50ms resolving the host name")

	<-r.asked
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-r.asked
		cancel(errReason)
	}()
	_, err = c.Send(ctx, &send.Request{URL: e}, patience)
	wantError(t, err, send.KindCanceled, "canceled while resolving the host name: the sidecar is stopping")
}

type failingResolver struct{ err error }

func (r failingResolver) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, r.err
}

func TestResolverThatFails(t *testing.T) {
	for _, tc := range []struct {
		err  error
		text string
	}{
		{nil, "DNS: no such host example.com"},
		{&net.DNSError{Err: "server misbehaving", Name: "example.com"}, "DNS: cannot resolve example.com: server misbehaving"},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, "DNS: no answer in time for example.com"},
		{errors.New("out of order"), "DNS: cannot resolve example.com: out of order"},
	} {
		c := newClient(t, send.Options{Resolver: failingResolver{tc.err}})
		_, err := post(t, c, endpoint(t, "http://example.com/?q=s3cret"))
		wantError(t, err, send.KindDNS, tc.text)
	}
}
