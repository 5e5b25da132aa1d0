package egress

import (
	"fmt"
	"net/netip"
	"strings"
)

// Hosts is a list of host patterns. The zero Hosts matches nothing. It is immutable.
type Hosts struct {
	any      bool
	names    map[string]bool
	suffixes []string // with their leading dot
	prefixes []netip.Prefix
}

// maxPattern bounds a pattern: "*." and the longest DNS name.
const maxPattern = 255

// PatternError says which pattern of a list is wrong, counted from 0, and why.
type PatternError struct {
	Index  int
	Reason string
}

func (e *PatternError) Error() string { return fmt.Sprintf("[%d] %s", e.Index, e.Reason) }

// ParseHosts reads patterns:
//
//   - "*" is every host.
//   - "api.example.com" is that name.
//   - "*.example.com" is every name below example.com, at any depth, and not example.com itself.
//   - "192.0.2.7" and "2001:db8::7" are addresses, "10.0.0.0/8" is a network.
//
// Case and a name's final dot do not count. Errors are *PatternError.
func ParseHosts(patterns []string) (Hosts, error) {
	h := Hosts{names: make(map[string]bool, len(patterns))}
	for i, p := range patterns {
		if err := h.add(p); err != nil {
			return Hosts{}, &PatternError{Index: i, Reason: err.Error()}
		}
	}
	return h, nil
}

func (h *Hosts) add(pattern string) error {
	if pattern == "*" {
		h.any = true
		return nil
	}
	if len(pattern) > maxPattern {
		return fmt.Errorf("is over %d bytes", maxPattern)
	}
	if strings.Contains(pattern, "/") {
		return h.addNetwork(pattern)
	}
	if addr, err := netip.ParseAddr(strings.Trim(pattern, "[]")); err == nil {
		if addr.Zone() != "" {
			return fmt.Errorf("%.80q has a zone (%%…); leave it out", pattern)
		}
		addr = addr.Unmap()
		h.prefixes = append(h.prefixes, netip.PrefixFrom(addr, addr.BitLen()))
		return nil
	}
	rest, below := strings.CutPrefix(pattern, "*.")
	name, err := hostName(rest)
	switch {
	case err != nil:
		return fmt.Errorf("%.80q is not a host, such as example.com, *.example.com, 192.0.2.7 or 10.0.0.0/8", pattern)
	case below:
		h.suffixes = append(h.suffixes, "."+name)
	default:
		h.names[name] = true
	}
	return nil
}

func (h *Hosts) addNetwork(pattern string) error {
	p, err := netip.ParsePrefix(pattern)
	if err != nil {
		return fmt.Errorf("%.80q is not a network such as 10.0.0.0/8", pattern)
	}
	if p != p.Masked() {
		return fmt.Errorf("%s has bits beyond its length; did you mean %s?", p, p.Masked())
	}
	if p.Addr().Is4In6() {
		return fmt.Errorf("%s is an IPv4 network in IPv6 form; write it as IPv4", p)
	}
	h.prefixes = append(h.prefixes, p)
	return nil
}

// hostName checks a DNS name and returns it in the form that is compared: lower case, without a final dot. A name whose
// last label is a number is refused: it would look like an address and never match one.
func hostName(s string) (string, error) {
	name := fold(s)
	if name == "" || len(name) > 253 {
		return "", errName
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", errName
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return "", errName
	}
	return name, nil
}

var errName = fmt.Errorf("is not a DNS name")

// fold brings a host into the form that is compared. Only ASCII letters change: anything else is not part of a name.
func fold(host string) string {
	b := []byte(strings.TrimSuffix(host, "."))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// MatchName reports whether a pattern names host, which is a DNS name or, as text, an IP address without brackets.
func (h Hosts) MatchName(host string) bool {
	if h.any {
		return true
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return h.MatchAddr(addr)
	}
	host = fold(host)
	if h.names[host] {
		return true
	}
	for _, s := range h.suffixes {
		if len(host) > len(s) && strings.HasSuffix(host, s) {
			return true
		}
	}
	return false
}

// MatchAddr reports whether a pattern is, or contains, addr.
func (h Hosts) MatchAddr(addr netip.Addr) bool {
	if h.any {
		return true
	}
	addr = addr.WithZone("").Unmap()
	for _, p := range h.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
