package app

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// Timing of the reports.
const (
	reportEvery    = 10 * time.Second
	reportMinGap   = 200 * time.Millisecond // changes closer together share a report
	fleetFirstWait = time.Second
	fleetMaxWait   = 30 * time.Second
)

// fleetClient keeps the control plane informed. It only reports: no trouble with it touches deliveries.
type fleetClient struct {
	conn    *grpc.ClientConn
	id      string
	version string
	report  func() *fleetv1.Report
	changed <-chan struct{}
	log     *slog.Logger
}

// run reports until ctx ends.
func (f *fleetClient) run(ctx context.Context) error {
	started := time.Now()
	wait := fleetFirstWait
	for {
		answered, err := f.converse(ctx, started)
		if ctx.Err() != nil {
			return nil
		}
		if answered {
			wait = fleetFirstWait
		}
		f.log.Debug("the conversation with the control plane ended; trying again", "in", wait, "err", err)
		timer := time.NewTimer(time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		wait = min(wait*8/5, fleetMaxWait)
	}
}

// converse holds one stream; answered says whether the control plane spoke.
func (f *fleetClient) converse(ctx context.Context, started time.Time) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := fleetv1.NewFleetServiceClient(f.conn).Connect(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false, err
	}
	hostname, _ := os.Hostname() // for people only; empty is fine
	err = stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Hello{Hello: &fleetv1.Hello{
		SidecarId: f.id, Hostname: hostname, Version: f.version, StartedAt: timestamppb.New(started),
	}}})
	if err != nil {
		return false, err
	}
	if _, err := stream.Recv(); err != nil { // Welcome
		return false, err
	}
	ended := make(chan error, 1)
	go func() { // ends with the stream, which ends with ctx
		for {
			if _, err := stream.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	return true, f.reports(stream, ended)
}

// reports sends one report at once, one after every change and one every ten seconds.
func (f *fleetClient) reports(stream grpc.BidiStreamingClient[fleetv1.ConnectRequest, fleetv1.ConnectResponse], ended <-chan error) error {
	regular := time.NewTicker(reportEvery)
	defer regular.Stop()
	for {
		err := stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Report{Report: f.report()}})
		if err != nil {
			return err
		}
		gap := time.NewTimer(reportMinGap)
		select {
		case err := <-ended:
			gap.Stop()
			return err
		case <-gap.C:
		}
		select {
		case err := <-ended:
			return err
		case <-regular.C:
		case <-f.changed:
		}
	}
}

// fleetReport says how the sidecar is.
func (s *Sidecar) fleetReport() *fleetv1.Report {
	counts, stats := s.engine.Counts(), s.store.Stats()
	r := &fleetv1.Report{
		Ready: s.engine.Ready() && !s.draining.Load(), Pending: uint64(max(0, stats.Pending)),
		Delivered: uint64(counts.Delivered), Dead: uint64(counts.Dead), FailedAttempts: uint64(counts.Failed),
	}
	if snap := s.engine.Snapshot(); snap != nil {
		r.Stale, r.SnapshotVersion = snap.Stale, snap.Version
	}
	if !stats.OldestPending.IsZero() {
		r.OldestAge = durationpb.New(time.Since(stats.OldestPending))
	}
	for _, rej := range s.rejections() {
		if len(r.Rejections) == maxReported {
			break
		}
		r.Rejections = append(r.Rejections, &fleetv1.Rejection{Resource: rej.Resource, Reason: rej.Reason})
	}
	for _, g := range s.engine.Gone() {
		if len(r.Gone) == maxReported {
			break
		}
		r.Gone = append(r.Gone, &fleetv1.GoneWebhook{
			App: g.Key.App, Webhook: g.Key.ID, At: timestamppb.New(g.GoneAt),
		})
	}
	return r
}

const maxReported = 100
