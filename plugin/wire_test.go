package plugin

import (
	"testing"

	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// FuzzRequest: whatever bytes come, reading them ends, keeps to its bounds, and agrees with the generated types where those
// accept them.
func FuzzRequest(f *testing.F) {
	webhook := &transformv1.Webhook{App: "a", Id: "wh", Name: "n", Url: "https://example.com", Format: "standard"}
	first := &transformv1.Event{
		App: "a", Id: "1", Source: "/s", Type: "t", Subject: "x", Time: &timestamppb.Timestamp{Seconds: -5, Nanos: 7},
		DataContentType: "text/plain", Data: []byte("data"), OrderingKey: "k", Extensions: map[string]string{"a": "b", "": ""},
	}
	full, err := proto.Marshal(&transformv1.TransformRequest{Items: []*transformv1.TransformItem{
		{Event: first, Webhook: webhook}, {Event: &transformv1.Event{App: "a", Id: "2"}, Webhook: webhook}, {}, {Webhook: webhook},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte{})
	f.Add([]byte{10, 0, 10, 2, 10, 0, 10, 2, 18, 0})
	f.Add([]byte{10, 255, 255, 255, 255, 15})
	f.Add([]byte{10, 6, 10, 4, 50, 2, 16, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := new(request)
		err := r.DecodeWire(b)
		if len(r.items) > maxItems+1 {
			t.Fatalf("%d items", len(r.items))
		}
		want := &transformv1.TransformRequest{}
		if proto.Unmarshal(b, want) != nil {
			return
		}
		if err != nil || len(r.items) != min(len(want.GetItems()), maxItems+1) {
			t.Fatalf("%d items, %v; the generated types read %d", len(r.items), err, len(want.GetItems()))
		}
		for i, item := range r.items {
			got := &transformv1.TransformItem{
				Event: &transformv1.Event{
					App: item.Event.App, Id: item.Event.ID, Source: item.Event.Source, Type: item.Event.Type, Subject: item.Event.Subject,
					DataContentType: item.Event.DataContentType, Data: item.Event.Data, OrderingKey: item.Event.OrderingKey,
					Extensions: item.Event.Extensions,
				},
				Webhook: &transformv1.Webhook{
					App: item.Webhook.App, Id: item.Webhook.ID, Name: item.Webhook.Name, Url: item.Webhook.URL, Format: item.Webhook.Format,
				},
			}
			w := want.GetItems()[i]
			if at := w.GetEvent().GetTime().AsTime(); !at.Equal(item.Event.Time) {
				t.Fatalf("items[%d]: time %s, not %s", i, item.Event.Time, at)
			}
			plain := &transformv1.TransformItem{Event: &transformv1.Event{}, Webhook: &transformv1.Webhook{}}
			proto.Merge(plain, w)
			plain.Event.Time = nil
			for _, m := range []proto.Message{plain, plain.Event, plain.Webhook} {
				m.ProtoReflect().SetUnknown(nil)
			}
			if !proto.Equal(got, plain) {
				t.Fatalf("items[%d]:\ngot  %v\nwant %v", i, got, plain)
			}
		}
	})
}
