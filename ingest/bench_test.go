package ingest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

var payload1K = []byte(`{"id":"evt_01","type":"livestream.channel.live","viewers":1204,"tags":["a","b","c"],"nested":{"ok":true,"none":null,"rate":29.97},"text":"` +
	strings.Repeat("Xin chào, kênh đã lên sóng. ", 26) + `"}`)

// nowhere is an Acceptor that does nothing, to see what the door costs.
type nowhere struct{}

func (nowhere) Serves(string) bool { return true }

func (nowhere) Accept(_ context.Context, events []*sidehook.Event) (Receipt, error) {
	return nowhereReceipt(len(events)), nil
}

type nowhereReceipt int

func (n nowhereReceipt) Wait(context.Context) ([]Result, error) {
	results := make([]Result, n)
	for i := range results {
		results[i] = Result{Disposition: Accepted, Deliveries: 1}
	}
	return results, nil
}

func benchBatch(n int) *eventsv1.PublishStreamRequest {
	req := &eventsv1.PublishStreamRequest{}
	for i := range n {
		req.Events = append(req.Events, &eventsv1.Event{
			App: "demo", Id: fmt.Sprintf("evt_01h455vb4pex5vsknk084sn02q%06d", i), Source: "/channels/42",
			Type: "livestream.channel.live", Data: payload1K,
		})
	}
	return req
}

// BenchmarkPublishStream is one client on one stream, batches of 256 events of 1 KB, client and server in this process.
func BenchmarkPublishStream(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		b.Run(network, func(b *testing.B) {
			var d *door
			if network == "tcp" {
				d = openDoor(b, Options{Acceptor: nowhere{}})
			} else {
				path := filepath.Join(b.TempDir(), "s")
				l, err := ListenUnix(path)
				if err != nil {
					b.Fatal(err)
				}
				d = openDoorOn(b, Options{Acceptor: nowhere{}}, l, "unix:"+path)
			}
			benchStream(b, d)
		})
	}
}

func benchStream(b *testing.B, d *door) {
	s, err := d.client.PublishStream(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	req := benchBatch(256)
	sent := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for i := range b.N {
			req.Sequence = uint64(i)
			if err := s.Send(req); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.CloseSend()
	}()
	for range b.N {
		if resp, err := s.Recv(); err != nil || resp.Refusal != nil {
			b.Fatal(resp, err)
		}
	}
	b.ReportMetric(float64(b.N*len(req.Events))/b.Elapsed().Seconds(), "events/s")
	if err := <-sent; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkDecode compares what a batch costs to read with what the generated types alone would cost.
func BenchmarkDecode(b *testing.B) {
	wire, err := proto.Marshal(benchBatch(256))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("batch", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(wire, newBatch(streamLayout)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(wire, new(eventsv1.PublishStreamRequest)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		s := NewServer(Options{Acceptor: nowhere{}})
		in := newBatch(streamLayout)
		if err := proto.Unmarshal(wire, in); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.check(in.events, false); err != nil {
				b.Fatal(err)
			}
		}
	})
}
