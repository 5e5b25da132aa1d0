package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/internal/config"
)

// DevDataDir is the folder that dev uses unless told otherwise; the terminal commands look for the token there.
const DevDataDir = "sidehook-data"

const adminTokenFile = "admin.token"

// DevApp is the app that dev serves.
const DevApp = "demo"

// DevOptions say how to run dev.
type DevOptions struct {
	// DataDir holds everything; made when missing.
	DataDir string
	// Transformers that webhooks may name.
	Transformers []config.Transformer
	// Ports; the zero value is config.DefaultPorts.
	Ports config.Ports
	// Out gets the addresses, Log the rest.
	Out io.Writer
	Log *slog.Logger
}

// Dev is a control plane, a sidecar and an inbox in one process, joined by their real connections.
type Dev struct {
	Control *Control
	Sidecar *Sidecar
	Inbox   string

	parts  stack
	failed chan error
}

// RunDev runs a Dev until ctx ends.
func RunDev(ctx context.Context, opts DevOptions) error {
	tuneMemory()
	d, err := StartDev(ctx, opts)
	if err != nil {
		return err
	}
	d.describe(opts)
	return runUntil(ctx, d.failed, devShutdown, d.Stop)
}

const (
	devShutdown = 15 * time.Second
	devReady    = 10 * time.Second
)

// StartDev starts the three and waits until the sidecar has its configuration.
func StartDev(ctx context.Context, opts DevOptions) (_ *Dev, err error) {
	if opts.Ports == (config.Ports{}) {
		opts.Ports = config.DefaultPorts()
	}
	d := &Dev{parts: stack{log: opts.Log}, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), devShutdown)
			defer cancel()
			err = errors.Join(err, d.Stop(stopCtx))
		}
	}()
	if err := os.MkdirAll(opts.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if d.Inbox, err = startInbox(&d.parts, opts.Ports.Inbox, opts.Log, d.failed); err != nil {
		return nil, err
	}
	if err := d.startControl(ctx, opts); err != nil {
		return nil, err
	}
	token, err := d.sidecarToken(ctx, opts.DataDir)
	if err != nil {
		return nil, err
	}
	if err := d.startSidecar(ctx, opts, token); err != nil {
		return nil, err
	}
	return d, d.awaitReady(ctx)
}

// Stop stops the sidecar first, so that it drains while everything else is there.
func (d *Dev) Stop(ctx context.Context) error { return d.parts.stop(ctx) }

func (d *Dev) startControl(ctx context.Context, opts DevOptions) error {
	cfg := config.DefaultControl()
	cfg.DataDir = filepath.Join(opts.DataDir, "control")
	cfg.AdminTokenFile = filepath.Join(opts.DataDir, adminTokenFile)
	cfg.Listen = config.ControlListen{XDS: opts.Ports.XDS, REST: opts.Ports.REST}
	cfg.Dialects = config.Dialects()
	c, err := StartControl(ctx, cfg, opts.Log)
	if err != nil {
		return err
	}
	d.Control = c
	d.parts.add("control plane", c.Stop)
	d.watch(c.failed)
	if _, err := c.Service.GetApp(ctx, DevApp); err == nil {
		return nil
	}
	if _, _, err := c.Service.PutApp(ctx, DevApp, control.AppSpec{DisplayName: "Demo"}); err != nil {
		return fmt.Errorf("make the app %s: %w", DevApp, err)
	}
	return nil
}

// watch passes a part's failure on until the Dev stops.
func (d *Dev) watch(failed <-chan error) {
	d.parts.background("watch", func(error) {}, func(ctx context.Context) error {
		select {
		case err := <-failed:
			offer(d.failed, err)
		case <-ctx.Done():
		}
		return nil
	})
}

const sidecarTokenFile = "sidecar.token"

// sidecarToken returns the token of the earlier run, or makes one.
func (d *Dev) sidecarToken(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, sidecarTokenFile)
	if b, err := os.ReadFile(path); err == nil {
		if t, err := d.Control.Service.Authenticate(ctx, string(b)); err == nil && t.Kind == control.TokenSidecar {
			return string(b), nil
		}
	}
	_, token, err := d.Control.Service.CreateToken(ctx, control.TokenSpec{
		Name: "dev sidecar", Kind: control.TokenSidecar, Apps: []string{DevApp},
	})
	if err != nil {
		return "", fmt.Errorf("make the sidecar's token: %w", err)
	}
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		return "", fmt.Errorf("keep the sidecar's token: %w", err)
	}
	return token, nil
}

func (d *Dev) startSidecar(ctx context.Context, opts DevOptions, token string) error {
	cfg := config.DefaultSidecar()
	cfg.DataDir = filepath.Join(opts.DataDir, "sidecar")
	cfg.Apps = []string{DevApp}
	cfg.ControlPlane = &config.ControlPlane{Address: d.Control.XDS, Token: config.NewSecret(token)}
	cfg.Listen = config.SidecarListen{GRPC: opts.Ports.GRPC, HTTP: opts.Ports.HTTP, Admin: opts.Ports.Admin}
	cfg.Outbound.AllowLoopback = true
	cfg.Transformers = opts.Transformers
	s, err := StartSidecar(ctx, cfg, opts.Log)
	if err != nil {
		return err
	}
	d.Sidecar = s
	d.parts.add("sidecar", s.Stop)
	d.watch(s.failed)
	return nil
}

// awaitReady waits for the sidecar's first Snapshot from the control plane.
func (d *Dev) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, devReady, errors.New("the sidecar got no configuration"))
	defer cancel()
	for !d.Sidecar.engine.Ready() {
		select {
		case <-d.Sidecar.applied:
		case err := <-d.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// describe tells a newcomer where everything is and what to type; the commands work as they stand in the folder that
// dev was started from.
func (d *Dev) describe(opts DevOptions) {
	tokenFile := filepath.Join(opts.DataDir, adminTokenFile)
	fmt.Fprintf(opts.Out, `sidehook dev is running: a control plane, a sidecar for the app %q and an inbox

  open the console    http://%s/console/  (sign in with the token in %s)
  emit events to      %s (gRPC), http://%s/v1/events (CloudEvents)
  manage webhooks at  http://%s/v1  (the same token)
  look at the inbox   http://%s/
  look at the sidecar http://%s/

Deliveries to this host are allowed here; a sidecar of its own refuses them unless told otherwise.
Try in another terminal:
  sidehook webhook create --name Try --url http://%s/in/try --event '*'%s
  sidehook publish --type person.created --data '{"id":7}'%s
Ctrl-C stops it.
`, DevApp, d.Control.REST, tokenFile, d.Sidecar.Addrs.GRPC, d.Sidecar.Addrs.HTTP, d.Control.REST, d.Inbox, d.Sidecar.Addrs.Admin,
		d.Inbox, d.managementFlags(tokenFile), d.publishFlags())
}

// managementFlags and publishFlags are what the commands need when dev does not use the usual folder or addresses.
func (d *Dev) managementFlags(tokenFile string) (flags string) {
	if d.Control.REST != config.DefaultPorts().REST {
		flags += " --server http://" + d.Control.REST
	}
	if usual, err := filepath.Abs(filepath.Join(DevDataDir, adminTokenFile)); err != nil || usual != tokenFile {
		flags += " --token-file " + tokenFile
	}
	return flags
}

func (d *Dev) publishFlags() string {
	if d.Sidecar.Addrs.GRPC != config.DefaultPorts().GRPC {
		return " --address " + d.Sidecar.Addrs.GRPC
	}
	return ""
}
