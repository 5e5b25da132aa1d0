package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
	"github.com/sidehook/sidehook/xds"
)

// published is a Publisher that keeps what the sidecars would have.
type published struct {
	mu   sync.Mutex
	apps map[string]map[string]*xds.Resource
}

func (p *published) Set(app string, put []*xds.Resource, remove []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.apps[app] == nil {
		p.apps[app] = make(map[string]*xds.Resource)
	}
	for _, name := range remove {
		delete(p.apps[app], name)
	}
	for _, r := range put {
		p.apps[app][r.Name] = r
	}
}

func (p *published) Replace(app string, all []*xds.Resource) {
	p.RemoveApp(app)
	p.Set(app, all, nil)
}

func (p *published) RemoveApp(app string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.apps, app)
}

// names lists the resources of an app that contain part in their names.
func (p *published) names(app, part string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(p.apps[app])) {
		if strings.Contains(name, part) {
			names = append(names, name)
		}
	}
	return names
}

func (p *published) get(app, name string) *xds.Resource {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.apps[app][name]
}

// logBuffer collects log lines of all goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// plane is a control plane on a real store behind a real HTTP server.
type plane struct {
	told  sync.Map // when a webhook last failed, as the fleet passed it on
	t     *testing.T
	dir   string
	kv    storage.KV
	svc   *control.Service
	fleet *control.Fleet
	pub   *published
	http  *httptest.Server
	log   *logBuffer
	admin string

	revoked chan string // ids of revoked tokens
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{t: t, dir: t.TempDir(), log: &logBuffer{}}
	p.open()
	t.Cleanup(p.close)
	return p
}

func (p *plane) open() {
	p.t.Helper()
	log := slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	p.kv, err = badgerstore.OpenKV(filepath.Join(p.dir, "store"), badgerstore.KVOptions{})
	p.check(err)
	p.svc, err = control.New(control.Options{KV: p.kv, Logger: log})
	p.check(err)
	p.fleet, err = control.NewFleet(control.FleetOptions{
		Authenticate: p.svc.AuthenticateSidecar, Gone: p.svc.DisableGone, Logger: log,
		Health: func(ctx context.Context, k sidehook.WebhookKey, lastSuccess, lastFailure time.Time) error {
			p.told.Store(k, lastFailure)
			return p.svc.NoteHealth(ctx, k, lastSuccess, lastFailure)
		},
	})
	p.check(err)
	p.pub = &published{apps: make(map[string]map[string]*xds.Resource)}
	p.revoked = make(chan string, 100)
	p.check(p.svc.Start(p.t.Context(), p.pub, func(credential string) {
		p.fleet.EndStreams(credential)
		p.revoked <- credential
	}))
	path := filepath.Join(p.dir, "admin.token")
	p.check(p.svc.EnsureAdminToken(p.t.Context(), path))
	b, err := os.ReadFile(path)
	p.check(err)
	p.admin = strings.TrimSpace(string(b))
	p.http = httptest.NewServer(control.NewHandler(p.svc, p.fleet, control.HandlerOptions{Logger: log}))
}

func (p *plane) close() {
	p.t.Helper()
	p.http.Client().CloseIdleConnections()
	p.http.Close()
	p.check(p.fleet.Close())
	p.check(p.svc.Close())
	p.check(p.kv.Close())
}

func (p *plane) reopen() {
	p.t.Helper()
	p.close()
	p.open()
}

func (p *plane) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// answer is a response of the API.
type answer struct {
	t      *testing.T
	code   int
	header http.Header
	raw    string
	body   map[string]any
}

// do sends a request with a token; body is JSON text, empty for none. It may be called by several goroutines.
func (p *plane) do(token, method, path, body string) *answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.http.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Error(err)
		return &answer{t: p.t}
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return p.send(r)
}

func (p *plane) send(r *http.Request) *answer {
	p.t.Helper()
	a := &answer{t: p.t}
	response, err := p.http.Client().Do(r)
	if err != nil {
		p.t.Error(err)
		return a
	}
	raw, err := io.ReadAll(response.Body)
	if err := response.Body.Close(); err != nil {
		p.t.Error(err)
	}
	if err != nil {
		p.t.Error(err)
	}
	a.code, a.header, a.raw = response.StatusCode, response.Header, string(raw)
	if strings.Contains(response.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(raw, &a.body); err != nil {
			p.t.Errorf("%s %s answered %d with bad JSON %q", r.Method, r.URL.Path, a.code, raw)
		}
	}
	return a
}

// want checks the status.
func (a *answer) want(code int) *answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("answered %d, want %d: %s", a.code, code, a.raw)
	}
	return a
}

func (a *answer) str(field string) string {
	s, _ := a.body[field].(string)
	return s
}

// data is the page of a list.
func (a *answer) data() []map[string]any {
	a.t.Helper()
	items, ok := a.body["data"].([]any)
	if !ok {
		a.t.Fatalf("no data in %s", a.raw)
	}
	var data []map[string]any
	for _, item := range items {
		data = append(data, item.(map[string]any))
	}
	return data
}

// wantProblem checks that the answer is a problem that names the field; location is empty for none.
func (a *answer) wantProblem(code int, location, words string) {
	a.t.Helper()
	a.want(code)
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		a.t.Errorf("content type is %q", ct)
	}
	if a.str("title") == "" || a.str("detail") == "" || a.body["status"] != float64(code) {
		a.t.Errorf("not a whole problem: %s", a.raw)
	}
	if !strings.Contains(a.raw, words) {
		a.t.Errorf("problem does not say %q: %s", words, a.raw)
	}
	var got []string
	if errs, ok := a.body["errors"].([]any); ok {
		for _, e := range errs {
			got = append(got, e.(map[string]any)["location"].(string))
			if _, ok := e.(map[string]any)["value"]; ok {
				a.t.Errorf("problem repeats the value: %s", a.raw)
			}
		}
	}
	if location == "" && len(got) > 0 || location != "" && !slices.Contains(got, location) {
		a.t.Errorf("problem is at %q, want %q: %s", got, location, a.raw)
	}
}

func (p *plane) makeApp(id string) {
	p.t.Helper()
	p.do(p.admin, "PUT", "/v1/apps/"+id, "").want(201)
}

func (p *plane) makeToken(kind string, apps ...string) (token, id string) {
	p.t.Helper()
	list, err := json.Marshal(apps)
	p.check(err)
	a := p.do(p.admin, "POST", "/v1/tokens", `{"name":"t","kind":"`+kind+`","apps":`+string(list)+`}`).want(201)
	return a.str("token"), a.str("id")
}

func webhookJSON(name string) string {
	return `{"name":"` + name + `","url":"https://example.com/in","events":["person.*"]}`
}

func (p *plane) makeWebhook(app, name string) (id, secret string) {
	p.t.Helper()
	a := p.do(p.admin, "POST", "/v1/apps/"+app+"/webhooks", webhookJSON(name)).want(201)
	return a.str("id"), a.str("secret")
}
