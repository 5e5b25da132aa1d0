package storagetest

import (
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// putBacks are the deliveries listed, with their due times.
func (f *fixture) putBacks(id string) map[sidehook.DeliveryID]storage.PutBack {
	f.Helper()
	all := make(map[sidehook.DeliveryID]storage.PutBack)
	var before time.Time
	for p, err := range f.store.PutBacks(bg, hook(id)) {
		f.ok(err)
		if _, twice := all[p.ID]; twice || p.DueAt.Before(before) {
			f.Errorf("%v stands twice, or out of order", p)
		}
		all[p.ID], before = p, p.DueAt
	}
	return all
}

// testPutBacks: what was attempted, and what was put back for later, is listed with its ordering key, before and after a
// restart; what waits where it was put, and what somebody has, is not.
func testPutBacks(f *fixture) {
	f.open()
	at := f.clock.Now()
	ids := make([]sidehook.DeliveryID, 5)
	for i := range ids {
		e := f.event()
		e.OrderingKey = string(rune('a' + i))
		ids[i] = f.append(storage.Entry{Event: e, Deliveries: []storage.Placement{queued("w", time.Time{})}}).Entries[0].Deliveries[0].ID
	}
	if got := f.putBacks("w"); len(got) != 0 {
		f.Errorf("before anything was put back: %v", got)
	}
	claimed := f.claimIDs("w", ids...)
	for _, c := range claimed {
		f.equal("due time", c.DueAt, at)
		f.equal("time of acceptance", c.AcceptedAt, at)
	}
	f.record(f.retry(ids[0], "w", 1, time.Hour), f.ended(ids[1], "w", 1, sidehook.OutcomeDelivered))
	f.ok(f.store.Unclaim(bg, []storage.Unclaimed{
		{ID: ids[2], Webhook: hook("w"), DueAt: at.Add(2 * time.Hour)}, {ID: ids[3], Webhook: hook("w")},
	}))
	check := func() {
		f.Helper()
		got := f.putBacks("w")
		for i, want := range map[int]storage.PutBack{
			0: {ID: ids[0], OrderingKey: "a", DueAt: at.Add(time.Hour), Attempts: 1},
			2: {ID: ids[2], OrderingKey: "c", DueAt: at.Add(2 * time.Hour)},
		} {
			f.equal("put back", got[ids[i]], want)
		}
		f.equal("number put back", len(got), 2)
	}
	check()
	for range f.store.PutBacks(bg, hook("w")) {
		break // whoever has enough stops
	}
	f.equal("put back to another webhook", len(f.putBacks("x")), 0)
	f.reopen()
	check()
	f.clock.Advance(time.Hour)
	for _, c := range f.claimIDs("w", ids[3], ids[4], ids[0]) {
		f.equal("time of acceptance", c.AcceptedAt, at)
	}
	f.equal("number put back while claimed", len(f.putBacks("w")), 1)
}
