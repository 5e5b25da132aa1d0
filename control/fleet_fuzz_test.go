package control

import (
	"encoding/base64"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// FuzzCursor: a cursor is refused, or names one place and no other.
func FuzzCursor(f *testing.F) {
	k := mark{
		at: time.Unix(1_700_000_000, 5).UTC(), sidecar: sidecarKey{id: "sc_1", credential: "tok_1"},
		id: sidehook.DeliveryID{Origin: 1, Batch: 2, Index: 3},
	}
	f.Add(k.cursor())
	for _, text := range []string{"", " ", "1 a b dlv_", "-1 a b " + k.id.String(), "1 a/b c " + k.id.String(), "zzzzzzzzzzzzzz a b " + k.id.String()} {
		f.Add(base64.RawURLEncoding.EncodeToString([]byte(text)))
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		got, err := parseCursor(cursor)
		if err != nil {
			return
		}
		if !sidehook.ValidName(got.sidecar.id) || !sidehook.ValidName(got.sidecar.credential) || got.at.Before(time.Unix(0, 0)) {
			t.Errorf("%q is %+v", cursor, got)
		}
		again, err := parseCursor(got.cursor())
		if err != nil || *again != *got {
			t.Errorf("%q is %+v, and then %+v, %v", cursor, got, again, err)
		}
		for _, id := range []string{"", got.sidecar.id, "zzz"} {
			q := &fleetv1.ListDeliveries{}
			got.continueAfter(q, sidecarKey{id: id, credential: got.sidecar.credential})
			if (q.GetAfter() == "") == (q.Until == nil) || q.Until != nil && !q.Until.IsValid() {
				t.Errorf("%q asks %s for %v", cursor, id, q)
			}
		}
	})
}

// FuzzAnswer: whatever a sidecar answers, what is taken of it is of the app that was asked about, bounded and text.
func FuzzAnswer(f *testing.F) {
	for _, a := range []*fleetv1.Answer{
		{},
		{Result: &fleetv1.Answer_DeliveryList{DeliveryList: &fleetv1.DeliveryList{More: true}}},
		{Result: &fleetv1.Answer_DeliveryList{DeliveryList: &fleetv1.DeliveryList{Deliveries: []*fleetv1.Delivery{{
			Id: sidehook.DeliveryID{Batch: 1}.String(), App: "a", Webhook: "w", State: 3, AcceptedAt: timestamppb.Now(),
			Attempts: []*fleetv1.Attempt{{Url: "u", Response: []byte("r"), RequestHeaders: []*fleetv1.Header{{Key: "k", Value: "v"}}}},
			Request:  &fleetv1.RequestBody{Body: []byte("b")},
		}}}}},
	} {
		b, err := proto.Marshal(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := &fleetv1.Answer{}
		if proto.Unmarshal(b, answer) != nil {
			return
		}
		_ = (&peer{}).failure(answer.GetFailure())
		_, _ = (&peer{}).testResult(&sidehook.Event{}, answer.GetTestSent())
		list, err := deliveryList("x", &fleetv1.ListDeliveries{App: "a", Limit: 10}, answer.GetDeliveryList())
		if err != nil {
			return
		}
		m := &merging{limit: 10}
		m.add(sidecarKey{id: "x", credential: "t"}, list, answer.GetDeliveryList().GetMore())
		page := m.page()
		if len(page.Deliveries) > 10 || answer.GetDeliveryList().GetMore() && page.Next == "" {
			t.Errorf("page is %+v", page)
		}
		for i := range page.Deliveries {
			d := &page.Deliveries[i]
			if d.Webhook.App != "a" || !sidehook.ValidName(d.Webhook.ID) || len(d.Attempts) > 1 || !utf8.ValidString(d.EventID) {
				t.Errorf("took %+v", d)
			}
			if _, err := viewOfDelivery(d); err != nil {
				t.Error(err)
			}
		}
	})
}
