// Package dialecttest replays recorded conversations against a dialect: a real HTTP server over a real service. It knows
// no dialect. It is for tests.
package dialecttest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage/memkv"
)

// The apps of a Plane.
const (
	App   = "shop"
	Other = "other"
)

// started is when the clock of every Plane starts.
var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Plane is a control plane of two apps behind a dialect. Its clock stands still but for Tick, so that conversations can
// say which times they expect.
type Plane struct {
	Service *control.Service
	// URL of the server, without a slash at its end.
	URL string
	// Tokens by name: token and other_token of the apps, admin_token, and sidecar_token; and their ids, as in token_id.
	Tokens map[string]string

	t     *testing.T
	ticks atomic.Int64
}

// NewPlane starts one, which ends with the test.
func NewPlane(t *testing.T, dialect func(*control.Service) http.Handler) *Plane {
	t.Helper()
	p := &Plane{t: t, Tokens: make(map[string]string)}
	kv := memkv.New()
	t.Cleanup(func() { _ = kv.Close() })
	var err error
	p.Service, err = control.New(control.Options{KV: kv, Now: p.now})
	p.Check(err)
	for _, app := range []string{App, Other} {
		_, _, err := p.Service.PutApp(t.Context(), app, control.AppSpec{DisplayName: "The " + app})
		p.Check(err)
	}
	p.token("token", control.TokenApp, App)
	p.token("other_token", control.TokenApp, Other)
	p.token("admin_token", control.TokenAdmin)
	p.token("sidecar_token", control.TokenSidecar, App)
	server := httptest.NewServer(dialect(p.Service))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

func (p *Plane) now() time.Time { return started.Add(time.Duration(p.ticks.Load()) * time.Second) }

// Tick moves the clock by a second.
func (p *Plane) Tick() { p.ticks.Add(1) }

// Check ends the test at an error.
func (p *Plane) Check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *Plane) token(name string, kind control.TokenKind, apps ...string) {
	p.t.Helper()
	token, plain, err := p.Service.CreateToken(p.t.Context(), control.TokenSpec{Name: name, Kind: kind, Apps: apps})
	p.Check(err)
	p.Tokens[name], p.Tokens[name+"_id"] = plain, token.ID
}

// Create makes a webhook of App past the dialect, as the native API would.
func (p *Plane) Create(spec sidehook.Webhook) *sidehook.Webhook {
	p.t.Helper()
	spec.App = App
	w, _, err := p.Service.CreateWebhook(p.t.Context(), spec)
	p.Check(err)
	return w
}

// Webhooks lists those of App, newest first.
func (p *Plane) Webhooks() []*sidehook.Webhook {
	p.t.Helper()
	all, err := p.Service.AllWebhooks(context.WithoutCancel(p.t.Context()), App)
	p.Check(err)
	return all
}
