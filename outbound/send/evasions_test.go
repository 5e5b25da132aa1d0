package send_test

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

// The tables of evasions are those of the page for operators, so that it says what is tested.
const evasionsPage = "../../docs/addresses.md"

// evasionRow is a row of the page: its id, and two columns.
type evasionRow struct{ id, first, second string }

// evasionRows returns the rows whose ids begin with kind. There must be as many as least.
func evasionRows(t *testing.T, kind string, least int) (rows []evasionRow) {
	t.Helper()
	page, err := os.ReadFile(evasionsPage)
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile("(?m)^\\| `(" + kind + "[0-9]+)` \\| (.+) \\| (.+) \\|$")
	seen := map[string]bool{}
	for _, m := range re.FindAllStringSubmatch(string(page), -1) {
		if seen[m[1]] || seen[m[2]] {
			t.Errorf("%s or its example is there twice", m[1])
		}
		seen[m[1]], seen[m[2]] = true, true
		rows = append(rows, evasionRow{m[1], m[2], m[3]})
	}
	if len(rows) < least {
		t.Fatalf("%s has %d rows of kind %s, want at least %d", evasionsPage, len(rows), kind, least)
	}
	return rows
}

// tryURL parses and asks a URL, and returns why it is refused; "" when it was not.
func tryURL(t *testing.T, c *send.Client, url string) string {
	t.Helper()
	e, err := send.ParseEndpoint(url)
	if err != nil {
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) {
			t.Errorf("%s: the error is %T %v", url, err, err)
		}
		return strings.TrimSpace(err.Error())
	}
	_, err = post(t, c, e)
	var failed *send.Error
	var blocked *send.BlockedError
	if errors.As(err, &failed) && failed.Kind == send.KindBlocked && errors.As(err, &blocked) {
		return blocked.Reason
	}
	t.Errorf("%s: not refused, %v", url, err)
	return ""
}

// Every URL of the page is refused by default, for the reason that the page gives, before anything is connected to.
func TestEvasionsAreRefused(t *testing.T) {
	c := newClient(t, send.Options{HTTP2: true, Guard: send.NewGuard(send.GuardOptions{})})
	for _, row := range evasionRows(t, "E", 130) {
		url := strings.Trim(row.first, "`")
		if got := tryURL(t, c, url); got != row.second {
			t.Errorf("%s %s is refused because it %q, the page says %q", row.id, url, got, row.second)
		}
	}
	if s := c.Stats(); s.Dials != 0 {
		t.Errorf("%+v", s)
	}
}

// A proxy of any kind changes nothing, and is not asked for any of them.
func TestEvasionsThroughProxies(t *testing.T) {
	rows := evasionRows(t, "E", 130)
	throughProxies(t, func(t *testing.T, f *forwarder, opts send.Options) {
		opts.HTTP2, opts.Resolver = true, nil
		c := newClient(t, opts)
		for _, row := range rows {
			tryURL(t, c, strings.Trim(row.first, "`"))
		}
		if n, asked := f.conns.Load(), f.asked(); n != 0 || len(asked) != 0 {
			t.Errorf("the proxy got %d connections and was asked for %q", n, asked)
		}
	})
}

// A redirect to any of them is the answer to the attempt, and nothing else is asked or connected to.
func TestEvasionsByRedirect(t *testing.T) {
	var location atomic.Pointer[string]
	var status, requests atomic.Int64
	srv := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Location", *location.Load())
		w.WriteHeader(int(status.Load()))
	})
	dns, resolver := newDNS(t, func(string, int64) []netip.Addr { return addrs("127.0.0.1") })
	c := newClient(t, send.Options{Resolver: resolver}) // allows loopback, so that a redirect that was followed would arrive
	e := endpoint(t, srv.URL+"/in")
	rows := evasionRows(t, "E", 130)
	rows = append(rows, evasionRow{"own", srv.URL + "/other", ""}, evasionRow{"relative", "/other", ""}, evasionRow{"name", "http://inside.test/", ""})
	for _, code := range []int64{301, 302, 303, 307, 308} {
		status.Store(code)
		for _, row := range rows {
			url := strings.Trim(row.first, "`")
			location.Store(&url)
			if resp := mustPost(t, c, e); int64(resp.Status) != code {
				t.Errorf("%s %s: status %d, want %d", row.id, url, resp.Status, code)
			}
		}
	}
	want := int64(5 * len(rows))
	if s := c.Stats(); s.Dials != 1 || requests.Load() != want || dns.queries.Load() != 0 {
		t.Errorf("%d requests for %d redirects, %d names resolved, %+v", requests.Load(), want, dns.queries.Load(), s)
	}
}

var (
	dnsRecord = regexp.MustCompile("`(A|AAAA|CNAME) ([^`]+)`")
	dnsStage  = ", for the next connection "
)

// readAnswers reads what DNS answers as the page writes it: the addresses, and the name that a CNAME leads to, if any.
func readAnswers(t *testing.T, text string) (found []netip.Addr, alias *string) {
	t.Helper()
	for _, m := range dnsRecord.FindAllStringSubmatch(text, -1) {
		if m[1] == "CNAME" {
			name := m[2] + "."
			alias = &name
			continue
		}
		found = append(found, netip.MustParseAddr(m[2]))
	}
	if found == nil {
		t.Fatalf("no address in %q", text)
	}
	return found, alias
}

// What DNS answers, over a real resolver: the private answers are never connected to, nor asked of a proxy; a public one
// beside them is; and what changes between two connections is checked anew.
func TestEvasionsByName(t *testing.T) {
	srv := newHTTPServer(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	port := portOf(t, srv.URL)
	for _, row := range evasionRows(t, "N", 20) {
		t.Run(row.id, func(t *testing.T) {
			stages, ends := strings.Split(row.first, dnsStage), strings.Split(row.second, ", then ")
			if len(stages) != len(ends) {
				t.Fatalf("%q and %q do not go together", row.first, row.second)
			}
			var now atomic.Pointer[[]netip.Addr]
			dns, resolver := newDNS(t, func(string, int64) []netip.Addr { return *now.Load() })
			answer := func(text string) {
				found, alias := readAnswers(t, text)
				now.Store(&found)
				dns.alias.Store(alias)
			}
			for i := range stages {
				answer(stages[i])
				for _, scheme := range []string{"http", "socks5"} {
					f := newForwarder(t, nil)
					c := newClient(t, send.Options{
						Resolver: resolver, Guard: send.NewGuard(send.GuardOptions{}), Proxy: viaProxy(t, scheme+"://"+f.ln.Addr().String()),
					})
					checkName(t, c, f, "http://evil.test.:"+port+"/", ends[i], port)
				}
			}
			// The same with one client, which could have remembered something.
			f := newForwarder(t, nil)
			c := newClient(t, send.Options{Resolver: resolver, Guard: send.NewGuard(send.GuardOptions{}), Proxy: viaProxy(t, "http://"+f.ln.Addr().String())})
			for i := range stages {
				answer(stages[i])
				checkName(t, c, f, "http://evil.test.:"+port+"/", ends[i], port)
			}
			// Without a proxy nothing may be connected to that is refused. (What is not refused is not of this machine.)
			if i := len(stages) - 1; ends[i] == "refused" {
				c := newClient(t, send.Options{Resolver: resolver, Guard: send.NewGuard(send.GuardOptions{})})
				if tryURL(t, c, "http://evil.test.:"+port+"/") == "" || c.Stats().Dials != 0 {
					t.Errorf("%+v", c.Stats())
				}
			}
		})
	}
}

// checkName makes one request and looks at what the proxy was asked for.
func checkName(t *testing.T, c *send.Client, f *forwarder, url, end, port string) {
	t.Helper()
	before := len(f.asked())
	if end == "refused" {
		tryURL(t, c, url)
		if asked := f.asked()[before:]; len(asked) != 0 {
			t.Errorf("the proxy was asked for %q", asked)
		}
		return
	}
	want := netip.MustParseAddr(strings.Trim(end, "`"))
	mustPost(t, c, endpoint(t, url))
	asked := f.asked()[before:]
	if len(asked) != 1 || !strings.HasSuffix(asked[0], " "+hostPort(want, port)) {
		t.Errorf("the proxy was asked for %q, want %s", asked, want)
	}
}

func hostPort(a netip.Addr, port string) string {
	if a.Is6() {
		return "[" + a.String() + "]:" + port
	}
	return a.String() + ":" + port
}
