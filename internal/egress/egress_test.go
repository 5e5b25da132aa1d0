package egress

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	h, err := ParseHosts([]string{"Example.com", "*.Corp.example.", "192.0.2.7", "10.0.0.0/8", "[2001:db8::7]", "fd00::/8", "1e100.net"})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"example.com": true, "EXAMPLE.com.": true, "www.example.com": false, "notexample.com": false, "example.com.evil.test": false,
		"a.corp.example": true, "a.b.corp.example.": true, "corp.example": false, "acorp.example": false, ".corp.example": false,
		"192.0.2.7": true, "192.0.2.8": false, "10.255.0.1": true, "11.0.0.1": false, "::ffff:10.1.1.1": true,
		"2001:db8::7": true, "2001:db8:0::7": true, "2001:db8::8": false, "fd12::1": true, "fe80::1%eth0": false,
		"1e100.net": true, "": false, ".": false,
	} {
		if got := h.MatchName(host); got != want {
			t.Errorf("%q: %t, want %t", host, got, want)
		}
	}
	if !h.MatchAddr(netip.MustParseAddr("::ffff:10.0.0.1")) || h.MatchAddr(netip.MustParseAddr("12.0.0.1")) || h.MatchAddr(netip.Addr{}) {
		t.Error("addresses are not matched by network")
	}
	all, err := ParseHosts([]string{"*"})
	if err != nil || !all.MatchName("anything.test") || !all.MatchAddr(netip.MustParseAddr("::1")) {
		t.Errorf("* does not match everything: %v", err)
	}
	if (Hosts{}).MatchName("example.com") || (Hosts{}).MatchAddr(netip.MustParseAddr("::1")) {
		t.Error("the zero Hosts matches")
	}
}

func TestBadPatterns(t *testing.T) {
	for _, p := range []string{
		"", ".", "*.", "**", "*.*", "*x.com", "a.*.com", "exa mple.com", "http://example.com", "example.com:443", "a..b", ".a",
		"10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "fe80::1%eth0", "[::1]:443", "0177.0.0.1", "256.1.1.1", "1.2.3", "2130706433",
		"user@example.com", "bücher.example", "a\nb.com", "::ffff:10.0.0.0/104", strings.Repeat("a", 64) + ".com",
		strings.Repeat("a.", 127) + "com", strings.Repeat("a", 300),
	} {
		h, err := ParseHosts([]string{"good.example", p})
		var pe *PatternError
		if !errors.As(err, &pe) || pe.Index != 1 || pe.Reason == "" {
			t.Errorf("%q: %v", p, err)
		}
		if h.MatchName("good.example") {
			t.Errorf("%q: a list with an error matches something", p)
		}
	}
}

func TestProxy(t *testing.T) {
	for raw, want := range map[string]Proxy{
		"http://proxy.example.com":                   {Scheme: HTTP, Host: "proxy.example.com", Port: 80},
		"http://Proxy.example.com.:3128/":            {Scheme: HTTP, Host: "proxy.example.com", Port: 3128},
		"https://proxy.example.com":                  {Scheme: HTTPS, Host: "proxy.example.com", Port: 443},
		"socks5://10.0.0.1":                          {Scheme: SOCKS5, Host: "10.0.0.1", Port: 1080},
		"http://[2001:DB8::1]:8080":                  {Scheme: HTTP, Host: "2001:db8::1", Port: 8080},
		"http://u:p%40ss@proxy.example.com:3128":     {Scheme: HTTP, Host: "proxy.example.com", Port: 3128, User: "u", Password: "p@ss"},
		"socks5://u:%3A%2F@proxy.example.com":        {Scheme: SOCKS5, Host: "proxy.example.com", Port: 1080, User: "u", Password: ":/"},
		"http://token@proxy.example.com":             {Scheme: HTTP, Host: "proxy.example.com", Port: 80, User: "token"},
		"HTTP://proxy.example.com":                   {Scheme: HTTP, Host: "proxy.example.com", Port: 80},
		"http://proxy_1.default.svc.cluster.local:1": {Scheme: HTTP, Host: "proxy_1.default.svc.cluster.local", Port: 1},
	} {
		got, err := ParseProxy(raw)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", raw, got, err)
		}
	}
}

func TestBadProxies(t *testing.T) {
	const secret = "s3cr3t"
	for _, raw := range []string{
		"", "proxy.example.com:3128", "ftp://u:s3cr3t@p.test", "socks4://p.test", "socks5h://p.test", "http:p.test", "http://",
		"http://:3128", "http://u:s3cr3t@", "http://u:s3cr3t@p.test:0", "http://u:s3cr3t@p.test:65536", "http://u:s3cr3t@p.test:080",
		"http://u:s3cr3t@p.test:", "http://u:s3cr3t@p.test/path", "http://u:s3cr3t@p.test?q", "http://u:s3cr3t@p.test#f",
		"http://u:s3cr3t@0177.0.0.1", "http://u:s3cr3t@[::1%25lo]", "http://u:s3cr3t@[p.test]", "http://:s3cr3t@p.test",
		"socks5://u@p.test", "http://u%3A:s3cr3t@p.test", "http://u:s3cr3t%0d%0aX@p.test", "http://u:s3cr3t%zz@p.test",
		"http://u:s3cr3t@a b.test", "http://u:s3cr3t@p..test", "http://" + strings.Repeat("u", 256) + ":s3cr3t@p.test",
		"http://u:s3cr3t@p.test\n", "http://u:s3cr3t@p.test" + strings.Repeat("/", 3000), "http://u:s3cr3t#@p.test",
	} {
		_, err := ParseProxy(raw)
		if err == nil {
			t.Errorf("%q is accepted", raw)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error shows the password: %v", raw, err)
		}
	}
}

func TestProxyCannotPrintItsLogin(t *testing.T) {
	p, err := ParseProxy("http://user1:s3cr3t@p.test:3128")
	if err != nil {
		t.Fatal(err)
	}
	inside := struct{ P Proxy }{p}
	encoded, err := json.Marshal(inside)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "proxy", p)
	for _, s := range []string{
		p.String(), fmt.Sprintf("%v %+v %#v %s %q %x %d", p, p, p, p, p, p, p), fmt.Sprintf("%+v %#v", inside, &inside),
		string(encoded), logged.String(),
	} {
		if strings.Contains(s, "s3cr3t") || strings.Contains(s, "user1") || !strings.Contains(s, "p.test") {
			t.Errorf("printed as %s", s)
		}
	}
}

// FuzzHosts checks that a pattern is accepted only when it matches what it says, and that nothing panics.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"example.com", "*.example.com", "*", "10.0.0.0/8", "::1", "[::1]", "fe80::1%x", "*.1", "a..b", "::ffff:1.2.3.4/128", "A.B."} {
		f.Add(s, "www.example.com")
	}
	f.Fuzz(func(t *testing.T, pattern, host string) {
		h, err := ParseHosts([]string{pattern})
		if err != nil {
			if h.MatchName(host) {
				t.Fatal("matches in spite of an error")
			}
			return
		}
		if !strings.ContainsAny(pattern, "*/") && !h.MatchName(strings.Trim(pattern, "[]")) {
			t.Fatalf("%q does not match itself", pattern)
		}
		if rest, ok := strings.CutPrefix(pattern, "*."); ok && (!h.MatchName("x."+rest) || h.MatchName(rest)) {
			t.Fatalf("%q does not match what is below it, or matches itself", pattern)
		}
		if h.MatchName(host) != h.MatchName(strings.ToUpper(host)) && isASCII(host) && !strings.Contains(host, "%") {
			t.Fatalf("case counts for %q", host)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// FuzzProxy checks that what is accepted reads the same when it is printed, and that no error shows the password.
func FuzzProxy(f *testing.F) {
	for _, s := range []string{
		"http://proxy.example.com:3128", "socks5://u:p@10.0.0.1", "https://[::1]:1", "http://u@p", "http://a:b@c:0", "http://%41", "socks5://x/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := ParseProxy(raw)
		if err != nil {
			return
		}
		again, err := ParseProxy(p.String())
		again.User, again.Password = p.User, p.Password
		if err != nil || again != p || p.Port == 0 {
			t.Fatalf("%q is printed as %s, which reads as %s, %v", raw, p, again, err)
		}
	})
}
