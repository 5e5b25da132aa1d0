package send

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/sidehook/sidehook"
)

// Endpoint is a webhook's URL, parsed once. It is immutable and safe for concurrent use; share one per webhook.
type Endpoint struct {
	tls  bool
	host string     // name or IP address, without brackets
	addr netip.Addr // set when host is an IP address
	port uint16
	key  string // scheme, host and port: what connections are shared by
	show string // the URL without its query
	url  *url.URL
	head string // request line and Host header

	// pool remembers the client's pool for key, so that a request does not look it up. Only a hint: it may be of
	// another client, or retired.
	pool atomic.Pointer[pool]
}

// ParseEndpoint parses rawURL, which must satisfy sidehook.ValidateURL. It further refuses what one resolver reads as
// a name and another as an address (0177.0.0.1, 2130706433, 0x7f.1), and zones. Errors are *sidehook.FieldError.
func ParseEndpoint(rawURL string) (*Endpoint, error) {
	if err := sidehook.ValidateURL(rawURL); err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, sidehook.Fieldf("", "is not a valid URL")
	}
	e := &Endpoint{tls: u.Scheme == "https", host: strings.ToLower(u.Hostname())}
	if e.addr, err = parseHost(e.host, strings.HasPrefix(u.Host, "[")); err != nil {
		return nil, err
	}
	if e.addr.IsValid() {
		e.host = e.addr.String() // one spelling per address
	}
	scheme, authority := u.Scheme+"://", e.host
	if e.addr.Is6() {
		authority = "[" + e.host + "]"
	}
	e.port = portOf(u.Port(), e.tls)
	port := ":" + strconv.Itoa(int(e.port))
	key := scheme + authority + port
	if e.port != portOf("", e.tls) {
		authority += port
	}
	show := scheme + authority + u.EscapedPath()
	head := "POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + authority + "\r\n"

	// One piece of memory for all of them: of a hundred thousand, the collector has less to look at.
	all := key + show + head
	e.key, e.show, e.head = all[:len(key)], all[len(key):len(key)+len(show)], all[len(key)+len(show):]
	e.host = e.key[strings.Index(e.key, e.host):][:len(e.host)]
	u.Host = e.show[len(scheme):][:len(authority)]
	e.url = u
	return e, nil
}

// String returns the URL without its query, which may hold secrets.
func (e *Endpoint) String() string { return e.show }

// Host returns the host name or IP address, without port and brackets.
func (e *Endpoint) Host() string { return e.host }

// parseHost returns the address when host is one, the zero Addr when it is a name.
func parseHost(host string, bracketed bool) (netip.Addr, error) {
	addr, err := netip.ParseAddr(host)
	if err == nil && addr.Zone() != "" {
		return netip.Addr{}, sidehook.Fieldf("", "must not have a zone (%%…) in its address")
	}
	if err == nil && addr.Is6() == bracketed {
		return addr, nil
	}
	if bracketed {
		return netip.Addr{}, sidehook.Fieldf("", "has something in brackets that is not an IPv6 address")
	}
	return netip.Addr{}, validateName(host)
}

// validateName checks that host is a DNS name. Names whose last label is a number are refused: the C library and
// browsers read them as IPv4 addresses in octal, hexadecimal or with parts left out.
func validateName(host string) error {
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > 253 {
		return sidehook.Fieldf("", "has a host that is not 1 to 253 characters long")
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || !isLabel(label) {
			return sidehook.Fieldf("", "has a host, %.80q, that is neither a DNS name nor an IP address", host)
		}
		last = label
	}
	if isNumber(last) {
		return sidehook.Fieldf("", "has a host, %.80q, that ends in a number but is not an IPv4 address such as 192.0.2.1",
			host)
	}
	return nil
}

func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isNumber reports whether s reads as a number, decimal, octal or hexadecimal ("0x" alone is one, says WHATWG URL).
func isNumber(s string) bool {
	hex, isHex := strings.CutPrefix(s, "0x")
	if isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(s, "0123456789") == ""
}

func portOf(s string, tls bool) uint16 {
	if s == "" {
		if tls {
			return 443
		}
		return 80
	}
	n := 0
	for i := range len(s) { // ValidateURL has checked: digits, 1 to 65535
		n = n*10 + int(s[i]-'0')
	}
	return uint16(n)
}
