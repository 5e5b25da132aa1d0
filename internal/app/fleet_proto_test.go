package app

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/storage"
)

func TestAMessageFitsWhateverADeliveryHas(t *testing.T) {
	d := &storage.DeliveryInfo{AttemptCount: 500}
	for n := 1; n <= 500; n++ {
		a := sidehook.Attempt{
			Number: n, At: time.Now(), URL: "http://x/\xff", Error: "broken \xff", Response: bytes.Repeat([]byte{0xff}, 5000),
			Outcome: sidehook.Outcome{Kind: sidehook.OutcomeRetry, RetryAt: time.Now()},
		}
		for range 10 {
			a.RequestHeaders = append(a.RequestHeaders, sidehook.Header{Key: "X-A", Value: strings.Repeat("é", 2000) + "\xff"})
		}
		d.Attempts = append(d.Attempts, a)
	}
	p := deliveryProto(d)
	wire, err := proto.Marshal(p) // fails for texts that are not UTF-8
	if err != nil {
		t.Fatal(err)
	}
	if len(wire) > maxAttemptsBytes+1024 || len(p.GetAttempts()) < 10 {
		t.Errorf("%d bytes with %d attempts", len(wire), len(p.GetAttempts()))
	}
	if last := p.GetAttempts()[len(p.GetAttempts())-1]; last.GetNumber() != 500 || p.GetAttemptCount() != 500 ||
		len(last.GetResponse()) != sidehook.MaxRecordedResponse {
		t.Errorf("the newest attempt is %d of %d", last.GetNumber(), p.GetAttemptCount())
	}
	if r := requestProto(&storage.SavedRequest{Body: make([]byte, maxBodyBytes+1)}, false); r != nil {
		t.Error("a body that does not fit is told")
	}
}

func TestEveryStateAndOutcomeIsTold(t *testing.T) {
	states := slices.Sorted(maps.Keys(fleetv1.DeliveryState_name))
	for _, n := range states[1:] {
		state, ok := stateOfProto(fleetv1.DeliveryState(n))
		if !ok || statesToProto[state] != fleetv1.DeliveryState(n) {
			t.Errorf("state %s is not told", fleetv1.DeliveryState(n))
		}
	}
	if _, ok := stateOfProto(fleetv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED); ok {
		t.Error("unspecified is a state")
	}
	if len(outcomesToProto) != len(fleetv1.OutcomeKind_name)-1 {
		t.Errorf("%d outcomes are told of %d", len(outcomesToProto), len(fleetv1.OutcomeKind_name)-1)
	}
}

func TestAnEventIsTheSameThereAndBack(t *testing.T) {
	now := time.Now().UTC()
	e := &sidehook.Event{
		App: "demo", ID: "e1", Source: "/x", Type: "a.b", Subject: "s", Time: now, DataContentType: "text/plain",
		DataSchema: "https://example.com/s", OrderingKey: "k", Data: []byte{0, 0xff}, Extensions: map[string]string{"a": "b"},
	}
	back, err := eventOfProto(eventProto(e), now.Add(time.Hour), 1000)
	if err != nil {
		t.Fatal(err)
	}
	if back.Time != e.Time || string(back.Data) != string(e.Data) || !maps.Equal(back.Extensions, e.Extensions) ||
		back.ID != e.ID || back.Subject != e.Subject || back.DataContentType != e.DataContentType || back.DataSchema != e.DataSchema ||
		back.OrderingKey != e.OrderingKey || back.Type != e.Type || back.Source != e.Source || back.App != e.App {
		t.Errorf("got %+v, want %+v", back, e)
	}
}
