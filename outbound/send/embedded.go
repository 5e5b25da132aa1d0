package send

import (
	"encoding/binary"
	"net/netip"
)

// carryingForms are the IPv6 ranges whose addresses carry an IPv4 address to which the traffic really goes.
var carryingForms = []struct {
	prefix netip.Prefix
	name   string
	inner  func(b [16]byte) [4]byte
}{
	{netip.MustParsePrefix("::ffff:0:0/96"), "an IPv4-mapped address", lowIPv4},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "an IPv4-translated address", lowIPv4},
	{netip.MustParsePrefix("64:ff9b::/96"), "a NAT64 address", lowIPv4},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a local NAT64 address", localNAT64},
	{netip.MustParsePrefix("2002::/16"), "a 6to4 address", func(b [16]byte) [4]byte { return [4]byte(b[2:6]) }},
	{netip.MustParsePrefix("2001::/32"), "a Teredo address", teredoClient},
	{netip.MustParsePrefix("::/96"), "an IPv4-compatible address", lowIPv4},
}

// carriedIPv4 takes the IPv4 address out of the IPv6 forms that carry one, and names the form. The unspecified and
// the loopback address lie in the IPv4-compatible range but are addresses in their own right.
func carriedIPv4(addr netip.Addr) (inner netip.Addr, form string, ok bool) {
	if !addr.Is6() || addr == netip.IPv6Unspecified() || addr == netip.IPv6Loopback() {
		return netip.Addr{}, "", false
	}
	b := addr.As16()
	for i := range carryingForms {
		if f := &carryingForms[i]; f.prefix.Contains(addr) {
			return netip.AddrFrom4(f.inner(b)), f.name, true
		}
	}
	if isISATAP(b) {
		return netip.AddrFrom4(lowIPv4(b)), "an ISATAP address", true
	}
	return netip.Addr{}, "", false
}

func lowIPv4(b [16]byte) [4]byte { return [4]byte(b[12:16]) }

// localNAT64 reads 64:ff9b:1::/48 (RFC 8215), whose users pick the prefix length. With /48 the IPv4 address goes
// around the octet 8 and zeros follow (RFC 6052, section 2.2); otherwise /96 is what is used in practice.
func localNAT64(b [16]byte) [4]byte {
	low := binary.BigEndian.Uint64(b[8:])
	if low&(1<<40-1) == 0 && low>>56 == 0 {
		return [4]byte{b[6], b[7], b[9], b[10]}
	}
	return lowIPv4(b)
}

// teredoClient reads the client's address, which is stored inverted (RFC 4380, section 4).
func teredoClient(b [16]byte) [4]byte {
	return [4]byte{^b[12], ^b[13], ^b[14], ^b[15]}
}

// isISATAP recognises the interface identifiers 0:5efe and 200:5efe (RFC 5214, section 6.1).
func isISATAP(b [16]byte) bool {
	id := binary.BigEndian.Uint32(b[8:])
	return id == 0x00005efe || id == 0x02005efe
}
