package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/console"
	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
	"github.com/sidehook/sidehook/xds/server"
)

// Control is a running control plane.
type Control struct {
	// XDS and REST are where it listens.
	XDS, REST string
	// Service is what REST works on.
	Service *control.Service
	// Pusher is its xDS end.
	Pusher *server.Server

	cfg    *config.Control
	log    *slog.Logger
	parts  stack
	kv     storage.KV
	fleet  *control.Fleet
	failed chan error
}

// RunControl runs a control plane until ctx ends, then stops it in order.
func RunControl(ctx context.Context, cfg *config.Control, log *slog.Logger, out io.Writer) error {
	c, err := StartControl(ctx, cfg, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sidehook control plane is running\n  %-31s http://%s/console/\n  %-31s %s\n  %-31s http://%s\n  %-31s %s\n",
		"console", c.REST, "xDS and fleet (gRPC)", c.XDS, "management API", c.REST, "admin token", cfg.AdminTokenFile)
	return runUntil(ctx, c.failed, cfg.ShutdownTimeout, c.Stop)
}

// StartControl starts every part in the order in which they need each other. ctx bounds the start only.
func StartControl(ctx context.Context, cfg *config.Control, log *slog.Logger) (_ *Control, err error) {
	c := &Control{cfg: cfg, log: log, parts: stack{log: log}, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
			defer cancel()
			err = errors.Join(err, c.parts.stop(stopCtx))
		}
	}()
	for _, start := range []func(context.Context) error{c.openKV, c.startService, c.serveXDS, c.serveREST} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Stop ends streams and requests, then closes the store.
func (c *Control) Stop(ctx context.Context) error {
	err := c.parts.stop(ctx)
	c.log.Info("control plane stopped")
	return err
}

func (c *Control) fail(err error) { offer(c.failed, err) }

func (c *Control) openKV(context.Context) error {
	if err := os.MkdirAll(c.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data_dir: %w", err)
	}
	kv, err := badgerstore.OpenKV(filepath.Join(c.cfg.DataDir, "state"), badgerstore.KVOptions{Logger: c.log.With("part", "state")})
	if err != nil {
		return fmt.Errorf("open the state: %w", err)
	}
	c.kv = kv
	c.parts.add("state", func(context.Context) error { return kv.Close() })
	return nil
}

func (c *Control) startService(ctx context.Context) error {
	svc, err := control.New(control.Options{
		KV: c.kv, MaxWebhooks: c.cfg.Limits.WebhooksPerApp, AutoDisableAfter: c.cfg.AutoDisableAfter, Logger: c.log.With("part", "service"),
	})
	if err != nil {
		return err
	}
	c.Service = svc
	if err := svc.EnsureAdminToken(ctx, c.cfg.AdminTokenFile); err != nil {
		return fmt.Errorf("admin token: %w", err)
	}
	c.Pusher = server.New(server.Options{Authenticate: svc.AuthenticateSidecar, Logger: c.log.With("part", "xds")})
	c.fleet, err = control.NewFleet(control.FleetOptions{
		Authenticate: svc.AuthenticateSidecar, Gone: svc.DisableGone, Health: svc.NoteHealth, Logger: c.log.With("part", "fleet"),
	})
	if err != nil {
		return err
	}
	revoked := func(credential string) {
		c.fleet.EndStreams(credential)
		c.Pusher.EndStreams(func(sidecar string) bool { return sidecar == credential })
	}
	if err := svc.Start(ctx, c.Pusher, revoked); err != nil {
		return fmt.Errorf("load the state: %w", err)
	}
	c.parts.add("service", func(context.Context) error { return svc.Close() })
	return nil
}

// Keepalive of the xDS listener: half-open links are noticed within a minute, and sidecars may ask as often as they do
// (dialControlPlane).
var xdsKeepalive = []grpc.ServerOption{
	grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
	grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
}

func (c *Control) serveXDS(context.Context) error {
	opts := xdsKeepalive
	if c.cfg.XDSTLS != nil {
		conf, err := serverTLS(c.cfg.XDSTLS)
		if err != nil {
			return err
		}
		opts = append(opts[:len(opts):len(opts)], grpc.Creds(credentials.NewTLS(conf)))
	}
	lis, err := net.Listen("tcp", c.cfg.Listen.XDS)
	if err != nil {
		return fmt.Errorf("listen.xds: %w", err)
	}
	c.XDS = lis.Addr().String()
	g := grpc.NewServer(opts...)
	c.Pusher.Register(g)
	c.fleet.Register(g)
	done := make(chan struct{})
	go func() { // ends with the step below
		defer close(done)
		if err := g.Serve(lis); err != nil {
			c.fail(fmt.Errorf("serve %s: %w", lis.Addr(), err))
		}
	}()
	c.parts.add("xds", func(context.Context) error {
		c.Pusher.Close()
		err := c.fleet.Close()
		g.Stop() // streams have no end of their own to wait for
		<-done
		return err
	})
	return nil
}

func (c *Control) serveREST(context.Context) error {
	lis, err := net.Listen("tcp", c.cfg.Listen.REST)
	if err != nil {
		return fmt.Errorf("listen.rest: %w", err)
	}
	c.REST = lis.Addr().String()
	h := control.NewHandler(c.Service, c.fleet, control.HandlerOptions{
		Version: Version(), Logger: c.log.With("part", "rest"),
	})
	pages, err := console.New(console.Options{
		Service: c.Service, Fleet: c.fleet, Version: Version(), Logger: c.log.With("part", "console"),
	})
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	all := withConsole(withDialects(h, c.Service, c.fleet, c.cfg, c.log.With("part", "rest")), pages)
	serveHTTP(&c.parts, "rest", lis, newHTTPServer(all), c.fail)
	c.parts.add("console", func(context.Context) error { return pages.Close() }) // its streams end before the server waits for them
	return nil
}

// withConsole puts the console beside the API, and sends browsers that ask for the root to it.
func withConsole(api http.Handler, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(console.Root, pages)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			api.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, console.Root, http.StatusSeeOther)
	})
	mux.Handle("/", api)
	return mux
}
