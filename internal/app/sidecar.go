package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidehook/sidehook/ingest"
	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/plugin/host"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
	"github.com/sidehook/sidehook/xds"
)

// Sidecar is a running sidecar.
type Sidecar struct {
	// Addrs are where it listens; empty for what is off.
	Addrs SidecarAddrs

	cfg     *config.Sidecar
	id      string
	log     *slog.Logger
	parts   stack
	clock   *outbound.Clock // of store and engine
	store   *badgerstore.Store
	engine  *outbound.Engine
	plugins *host.Host
	client  *send.Client
	ingest  *ingest.Server
	grpc    *ingest.GRPC
	// grpcServing counts the goroutines that serve grpc's listeners.
	grpcServing sync.WaitGroup
	source      source
	metrics     *metrics
	setAside    string // the folder of a damaged queue, renamed at the start
	started     time.Time
	draining    atomic.Bool
	changed     chan struct{} // wakes the fleet report
	counted     chan struct{} // as changed, for numbers
	applied     chan struct{} // something was applied
	failed      chan error    // first failure of a part, or nil for a stop asked for through the admin endpoint
}

// SidecarAddrs are the listeners of a Sidecar.
type SidecarAddrs struct{ GRPC, Unix, HTTP, Admin string }

// RunSidecar runs a sidecar until ctx ends, then drains it.
func RunSidecar(ctx context.Context, cfg *config.Sidecar, log *slog.Logger, out io.Writer) error {
	tuneMemory()
	s, err := StartSidecar(ctx, cfg, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sidehook sidecar %s is running\n", s.id)
	for _, a := range []struct{ what, addr string }{
		{"events (gRPC)", s.Addrs.GRPC},
		{"events (unix socket)", s.Addrs.Unix},
		{"events (CloudEvents over HTTP)", s.Addrs.HTTP},
		{"admin", s.Addrs.Admin},
	} {
		if a.addr != "" {
			fmt.Fprintf(out, "  %-31s %s\n", a.what, a.addr)
		}
	}
	return s.Run(ctx)
}

// Run waits until ctx ends or a part fails, then stops the sidecar.
func (s *Sidecar) Run(ctx context.Context) error {
	return runUntil(ctx, s.failed, s.cfg.ShutdownTimeout, s.Stop)
}

// runUntil is how a process waits and stops.
func runUntil(ctx context.Context, failed <-chan error, timeout time.Duration, stop func(context.Context) error) error {
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	stopCtx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), timeout,
		fmt.Errorf("shutdown took longer than %s", timeout))
	defer cancel()
	return errors.Join(cause, stop(stopCtx))
}

// StartSidecar starts every part in the order in which they need each other. ctx bounds the start only.
func StartSidecar(ctx context.Context, cfg *config.Sidecar, log *slog.Logger) (_ *Sidecar, err error) {
	s := &Sidecar{
		cfg: cfg, log: log, parts: stack{log: log}, clock: outbound.NewClock(nil), started: time.Now(), changed: make(chan struct{}, 1),
		counted: make(chan struct{}, 1),
		applied: make(chan struct{}, 1),
		failed:  make(chan error, 1),
	}
	defer func() {
		if err != nil {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
			defer cancel()
			err = errors.Join(err, s.parts.stop(stopCtx))
		}
	}()
	for _, start := range []func(context.Context) error{
		s.openStore, s.startPlugins, s.startEngine, s.startSource, s.serveAdmin, s.listen,
	} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}
	log.Info("sidecar started", "id", s.id, "took", time.Since(s.started), "pending", s.store.Stats().Pending)
	return s, nil
}

// Stop drains: ingest ends, what is in flight is finished, the store is closed; what is left waits on disk.
func (s *Sidecar) Stop(ctx context.Context) error {
	s.draining.Store(true)
	err := s.parts.stop(ctx)
	s.log.Info("sidecar stopped", "pending", s.store.Stats().Pending)
	return err
}

func (s *Sidecar) openStore(context.Context) error {
	if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data_dir: %w", err)
	}
	id, err := sidecarID(s.cfg.ID, s.cfg.DataDir)
	if err != nil {
		return err
	}
	s.id = id
	lim := s.cfg.Limits
	dedupe := lim.DedupeWindow
	if dedupe == 0 {
		dedupe = -1 // off
	}
	minFree := int64(lim.MinFreeDisk)
	if minFree == 0 {
		minFree = -1 // not checked
	}
	s.store, s.setAside, err = badgerstore.OpenOrSetAside(filepath.Join(s.cfg.DataDir, "queue"), badgerstore.Options{
		Options: storage.Options{
			DedupeWindow: dedupe, DedupeEvents: lim.DedupeEvents, HistoryBytes: int64(lim.History),
			HistoryAge: lim.HistoryAge, QueueBytes: int64(lim.Queue), Now: s.clock.Now,
		},
		Durability:   badgerstore.Durability(s.cfg.Durability),
		MinFreeBytes: minFree,
		Logger:       s.log.With("part", "store"),
	})
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	s.parts.add("store", func(context.Context) error { return s.store.Close() })
	return nil
}

func (s *Sidecar) startPlugins(ctx context.Context) error {
	specs := make([]host.Spec, 0, len(s.cfg.Transformers))
	for _, t := range s.cfg.Transformers {
		spec := host.Spec{Name: t.Name, Command: t.Command, Args: t.Args, SHA256: t.SHA256, Timeout: t.Timeout}
		for k, v := range t.Env {
			spec.Env = append(spec.Env, k+"="+v)
		}
		specs = append(specs, spec)
	}
	dir, err := s.pluginDir()
	if err != nil {
		return fmt.Errorf("transformers: %w", err)
	}
	h, err := host.New(host.Options{Specs: specs, Dir: dir, Logger: s.log.With("part", "transformers")})
	if err != nil {
		return fmt.Errorf("transformers: %w", err)
	}
	if err := h.Start(ctx); err != nil {
		return fmt.Errorf("transformers: %w", err)
	}
	s.plugins = h
	s.parts.add("transformers", h.Stop)
	return nil
}

// pluginDir is where the transformers' sockets are: in the data folder, or, because the address of a socket must be
// short, in a temporary folder when the data folder's path is long.
func (s *Sidecar) pluginDir() (string, error) {
	dir := filepath.Join(s.cfg.DataDir, "plugins")
	if len(dir) <= host.MaxDir {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "sidehook-")
	if err != nil {
		return "", fmt.Errorf("make a folder for sockets: %w", err)
	}
	s.parts.add("folder for sockets", func(context.Context) error { return os.RemoveAll(dir) })
	return dir, nil
}

func (s *Sidecar) startEngine(ctx context.Context) error {
	o := s.cfg.Outbound
	opts, err := senderOptions(&o)
	if err != nil {
		return err
	}
	opts.Logger = s.log.With("part", "send")
	s.client = send.New(opts)
	s.parts.add("connections", func(context.Context) error {
		s.client.Close()
		return nil
	})
	s.metrics = newMetrics(s)
	s.engine = outbound.New(outbound.Options{
		Store: s.store, Clock: s.clock, Sender: s.client, Transformers: s.plugins, LocalApps: s.cfg.Apps,
		MaxInFlight: o.MaxInFlight, PerWebhook: o.PerWebhook, OnChange: s.noteChange, OnCount: s.noteCount,
		Observe: s.metrics.observe, Logger: s.log.With("part", "engine"),
	})
	s.parts.add("engine", s.stopEngine)
	return s.engine.Start(ctx)
}

// stopEngine lets what is in flight finish. It may take three quarters of the time that is left, so that the parts which
// stop after it, transformers above all, can do so in good order. A slow endpoint is no failure of this process.
func (s *Sidecar) stopEngine(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Until(deadline)*3/4, errors.New("the time to stop is nearly over"))
		defer cancel()
	}
	err := s.engine.Stop(ctx)
	if errors.Is(err, outbound.ErrGivenUp) {
		s.log.Warn("stopped before every endpoint had answered", "err", err)
		return nil
	}
	return err
}

// noteChange wakes the fleet report; it never blocks.
func (s *Sidecar) noteChange() { offer(s.changed, struct{}{}) }

// noteCount has the fleet report tell new numbers; it never blocks.
func (s *Sidecar) noteCount() { offer(s.counted, struct{}{}) }

// drain takes the sidecar out of service without stopping it, and returns how many deliveries are left.
func (s *Sidecar) drain() int64 {
	s.draining.Store(true)
	s.engine.StopAccepting()
	s.noteChange()
	return s.store.Stats().Pending
}

// fail ends Run with an error; the first counts.
func (s *Sidecar) fail(err error) { offer(s.failed, err) }

// apply gives a Snapshot to the engine.
func (s *Sidecar) apply(snap *xds.Snapshot) error {
	if err := s.engine.Apply(snap); err != nil {
		return err
	}
	s.log.Debug("snapshot applied", "version", snap.Version, "webhooks", len(snap.Webhooks()), "stale", snap.Stale)
	s.noteChange()
	offer(s.applied, struct{}{})
	return nil
}

// check refuses what this sidecar cannot carry out, so that it is NACKed by name.
func (s *Sidecar) check(r *xds.Resource) error {
	if r.Webhook != nil && r.Webhook.Transformer != "" && !s.plugins.Installed(r.Webhook.Transformer) {
		return fmt.Errorf("transformer: %q is not installed on this sidecar", r.Webhook.Transformer)
	}
	if r.Webhook != nil {
		return outbound.Check(&xds.Webhook{Webhook: r.Webhook})
	}
	return nil
}

// listen opens the doors for events, last of all parts, so that stopping begins with them.
func (s *Sidecar) listen(context.Context) error {
	opts := ingest.Options{
		Acceptor: acceptor{s.engine}, MaxData: int(s.cfg.Limits.Payload), Logger: s.log.With("part", "ingest"),
	}
	if len(s.cfg.Apps) == 1 {
		opts.DefaultApp = s.cfg.Apps[0]
	}
	s.ingest = ingest.NewServer(opts)
	s.grpc = ingest.NewGRPC(s.ingest)
	s.parts.add("events by gRPC", func(ctx context.Context) error {
		defer s.grpcServing.Wait()
		return s.grpc.Stop(ctx)
	})
	l := s.cfg.Listen
	unix := l.Unix
	if unix == "" {
		unix = s.defaultSocket()
	}
	for _, door := range []struct {
		field, network, address string
		addr                    *string
		serve                   func(net.Listener) error
	}{
		{"listen.grpc", "tcp", l.GRPC, &s.Addrs.GRPC, s.serveGRPC},
		{"listen.unix", "unix", unix, &s.Addrs.Unix, s.serveGRPC},
		{"listen.http", "tcp", l.HTTP, &s.Addrs.HTTP, s.serveHTTP},
	} {
		if config.Off(door.address) {
			continue
		}
		lis, err := listenOn(door.network, door.address)
		if err != nil {
			return fmt.Errorf("%s: %w", door.field, err)
		}
		*door.addr = lis.Addr().String()
		if door.network == "unix" {
			*door.addr = "unix:" + *door.addr
		}
		if err := door.serve(lis); err != nil {
			return fmt.Errorf("%s: %w", door.field, err)
		}
	}
	return nil
}

// maxSocketPath is what the address of a unix socket can hold on Linux, its final zero byte left out.
const maxSocketPath = 107

// defaultSocket is in the data folder, or off when the folder's path is too long for a socket's address.
func (s *Sidecar) defaultSocket() string {
	path := filepath.Join(s.cfg.DataDir, "sidehook.sock")
	if len(path) > maxSocketPath {
		s.log.Warn("no unix socket: its path would be too long; set listen.unix to a shorter one", "path", path)
		return "off"
	}
	return path
}

func listenOn(network, address string) (net.Listener, error) {
	if network == "unix" {
		return ingest.ListenUnix(address)
	}
	return net.Listen(network, address)
}

// serveGRPC answers events by gRPC on lis, until the step "events by gRPC" stops the server.
func (s *Sidecar) serveGRPC(lis net.Listener) error {
	s.grpcServing.Go(func() {
		if err := s.grpc.Serve(lis); err != nil {
			s.fail(fmt.Errorf("serve %s: %w", lis.Addr(), err))
		}
	})
	return nil
}

// serveHTTP answers events by HTTP on lis.
func (s *Sidecar) serveHTTP(lis net.Listener) error {
	serveHTTP(&s.parts, "events by HTTP", lis, ingest.NewHTTP(s.ingest), s.fail)
	return nil
}
