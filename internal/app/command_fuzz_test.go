package app

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// FuzzCommand: whatever is asked, the sidecar answers something that can be sent, and blames the asker, not itself.
func FuzzCommand(f *testing.F) {
	id := sidehook.DeliveryID{Origin: 1, Batch: 1}.String()
	for _, seed := range []*fleetv1.Command{
		{},
		{Ask: &fleetv1.Command_Drain{Drain: &fleetv1.Drain{}}},
		list(nil),
		list(&fleetv1.ListDeliveries{App: "demo", Webhook: "w", State: 1, EventType: "a.b", Limit: 200, After: id}),
		list(&fleetv1.ListDeliveries{App: "demo", Limit: 1, Since: &timestamppb.Timestamp{Seconds: -1 << 62}}),
		list(&fleetv1.ListDeliveries{App: "demo", Limit: 1, Until: timestamppb.New(time.Unix(1<<35, 0))}),
		get("demo", id), get("demo", "dlv_"), retry("demo", id), retry("", "\x00"),
		replayAsk(&fleetv1.ReplayDeliveries{App: "demo", Webhook: "w", States: []fleetv1.DeliveryState{2, 2, 3, 4}}),
		replayAsk(&fleetv1.ReplayDeliveries{App: "demo", Webhook: "w", States: []fleetv1.DeliveryState{1}}),
		sendTest("w"), sendTest("w", func(a *fleetv1.SendTestEvent) { a.Event = nil }),
		sendTest("w", func(a *fleetv1.SendTestEvent) { a.WebhookUpdatedAt = &timestamppb.Timestamp{Seconds: 1 << 60} }),
	} {
		wire, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	store, err := badgerstore.Open(f.TempDir(), badgerstore.Options{MinFreeBytes: -1, Options: storage.Options{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := store.Close(); err != nil {
			f.Error(err)
		}
	})
	s := &Sidecar{
		cfg: config.DefaultSidecar(), store: store, log: discard, changed: make(chan struct{}, 1),
		engine: outbound.New(outbound.Options{Store: store, LocalApps: []string{"demo"}}),
	}
	s.cfg.Apps = []string{"demo"}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var c fleetv1.Command
		if proto.Unmarshal(wire, &c) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		a, err := s.obey(ctx, &c)
		if err != nil {
			code, text := failureOf(err)
			if code == codes.Internal || text == "" {
				t.Fatalf("%v fails by %v", &c, err)
			}
			a = &fleetv1.Answer{Result: &fleetv1.Answer_Failure{Failure: &fleetv1.Failure{Message: cutText(text, maxFailureText)}}}
		}
		if _, err := proto.Marshal(a); err != nil {
			t.Fatalf("the answer to %v cannot be sent: %v", &c, err)
		}
	})
}
