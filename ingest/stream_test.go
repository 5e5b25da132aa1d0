package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

type clientStream = grpc.BidiStreamingClient[eventsv1.PublishStreamRequest, eventsv1.PublishStreamResponse]

func openStream(t testing.TB, d *door) clientStream {
	t.Helper()
	stream, err := d.client.PublishStream(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func send(t testing.TB, s clientStream, sequence uint64, events ...*eventsv1.Event) {
	t.Helper()
	if err := s.Send(&eventsv1.PublishStreamRequest{Sequence: sequence, Events: events}); err != nil {
		t.Fatalf("sending %d: %v", sequence, err)
	}
}

func recv(t testing.TB, s clientStream) *eventsv1.PublishStreamResponse {
	t.Helper()
	resp, err := s.Recv()
	if err != nil {
		t.Fatalf("receiving: %v", err)
	}
	return resp
}

func TestStreamAnswersInOrderAndFlushesOnHalfClose(t *testing.T) {
	k := newKeeper("demo")
	release := k.hold()
	d := openDoor(t, Options{Acceptor: k})
	s := openStream(t, d)
	const batches = 40
	for i := range batches {
		send(t, s, uint64(1000-i), event1(fmt.Sprintf("%d-a", i)), event1(fmt.Sprintf("%d-b", i)))
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for range batches {
		receive(t, k.accepted, "batch")
	}
	release()
	for i := range batches {
		resp := recv(t, s)
		if resp.Sequence != uint64(1000-i) || len(resp.Results) != 2 || resp.Results[1].Id != fmt.Sprintf("%d-b", i) || resp.Refusal != nil {
			t.Fatalf("answer %d: %v", i, resp)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("the stream ended with %v", err)
	}
	for i, e := range k.taken() {
		if want := fmt.Sprintf("%d-%c", i/2, 'a'+i%2); e.ID != want {
			t.Fatalf("event %d is %s, want %s", i, e.ID, want)
		}
	}
}

func TestStreamGoesOnAfterRefusals(t *testing.T) {
	k := newKeeper("demo")
	d := openDoor(t, Options{Acceptor: k, MaxData: 2000})
	s := openStream(t, d)
	for i, tc := range badBatches {
		send(t, s, uint64(i), tc.events()...)
		resp := recv(t, s)
		r := resp.Refusal
		if resp.Sequence != uint64(i) || r == nil || codes.Code(r.Code) != tc.code || r.Field != tc.field || r.RetryAfter != nil || resp.Results != nil {
			t.Errorf("%s: answered %v, want %v of %s", tc.name, resp, tc.code, tc.field)
		}
	}
	k.fail(&sidehook.FullError{What: "disk", RetryAfter: 3 * time.Second}, nil)
	send(t, s, 77, event1("full"))
	if r := recv(t, s).Refusal; r == nil || codes.Code(r.Code) != codes.ResourceExhausted || r.RetryAfter.AsDuration() != 3*time.Second {
		t.Errorf("full: %v", r)
	}
	k.fail(nil, errors.New("fsync failed"))
	send(t, s, 78, event1("lost"))
	if r := recv(t, s).Refusal; r == nil || codes.Code(r.Code) != codes.Internal {
		t.Errorf("failed: %v", r)
	}
	k.fail(nil, nil)
	send(t, s, 79, event1("good"))
	if resp := recv(t, s); resp.Sequence != 79 || len(resp.Results) != 1 {
		t.Errorf("after refusals: %v", resp)
	}
}

// TestStreamStopsReadingWhenTheWindowIsFull: no more than the window is submitted while nothing is durable, however
// much the client sends, and all of it afterwards.
func TestStreamStopsReadingWhenTheWindowIsFull(t *testing.T) {
	for _, tc := range []struct {
		name   string
		opts   Options
		size   int
		window int
	}{
		{"batches", Options{Window: 4}, 10, 4},
		// A batch of about 200 KiB: five fit a MiB.
		{"bytes", Options{WindowBytes: 1 << 20}, 200 << 10, 5},
		{"bytes of all", Options{InFlightBytes: 1 << 20}, 200 << 10, 5},
		{"less than a batch", Options{WindowBytes: 1}, 200 << 10, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newKeeper("demo")
			release := k.hold()
			tc.opts.Acceptor = k
			d := openDoor(t, tc.opts)
			s := openStream(t, d)
			const batches = 30
			sent := make(chan error, 1)
			go func() {
				var err error
				for i := range batches {
					e := event1(fmt.Sprint(i))
					e.DataContentType, e.Data = "application/octet-stream", make([]byte, tc.size)
					err = errors.Join(err, s.Send(&eventsv1.PublishStreamRequest{Sequence: uint64(i), Events: []*eventsv1.Event{e}}))
				}
				sent <- errors.Join(err, s.CloseSend())
			}()
			for range tc.window {
				receive(t, k.accepted, "batch")
			}
			// A round trip on another stream gives one batch too many the time to show itself.
			if _, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{}); status.Code(err) != codes.InvalidArgument {
				t.Fatal(err)
			}
			if n := len(k.taken()); n != tc.window {
				t.Fatalf("%d batches were submitted, want %d", n, tc.window)
			}
			release()
			for i := range batches {
				if resp := recv(t, s); resp.Sequence != uint64(i) || resp.Refusal != nil {
					t.Fatalf("answer %d: %v", i, resp)
				}
			}
			if err := receive(t, sent, "end of sending"); err != nil {
				t.Fatal(err)
			}
			if !d.inFlight.TryAcquire(d.opts.InFlightBytes) {
				t.Error("not all bytes in flight were given back")
			}
		})
	}
}

func TestStreamIsFlushedWhenTheServerStops(t *testing.T) {
	k := newKeeper("demo")
	release := k.hold()
	d := openDoor(t, Options{Acceptor: k})
	s := openStream(t, d)
	for i := range 3 {
		send(t, s, uint64(i), event1(fmt.Sprint(i)))
		receive(t, k.accepted, "batch")
	}
	stopped := make(chan error, 1)
	go func() { stopped <- d.grpc.Stop(limited(t)) }()
	receive(t, d.stopping, "stop")
	release()
	for i := range 3 {
		if resp := recv(t, s); resp.Sequence != uint64(i) || len(resp.Results) != 1 {
			t.Fatalf("answer %d: %v", i, resp)
		}
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Fatalf("the stream ended with %v", err)
	}
	if err := receive(t, stopped, "end of Stop"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.Publish(limited(t), &eventsv1.PublishRequest{Events: []*eventsv1.Event{event1("9")}}); status.Code(err) != codes.Unavailable {
		t.Errorf("Publish after Stop: %v", err)
	}
	if len(k.taken()) != 3 {
		t.Errorf("%d events taken", len(k.taken()))
	}
}

// TestStopCutsShortABatchThatWaitsForRoom: what the Acceptor does not take while stopping is refused, not waited for.
func TestStopCutsShortABatchThatWaitsForRoom(t *testing.T) {
	k := newKeeper("demo")
	k.room = make(chan struct{})
	d := openDoor(t, Options{Acceptor: k})
	s := openStream(t, d)
	send(t, s, 1, event1("1"))
	k.room <- struct{}{}
	if resp := recv(t, s); len(resp.Results) != 1 {
		t.Fatal(resp)
	}
	send(t, s, 2, event1("2"))
	if err := d.grpc.Stop(limited(t)); err != nil {
		t.Fatal(err)
	}
	// Sequence 2 is either answered with a refusal, or not at all when it had not been read.
	resp, err := s.Recv()
	if err == nil {
		if resp.Refusal == nil || codes.Code(resp.Refusal.Code) != codes.Unavailable {
			t.Errorf("answered %v", resp)
		}
		_, err = s.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}

// TestStopGivesUpAtItsDeadline: an Acceptor that never says durable does not hold up the process.
func TestStopGivesUpAtItsDeadline(t *testing.T) {
	k := newKeeper("demo")
	defer k.hold()()
	d := openDoor(t, Options{Acceptor: k})
	s := openStream(t, d)
	send(t, s, 1, event1("1"))
	receive(t, k.accepted, "batch")
	ctx, cancel := context.WithCancel(limited(t))
	cancel()
	if err := d.grpc.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Stop: %v", err)
	}
	for {
		if resp, err := s.Recv(); err != nil {
			break
		} else if resp.Results != nil {
			t.Fatalf("acknowledged although it is not known to be durable: %v", resp)
		}
	}
}

func TestStreamOfAClientThatGoes(t *testing.T) {
	k := newKeeper("demo")
	release := k.hold()
	d := openDoor(t, Options{Acceptor: k})
	ctx, cancel := context.WithCancel(limited(t))
	s, err := d.client.PublishStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send(t, s, 1, event1("1"))
	receive(t, k.accepted, "batch")
	cancel()
	if _, err := s.Recv(); status.Code(err) != codes.Canceled {
		t.Fatalf("got %v", err)
	}
	release()
	if err := d.grpc.Stop(limited(t)); err != nil {
		t.Fatal(err)
	}
	if n := d.Metrics().Accepted.Load(); n != 1 {
		t.Errorf("counted %d accepted; the event was durable although its client had gone", n)
	}
	if n := d.Metrics().Streams.Load(); n != 0 {
		t.Errorf("%d streams open", n)
	}
}

func TestStreamEndsOnGarbage(t *testing.T) {
	d := openDoor(t, Options{Acceptor: newKeeper("demo")})
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	s, err := d.conn.NewStream(limited(t), desc, eventsv1.EventService_PublishStream_FullMethodName, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	garbage := []byte{0x12, 0x7f, 0x01}
	if err := s.SendMsg(&garbage); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new([]byte)); status.Code(err) != codes.Internal {
		t.Fatalf("got %v", err)
	}
}
