package send

import (
	"fmt"
	"net/netip"
)

// Guard decides which IP addresses may be connected to, so that a webhook's URL cannot be used to reach into the
// network around the sidecar (server-side request forgery). It is asked about the address that is really being
// connected to, after resolution, so a name that resolves to something else the second time gains nothing.
//
// The zero Guard, and a nil one, refuse every address that is not public.
type Guard struct {
	opts GuardOptions
}

// GuardOptions say what a Guard lets through beyond public addresses. Deny is stronger than Allow, Allow is stronger
// than everything else.
type GuardOptions struct {
	// AllowLoopback lets 127.0.0.0/8 and ::1 through.
	AllowLoopback bool
	// AllowPrivate lets the private ranges of RFC 1918 and fc00::/7 through, except for the addresses in them where
	// clouds serve instance credentials (fd00:ec2::254, fd20:ce::254, fd00:42::42).
	AllowPrivate bool
	// Allow lists ranges to let through whatever they are. An address that carries an IPv4 address (NAT64, 6to4, ...)
	// is only let through when the carried address is too.
	Allow []netip.Prefix
	// Deny lists ranges to refuse whatever they are.
	Deny []netip.Prefix
}

// NewGuard makes a Guard. Ranges in IPv4-mapped form (::ffff:10.0.0.0/104) are read as the IPv4 ranges that they are.
func NewGuard(opts GuardOptions) *Guard {
	opts.Allow = plainPrefixes(opts.Allow)
	opts.Deny = plainPrefixes(opts.Deny)
	return &Guard{opts: opts}
}

// BlockedError says that an address is refused, why, and how to allow it.
type BlockedError struct {
	Host   string     // as in the webhook's URL
	Addr   netip.Addr // what it is or resolves to
	Reason string     // what kind of address it is, for example "a loopback address"
	remedy string
}

func (e *BlockedError) Error() string {
	is := e.Host + " resolves to " + e.Addr.String() + ","
	if e.Host == "" || e.Host == e.Addr.String() {
		is = e.Addr.String() + " is"
	}
	return fmt.Sprintf("%s %s, which deliveries may not go to; %s", is, e.Reason, e.remedy)
}

// Check returns nil when addr may be connected to, else a *BlockedError. Host is the name for the error.
func (g *Guard) Check(host string, addr netip.Addr) error {
	if reason, remedy := g.judge(addr); reason != "" {
		return &BlockedError{Host: host, Addr: addr, Reason: reason, remedy: remedy}
	}
	return nil
}

const (
	remedyLoopback = "set outbound.allow_loopback to allow it"
	remedyPrivate  = "set outbound.allow_private, or list its range in outbound.allow_cidrs, to allow it"
	remedyList     = "list its range in outbound.allow_cidrs to allow it"
	remedyDeny     = "take its range out of outbound.deny_cidrs to allow it"
)

// judge returns "" for an address that may be connected to, else the reason and the remedy.
func (g *Guard) judge(addr netip.Addr) (reason, remedy string) {
	var opts GuardOptions
	if g != nil {
		opts = g.opts
	}
	if !addr.IsValid() {
		return "not an address", "give a host name or an IP address"
	}
	// A zone picks the interface, not the address; prefixes never contain zoned addresses, so it has to go first.
	addr = addr.WithZone("")
	if contains(opts.Deny, addr) {
		return "in a denied range", remedyDeny
	}
	if inner, form, ok := carriedIPv4(addr); ok {
		if !contains(opts.Allow, addr) {
			return fmt.Sprintf("%s that carries %s", form, inner), remedyList
		}
		if reason, remedy = g.judge(inner); reason != "" {
			return fmt.Sprintf("%s that carries %s, %s", form, inner, reason), remedy
		}
		return "", ""
	}
	if contains(opts.Allow, addr) {
		return "", ""
	}
	return judgeByRange(addr, opts)
}

func judgeByRange(addr netip.Addr, opts GuardOptions) (reason, remedy string) {
	for i := range specialRanges {
		r := &specialRanges[i]
		if !r.prefix.Contains(addr) {
			continue
		}
		switch {
		case r.class == classLoopback && opts.AllowLoopback, r.class == classPrivate && opts.AllowPrivate:
			return "", ""
		case r.class == classLoopback:
			return r.name, remedyLoopback
		case r.class == classPrivate:
			return r.name, remedyPrivate
		}
		return r.name, remedyList
	}
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return "not a public address", remedyList
	}
	return "", ""
}

type rangeClass uint8

const (
	classOther rangeClass = iota
	classLoopback
	classPrivate
)

type specialRange struct {
	prefix netip.Prefix
	class  rangeClass
	name   string
}

// globalUnicast is all that IANA has given out as public IPv6; the exceptions within it are in specialRanges.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// specialRanges are the ranges that are not public: the IANA special-purpose address registries (RFC 6890 and its
// updates), and the addresses where clouds serve instance credentials. The first that contains an address counts, so
// single addresses stand before the ranges around them.
var specialRanges = []specialRange{
	{netip.MustParsePrefix("169.254.169.254/32"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("169.254.170.2/32"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("100.100.100.200/32"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("168.63.129.16/32"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("192.0.0.192/32"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("fd00:ec2::/32"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("fd20:ce::254/128"), classOther, "a cloud metadata address"},
	{netip.MustParsePrefix("fd00:42::42/128"), classOther, "a cloud metadata address"},

	{netip.MustParsePrefix("127.0.0.0/8"), classLoopback, "a loopback address"},
	{netip.MustParsePrefix("10.0.0.0/8"), classPrivate, "a private address"},
	{netip.MustParsePrefix("172.16.0.0/12"), classPrivate, "a private address"},
	{netip.MustParsePrefix("192.168.0.0/16"), classPrivate, "a private address"},
	{netip.MustParsePrefix("0.0.0.0/8"), classOther, "an unspecified address (0.0.0.0/8)"},
	{netip.MustParsePrefix("100.64.0.0/10"), classOther, "a carrier-grade NAT address"},
	{netip.MustParsePrefix("169.254.0.0/16"), classOther, "a link-local address"},
	{netip.MustParsePrefix("192.0.0.0/24"), classOther, "an address for protocol assignments"},
	{netip.MustParsePrefix("192.0.2.0/24"), classOther, "an address for documentation"},
	{netip.MustParsePrefix("198.51.100.0/24"), classOther, "an address for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), classOther, "an address for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), classOther, "a 6to4 relay address"},
	{netip.MustParsePrefix("198.18.0.0/15"), classOther, "an address for benchmarks"},
	{netip.MustParsePrefix("224.0.0.0/4"), classOther, "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), classOther, "the broadcast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), classOther, "a reserved address"},

	{netip.MustParsePrefix("::1/128"), classLoopback, "a loopback address"},
	{netip.MustParsePrefix("fc00::/7"), classPrivate, "a private (unique local) address"},
	{netip.MustParsePrefix("::/128"), classOther, "the unspecified address"},
	{netip.MustParsePrefix("fe80::/10"), classOther, "a link-local address"},
	{netip.MustParsePrefix("fec0::/10"), classOther, "a site-local address"},
	{netip.MustParsePrefix("ff00::/8"), classOther, "a multicast address"},
	{netip.MustParsePrefix("100::/64"), classOther, "a discard-only address"},
	{netip.MustParsePrefix("2001:10::/28"), classOther, "an ORCHID address"},
	{netip.MustParsePrefix("2001:20::/28"), classOther, "an ORCHID address"},
	{netip.MustParsePrefix("2001:2::/48"), classOther, "an address for benchmarks"},
	{netip.MustParsePrefix("2001::/23"), classOther, "an address for protocol assignments"},
	{netip.MustParsePrefix("2001:db8::/32"), classOther, "an address for documentation"},
	{netip.MustParsePrefix("3fff::/20"), classOther, "an address for documentation"},
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// plainPrefixes returns a copy in which IPv4-mapped prefixes are IPv4 prefixes, and none has host bits.
func plainPrefixes(in []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(in))
	for _, p := range in {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}
