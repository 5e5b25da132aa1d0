package ingest

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

func fullEvent() *eventsv1.Event {
	return &eventsv1.Event{
		App: "demo", Id: "e-1", Source: "/a", Type: "a.b", Subject: "s", Time: timestamppb.New(time.Unix(5, 6)),
		DataContentType: "text/plain", DataSchema: "http://s", Data: []byte("hello"), OrderingKey: "k",
		Extensions: map[string]string{"traceparent": "00-1", "x": ""},
	}
}

func wireSeeds(t testing.TB) [][]byte {
	t.Helper()
	other := fullEvent()
	other.Id, other.Type, other.DataContentType, other.Time = "e-2", "c.d", "application/json", nil
	marshal := func(m proto.Message) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	field := func(num protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
	}
	seconds := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	nanos := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 8)
	group := protowire.AppendTag(protowire.AppendTag(nil, 77, protowire.StartGroupType), 77, protowire.EndGroupType)
	return [][]byte{
		nil,
		marshal(&eventsv1.PublishStreamRequest{Sequence: 3, Events: []*eventsv1.Event{fullEvent(), other, {}}}),
		field(2, append(field(6, seconds), field(6, nanos)...)),                                // a time in two parts
		field(2, append(field(9, []byte("first")), field(9, nil)...)),                          // data, then none
		field(2, field(11, field(2, []byte("value without a name")))),                          // half a map entry
		field(2, protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 9)), // id as a number
		append(group, field(2, append(group, field(2, []byte("id"))...))...),                   // unknown groups
		{0x12, 0x05, 0x0a}, // cut short
		{0x00, 0x01},       // field number 0
		field(2, field(6, []byte{0x08})),
		field(2, field(6, protowire.AppendVarint([]byte{0x10}, 1<<40))),
	}
}

// sameAsGenerated fails unless a batch decodes b as the generated type does.
func sameAsGenerated(t *testing.T, b []byte) {
	t.Helper()
	got := newBatch(streamLayout)
	gotErr := proto.Unmarshal(b, got)
	var want eventsv1.PublishStreamRequest
	wantErr := proto.Unmarshal(b, &want)
	if wantErr != nil && strings.Contains(wantErr.Error(), "UTF-8") {
		return // left to Validate; see TestPublishRefuses
	}
	if (gotErr != nil) != (wantErr != nil) {
		t.Fatalf("batch: %v, generated: %v", gotErr, wantErr)
	}
	if gotErr != nil {
		return
	}
	if got.sequence != want.Sequence {
		t.Fatalf("sequence %d, generated %d", got.sequence, want.Sequence)
	}
	if len(got.events) != min(len(want.Events), MaxEvents+1) {
		t.Fatalf("%d events, generated %d", len(got.events), len(want.Events))
	}
	firstBad := -1
	for i, e := range got.events {
		w := want.Events[i]
		bad := w.Time != nil && !w.Time.IsValid()
		if bad && firstBad < 0 {
			firstBad = i
		}
		compareEvent(t, e, w, bad)
	}
	if got.badTime != firstBad {
		t.Fatalf("first bad time %d, generated %d", got.badTime, firstBad)
	}
}

func compareEvent(t *testing.T, e *sidehook.Event, w *eventsv1.Event, badTime bool) {
	t.Helper()
	for _, f := range [][2]string{
		{e.App, w.App},
		{e.ID, w.Id},
		{e.Source, w.Source},
		{e.Type, w.Type},
		{e.Subject, w.Subject},
		{e.DataContentType, w.DataContentType},
		{e.DataSchema, w.DataSchema},
		{e.OrderingKey, w.OrderingKey},
	} {
		if f[0] != f[1] {
			t.Fatalf("text %q, generated %q", f[0], f[1])
		}
	}
	if !bytes.Equal(e.Data, w.Data) {
		t.Fatalf("data %q, generated %q", e.Data, w.Data)
	}
	if w.Time != nil && !badTime && !e.Time.Equal(w.Time.AsTime()) || w.Time == nil && !e.Time.IsZero() {
		t.Fatalf("time %v, generated %v", e.Time, w.Time)
	}
	if len(w.Extensions) <= sidehook.MaxExtensions+1 && !maps.Equal(e.Extensions, w.Extensions) {
		t.Fatalf("extensions %v, generated %v", e.Extensions, w.Extensions)
	}
}

func TestBatchDecodesAsGenerated(t *testing.T) {
	for _, b := range wireSeeds(t) {
		sameAsGenerated(t, b)
	}
}

func FuzzBatch(f *testing.F) {
	for _, b := range wireSeeds(f) {
		f.Add(b)
	}
	f.Fuzz(sameAsGenerated)
}

func TestBatchKeepsNothingOfTheBuffer(t *testing.T) {
	b, err := proto.Marshal(&eventsv1.PublishStreamRequest{Events: []*eventsv1.Event{fullEvent()}})
	if err != nil {
		t.Fatal(err)
	}
	got := newBatch(streamLayout)
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	clear(b)
	compareEvent(t, got.events[0], fullEvent(), false)
}

func TestBatchOfManyTinyEventsStaysSmall(t *testing.T) {
	got := newBatch(publishLayout)
	if err := proto.Unmarshal(bytes.Repeat([]byte{0x0a, 0x00}, 1<<20), got); err != nil {
		t.Fatal(err)
	}
	if len(got.events) != MaxEvents+1 {
		t.Errorf("made %d events of a million, want one more than is allowed", len(got.events))
	}
}
