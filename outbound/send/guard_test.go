package send_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/sidehook/sidehook/outbound/send"
)

// Addresses that are not public, in all the forms in which they can be written, and why each is refused.
var refusedAddrs = []struct{ addr, reason string }{
	{"127.0.0.1", "a loopback address"},
	{"127.255.255.254", "a loopback address"},
	{"::1", "a loopback address"},
	{"0.0.0.0", "an unspecified address (0.0.0.0/8)"},
	{"0.1.2.3", "an unspecified address (0.0.0.0/8)"},
	{"::", "the unspecified address"},
	{"10.0.0.1", "a private address"},
	{"10.255.255.255", "a private address"},
	{"172.16.0.1", "a private address"},
	{"172.31.255.255", "a private address"},
	{"192.168.0.1", "a private address"},
	{"fc00::1", "a private (unique local) address"},
	{"fdff:ffff::1", "a private (unique local) address"},
	{"169.254.0.1", "a link-local address"},
	{"169.254.169.254", "a cloud metadata address"},
	{"169.254.170.2", "a cloud metadata address"},
	{"100.100.100.200", "a cloud metadata address"},
	{"168.63.129.16", "a cloud metadata address"},
	{"192.0.0.192", "a cloud metadata address"},
	{"fd00:ec2::254", "a cloud metadata address"},
	{"fd20:ce::254", "a cloud metadata address"},
	{"fd00:42::42", "a cloud metadata address"},
	{"fe80::1", "a link-local address"},
	{"fe80::1%eth0", "a link-local address"},
	{"::1%lo", "a loopback address"},
	{"febf::1", "a link-local address"},
	{"fec0::1", "a site-local address"},
	{"100.64.0.1", "a carrier-grade NAT address"},
	{"100.127.255.255", "a carrier-grade NAT address"},
	{"192.0.0.8", "an address for protocol assignments"},
	{"192.0.2.1", "an address for documentation"},
	{"198.51.100.1", "an address for documentation"},
	{"203.0.113.1", "an address for documentation"},
	{"192.88.99.1", "a 6to4 relay address"},
	{"198.18.0.1", "an address for benchmarks"},
	{"198.19.255.255", "an address for benchmarks"},
	{"224.0.0.1", "a multicast address"},
	{"239.255.255.250", "a multicast address"},
	{"ff02::1", "a multicast address"},
	{"240.0.0.1", "a reserved address"},
	{"255.255.255.255", "the broadcast address"},
	{"::ffff:127.0.0.1", "an IPv4-mapped address that carries 127.0.0.1"},
	{"::ffff:a00:1", "an IPv4-mapped address that carries 10.0.0.1"},
	{"::ffff:8.8.8.8", "an IPv4-mapped address that carries 8.8.8.8"},
	{"::ffff:0:127.0.0.1", "an IPv4-translated address that carries 127.0.0.1"},
	{"::127.0.0.1", "an IPv4-compatible address that carries 127.0.0.1"},
	{"::8.8.8.8", "an IPv4-compatible address that carries 8.8.8.8"},
	{"::2", "an IPv4-compatible address that carries 0.0.0.2"},
	{"64:ff9b::7f00:1", "a NAT64 address that carries 127.0.0.1"},
	{"64:ff9b::808:808", "a NAT64 address that carries 8.8.8.8"},
	{"64:ff9b:1::a00:1", "a local NAT64 address that carries 10.0.0.1"},
	{"64:ff9b:1:a00:0:100::", "a local NAT64 address that carries 10.0.0.1"},
	{"2002:7f00:1::", "a 6to4 address that carries 127.0.0.1"},
	{"2002:a9fe:a9fe::1", "a 6to4 address that carries 169.254.169.254"},
	{"2002:808:808::", "a 6to4 address that carries 8.8.8.8"},
	{"2001:0:4136:e378:8000:63bf:80ff:fffe", "a Teredo address that carries 127.0.0.1"},
	{"2a00::5efe:10.0.0.1", "an ISATAP address that carries 10.0.0.1"},
	{"2a00::200:5efe:10.0.0.1", "an ISATAP address that carries 10.0.0.1"},
	{"100::1", "a discard-only address"},
	{"2001:10::1", "an ORCHID address"},
	{"2001:20::1", "an ORCHID address"},
	{"2001:2::1", "an address for benchmarks"},
	{"2001:1::1", "an address for protocol assignments"},
	{"2001:db8::1", "an address for documentation"},
	{"3fff::1", "an address for documentation"},
	{"5f00::1", "not a public address"},
	{"4000::1", "not a public address"},
	{"1::1", "not a public address"},
	{"fe00::1", "not a public address"},
}

var publicAddrs = []string{
	"8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0",
	"198.17.255.255", "198.20.0.0", "223.255.255.255",
	"2606:4700:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "2001:200::1", "2003::1", "3ffe::1",
}

func TestGuard(t *testing.T) {
	for _, g := range []*send.Guard{nil, {}, send.NewGuard(send.GuardOptions{})} {
		for _, tc := range refusedAddrs {
			err := g.Check("example.com", netip.MustParseAddr(tc.addr))
			var blocked *send.BlockedError
			if !errors.As(err, &blocked) {
				t.Errorf("%s: let through", tc.addr)
				continue
			}
			if got := blocked.Reason; got != tc.reason && !hasPrefix(got, tc.reason+", ") {
				t.Errorf("%s is %q, want %q", tc.addr, got, tc.reason)
			}
			if blocked.Host != "example.com" || blocked.Addr != netip.MustParseAddr(tc.addr) {
				t.Errorf("%s: %+v", tc.addr, blocked)
			}
		}
		for _, addr := range publicAddrs {
			if err := g.Check("example.com", netip.MustParseAddr(addr)); err != nil {
				t.Errorf("%s: %v", addr, err)
			}
		}
		if g.Check("x", netip.Addr{}) == nil {
			t.Error("the zero Addr is let through")
		}
	}
}

func hasPrefix(s, p string) bool { return len(s) >= len(p) && s[:len(p)] == p }

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestGuardOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		opts    send.GuardOptions
		through []string
		refused []string
	}{
		"loopback": {
			send.GuardOptions{AllowLoopback: true},
			[]string{"127.0.0.1", "127.9.9.9", "::1"},
			[]string{"::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "0.0.0.0", "::", "10.0.0.1"},
		},
		"private": {
			send.GuardOptions{AllowPrivate: true},
			[]string{"10.1.2.3", "172.16.0.1", "192.168.1.1", "fc00::1", "fd12::1"},
			[]string{"127.0.0.1", "169.254.1.1", "169.254.169.254", "100.64.0.1", "fd00:ec2::254", "fd20:ce::254", "fd00:42::42", "fe80::1", "::ffff:10.0.0.1"},
		},
		"ranges": {
			send.GuardOptions{Allow: prefixes("100.64.0.0/10", "169.254.169.254/32", "fe80::/10", "::ffff:10.0.0.0/104")},
			[]string{"100.64.1.1", "169.254.169.254", "fe80::1", "fe80::1%eth0", "10.0.0.1"},
			[]string{"169.254.169.253", "192.168.0.1"},
		},
		"NAT64 takes the carried address too": {
			send.GuardOptions{Allow: prefixes("64:ff9b::/96")},
			[]string{"64:ff9b::808:808"},
			[]string{"64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe"},
		},
		"NAT64 and private": {
			send.GuardOptions{AllowPrivate: true, Allow: prefixes("64:ff9b::/96")},
			[]string{"64:ff9b::a00:1"},
			[]string{"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"},
		},
		"deny is strongest": {
			send.GuardOptions{AllowPrivate: true, Allow: prefixes("10.0.0.0/8", "64:ff9b::/96"), Deny: prefixes("10.1.0.0/16", "8.8.8.0/24")},
			[]string{"10.2.0.1", "8.8.4.4", "64:ff9b::808:404"},
			[]string{"10.1.0.1", "8.8.8.8", "64:ff9b::808:808"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := send.NewGuard(tc.opts)
			for _, a := range tc.through {
				if err := g.Check("", netip.MustParseAddr(a)); err != nil {
					t.Errorf("%s: %v", a, err)
				}
			}
			for _, a := range tc.refused {
				if g.Check("", netip.MustParseAddr(a)) == nil {
					t.Errorf("%s is let through", a)
				}
			}
		})
	}
}

func TestBlockedErrorSaysWhatToDo(t *testing.T) {
	for _, tc := range []struct{ host, addr, want string }{
		{
			"example.com", "10.0.0.5",
			"example.com resolves to 10.0.0.5, a private address, which deliveries may not go to; set outbound.allow_private, or list its range in outbound.allow_cidrs, to allow it",
		},
		{
			"127.0.0.1", "127.0.0.1",
			"127.0.0.1 is a loopback address, which deliveries may not go to; set outbound.allow_loopback to allow it",
		},
		{
			"::ffff:169.254.169.254", "::ffff:169.254.169.254",
			"::ffff:169.254.169.254 is an IPv4-mapped address that carries 169.254.169.254, which deliveries may not go to; list its range in outbound.allow_cidrs to allow it",
		},
	} {
		if got := (*send.Guard)(nil).Check(tc.host, netip.MustParseAddr(tc.addr)).Error(); got != tc.want {
			t.Errorf("%s\nwant %s", got, tc.want)
		}
	}
}

// URLs whose host reaches loopback or metadata addresses with some reader of addresses, or is no host at all.
var evasions = []string{
	"http://0177.0.0.1/", "http://0177.1/", "http://0x7f.0.0.1/", "http://0x7f000001/", "http://0X7F.1/",
	"http://2130706433/", "http://017700000001/", "http://127.1/", "http://127.0.1/", "http://0/", "http://0x/",
	"http://127.0.0.1./", "http://127.0.0.01/", "http://127.0.0.256/", "http://127.0.0.1.1/", "http://1.2.3.4.5/",
	"http://3232235521/", "http://0xa9fea9fe/", "http://2852039166/", "http://169.254.43518/", "http://0251.0376.0251.0376/",
	"http://example.0x10/", "http://example.1/", "http://example.1./", "http://99999999999999999999/",
	"http://[::1%25lo]/", "http://[fe80::1%25eth0]/", "http://[::1%lo]/", "http://[127.0.0.1]/", "http://[::1]x/",
	"http://[::1/", "http://::1/", "http://[]/", "http://[v1.x]/",
	"http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://%31%32%37.0.0.1/", "http://127.0.0.1%2f@example.com/",
	"http://user@127.0.0.1/", "http://example.com@127.0.0.1/", "http://a b/", "http://a\tb/", "http://exa\r\nmple.com/",
	"http://.example.com/", "http://example..com/", "http://./", "http://../", "http://example.com\\@127.0.0.1/",
	"http://exam,ple.com/", "http://exam;ple.com/", "http://exam*ple.com/", "http://$(x).com/", "http://'x'.com/",
	"http:///", "http://:80/", "//example.com/", "HTTP://example.com/", "ftp://example.com/", "http:example.com",
	"http://example.com:0/", "http://example.com:65536/", "http://example.com:080080/", "http://example.com:/",
	"http://example.com/#f", "http://example.com/ HTTP/1.1\r\nX: y", "https://", "",
}

func TestEvasiveURLsAreRefused(t *testing.T) {
	for _, u := range evasions {
		if e, err := send.ParseEndpoint(u); err == nil {
			t.Errorf("%q is accepted as %s, host %s", u, e, e.Host())
		}
	}
}

// Every address that the Guard refuses is refused in a URL as well, before any connection is made.
func TestAddressesInURLs(t *testing.T) {
	c := send.New(send.Options{})
	t.Cleanup(c.Close)
	for _, tc := range refusedAddrs {
		addr := netip.MustParseAddr(tc.addr)
		if addr.Zone() != "" {
			continue // refused by ParseEndpoint
		}
		_, err := post(t, c, endpoint(t, "http://"+netip.AddrPortFrom(addr, 9).String()+"/"))
		var se *send.Error
		var blocked *send.BlockedError
		if !errors.As(err, &se) || se.Kind != send.KindBlocked || !errors.As(err, &blocked) || blocked.Addr != addr {
			t.Errorf("%s: %v", tc.addr, err)
		}
	}
	if s := c.Stats(); s.Dials != 0 {
		t.Errorf("%+v", s)
	}
}

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct{ url, host, show string }{
		{"http://example.com", "example.com", "http://example.com"},
		{"https://Example.COM:443/a/b?token=s3cret", "example.com", "https://example.com/a/b"},
		{"https://example.com:8443/a?x", "example.com", "https://example.com:8443/a"},
		{"http://example.com:443/", "example.com", "http://example.com:443/"},
		{"http://[0:0::1]:80/", "::1", "http://[::1]/"},
		{"http://[2001:DB8::1]:8080/", "2001:db8::1", "http://[2001:db8::1]:8080/"},
		{"http://10.0.0.1:8080/", "10.0.0.1", "http://10.0.0.1:8080/"},
		{"http://my_service.default.svc/", "my_service.default.svc", "http://my_service.default.svc/"},
		{"http://example.com./", "example.com.", "http://example.com./"},
		{"http://1e100.net/", "1e100.net", "http://1e100.net/"},
		{"http://0xcafe.coffee/", "0xcafe.coffee", "http://0xcafe.coffee/"},
		{"http://xn--bcher-kva.example/", "xn--bcher-kva.example", "http://xn--bcher-kva.example/"},
	} {
		e := endpoint(t, tc.url)
		if e.Host() != tc.host || e.String() != tc.show {
			t.Errorf("%s: host %s, shown as %s", tc.url, e.Host(), e)
		}
	}
}
