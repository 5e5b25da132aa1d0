package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

func testRoundTrip(f *fixture) {
	for _, e := range []*sidehook.Event{
		{
			App: "shop", ID: "evt_full", Source: "/a?b=c", Type: "x.y", Subject: "sự kiện", DataSchema: "https://s/1",
			Time: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), DataContentType: "text/plain",
			OrderingKey: "k", Data: []byte("\x00\xff binary"),
			Extensions: map[string]string{"traceparent": "00-ab-cd-01", "a": "", "z9": "ž"},
		},
		{App: "shop", ID: "evt_bare", Source: "/", Type: "t", Time: time.Unix(-1, 0).UTC(), DataContentType: "a/b"},
		{App: "shop", ID: "evt_empty", Source: "/", Type: "t", Time: f.clock.Now(), DataContentType: "a/b", Data: []byte{}},
		{
			App: "shop", ID: "evt_big", Source: "/", Type: "t", Time: f.clock.Now(), DataContentType: "a/b",
			Data: bytes.Repeat([]byte("0123456789abcdef"), 40<<10),
		},
	} {
		f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}})
		got, _ := f.claim("w", 10)
		if len(got) != 1 {
			f.Fatalf("%s: claimed %d, want 1", e.ID, len(got))
		}
		f.equal(e.ID, got[0].Event, e)
		f.equal("webhook", got[0].Webhook, hook("w"))
	}
}

func testTaken(f *fixture) {
	ids := f.one(taken("a"), taken("b"))
	if ids[0] == ids[1] || !ids[0].Before(ids[1]) {
		f.Fatalf("ids %v are not ascending", ids)
	}
	f.claimIDs("a")
	if len(f.heads()) != 0 {
		f.Fatalf("queues are %v, want none", f.heads())
	}
	f.equal("pending", f.store.Stats().Pending, int64(2))
}

func testClaimOrder(f *fixture) {
	now := f.clock.Now()
	late := f.one(queued("w", now.Add(3*time.Second)))
	soon := f.one(queued("w", now.Add(time.Second)), queued("w", now.Add(time.Second)))
	atOnce := f.one(queued("w", time.Time{}))
	past := f.one(queued("w", now.Add(-time.Hour)))
	f.claimIDs("w", past[0], atOnce[0])
	got, next := f.claim("w", 10)
	f.equal("early claim", len(got), 0)
	f.equal("next", next, now.Add(time.Second))
	f.clock.Advance(time.Second)
	f.claimIDs("w", soon...)
	f.clock.Advance(2 * time.Second)
	got, next = f.claim("w", 10)
	f.equal("last", idsOf(got), late)
	f.equal("next of an empty queue", next, time.Time{})
}

func testClaimLimit(f *fixture) {
	var ids []sidehook.DeliveryID
	for range 5 {
		ids = append(ids, f.one(queued("w", time.Time{}))...)
	}
	for i := range ids {
		got, next := f.claim("w", 1)
		f.equal("one", idsOf(got), ids[i:i+1])
		if more := i < len(ids)-1; next.IsZero() == more || next.After(f.clock.Now()) {
			f.Fatalf("next after %d of %d is %v", i+1, len(ids), next)
		}
	}
	got, _ := f.claim("w", 0)
	f.equal("limit 0", len(got), 0)
}

func testClaimNothing(f *fixture) {
	f.open()
	got, next := f.claim("never", 10)
	f.equal("claimed", len(got), 0)
	f.equal("next", next, time.Time{})
}

func testUnclaim(f *fixture) {
	ids := append(f.one(queued("w", time.Time{})), f.one(queued("w", time.Time{}))...)
	ids = append(ids, f.one(queued("w", time.Time{}))...)
	f.claimIDs("w", ids...)
	f.ok(f.store.Unclaim(bg, []storage.Unclaimed{{ID: ids[2], Webhook: hook("w")}, {ID: ids[0], Webhook: hook("w")}}))
	f.equal("heads", len(f.heads()), 1)
	f.claimIDs("w", ids[0], ids[2])
}

func testUnclaimDue(f *fixture) {
	ids := append(f.one(queued("w", time.Time{})), f.one(queued("w", time.Time{}))...)
	f.claimIDs("w", ids...)
	f.record(f.retry(ids[0], "w", 1, 0))
	f.claimIDs("w", ids[0])
	due := f.clock.Now().Add(time.Minute)
	f.ok(f.store.Unclaim(bg, []storage.Unclaimed{
		{ID: ids[0], Webhook: hook("w"), DueAt: due}, {ID: ids[1], Webhook: hook("w"), DueAt: due},
	}))
	got, next := f.claim("w", 10)
	f.equal("early", len(got), 0)
	f.equal("next", next, due)
	f.clock.Advance(time.Minute)
	got = f.claimIDs("w", ids...)
	f.equal("attempts kept", got[0].Attempts, 1)
	f.equal("attempts of the other", got[1].Attempts, 0)
}

func testUnclaimTaken(f *fixture) {
	first := f.one(queued("w", time.Time{}))
	ids := f.one(taken("w"), taken("v"))
	f.ok(f.store.Unclaim(bg, []storage.Unclaimed{{ID: ids[0], Webhook: hook("w")}}))
	f.claimIDs("w", first[0], ids[0])
	due := f.clock.Now().Add(time.Second)
	f.ok(f.store.Unclaim(bg, []storage.Unclaimed{{ID: ids[1], Webhook: hook("v"), DueAt: due}}))
	f.claimIDs("v")
	f.clock.Advance(time.Second)
	f.claimIDs("v", ids[1])
}

func testUnclaimForeign(f *fixture) {
	ids := f.one(queued("w", time.Time{}), taken("v"))
	f.record(f.ended(ids[1], "v", 1, sidehook.OutcomeDelivered))
	due := f.clock.Now().Add(time.Hour)
	f.ok(f.store.Unclaim(bg, []storage.Unclaimed{
		{ID: ids[0], Webhook: hook("w"), DueAt: due}, // queued, not claimed
		{ID: ids[1], Webhook: hook("v")},             // ended
		{ID: sidehook.DeliveryID{Origin: 7, Batch: 1 << 40, Index: 9}, Webhook: hook("w")},
	}))
	f.claimIDs("w", ids[0])
	f.claimIDs("v")
}

func testRecordFinal(f *fixture) {
	for i, kind := range []sidehook.OutcomeKind{
		sidehook.OutcomeDelivered, sidehook.OutcomeDead, sidehook.OutcomeGone, sidehook.OutcomeDropped,
	} {
		ids := f.one(taken("t"), queued("q", time.Time{}))
		f.claimIDs("q", ids[1])
		told := 0
		for j, name := range []string{"t", "q"} {
			r := f.ended(ids[j], name, 1, kind)
			r.OnCommit = func() { told++ }
			f.ok(f.store.Record(bg, []storage.Result{r}))
		}
		f.ok(f.store.Flush(bg))
		f.equal("OnCommit calls", told, 2)
		for j, name := range []string{"t", "q"} {
			info := f.delivery(ids[j])
			f.equal("state", info.State, kind.State())
			f.equal("attempts", info.Attempts, []sidehook.Attempt{*f.attempt(1, kind)})
			f.equal("count", info.AttemptCount, 1)
			f.equal("next attempt", info.NextAttempt, time.Time{})
			f.claimIDs(name)
		}
		f.equal("pending", f.store.Stats().Pending, int64(0))
		f.equal("event", f.delivery(ids[0]).EventID, fmt.Sprintf("evt_%d", i+1))
	}
}

func testRecordPending(f *fixture) {
	ids := f.one(taken("w"), queued("w", time.Time{}))
	f.claimIDs("w", ids[1])
	start := f.clock.Now()
	f.record(f.retry(ids[0], "w", 1, 2*time.Second), f.retry(ids[1], "w", 1, time.Second))
	_, next := f.claim("w", 10)
	f.equal("next", next, start.Add(time.Second))
	f.equal("head", f.heads()[hook("w")], start.Add(time.Second))
	f.equal("scheduled", f.delivery(ids[0]).NextAttempt, start.Add(2*time.Second))
	f.clock.Advance(2 * time.Second)
	got := f.claimIDs("w", ids[1], ids[0])
	for _, c := range got {
		f.equal("attempts", c.Attempts, 1)
		f.equal("first attempt", c.FirstAt, start)
	}
	f.equal("schedule while claimed", f.delivery(ids[0]).NextAttempt, time.Time{})
	f.record(f.retry(ids[0], "w", 2, time.Hour), f.ended(ids[1], "w", 2, sidehook.OutcomeDelivered))
	info := f.delivery(ids[0])
	f.equal("count", info.AttemptCount, 2)
	f.equal("attempts", len(info.Attempts), 2)
	f.equal("state", info.State, sidehook.Pending)
	f.clock.Advance(time.Hour)
	got = f.claimIDs("w", ids[0])
	f.equal("first attempt stays", got[0].FirstAt, start)
	f.equal("attempts", got[0].Attempts, 2)
	f.record(storage.Result{ID: ids[0], Webhook: hook("w")}) // DueAt zero: at once
	f.claimIDs("w", ids[0])
}

func testSavedRequest(f *fixture) {
	saved := &storage.SavedRequest{
		Body: []byte(`{"a":1}`), ContentType: "application/json", Headers: []sidehook.Header{{Key: "X-A", Value: "1"}},
	}
	same := &storage.SavedRequest{Body: []byte(`{"a":1}`), ContentType: "application/json", Headers: saved.Headers}
	big := &storage.SavedRequest{Body: bytes.Repeat([]byte("x"), 300<<10), ContentType: "text/plain"}
	ids := f.one(taken("a"), taken("b"), taken("c"), taken("d"))
	names := []string{"a", "b", "c", "d"}
	saves := []*storage.SavedRequest{saved, same, big, nil}
	var results []storage.Result
	for i, id := range ids {
		r := f.retry(id, names[i], 1, 0)
		r.Save = saves[i]
		results = append(results, r)
	}
	f.record(results...)
	f.reopen()
	for i, name := range names {
		got := f.claimIDs(name, ids[i])
		f.equal("saved request of "+name, got[0].Saved, saves[i])
		r := f.retry(ids[i], name, 2, 0)
		r.Save = &storage.SavedRequest{Body: []byte("late"), ContentType: "x/y"}
		f.record(r)
		got = f.claimIDs(name, ids[i])
		want := saves[i]
		if want == nil {
			want = r.Save
		}
		f.equal("saved request is the first of "+name, got[0].Saved, want)
	}
}

func testRecordIgnored(f *fixture) {
	ids := f.one(taken("w"), queued("v", time.Time{}))
	done := f.ended(ids[0], "w", 1, sidehook.OutcomeDelivered)
	again := f.ended(ids[0], "w", 2, sidehook.OutcomeDead)
	f.record(done, again)
	f.record(again, f.retry(ids[0], "w", 2, 0))
	info := f.delivery(ids[0])
	f.equal("state", info.State, sidehook.Delivered)
	f.equal("attempts", len(info.Attempts), 1)
	unknown := f.ended(sidehook.DeliveryID{Origin: 99, Batch: 5, Index: 1}, "w", 1, sidehook.OutcomeDelivered)
	told := 0
	unknown.OnCommit = func() { told++ }
	beyond := ids[0]
	beyond.Index += 1000
	f.record(unknown, f.ended(beyond, "w", 1, sidehook.OutcomeDelivered),
		f.ended(ids[1], "v", 1, sidehook.OutcomeDelivered)) // queued, not claimed
	f.equal("OnCommit of an unknown one", told, 1)
	f.claimIDs("v", ids[1])
	f.record(f.retry(ids[1], "v", 1, 0), f.retry(ids[1], "v", 2, time.Hour))
	got := f.claimIDs("v", ids[1])
	f.equal("attempts", got[0].Attempts, 1)
	f.equal("pending", f.store.Stats().Pending, int64(1))
}

func testRecordWithoutAttempt(f *fixture) {
	ids := f.one(taken("w"), taken("v"))
	f.record(
		storage.Result{ID: ids[0], Webhook: hook("w"), State: sidehook.Dropped},
		storage.Result{ID: ids[1], Webhook: hook("v"), DueAt: f.clock.Now()},
	)
	info := f.delivery(ids[0])
	f.equal("state", info.State, sidehook.Dropped)
	f.equal("count", info.AttemptCount, 0)
	f.equal("attempts", len(info.Attempts), 0)
	got := f.claimIDs("v", ids[1])
	f.equal("attempts of one that waited", got[0].Attempts, 0)
	f.equal("first attempt", got[0].FirstAt, time.Time{})
}

func testDedupe(f *fixture) {
	e := f.event()
	f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}})
	other := f.event()
	other.App, other.ID = "cafe", e.ID
	b := f.append(
		storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}},
		storage.Entry{Event: other, Deliveries: []storage.Placement{queued("w", time.Time{})}},
		storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}, SkipDedupe: true},
	)
	for i, want := range []bool{true, false, false} {
		f.equal(fmt.Sprintf("duplicate %d", i), b.Entries[i].Duplicate, want)
	}
	f.equal("id of a duplicate", b.Entries[0].Deliveries[0].ID, sidehook.DeliveryID{})
	got, _ := f.claim("w", 10)
	f.equal("claimed", len(got), 3)
	bare := f.event()
	f.append(storage.Entry{Event: bare})
	b = f.append(storage.Entry{Event: bare, Deliveries: []storage.Placement{taken("w")}})
	f.equal("duplicate of one without deliveries", b.Entries[0].Duplicate, true)
	f.equal("pending", f.store.Stats().Pending, int64(3))
}

func testDedupeInBatch(f *fixture) {
	e := f.event()
	b := f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}},
		storage.Entry{Event: f.event(), Deliveries: []storage.Placement{queued("w", time.Time{})}},
		storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}})
	f.equal("first", b.Entries[0].Duplicate, false)
	f.equal("third", b.Entries[2].Duplicate, true)
	f.claimIDs("w", b.Entries[0].Deliveries[0].ID, b.Entries[1].Deliveries[0].ID)
}

func testDedupeWindow(f *fixture) {
	f.opts.DedupeWindow = time.Minute
	e := f.event()
	for i, test := range []struct {
		after time.Duration
		dup   bool
	}{{0, false}, {0, true}, {59 * time.Second, true}, {2 * time.Minute, false}, {30 * time.Second, true}} {
		f.clock.Advance(test.after)
		b := f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{taken("w")}})
		f.equal(fmt.Sprintf("duplicate %d", i), b.Entries[0].Duplicate, test.dup)
	}
}

func testDedupeReopen(f *fixture) {
	f.opts.DedupeWindow = time.Minute
	e, late := f.event(), f.event()
	f.append(storage.Entry{Event: e})
	f.clock.Advance(50 * time.Second)
	f.append(storage.Entry{Event: late})
	f.reopen()
	b := f.append(storage.Entry{Event: e}, storage.Entry{Event: late})
	f.equal("duplicate", b.Entries[0].Duplicate, true)
	f.equal("duplicate", b.Entries[1].Duplicate, true)
	f.clock.Advance(40 * time.Second)
	f.reopen()
	b = f.append(storage.Entry{Event: e}, storage.Entry{Event: late})
	f.equal("duplicate after the window", b.Entries[0].Duplicate, false)
	f.equal("duplicate within the window", b.Entries[1].Duplicate, true)
}

func testDedupeOff(f *fixture) {
	f.opts.DedupeWindow = -1
	e := f.event()
	b := f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}},
		storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}})
	f.equal("duplicate", b.Entries[1].Duplicate, false)
	f.reopen()
	got, _ := f.claim("w", 10)
	f.equal("claimed", len(got), 2)
}

func testReopen(f *fixture) {
	now := f.clock.Now()
	ids := f.one(taken("w"), queued("w", time.Time{}), queued("w", now.Add(time.Second)), taken("v"), taken("x"))
	f.claimIDs("w", ids[1])
	f.record(f.ended(ids[4], "x", 1, sidehook.OutcomeDelivered))
	stats := f.store.Stats()
	f.reopen()
	after := f.store.Stats()
	f.equal("pending", after.Pending, stats.Pending)
	f.equal("oldest", after.OldestPending, stats.OldestPending)
	f.equal("heads", f.heads(), map[sidehook.WebhookKey]time.Time{hook("w"): now, hook("v"): now})
	f.equal("taken one is listed as due", f.delivery(ids[0]).NextAttempt, now)
	f.claimIDs("w", ids[0], ids[1])
	got := f.claimIDs("v", ids[3])
	f.equal("event", got[0].Event.ID, "evt_1")
	f.claimIDs("x")
	f.clock.Advance(time.Second)
	f.claimIDs("w", ids[2])
	f.reopen()
	f.claimIDs("w", ids[0], ids[1], ids[2])
	more := f.one(queued("w", time.Time{}))
	if !ids[4].Before(more[0]) {
		f.Fatalf("id %v after a restart is not after %v", more[0], ids[4])
	}
	f.equal("origin", more[0].Origin, ids[0].Origin)
}

func testReopenRetry(f *fixture) {
	start := f.clock.Now()
	ids := f.one(taken("w"), taken("w"))
	f.record(f.retry(ids[0], "w", 1, time.Minute), f.retry(ids[1], "w", 1, time.Second))
	f.clock.Advance(time.Second)
	f.claimIDs("w", ids[1])
	f.reopen()
	got := f.claimIDs("w", ids[1])
	f.equal("attempts", got[0].Attempts, 1)
	f.equal("first", got[0].FirstAt, start)
	f.equal("head", f.heads()[hook("w")], start.Add(time.Minute))
}

func testHold(f *fixture) {
	held := storage.Placement{Webhook: storage.HoldQueue, Queued: true}
	b := f.append(storage.Entry{Event: f.event(), Deliveries: []storage.Placement{held}},
		storage.Entry{Event: f.event(), Deliveries: []storage.Placement{held}})
	ids := []sidehook.DeliveryID{b.Entries[0].Deliveries[0].ID, b.Entries[1].Deliveries[0].ID}
	st := f.store.Stats()
	f.equal("held", st.Held, int64(2))
	f.equal("pending", st.Pending, int64(2))
	page, err := f.store.Deliveries(bg, storage.Query{})
	f.ok(err)
	f.equal("listed", len(page.Deliveries), 0)
	_, err = f.store.Delivery(bg, ids[0])
	f.fails("Delivery", err, sidehook.ErrNotFound)
	f.reopen()
	f.equal("held after a restart", f.store.Stats().Held, int64(2))
	if _, ok := f.heads()[storage.HoldQueue]; !ok {
		f.Fatal("the HoldQueue is not among the queues")
	}
	got, _, err := f.store.Claim(bg, storage.HoldQueue, f.clock.Now(), 10)
	f.ok(err)
	f.equal("claimed", idsOf(got), ids)
	f.append(storage.Entry{Event: got[0].Event, Deliveries: []storage.Placement{taken("w")}, SkipDedupe: true})
	f.record(storage.Result{ID: ids[0], State: sidehook.Dropped}, storage.Result{ID: ids[1], State: sidehook.Dropped})
	f.equal("held at the end", f.store.Stats().Held, int64(0))
	n, err := f.store.Requeue(bg, ids, f.clock.Now())
	f.ok(err)
	f.equal("requeued", n, 0)
	f.equal("pending at the end", f.store.Stats().Pending, int64(1))
}

func testRequeue(f *fixture) {
	ids := f.one(taken("w"), taken("w"), queued("v", time.Time{}), taken("w"))
	first := f.clock.Now()
	f.record(f.ended(ids[0], "w", 1, sidehook.OutcomeDead), f.ended(ids[1], "w", 1, sidehook.OutcomeDelivered))
	f.clock.Advance(time.Minute)
	unknown := sidehook.DeliveryID{Origin: ids[0].Origin, Batch: 1 << 50}
	n, err := f.store.Requeue(bg, []sidehook.DeliveryID{ids[1], ids[0], ids[2], ids[3], unknown, ids[0]}, f.clock.Now())
	f.ok(err)
	f.equal("requeued", n, 2)
	f.equal("pending", f.store.Stats().Pending, int64(4))
	f.equal("state", f.delivery(ids[0]).State, sidehook.Pending)
	f.equal("count", f.delivery(ids[0]).AttemptCount, 1)
	got := f.claimIDs("w", ids[0], ids[1])
	f.equal("attempts", got[0].Attempts, 1)
	f.equal("first", got[0].FirstAt, first)
	f.record(f.ended(ids[0], "w", 2, sidehook.OutcomeDelivered))
	info := f.delivery(ids[0])
	f.equal("state", info.State, sidehook.Delivered)
	f.equal("count", info.AttemptCount, 2)
	f.equal("attempts", len(info.Attempts), 2)
	f.reopen()
	f.claimIDs("w", ids[3], ids[1])
}

func testRequeueSaved(f *fixture) {
	ids := f.one(taken("w"))
	r := f.retry(ids[0], "w", 1, 0)
	r.Save = &storage.SavedRequest{Body: []byte("b"), ContentType: "a/b"}
	f.record(r)
	f.claimIDs("w", ids[0])
	f.record(f.ended(ids[0], "w", 2, sidehook.OutcomeDead))
	n, err := f.store.Requeue(bg, ids, f.clock.Now())
	f.ok(err)
	f.equal("requeued", n, 1)
	got := f.claimIDs("w", ids[0])
	f.equal("saved", got[0].Saved, r.Save)
	f.equal("attempts", got[0].Attempts, 2)
}

func testHasten(f *fixture) {
	later := f.clock.Now().Add(time.Hour)
	ids := f.one(queued("w", later), queued("v", later), queued("w", time.Time{}), taken("w"), taken("w"))
	mates := f.one(queued("w", later), queued("w", later))
	f.record(f.retry(ids[3], "w", 1, 2*time.Hour), f.ended(ids[4], "w", 1, sidehook.OutcomeDead))
	held := f.append(storage.Entry{Event: f.event(), Deliveries: []storage.Placement{
		{Webhook: storage.HoldQueue, Queued: true, DueAt: later},
	}}).Entries[0].Deliveries[0].ID
	hasten := func(id sidehook.DeliveryID, want bool) {
		f.Helper()
		got, err := f.store.Hasten(bg, id, f.clock.Now())
		f.ok(err)
		f.equal("whether it waited", got, want)
	}
	f.claimIDs("w", ids[2])
	hasten(ids[2], false) // claimed
	hasten(ids[4], false) // finished
	hasten(held, false)
	hasten(sidehook.DeliveryID{Origin: ids[0].Origin, Batch: 1 << 50}, false)
	hasten(sidehook.DeliveryID{Origin: ids[0].Origin + 1, Batch: ids[0].Batch}, false)
	f.clock.Advance(time.Minute)
	hasten(ids[3], true)
	hasten(ids[0], true)
	hasten(mates[1], true)
	f.equal("next attempt", f.delivery(ids[0]).NextAttempt, f.clock.Now())
	f.clock.Advance(time.Second)
	hasten(ids[0], true) // due already
	f.equal("next attempt", f.delivery(ids[0]).NextAttempt, f.clock.Now().Add(-time.Second))
	f.equal("heads", f.heads(), map[sidehook.WebhookKey]time.Time{
		hook("w"): f.clock.Now().Add(-time.Second), hook("v"): later, storage.HoldQueue: later,
	})
	got := f.claimIDs("w", ids[0], ids[3], mates[1])
	f.equal("attempts", got[1].Attempts, 1)
	f.clock.Advance(2 * time.Hour)
	f.claimIDs("w", mates[0])
	f.claimIDs("v", ids[1])
	f.reopen()
	f.claimIDs("w", ids[2], ids[0], ids[3], mates[1], mates[0])
}

func testDeliveryWhole(f *fixture) {
	e := f.event()
	e.Extensions = map[string]string{"traceparent": "00-ab-cd-01"}
	b := f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{taken("w"), queued("v", time.Time{}), taken("u")}})
	var ids []sidehook.DeliveryID
	for _, p := range b.Entries[0].Deliveries {
		ids = append(ids, p.ID)
	}
	var none *storage.SavedRequest
	whole := func(id sidehook.DeliveryID, saved *storage.SavedRequest) {
		f.Helper()
		info := f.delivery(id)
		f.equal("event", info.Event, e)
		f.equal("saved request", info.Saved, saved)
	}
	whole(ids[0], none)
	whole(ids[1], none)
	saved := &storage.SavedRequest{
		Body: []byte(`{"a":1}`), ContentType: "a/b", Headers: []sidehook.Header{{Key: "X-A", Value: "1"}},
	}
	r := f.retry(ids[0], "w", 1, 0)
	r.Save = saved
	f.record(r, f.ended(ids[2], "u", 1, sidehook.OutcomeDelivered))
	whole(ids[0], saved)
	whole(ids[2], none)
	f.claimIDs("w", ids[0])
	whole(ids[0], saved)
	f.record(f.ended(ids[0], "w", 2, sidehook.OutcomeDead))
	whole(ids[0], saved)
	f.reopen()
	whole(ids[0], saved)
	whole(ids[1], none)
	page, err := f.store.Deliveries(bg, storage.Query{})
	f.ok(err)
	for _, info := range page.Deliveries {
		if info.Event != nil || info.Saved != nil {
			f.Fatalf("a page has the event or request of %s", info.ID)
		}
	}
}

func testDeliveriesFilter(f *fixture) {
	start := f.clock.Now()
	a := f.event()
	a.Type = "a.a"
	b := f.event()
	b.App = "cafe"
	var ids []sidehook.DeliveryID
	for _, e := range []*sidehook.Event{a, b, f.event()} {
		batch := f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{
			{Webhook: sidehook.WebhookKey{App: e.App, ID: "w"}},
			{Webhook: sidehook.WebhookKey{App: e.App, ID: "v"}, Queued: true},
		}})
		for _, p := range batch.Entries[0].Deliveries {
			ids = append(ids, p.ID)
		}
		f.clock.Advance(time.Minute)
	}
	f.record(f.ended(ids[0], "w", 1, sidehook.OutcomeDead), f.ended(ids[4], "w", 1, sidehook.OutcomeDelivered))
	dead, pending := sidehook.Dead, sidehook.Pending
	for _, test := range []struct {
		name  string
		query storage.Query
		want  []int
	}{
		{"all", storage.Query{}, []int{5, 4, 3, 2, 1, 0}},
		{"app", storage.Query{App: "shop"}, []int{5, 4, 1, 0}},
		{"webhook", storage.Query{App: "shop", Webhook: "v"}, []int{5, 1}},
		{"type", storage.Query{Type: "a.a"}, []int{1, 0}},
		{"dead", storage.Query{State: &dead}, []int{0}},
		{"pending", storage.Query{State: &pending}, []int{5, 3, 2, 1}},
		{"since", storage.Query{Since: start.Add(time.Minute)}, []int{5, 4, 3, 2}},
		{"until", storage.Query{Until: start.Add(time.Minute)}, []int{1, 0}},
		{"between", storage.Query{Since: start.Add(time.Second), Until: start.Add(2 * time.Minute)}, []int{3, 2}},
		{"none", storage.Query{App: "none"}, nil},
	} {
		page, err := f.store.Deliveries(bg, test.query)
		f.ok(err)
		var got, want []sidehook.DeliveryID
		for _, d := range page.Deliveries {
			got = append(got, d.ID)
		}
		for _, i := range test.want {
			want = append(want, ids[i])
		}
		f.equal(test.name, got, want)
		f.equal(test.name+": next page", page.Next, "")
	}
	page, err := f.store.Deliveries(bg, storage.Query{State: &dead})
	f.ok(err)
	f.equal("info", page.Deliveries[0], storage.DeliveryInfo{
		ID: ids[0], Webhook: hook("w"), EventID: a.ID, EventType: "a.a", AcceptedAt: start, State: sidehook.Dead,
		AttemptCount: 1, Attempts: []sidehook.Attempt{page.Deliveries[0].Attempts[0]},
	})
}

func testDeliveriesPages(f *fixture) {
	var want []sidehook.DeliveryID
	for range 7 {
		want = append(want, f.one(taken("a"), queued("b", time.Time{}), taken("c"))...)
	}
	for _, limit := range []int{1, 2, 3, 4, 20, 21, 22} {
		var got []sidehook.DeliveryID
		q := storage.Query{Limit: limit}
		for {
			page, err := f.store.Deliveries(bg, q)
			f.ok(err)
			if len(page.Deliveries) > limit || page.Next != "" && len(page.Deliveries) != limit {
				f.Fatalf("page of %d has %d, next %q", limit, len(page.Deliveries), page.Next)
			}
			for _, d := range page.Deliveries {
				got = append(got, d.ID)
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		if len(got) != len(want) {
			f.Fatalf("limit %d: got %d, want %d", limit, len(got), len(want))
		}
		for i := range got {
			f.equal("id", got[i], want[len(want)-1-i])
		}
	}
	for _, q := range []storage.Query{{Limit: -1}, {Limit: storage.MaxLimit + 1}, {Cursor: "nonsense"}} {
		_, err := f.store.Deliveries(bg, q)
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) {
			f.Fatalf("query %+v: error is %v, want a field error", q, err)
		}
	}
}

func testDelivery(f *fixture) {
	ids := f.one(taken("w"))
	var want []sidehook.Attempt
	for n := 1; n <= 4; n++ {
		r := f.retry(ids[0], "w", n, 0)
		if n == 4 {
			r = f.ended(ids[0], "w", n, sidehook.OutcomeDead)
		}
		r.Attempt.RequestHeaders = append(r.Attempt.RequestHeaders,
			sidehook.Header{Key: "Sidehook-Delivery", Value: ids[0].String()},
			sidehook.Header{Key: "webhook-signature", Value: fmt.Sprintf("v1,%d", n)})
		if n == 2 {
			r.Attempt.Status, r.Attempt.Response, r.Attempt.Error = 0, nil, "no answer within 15s"
			r.Attempt.RequestHeaders = nil
		}
		f.record(r)
		want = append(want, *r.Attempt)
		f.clock.Advance(time.Second)
		f.claim("w", 1)
	}
	f.equal("attempts", f.delivery(ids[0]).Attempts, want)
	page, err := f.store.Deliveries(bg, storage.Query{})
	f.ok(err)
	f.equal("last attempt", page.Deliveries[0].Attempts, want[3:])
	f.equal("count", page.Deliveries[0].AttemptCount, 4)
	_, err = f.store.Delivery(bg, sidehook.DeliveryID{Origin: ids[0].Origin, Batch: 1 << 40})
	f.fails("unknown", err, sidehook.ErrNotFound)
	_, err = f.store.Delivery(bg, sidehook.DeliveryID{Origin: ids[0].Origin, Batch: ids[0].Batch, Index: 77})
	f.fails("unknown index", err, sidehook.ErrNotFound)
	_, err = f.store.Delivery(bg, sidehook.DeliveryID{Origin: ids[0].Origin + 1, Batch: ids[0].Batch})
	f.fails("other origin", err, sidehook.ErrNotFound)
}

func testStats(f *fixture) {
	f.open()
	st := f.store.Stats()
	f.equal("pending", st.Pending, int64(0))
	f.equal("oldest", st.OldestPending, time.Time{})
	start := f.clock.Now()
	old := f.one(taken("w"))
	f.clock.Advance(time.Second)
	young := f.one(queued("w", time.Time{}), taken("w"))
	f.equal("oldest", f.store.Stats().OldestPending, start)
	f.record(f.ended(old[0], "w", 1, sidehook.OutcomeDelivered))
	f.equal("oldest after the oldest ended", f.store.Stats().OldestPending, start.Add(time.Second))
	f.equal("pending", f.store.Stats().Pending, int64(2))
	f.record(f.ended(young[1], "w", 1, sidehook.OutcomeDelivered))
	f.equal("oldest while its batch is unfinished", f.store.Stats().OldestPending, start.Add(time.Second))
	n, err := f.store.Requeue(bg, old, f.clock.Now())
	f.ok(err)
	f.equal("requeued", n, 1)
	f.equal("oldest after a requeue", f.store.Stats().OldestPending, start)
	if st = f.store.Stats(); st.Bytes <= 0 || st.Commits <= 0 {
		f.Fatalf("stats are %+v", st)
	}
}

func testQueues(f *fixture) {
	now := f.clock.Now()
	f.one(queued("a", now.Add(time.Minute)), queued("b", time.Time{}), taken("c"))
	f.one(queued("a", now.Add(time.Second)))
	want := map[sidehook.WebhookKey]time.Time{hook("a"): now.Add(time.Second), hook("b"): now}
	f.equal("heads", f.heads(), want)
	f.claim("b", 1)
	delete(want, hook("b"))
	f.equal("heads after a claim", f.heads(), want)
	for range f.store.Queues(bg) {
		break // stopping early is fine
	}
}

func testCommitOrder(f *fixture) {
	s := f.open()
	const n = 200
	var order []int
	var last *storage.Batch
	for i := range n {
		last = storage.NewBatch([]storage.Entry{{Event: f.event(), Deliveries: []storage.Placement{queued("w", time.Time{})}}})
		last.OnCommit = func(*storage.Batch) { order = append(order, i) }
		f.ok(s.Append(bg, last))
	}
	f.ok(last.Wait(bg))
	f.equal("commits seen", len(order), n)
	for i := range order {
		f.equal("order of commits", order[i], i)
	}
	got, _ := f.claim("w", n)
	for i := range got {
		f.equal("order of ids", got[i].Event.ID, fmt.Sprintf("evt_%d", i+1))
	}
}

func testBatchLimits(f *fixture) {
	s := f.open()
	big := f.event()
	big.Data = make([]byte, storage.MaxBatchBytes)
	many := make([]storage.Entry, storage.MaxBatchEntries+1)
	for i := range many {
		many[i].Event = f.event()
	}
	for name, entries := range map[string][]storage.Entry{
		"bytes": {{Event: big}}, "entries": many,
		"deliveries": {{Event: f.event(), Deliveries: make([]storage.Placement, storage.MaxBatchDeliveries+1)}},
	} {
		f.fails(name, s.Append(bg, storage.NewBatch(entries)), sidehook.ErrTooLarge)
	}
	for name, entries := range map[string][]storage.Entry{
		"no event": {{}},
		"webhook": {{Event: f.event(), Deliveries: []storage.Placement{
			{Webhook: sidehook.WebhookKey{App: "a\x00b", ID: "c"}},
		}}},
		"half a key":  {{Event: f.event(), Deliveries: []storage.Placement{{Webhook: sidehook.WebhookKey{ID: "c"}}}}},
		"longer name": {{Event: f.event(), Deliveries: []storage.Placement{taken(strings.Repeat("x", 65))}}},
	} {
		var fe *sidehook.FieldError
		if err := s.Append(bg, storage.NewBatch(entries)); !errors.As(err, &fe) {
			f.Fatalf("%s: error is %v, want a field error", name, err)
		}
	}
	f.append() // an empty batch is fine
	full := f.event()
	full.Data = make([]byte, storage.MaxBatchBytes-200)
	f.append(storage.Entry{Event: full, Deliveries: []storage.Placement{queued("w", time.Time{})}})
	got, _ := f.claim("w", 1)
	f.equal("size of the largest", len(got[0].Event.Data), storage.MaxBatchBytes-200)
	wide := make([]storage.Placement, 0, 5000)
	for i := range cap(wide) {
		wide = append(wide, taken(fmt.Sprintf("hook-%d", i)))
	}
	ids := f.one(wide...)
	f.equal("pending", f.store.Stats().Pending, int64(5001))
	f.equal("webhook", f.delivery(ids[4999]).Webhook, hook("hook-4999"))
}

func testFull(f *fixture) {
	f.opts.QueueBytes = 20 << 10
	s := f.open()
	var ids []sidehook.DeliveryID
	var err error
	for range 1000 {
		e := f.event()
		e.Data = []byte(strings.Repeat(e.ID, 20))
		b := storage.NewBatch([]storage.Entry{{Event: e, Deliveries: []storage.Placement{taken("w")}}})
		if err = s.Append(bg, b); err != nil {
			break
		}
		f.ok(b.Wait(bg))
		ids = append(ids, b.Entries[0].Deliveries[0].ID)
	}
	var full *sidehook.FullError
	if !errors.As(err, &full) || full.RetryAfter <= 0 {
		f.Fatalf("error is %v, want a FullError with a hint", err)
	}
	var results []storage.Result
	for _, id := range ids {
		results = append(results, f.ended(id, "w", 1, sidehook.OutcomeDelivered))
	}
	f.record(results...)
	f.one(taken("w"))
}

func testClosed(f *fixture) {
	ids := f.one(queued("w", time.Time{}))
	f.ok(f.store.Close())
	f.ok(f.store.Close())
	s := f.store
	_, _, claimErr := s.Claim(bg, hook("w"), f.clock.Now(), 1)
	_, requeueErr := s.Requeue(bg, ids, f.clock.Now())
	_, hastenErr := s.Hasten(bg, ids[0], f.clock.Now())
	_, listErr := s.Deliveries(bg, storage.Query{})
	_, getErr := s.Delivery(bg, ids[0])
	var queuesErr error
	for _, err := range s.Queues(bg) {
		queuesErr = err
	}
	for name, err := range map[string]error{
		"Append":  s.Append(bg, storage.NewBatch([]storage.Entry{{Event: f.event()}})),
		"Record":  s.Record(bg, []storage.Result{f.ended(ids[0], "w", 1, sidehook.OutcomeDead)}),
		"Unclaim": s.Unclaim(bg, []storage.Unclaimed{{ID: ids[0], Webhook: hook("w")}}),
		"Flush":   s.Flush(bg), "Claim": claimErr, "Requeue": requeueErr, "Hasten": hastenErr, "Deliveries": listErr, "Delivery": getErr,
		"Queues": queuesErr,
	} {
		f.fails(name, err, storage.ErrClosed)
	}
	s.Stats()
}

func testContext(f *fixture) {
	ids := f.one(queued("w", time.Time{}))
	cause := errors.New("the reason")
	ctx, cancel := context.WithCancelCause(bg)
	cancel(cause)
	s := f.store
	_, _, claimErr := s.Claim(ctx, hook("w"), f.clock.Now(), 1)
	_, requeueErr := s.Requeue(ctx, ids, f.clock.Now())
	_, listErr := s.Deliveries(ctx, storage.Query{})
	for name, err := range map[string]error{
		"Append":  s.Append(ctx, storage.NewBatch([]storage.Entry{{Event: f.event()}})),
		"Record":  s.Record(ctx, []storage.Result{f.ended(ids[0], "w", 1, sidehook.OutcomeDead)}),
		"Unclaim": s.Unclaim(ctx, []storage.Unclaimed{{ID: ids[0], Webhook: hook("w")}}),
		"Flush":   s.Flush(ctx), "Claim": claimErr, "Requeue": requeueErr, "Deliveries": listErr,
	} {
		f.fails(name, err, cause)
	}
	f.claimIDs("w", ids[0])
}
