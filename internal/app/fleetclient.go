package app

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// Timing of the reports.
const (
	reportEvery    = 10 * time.Second
	reportMinGap   = 200 * time.Millisecond // changes closer together share a report
	reportBusyGap  = time.Second            // as do numbers
	fleetFirstWait = time.Second
	fleetMaxWait   = 30 * time.Second
)

// fleetClient keeps the control plane informed, and does what it asks for. No trouble with it touches deliveries.
type fleetClient struct {
	conn    *grpc.ClientConn
	id      string
	version string
	// reports makes the reports of a new stream.
	reports func() reporter
	// obey carries out one command; the error is answered as a Failure.
	obey func(ctx context.Context, c *fleetv1.Command) (*fleetv1.Answer, error)
	// changed says that what is told in a report is another, counted that numbers are.
	changed, counted <-chan struct{}
	log              *slog.Logger
}

// reporter makes the reports of one stream, one after the other. fresh wants everything looked up anew, not the numbers
// alone; more says that there is more to report already.
type reporter func(ctx context.Context, fresh bool) (r *fleetv1.Report, more bool)

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
	return true, f.talk(ctx, cancel, stream)
}

type fleetStream = grpc.BidiStreamingClient[fleetv1.ConnectRequest, fleetv1.ConnectResponse]

// talk listens for commands and sends what there is to send, until the stream ends. It alone sends, and returns when
// everything that it started has ended; end ends ctx, and with it the stream.
func (f *fleetClient) talk(ctx context.Context, end context.CancelFunc, stream fleetStream) error {
	c := newCommander(f.obey, f.log)
	ended := make(chan error, 1)
	c.running.Go(func() {
		for {
			response, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			switch payload := response.GetPayload().(type) {
			case *fleetv1.ConnectResponse_Command:
				c.take(ctx, payload.Command)
			case *fleetv1.ConnectResponse_Cancel:
				c.cancel(payload.Cancel.GetCommand())
			}
		}
	})
	defer c.running.Wait()
	defer end()
	return f.send(ctx, stream, c.answers, ended)
}

// send sends answers as they come, and reports: one at once, one soon after a change and one every ten seconds.
func (f *fleetClient) send(ctx context.Context, stream fleetStream, answers <-chan *fleetv1.Answer, ended <-chan error) error {
	report := f.reports()
	wake := time.NewTimer(0)
	defer wake.Stop()
	var last, due time.Time // of the report before, and of the next
	soon := func(gap time.Duration) {
		if at := last.Add(gap); at.Before(due) {
			due = at
			wake.Reset(time.Until(due))
		}
	}
	fresh := true
	counted := f.counted
	for {
		var request fleetv1.ConnectRequest
		more := false
		select {
		case err := <-ended:
			return err
		case <-f.changed:
			fresh = true
			soon(reportMinGap)
			continue
		case <-counted:
			counted = nil // one is enough: under load there is one for each attempt
			soon(reportBusyGap)
			continue
		case a := <-answers:
			request.Payload = &fleetv1.ConnectRequest_Answer{Answer: a}
		case now := <-wake.C:
			var r *fleetv1.Report
			r, more = report(ctx, fresh || now.Sub(last) >= reportEvery)
			request.Payload = &fleetv1.ConnectRequest_Report{Report: r}
			fresh, counted = false, f.counted
			last = time.Now()
			due = last.Add(reportEvery)
			wake.Reset(reportEvery)
		}
		if err := stream.Send(&request); err != nil {
			return err
		}
		if more {
			soon(reportMinGap)
		}
	}
}
