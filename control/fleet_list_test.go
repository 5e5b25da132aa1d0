package control_test

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

// fleetOfA is a plane with app a and the token of its sidecars.
func fleetOfA(t *testing.T) (p *plane, client fleetv1.FleetServiceClient, token string) {
	p = newPlane(t)
	p.makeApp("a")
	token, _ = p.makeToken("sidecar", "a")
	return p, p.fleetClient(), token
}

// TestDeliveriesAreMerged walks through the histories of several sidecars, which are full of equal times, with pages of
// every size: each delivery is there once and in its place.
func TestDeliveriesAreMerged(t *testing.T) {
	p, client, token := fleetOfA(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(1_700_000_000, 0)
	type entry struct {
		at      time.Time
		sidecar string
		n       int
		id      string
	}
	var want []entry
	for s := range 4 {
		name := fmt.Sprintf("side-%d", s)
		h := &history{}
		at := start.Add(100 * time.Millisecond)
		for n := range 40 {
			at = at.Add(-time.Duration(rnd.IntN(3)) * time.Millisecond)
			d := someDelivery(sidehook.DeliveryID{Origin: uint32(s), Batch: uint64(1000 - n)}, "w1", at)
			h.deliveries = append(h.deliveries, d)
			want = append(want, entry{at, name, n, d.GetId()})
		}
		p.sidecar(client, token, name, h.answer)
	}
	slices.SortFunc(want, func(a, b entry) int {
		return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.sidecar, b.sidecar), a.n-b.n)
	})
	for _, limit := range []int{1, 2, 3, 7, 50, 159, 160, 200} {
		since, until := time.Time{}, time.Time{}
		expected := want
		if limit%2 == 1 { // the caller's bounds go with those of the cursor
			since, until = want[140].at, want[10].at
			expected = slices.DeleteFunc(slices.Clone(want), func(e entry) bool { return e.at.Before(since) || !e.at.Before(until) })
		}
		q := control.DeliveryQuery{App: "a", Since: since, Until: until, Page: control.PageRequest{Limit: limit}}
		var got []string
		for {
			page, err := p.fleet.Deliveries(t.Context(), q)
			p.check(err)
			if len(page.Missing) > 0 || len(page.Deliveries) > limit || len(got) > len(want) {
				t.Fatalf("limit %d: a page of %d after %d, missing %v", limit, len(page.Deliveries), len(got), page.Missing)
			}
			for _, d := range page.Deliveries {
				got = append(got, d.ID.String())
			}
			if page.Next == "" {
				break
			}
			q.Page.Cursor = page.Next
		}
		var ids []string
		for _, e := range expected {
			ids = append(ids, e.id)
		}
		if !slices.Equal(got, ids) {
			t.Errorf("limit %d: got %d, want %d, or in another order", limit, len(got), len(ids))
		}
	}
}

// TestDeliveriesWithShortAnswers: a sidecar may answer fewer than it was asked for; what others have after its last one
// waits for the next page.
func TestDeliveriesWithShortAnswers(t *testing.T) {
	p, client, token := fleetOfA(t)
	start := time.Unix(1_700_000_000, 0)
	var want []string
	all := [2]*history{{}, {}}
	for n := range 20 {
		d := someDelivery(sidehook.DeliveryID{Origin: uint32(n % 2), Batch: uint64(100 - n)}, "w1", start.Add(-time.Duration(n)*time.Second))
		all[n%2].deliveries = append(all[n%2].deliveries, d)
		want = append(want, d.GetId())
	}
	p.sidecar(client, token, "whole", all[0].answer)
	p.sidecar(client, token, "short", func(c *fleetv1.Command) *fleetv1.Answer {
		c.GetListDeliveries().Limit = 3
		return all[1].answer(c)
	})
	var got []string
	q := control.DeliveryQuery{App: "a"}
	for range 20 {
		page, err := p.fleet.Deliveries(t.Context(), q)
		p.check(err)
		for _, d := range page.Deliveries {
			got = append(got, d.ID.String())
		}
		if q.Page.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDeliveriesAsTold(t *testing.T) {
	p, client, token := fleetOfA(t)
	at := time.Unix(1_700_000_000, 5000).UTC()
	id := sidehook.DeliveryID{Origin: 1, Batch: 9}
	s := p.sidecar(client, token, "side-1", (&history{deliveries: []*fleetv1.Delivery{someDelivery(id, "w1", at)}}).answer)
	dead := sidehook.Dead
	page, err := p.fleet.Deliveries(t.Context(), control.DeliveryQuery{
		App: "a", Webhook: "w1", State: &dead, EventType: "person.created", Since: at, Until: at.Add(time.Nanosecond),
	})
	p.check(err)
	if len(page.Deliveries) != 1 || page.Next != "" {
		t.Fatalf("page is %+v", page)
	}
	d := page.Deliveries[0]
	if d.ID != id || d.Webhook != (sidehook.WebhookKey{App: "a", ID: "w1"}) || d.Sidecar != "side-1" || d.EventID != "evt_"+id.String() ||
		d.EventType != "person.created" || !d.AcceptedAt.Equal(at) || d.State != sidehook.Dead || d.AttemptCount != 2 || len(d.Attempts) != 1 {
		t.Errorf("delivery is %+v", d)
	}
	if a := d.Attempts[0]; a.Number != 2 || a.Latency != 2*time.Millisecond || a.Error != "connection refused" ||
		a.Outcome.Kind != sidehook.OutcomeDead || len(a.RequestHeaders) != 1 || a.RequestHeaders[0] != (sidehook.Header{Key: "X-A", Value: "b"}) {
		t.Errorf("attempt is %+v", a)
	}
	asked := <-s.asked
	if q := asked.GetListDeliveries(); q.GetWebhook() != "w1" || q.GetState() != fleetv1.DeliveryState_DELIVERY_STATE_DEAD ||
		q.GetLimit() != control.DefaultPageLimit || asked.GetWithin().AsDuration() <= 0 || asked.GetId() == 0 {
		t.Errorf("asked %v", asked)
	}
	whole, err := p.fleet.Delivery(t.Context(), "a", id)
	p.check(err)
	if len(whole.Attempts) != 2 || whole.Attempts[0].Outcome.Kind != sidehook.OutcomeRetry ||
		!whole.Attempts[0].Outcome.RetryAt.Equal(at.Add(5*time.Second)) || string(whole.Attempts[0].Response) != "oops" {
		t.Errorf("whole delivery is %+v", whole)
	}
}

func TestDeliveriesRefuse(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.sidecar(client, token, "side-1", (&history{}).answer)
	text := func(s string) control.PageRequest {
		return control.PageRequest{Cursor: base64.RawURLEncoding.EncodeToString([]byte(s))}
	}
	id := sidehook.DeliveryID{Batch: 1}.String()
	now := time.Now()
	for name, c := range map[string]struct {
		q     control.DeliveryQuery
		field string
	}{
		"app":          {control.DeliveryQuery{App: "../a"}, "app"},
		"webhook":      {control.DeliveryQuery{App: "a", Webhook: "w/1"}, "webhook"},
		"event type":   {control.DeliveryQuery{App: "a", EventType: "a b"}, "event_type"},
		"span":         {control.DeliveryQuery{App: "a", Since: now, Until: now}, "until"},
		"since":        {control.DeliveryQuery{App: "a", Since: time.Unix(-1, 0)}, "since"},
		"until":        {control.DeliveryQuery{App: "a", Until: now.AddDate(9000, 0, 0)}, "until"},
		"limit":        {control.DeliveryQuery{App: "a", Page: control.PageRequest{Limit: 201}}, "limit"},
		"less":         {control.DeliveryQuery{App: "a", Page: control.PageRequest{Limit: -1}}, "limit"},
		"cursor":       {control.DeliveryQuery{App: "a", Page: control.PageRequest{Cursor: "!"}}, "cursor"},
		"long cursor":  {control.DeliveryQuery{App: "a", Page: text(strings.Repeat("a", 600))}, "cursor"},
		"few fields":   {control.DeliveryQuery{App: "a", Page: text("1 side-1 tok_1")}, "cursor"},
		"many fields":  {control.DeliveryQuery{App: "a", Page: text("1 side-1 tok_1 " + id + " x")}, "cursor"},
		"bad time":     {control.DeliveryQuery{App: "a", Page: text("- side-1 tok_1 " + id)}, "cursor"},
		"past time":    {control.DeliveryQuery{App: "a", Page: text("-1 side-1 tok_1 " + id)}, "cursor"},
		"far time":     {control.DeliveryQuery{App: "a", Page: text("1y2p0ij32e8e7 side-1 tok_1 " + id)}, "cursor"},
		"bad sidecar":  {control.DeliveryQuery{App: "a", Page: text("1 a/b tok_1 " + id)}, "cursor"},
		"bad token":    {control.DeliveryQuery{App: "a", Page: text("1 side-1  " + id)}, "cursor"},
		"bad delivery": {control.DeliveryQuery{App: "a", Page: text("1 side-1 tok_1 dlv_1")}, "cursor"},
	} {
		_, err := p.fleet.Deliveries(t.Context(), c.q)
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("%s: %v, want an error about %s", name, err, c.field)
		}
	}
	if _, err := p.fleet.Deliveries(t.Context(), control.DeliveryQuery{App: "a", Page: text("1 gone tok_1 " + id)}); err != nil {
		t.Errorf("a cursor of a sidecar that is gone: %v", err)
	}
}

// TestDeliveriesNameWhoIsMissing: a sidecar that fails, is slow or away takes nothing from what the others tell.
func TestDeliveriesNameWhoIsMissing(t *testing.T) {
	p, client, token := fleetOfA(t)
	id := sidehook.DeliveryID{Origin: 1, Batch: 9}
	ok := p.sidecar(client, token, "ok", (&history{deliveries: []*fleetv1.Delivery{someDelivery(id, "w1", time.Now())}}).answer)
	p.sidecar(client, token, "fails", failing(13, "the disk is gone"))
	p.sidecar(client, token, "old", failing(12, ""))
	p.sidecar(client, token, "slow", silent)
	p.sidecar(client, token, "serves-others", failing(5, "app a is not served"))
	p.sidecar(client, token, "went", silent).leave()
	p.sidecars(func(l []map[string]any) bool {
		return slices.ContainsFunc(l, func(x map[string]any) bool { return x["id"] == "went" && x["connected"] == false })
	})
	page, err := p.fleet.Deliveries(t.Context(), control.DeliveryQuery{App: "a"})
	p.check(err)
	if len(page.Deliveries) != 1 || page.Deliveries[0].ID != id || page.Next != "" {
		t.Errorf("page is %+v", page)
	}
	want := map[string]string{"fails": "the disk is gone", "old": "update it", "slow": "did not answer within 2s", "went": "not connected since"}
	for _, m := range page.Missing {
		if !strings.Contains(m.Reason, want[m.ID]) || want[m.ID] == "" {
			t.Errorf("%s is missing because it %s", m.ID, m.Reason)
		}
		delete(want, m.ID)
	}
	if len(want) > 0 {
		t.Errorf("nothing is said about %v", want)
	}
	ok.leave()
	_, err = p.fleet.Deliveries(t.Context(), control.DeliveryQuery{App: "a", State: new(sidehook.DeliveryState)})
	if err != nil {
		t.Errorf("one serves others and so has none, which is an answer: %v", err)
	}
}

func TestNoSidecar(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.makeApp("b")
	id := sidehook.DeliveryID{Batch: 1}
	ask := func() map[string]error {
		_, list := p.fleet.Deliveries(t.Context(), control.DeliveryQuery{App: "b"})
		_, get := p.fleet.Delivery(t.Context(), "b", id)
		_, replay := p.fleet.Replay(t.Context(), control.Replay{Webhook: sidehook.WebhookKey{App: "b", ID: "w"}})
		_, test := p.fleet.SendTest(t.Context(), someWebhook("b"), &sidehook.Event{App: "b"})
		return map[string]error{"list": list, "get": get, "retry": p.fleet.Retry(t.Context(), "b", id), "replay": replay, "test": test}
	}
	s := p.sidecar(client, token, "of-a", silent)
	for what, err := range ask() {
		if !errors.Is(err, control.ErrNoSidecar) || err.Error() != "no sidecar of app b is connected" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(s.asked) > 0 {
		t.Error("a sidecar was asked about an app that its token does not allow")
	}
	p.check(p.fleet.Close())
	for what, err := range ask() {
		if !errors.Is(err, sidehook.ErrStopping) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

// TestHostileAnswers: an answer that cannot be, or tells of another app, is refused as a whole.
func TestHostileAnswers(t *testing.T) {
	p, client, token := fleetOfA(t)
	id := sidehook.DeliveryID{Origin: 1, Batch: 9}
	change := func(how func(*fleetv1.Delivery)) *fleetv1.Answer {
		d := someDelivery(id, "w1", time.Now())
		how(d)
		return listAnswer(false, d)
	}
	answers := map[string]*fleetv1.Answer{
		"other app":     change(func(d *fleetv1.Delivery) { d.App = "b" }),
		"no app":        change(func(d *fleetv1.Delivery) { d.App = "" }),
		"bad id":        change(func(d *fleetv1.Delivery) { d.Id = "dlv_../../x" }),
		"bad webhook":   change(func(d *fleetv1.Delivery) { d.Webhook = "a/b" }),
		"other webhook": change(func(d *fleetv1.Delivery) { d.Webhook = "w2" }),
		"no state":      change(func(d *fleetv1.Delivery) { d.State = 0 }),
		"bad state":     change(func(d *fleetv1.Delivery) { d.State = 99 }),
		"no time":       change(func(d *fleetv1.Delivery) { d.AcceptedAt = nil }),
		"bad time":      change(func(d *fleetv1.Delivery) { d.AcceptedAt = &timestamppb.Timestamp{Seconds: 1 << 60} }),
		"far time":      change(func(d *fleetv1.Delivery) { d.AcceptedAt = timestamppb.New(time.Now().AddDate(5000, 0, 0)) }),
		"too many":      listAnswer(false, someDelivery(id, "w1", time.Now()), someDelivery(id, "w1", time.Now())),
		"endless":       listAnswer(true),
		"empty":         {},
		"other answer":  {Result: &fleetv1.Answer_Retried{Retried: &fleetv1.Retried{}}},
		"bad code":      failure(-5, strings.Repeat("é", 10_000)),
	}
	var next atomic.Pointer[fleetv1.Answer]
	p.sidecar(client, token, "x", func(*fleetv1.Command) *fleetv1.Answer { return next.Load() })
	for name, answer := range answers {
		next.Store(answer)
		_, err := p.fleet.Deliveries(t.Context(), control.DeliveryQuery{App: "a", Webhook: "w1", Page: control.PageRequest{Limit: 1}})
		var se *control.SidecarError
		if !errors.As(err, &se) || se.Sidecar != "x" || se.Reason == "" || len(se.Reason) > 3*1024 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is only too long or too much is cut.
	next.Store(change(func(d *fleetv1.Delivery) {
		d.EventId, d.EventType = strings.Repeat("i", 5000), strings.Repeat("t", 5000)
		a := d.Attempts[1]
		a.Url, a.Error, a.Response, a.Status = strings.Repeat("u", 5000), strings.Repeat("é", 5000), make([]byte, 5000), 1<<31
		a.Number, a.Outcome, a.Latency.Seconds, d.AttemptCount = 1<<32-1, 77, -5, 1<<32-1
		for range 100 {
			a.RequestHeaders = append(a.RequestHeaders, &fleetv1.Header{Key: strings.Repeat("k", 5000), Value: strings.Repeat("v", 5000)})
		}
	}))
	page, err := p.fleet.Deliveries(t.Context(), control.DeliveryQuery{App: "a"})
	p.check(err)
	d := page.Deliveries[0]
	a := d.Attempts[0]
	if len(d.EventID) > 256 || len(d.EventType) > 256 || len(a.URL) > 2048 || len(a.Error) > 1100 || len(a.Response) > 1024 ||
		a.Status > 999 || a.Latency < 0 || a.Number < 0 || d.AttemptCount < 0 || len(a.RequestHeaders) > 50 ||
		len(a.RequestHeaders[1].Key) > 255 || len(a.RequestHeaders[1].Value) > 4096 {
		t.Errorf("kept %d, %d, %+v", len(d.EventID), len(d.EventType), a)
	}
}
