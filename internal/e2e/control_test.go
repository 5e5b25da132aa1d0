package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/app"
	"github.com/sidehook/sidehook/internal/client"
	"github.com/sidehook/sidehook/internal/config"
)

// plane is a control plane's folder, addresses and client, from one process to the next.
type plane struct {
	t         *testing.T
	dir       string
	xds, rest string
	api       *client.Client
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	ports := freePorts(t, 2)
	c := &plane{t: t, dir: shortDir(t), xds: ports[0], rest: ports[1]}
	text := fmt.Sprintf("kind: control\ndata_dir: data\nlisten: {xds: %s, rest: %s}\n", c.xds, c.rest)
	if err := os.WriteFile(filepath.Join(c.dir, "control.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts a process and waits until it answers.
func (c *plane) start() *process {
	c.t.Helper()
	p := startSidehook(c.t, "control", "--config", filepath.Join(c.dir, "control.yaml"))
	p.says(`admin token +(\S+)`)
	c.connect(c.token())
	return p
}

func (c *plane) token() string {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, "data", "admin.token"))
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (c *plane) connect(token string) {
	c.t.Helper()
	api, err := client.New(client.Options{Server: "http://" + c.rest, Token: token})
	if err != nil {
		c.t.Fatal(err)
	}
	c.api = api
}

// inside runs a control plane in the test's own process, where its xDS end can be told to push what the management API
// would refuse.
func (c *plane) inside() *app.Control {
	c.t.Helper()
	cfg := config.DefaultControl()
	cfg.DataDir = filepath.Join(c.dir, "data")
	cfg.AdminTokenFile = filepath.Join(c.dir, "data", "admin.token")
	cfg.Listen = config.ControlListen{XDS: c.xds, REST: c.rest}
	ctl, err := app.StartControl(c.t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { // a second stop does nothing
		if err := ctl.Stop(context.Background()); err != nil {
			c.t.Errorf("stop the control plane: %v", err)
		}
	})
	c.connect(c.token())
	return ctl
}

// newSidecar makes the app demo, a token for a sidecar, and the sidecar's place.
func (c *plane) newSidecar() *place {
	c.t.Helper()
	if _, err := c.api.PutApp(c.t.Context(), "demo", client.AppSettings{DisplayName: "Demo"}); err != nil {
		c.t.Fatal(err)
	}
	tok, err := c.api.CreateToken(c.t.Context(), client.TokenFields{Kind: "sidecar", Name: "e2e", Apps: []string{"demo"}})
	if err != nil {
		c.t.Fatal(err)
	}
	pl := newPlace(c.t, "control_plane: {address: \""+c.xds+"\", token_file: token}", allowLoopback)
	pl.write("token", tok.Token+"\n")
	return pl
}

// webhook creates a webhook to an endpoint, which learns its secret.
func (c *plane) webhook(e *endpoint, events ...string) *client.Webhook {
	c.t.Helper()
	w, err := c.api.CreateWebhook(c.t.Context(), "demo", client.WebhookFields{Name: &e.name, URL: &e.url, Events: &events})
	if err != nil {
		c.t.Fatal(err)
	}
	key, err := sidehook.ParseKey(w.Secret)
	if err != nil {
		c.t.Fatal(err)
	}
	e.useSecret(c.t, key)
	return w
}

// awaitSidecar waits until the control plane's picture of its one sidecar is as wanted.
func (c *plane) awaitSidecar(what string, ok func(client.Sidecar) bool) client.Sidecar {
	c.t.Helper()
	var found client.Sidecar
	await(c.t, what, func() error {
		all, err := c.api.Sidecars(c.t.Context())
		if err != nil {
			return err
		}
		if len(all) != 1 || !ok(all[0]) {
			return fmt.Errorf("the control plane shows %+v", all)
		}
		found = all[0]
		return nil
	})
	return found
}

// prepare changes the control plane while no sidecar can reach it: it listens elsewhere for that long.
func (c *plane) prepare(change func()) {
	c.t.Helper()
	xds := c.xds
	c.xds = "127.0.0.1:0"
	ctl := c.inside()
	change()
	if err := ctl.Stop(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	c.xds = xds
}
