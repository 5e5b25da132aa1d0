package ingest

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// A web page can make a browser send requests to this endpoint: directly, which CloudEvents' content types and headers
// turn into a preflight that nobody answers, or after pointing a name of its own at 127.0.0.1 (DNS rebinding), which
// makes the request look same-origin. The page cannot choose the Host header, though, so a name that is not ours tells.

func hostSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[strings.ToLower(strings.TrimSuffix(n, "."))] = true
	}
	return set
}

// hostAllowed reports whether the Host header names this machine as seen from itself, the address that the connection
// came in on, or a configured name.
func (s *Server) hostAllowed(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || s.hosts[host] {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if addr.Unmap().IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == addr.Unmap()
}
