package egress

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// The schemes of a proxy's URL.
const (
	HTTP   = "http"   // HTTP CONNECT
	HTTPS  = "https"  // HTTP CONNECT over TLS
	SOCKS5 = "socks5" // RFC 1928, with the password of RFC 1929
)

// Proxy is where a proxy is and how to log in. Every way to print or log it leaves the login out.
type Proxy struct {
	// Scheme is HTTP, HTTPS or SOCKS5.
	Scheme string
	// Host is a DNS name, or an IP address without brackets.
	Host string
	// Port is 1 to 65535; 80, 443 or 1080 when the URL has none.
	Port uint16
	// User and Password are the login; empty for none.
	User, Password string
}

// Limits of a login: those of RFC 1929 for SOCKS5; for HTTP the same will do.
const maxLogin = 255

// ParseProxy reads a URL such as http://user:password@proxy.example.com:3128. Its errors show nothing of the URL, which
// may hold a password.
func ParseProxy(raw string) (Proxy, error) {
	if len(raw) > 2048 {
		return Proxy{}, errors.New("is over 2048 bytes")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Proxy{}, errors.New("is not a URL such as http://proxy.example.com:3128; escape special characters of a password with %")
	}
	p := Proxy{Scheme: u.Scheme}
	switch {
	case u.Scheme != HTTP && u.Scheme != HTTPS && u.Scheme != SOCKS5:
		return Proxy{}, errors.New("must begin with http://, https:// or socks5://")
	case u.Opaque != "" || u.Host == "":
		return Proxy{}, errors.New("has no host; write it as http://proxy.example.com:3128")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Proxy{}, errors.New("must end with the host and its port")
	}
	if p.Host, err = proxyHost(u); err != nil {
		return Proxy{}, err
	}
	if p.Port, err = proxyPort(u); err != nil {
		return Proxy{}, err
	}
	if u.User != nil {
		p.User = u.User.Username()
		p.Password, _ = u.User.Password()
		return p, p.checkLogin()
	}
	return p, nil
}

func proxyHost(u *url.URL) (string, error) {
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || addr.Is6() != strings.HasPrefix(u.Host, "[") {
			return "", errors.New("has an address that is not written as 192.0.2.7 or [2001:db8::7]")
		}
		return addr.String(), nil
	}
	name, err := hostName(host)
	if err != nil || strings.HasPrefix(u.Host, "[") {
		return "", errors.New("has a host that is neither a DNS name nor an IP address")
	}
	return name, nil
}

func proxyPort(u *url.URL) (uint16, error) {
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return 0, errors.New("has a colon and no port after it")
		}
		return map[string]uint16{HTTP: 80, HTTPS: 443, SOCKS5: 1080}[u.Scheme], nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return 0, errors.New("has a port that is not 1 to 65535")
	}
	return uint16(n), nil
}

func (p Proxy) checkLogin() error {
	switch {
	case p.User == "":
		return errors.New("has a login without a user; write user:password@ before the host, or leave it out")
	case len(p.User) > maxLogin || len(p.Password) > maxLogin:
		return fmt.Errorf("has a user or a password of more than %d bytes", maxLogin)
	case p.Scheme == SOCKS5 && p.Password == "":
		return errors.New("has a user without a password, which SOCKS5 has no way to send")
	case p.Scheme != SOCKS5 && strings.Contains(p.User, ":"):
		return errors.New("has a user with a colon, which HTTP has no way to send")
	}
	for _, s := range []string{p.User, p.Password} {
		for i := range len(s) {
			if s[i] < ' ' || s[i] == 0x7f {
				return errors.New("has a control character in its user or password")
			}
		}
	}
	return nil
}

// IsZero reports whether there is no proxy.
func (p Proxy) IsZero() bool { return p.Host == "" }

// Address is the host and port to connect to.
func (p Proxy) Address() string { return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port))) }

// String is the URL without the login.
func (p Proxy) String() string {
	if p.IsZero() {
		return ""
	}
	return p.Scheme + "://" + p.Address()
}

// Format writes what String returns for every verb.
func (p Proxy) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }

// LogValue gives what String returns to slog.
func (p Proxy) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText gives what String returns to encoders.
func (p Proxy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
