package console_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/console"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
	"github.com/sidehook/sidehook/xds"
)

// discard is a Publisher for nobody.
type discard struct{}

func (discard) Set(string, []*xds.Resource, []string) {}
func (discard) Replace(string, []*xds.Resource)       {}
func (discard) RemoveApp(string)                      {}

// clock is moved by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// site is a console on a real service and store, behind a real HTTP server.
type site struct {
	t       *testing.T
	kv      storage.KV
	svc     *control.Service
	fleet   *control.Fleet
	console *console.Console
	http    *httptest.Server
	log     *lockedBuffer
	admin   string
	clock   *clock
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, log: &lockedBuffer{}, clock: &clock{now: time.Now()}}
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	kv, err := badgerstore.OpenKV(filepath.Join(dir, "store"), badgerstore.KVOptions{})
	s.check(err)
	s.kv = kv
	s.svc, err = control.New(control.Options{KV: kv, Logger: log, Now: s.clock.Now})
	s.check(err)
	s.fleet, err = control.NewFleet(control.FleetOptions{Authenticate: s.svc.AuthenticateSidecar, Logger: log})
	s.check(err)
	s.check(s.svc.Start(t.Context(), discard{}, nil))
	s.check(s.svc.EnsureAdminToken(t.Context(), filepath.Join(dir, "admin.token")))
	b, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	s.check(err)
	s.admin = strings.TrimSpace(string(b))
	s.console, err = console.New(console.Options{Service: s.svc, Fleet: s.fleet, Logger: log, Now: s.clock.Now})
	s.check(err)
	s.http = httptest.NewServer(s.console)
	t.Cleanup(func() {
		s.check(s.console.Close())
		s.http.Close()
		s.check(s.fleet.Close())
		s.check(s.svc.Close())
		s.check(kv.Close())
	})
	s.makeApp("demo")
	return s
}

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) makeApp(id string) {
	s.t.Helper()
	_, _, err := s.svc.PutApp(s.t.Context(), id, control.AppSpec{})
	s.check(err)
}

func (s *site) makeToken(kind control.TokenKind, apps ...string) (plain, id string) {
	s.t.Helper()
	token, plain, err := s.svc.CreateToken(s.t.Context(), control.TokenSpec{Name: "t", Kind: kind, Apps: apps})
	s.check(err)
	return plain, token.ID
}

func (s *site) makeWebhook(name string) *sidehook.Webhook {
	s.t.Helper()
	w, _, err := s.svc.CreateWebhook(s.t.Context(), sidehook.Webhook{
		App: "demo", Name: name, URL: "https://example.com/in", Events: []string{"order.*"}, AutomaticRetry: true,
	})
	s.check(err)
	return w
}

// reader is a browser without scripts.
type reader struct {
	s      *site
	client *http.Client
	lang   string // Accept-Language
	header http.Header
}

func (s *site) reader(lang string) *reader {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	s.check(err)
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &reader{s: s, lang: lang, header: http.Header{}, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// signedIn is a reader with an admin's session.
func (s *site) signedIn(lang string) *reader {
	s.t.Helper()
	r := s.reader(lang)
	r.signIn(s.admin).wantRedirect("/console/apps")
	return r
}

func (r *reader) signIn(token string) *answer {
	r.s.t.Helper()
	return r.send("POST", "/console/sign-in", url.Values{"token": {token}})
}

func (r *reader) send(method, path string, form url.Values) *answer {
	r.s.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(r.s.t.Context(), method, r.s.http.URL+path, body)
	r.s.check(err)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	request.Header.Set("Accept-Language", r.lang)
	for name, values := range r.header {
		request.Header[name] = values
	}
	response, err := r.client.Do(request)
	r.s.check(err)
	b, err := io.ReadAll(response.Body)
	r.s.check(err)
	r.s.check(response.Body.Close())
	a := &answer{t: r.s.t, reader: r, code: response.StatusCode, header: response.Header, body: string(b), at: path}
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		a.doc, err = html.Parse(strings.NewReader(a.body))
		r.s.check(err)
	}
	return a
}

func (r *reader) get(path string) *answer {
	r.s.t.Helper()
	return r.send("GET", path, nil)
}

// follow gets the page that an answer redirects to.
func (a *answer) follow() *answer {
	a.t.Helper()
	if a.code != http.StatusSeeOther {
		a.t.Fatalf("%s answered %d, no redirect: %s", a.at, a.code, a.text("main"))
	}
	return a.reader.get(a.header.Get("Location"))
}

type answer struct {
	t      *testing.T
	reader *reader
	at     string
	code   int
	header http.Header
	body   string
	doc    *html.Node
}

func (a *answer) want(code int) *answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("%s answered %d, want %d: %.2000s", a.at, a.code, code, a.text("main"))
	}
	return a
}

func (a *answer) wantRedirect(path string) *answer {
	a.t.Helper()
	a.want(http.StatusSeeOther)
	if got := a.header.Get("Location"); got != path {
		a.t.Fatalf("%s redirects to %s, want %s", a.at, got, path)
	}
	return a
}

func (a *answer) wantText(tag string, texts ...string) *answer {
	a.t.Helper()
	got := a.text(tag)
	for _, text := range texts {
		if !strings.Contains(got, text) {
			a.t.Errorf("%s: <%s> does not say %q:\n%.3000s", a.at, tag, text, got)
		}
	}
	return a
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// all are the elements of the page for which is holds.
func (a *answer) all(is func(*html.Node) bool) []*html.Node {
	var found []*html.Node
	if a.doc == nil {
		return nil
	}
	for n := range a.doc.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			found = append(found, n)
		}
	}
	return found
}

func (a *answer) byID(id string) *html.Node {
	found := a.all(func(n *html.Node) bool { return attr(n, "id") == id })
	if len(found) != 1 {
		return nil
	}
	return found[0]
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// text is that of the first element with a tag, or of the one with an id when tag begins with #.
func (a *answer) text(tag string) string {
	if id, ok := strings.CutPrefix(tag, "#"); ok {
		if n := a.byID(id); n != nil {
			return textOf(n)
		}
		return ""
	}
	found := a.all(isTag(tag))
	if len(found) == 0 {
		return ""
	}
	return textOf(found[0])
}

// form is what the form whose action ends with action would send, before anything is typed.
func (a *answer) form(action string) (path string, values url.Values) {
	a.t.Helper()
	found := a.all(func(n *html.Node) bool { return n.Data == "form" && strings.HasSuffix(attr(n, "action"), action) })
	if len(found) == 0 {
		a.t.Fatalf("%s has no form %s", a.at, action)
	}
	values = url.Values{}
	for d := range found[0].Descendants() {
		if !inTemplate(d) {
			addField(values, d)
		}
	}
	return attr(found[0], "action"), values
}

// inTemplate reports whether an element waits in a template, for scripts to take.
func inTemplate(n *html.Node) bool {
	for p := n.Parent; p != nil; p = p.Parent {
		if p.Data == "template" {
			return true
		}
	}
	return false
}

func addField(values url.Values, n *html.Node) {
	name := attr(n, "name")
	switch {
	case n.Type != html.ElementNode || name == "":
	case n.Data == "textarea":
		values.Add(name, textOf(n))
	case n.Data == "select":
		for o := range n.Descendants() {
			if o.Data == "option" && has(o, "selected") || o.Data == "option" && !values.Has(name) {
				value := textOf(o)
				if has(o, "value") {
					value = attr(o, "value")
				}
				values.Set(name, value)
			}
		}
	case n.Data == "input" && (attr(n, "type") == "checkbox" || attr(n, "type") == "radio"):
		if has(n, "checked") {
			value := attr(n, "value")
			if value == "" {
				value = "on"
			}
			values.Add(name, value)
		}
	case n.Data == "input":
		values.Add(name, attr(n, "value"))
	}
}

// submit sends a form of the page with the given fields set; confirming where it would be asked.
func (a *answer) submit(action string, set url.Values) *answer {
	a.t.Helper()
	path, values := a.form(action)
	for name, v := range set {
		values[name] = v
	}
	return a.reader.send("POST", path, values)
}

// isTag selects elements by their tag.
func isTag(tag string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Data == tag }
}
