package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/internal/client"
	"github.com/sidehook/sidehook/xds"
	xdsclient "github.com/sidehook/sidehook/xds/client"
)

// fleetChanges is how many changes the row fleet makes, each after everybody has the one before.
const fleetChanges = 20

// fleetRow measures how long a change takes from the request until the last of many sidecars applies it. The control
// plane is a process of its own; the sidecars are what a sidecar's process has for its control plane: a connection, the
// client of the configuration, and a stream of reports.
func fleetRow(b *bench) (err error) {
	began := time.Now()
	dir, state, err := b.filledControl(fleetSize{
		sidecars: b.scaled(1000), apps: b.scaled(1000), webhooks: b.scaled(100_000),
	})
	if err != nil {
		return err
	}
	c, err := startControl(b.ctx, b.set.binary, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	f, err := connectFleet(b.ctx, c.xds, state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.await(b.ctx); err != nil {
		return err
	}
	setUp := time.Since(began)
	before, err := usageOf(c.pid())
	if err != nil {
		return err
	}
	stopMemory := watchMemory(c.pid())
	for n := range fleetChanges {
		if err := f.change(b.ctx, c.api, n); err != nil {
			return err
		}
	}
	most, err := stopMemory()
	if err != nil {
		return err
	}
	after, err := usageOf(c.pid())
	if err != nil {
		return err
	}
	b.add("sidecars", float64(len(f.sidecars)), "")
	b.add("webhooks in the control plane", float64(state.size.webhooks), "")
	b.add("control plane ready", milliseconds(c.took), "ms")
	b.add("set up", setUp.Seconds(), "s")
	b.addLatency(histogramSummary(f.latency))
	b.add("CPU per change", (after.cpu-before.cpu).Seconds()/fleetChanges, "s")
	b.add("resident (RssAnon), most", megabytes(most.anon), "MB")
	b.add("resident (VmRSS), most", megabytes(most.rss), "MB")
	return nil
}

// fleet is many sidecars of one app, as far as their control plane can see.
type fleet struct {
	sidecars []*fleetSidecar
	watched  *state
	cancel   context.CancelCauseFunc
	ended    sync.WaitGroup

	mu      sync.Mutex
	name    string    // of the webhook, after the change under way
	since   time.Time // when that was asked for
	left    int       // sidecars that do not have it
	all     chan struct{}
	latency *hdrhistogram.Histogram
	failed  error
}

// fleetSidecar is one of them.
type fleetSidecar struct {
	id      string
	conn    *grpc.ClientConn
	name    string      // of the webhook, as it applies it
	applied chan string // versions to report
	config  *xdsclient.Client
}

// connectFleet starts the sidecars. They have their configuration when await returns.
func connectFleet(ctx context.Context, address string, st *state) (*fleet, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &fleet{watched: st, cancel: cancel, latency: newHistogram()}
	f.expect(st.name)
	for i, token := range st.tokens {
		conn, err := grpc.NewClient("passthrough:///"+address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token)))
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		s := &fleetSidecar{id: fmt.Sprintf("bench-%d", i), conn: conn, applied: make(chan string, 1)}
		s.config = xdsclient.New(xdsclient.Options{
			Conn: conn, NodeID: s.id, Version: "bench",
			Apply: func(snap *xds.Snapshot) error { f.apply(s, snap); return nil },
		})
		f.sidecars = append(f.sidecars, s)
		f.ended.Go(func() { f.end(s.config.Run(ctx)) })
		f.ended.Go(func() { f.end(s.report(ctx)) })
	}
	return f, nil
}

// bearer puts a token on every call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }

// expect begins the wait for all sidecars to have the webhook by that name.
func (f *fleet) expect(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.name, f.since, f.left, f.all = name, time.Now(), len(f.watched.tokens), make(chan struct{})
}

// apply is called by a sidecar's client for each snapshot.
func (f *fleet) apply(s *fleetSidecar, snap *xds.Snapshot) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	w := snap.Webhook(f.watched.webhook)
	if w != nil && w.Name == f.name && s.name != w.Name {
		s.name = w.Name
		record(f.latency, now.Sub(f.since))
		if f.left--; f.left == 0 {
			close(f.all)
		}
	}
	select {
	case s.applied <- snap.Version:
	default: // a report is due already
	}
}

// report holds the stream of reports: one at the start, and one after each change.
func (s *fleetSidecar) report(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := fleetv1.NewFleetServiceClient(s.conn).Connect(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	hello := &fleetv1.Hello{SidecarId: s.id, Hostname: "bench", Version: "bench", StartedAt: timestamppb.Now()}
	if err := stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Hello{Hello: hello}}); err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil { // Welcome
		return err
	}
	for {
		select {
		case version := <-s.applied:
			report := &fleetv1.Report{Ready: true, SnapshotVersion: version}
			if err := stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Report{Report: report}}); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// end notes why a part of a sidecar ended. The first to end ends the row.
func (f *fleet) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
		f.cancel(err)
	}
}

// fleetPatience bounds the wait for all sidecars.
const fleetPatience = 40 * time.Second

// await waits until all sidecars have what expect said.
func (f *fleet) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, fleetPatience, fmt.Errorf("not every sidecar had it within %s", fleetPatience))
	defer cancel()
	select {
	case <-f.all:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		return errors.Join(fmt.Errorf("%d sidecars of %d wait: %w", f.left, len(f.sidecars), context.Cause(ctx)), f.failed)
	}
}

// change renames the webhook and waits until every sidecar has that. The first change begins the measurement.
func (f *fleet) change(ctx context.Context, api *client.Client, n int) error {
	if n == 0 {
		f.mu.Lock()
		f.latency.Reset() // of the set-up
		f.mu.Unlock()
	}
	name := fmt.Sprintf("change %d", n)
	f.expect(name)
	if _, err := api.UpdateWebhook(ctx, f.watched.webhook.App, f.watched.webhook.ID, client.WebhookFields{Name: &name}); err != nil {
		return err
	}
	return f.await(ctx)
}

var errFleetDone = errors.New("the fleet is done")

// close ends every sidecar.
func (f *fleet) close() error {
	f.mu.Lock()
	failed := f.failed
	f.mu.Unlock()
	f.cancel(errFleetDone)
	f.ended.Wait()
	for _, s := range f.sidecars {
		failed = errors.Join(failed, s.conn.Close())
	}
	return failed
}

func histogramSummary(h *hdrhistogram.Histogram) summary {
	return summary{
		Samples: h.TotalCount(), P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max(),
	}
}
