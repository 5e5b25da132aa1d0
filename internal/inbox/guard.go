package inbox

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// csp lets the pages load their own style and script and nothing else; what arrived cannot add to that.
const csp = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func hostSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[strings.ToLower(n)] = true
	}
	return set
}

// guard keeps web pages of others away from what arrived: a name that they pointed at this machine (DNS rebinding)
// shows in the Host header, and requests across origins say so. It does not stand before /in/, which receives from
// anywhere.
func (b *Inbox) guard(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.hostAllowed(r.Host) {
			writeError(w, http.StatusMisdirectedRequest, "", "the Host header must be a loopback name, an address, or a configured name")
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			writeError(w, http.StatusForbidden, "", "web pages of other origins may not do this")
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		next.ServeHTTP(w, r)
	})
}

// hostAllowed accepts addresses of any kind: a page cannot rebind one.
func (b *Inbox) hostAllowed(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || b.hosts[host] {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
