package badgerstore

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// tidyUntil has the committer tidy until done, a few commits' worth at most.
func tidyUntil(t testing.TB, s *Store, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		s.in.wantTidy()
		// A commit of an event that has no deliveries: when it is durable, the tidying before it is, too.
		b := storage.NewBatch([]storage.Entry{{Event: benchEvent(int(tidyEvents.Add(1)), 100)}})
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
	}
	t.Fatalf("tidying does not end with: %s", what)
}

var tidyEvents atomic.Int64

func init() { tidyEvents.Store(1 << 40) }

func countKeys(t testing.TB, s *Store, space byte) (n int) {
	t.Helper()
	must(t, s.view(func(m *moment) error {
		return scan(m, []byte{space}, []byte{space}, func(_, _ []byte) (bool, error) {
			n++
			return true, nil
		})
	}))
	return n
}

// TestHistoryIsBounded: finished events and attempts leave oldest first, with everything that belongs to them.
func TestHistoryIsBounded(t *testing.T) {
	const limit = 64 << 10
	s := openStore(t, t.TempDir(), Options{Options: storage.Options{HistoryBytes: limit}})
	var first, last sidehook.DeliveryID
	for n := range 300 {
		p := appendOne(t, s, n, storage.Placement{Webhook: key("w")})
		r := benchResult(p[0].ID, key("w"), n)
		r.State, r.Save = sidehook.Pending, &storage.SavedRequest{Body: benchEvent(n, 300).Data, ContentType: "a/b"}
		record(t, s, r)
		got, _, err := s.Claim(ctx, key("w"), time.Now(), 1)
		must(t, err)
		r = benchResult(got[0].ID, key("w"), n)
		r.Attempt.Number = 2
		record(t, s, r)
		if n == 0 {
			first = p[0].ID
		}
		last = p[0].ID
	}
	tidyUntil(t, s, "history within its bound", func() bool { return s.Stats().HistoryBytes <= limit })
	if _, err := s.Delivery(ctx, first); !errors.Is(err, sidehook.ErrNotFound) {
		t.Errorf("the oldest delivery is still there: %v", err)
	}
	if n, err := s.Requeue(ctx, []sidehook.DeliveryID{first}, time.Now()); n != 0 || err != nil {
		t.Errorf("requeued %d of what has left the history, %v", n, err)
	}
	info, err := s.Delivery(ctx, last)
	must(t, err)
	if len(info.Attempts) != 2 {
		t.Errorf("the newest delivery has %d attempts, want 2", len(info.Attempts))
	}
	batches := countKeys(t, s, spaceBatch)
	if saved := countKeys(t, s, spaceSaved); saved != batches {
		t.Errorf("%d batches, but %d saved requests", batches, saved)
	}
	checkLive(t, s)
	if batches == 0 || batches >= 300 {
		t.Errorf("%d batches are kept", batches)
	}
	if n := countKeys(t, s, spaceSingle) + countKeys(t, s, spaceQueue); n != 0 {
		t.Errorf("%d entries of queues are left although nothing is pending", n)
	}
	page, err := s.Deliveries(ctx, storage.Query{Limit: 1000})
	must(t, err)
	if len(page.Deliveries) == 0 || page.Deliveries[0].ID != last {
		t.Errorf("the list does not begin with the newest")
	}
}

func TestHistoryAges(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano())
	s := openStore(t, t.TempDir(), Options{Options: storage.Options{
		HistoryAge: time.Hour, Now: func() time.Time { return time.Unix(0, now.Load()) },
	}})
	old := appendOne(t, s, 1, storage.Placement{Webhook: key("w")})
	record(t, s, benchResult(old[0].ID, key("w"), 1))
	now.Add(int64(40 * time.Minute))
	young := appendOne(t, s, 2, storage.Placement{Webhook: key("w")})
	record(t, s, benchResult(young[0].ID, key("w"), 1))
	now.Add(int64(30 * time.Minute))
	tidyUntil(t, s, "the old delivery gone", func() bool {
		_, err := s.Delivery(ctx, old[0].ID)
		return errors.Is(err, sidehook.ErrNotFound)
	})
	if _, err := s.Delivery(ctx, young[0].ID); err != nil {
		t.Errorf("a delivery within the age: %v", err)
	}
}

// TestOldBacklogIsThinned: one pending delivery of a large old batch does not keep the whole batch.
func TestOldBacklogIsThinned(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Options: storage.Options{HistoryBytes: 16 << 10}})
	entries := make([]storage.Entry, 200)
	for i := range entries {
		entries[i] = storage.Entry{Event: benchEvent(i, 900), Deliveries: []storage.Placement{
			{Webhook: key(fmt.Sprint(i)), Queued: i%2 == 0, DueAt: time.Now().Add(time.Duration(i%3) * time.Millisecond)},
			{Webhook: key("all")},
		}}
	}
	b := storage.NewBatch(entries)
	must(t, s.Append(ctx, b))
	must(t, b.Wait(ctx))
	whole := s.Stats().Bytes
	kept := map[string]bool{"40": true, "41": true, "199": true}
	for i := range entries {
		p := entries[i].Deliveries[0]
		rs := []storage.Result{benchResult(entries[i].Deliveries[1].ID, key("all"), i)}
		if !kept[p.Webhook.ID] {
			if p.Queued {
				got, _, err := s.Claim(ctx, p.Webhook, time.Now().Add(time.Hour), 1)
				must(t, err)
				if len(got) != 1 {
					t.Fatalf("claimed %d", len(got))
				}
			}
			rs = append(rs, benchResult(p.ID, p.Webhook, i))
		}
		must(t, s.Record(ctx, rs))
	}
	n := len(entries)
	tidyUntil(t, s, "the batch thinned", func() bool {
		n++
		p := appendOne(t, s, n, storage.Placement{Webhook: key("all")})
		record(t, s, benchResult(p[0].ID, key("all"), n))
		return s.Stats().Bytes-s.Stats().HistoryBytes < whole/10
	})
	checkLive(t, s)
	must(t, s.Unclaim(ctx, []storage.Unclaimed{
		{ID: entries[41].Deliveries[0].ID, Webhook: key("41")}, {ID: entries[199].Deliveries[0].ID, Webhook: key("199")},
	}))
	dir := s.dir
	must(t, s.Close())
	s = openStore(t, dir, Options{Options: storage.Options{HistoryBytes: 16 << 10}})
	for id := range kept {
		got, _, err := s.Claim(ctx, key(id), time.Now().Add(time.Hour), 5)
		must(t, err)
		if len(got) != 1 || got[0].Event.ID != "evt_"+id {
			t.Fatalf("%s: claimed %+v", id, got)
		}
		record(t, s, benchResult(got[0].ID, key(id), 1))
	}
	if st := s.Stats(); st.Pending != 0 || st.Bytes != st.HistoryBytes {
		t.Errorf("stats at the end are %+v", st)
	}
}

// TestDedupeEventsAreBounded: ids beyond the bound are forgotten, in memory and on disk.
func TestDedupeEventsAreBounded(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Options: storage.Options{DedupeEvents: 100}})
	for n := range 400 {
		b := storage.NewBatch([]storage.Entry{{Event: benchEvent(n, 50)}})
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
	}
	b := storage.NewBatch([]storage.Entry{{Event: benchEvent(0, 50)}, {Event: benchEvent(390, 50)}})
	must(t, s.Append(ctx, b))
	must(t, b.Wait(ctx))
	if b.Entries[0].Duplicate || !b.Entries[1].Duplicate {
		t.Errorf("duplicates are %v %v, want the old one forgotten and the new one known", b.Entries[0].Duplicate, b.Entries[1].Duplicate)
	}
	if n := countKeys(t, s, spaceIDs); n > 110 {
		t.Errorf("%d lists of ids are on disk", n)
	}
}

// TestFlattenGivesSpaceBack: what was deleted does not stay on an idle disk.
func TestFlattenGivesSpaceBack(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{Options: storage.Options{HistoryBytes: 1 << 20, DedupeWindow: -1}})
	g := newBenchBatches(1, false)
	for range 360 {
		b := g.batch(500)
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
		rs := make([]storage.Result, len(b.Entries))
		for i := range rs {
			rs[i] = benchResult(b.Entries[i].Deliveries[0].ID, g.hooks[0], i)
		}
		must(t, s.Record(ctx, rs))
	}
	must(t, s.Flush(ctx))
	tidyUntil(t, s, "history within its bound", func() bool { return s.Stats().HistoryBytes <= 1<<20 })
	before := tableBytes(s)
	s.flatten()
	after := tableBytes(s)
	if after > before/2 {
		t.Errorf("tables take %d bytes after flattening, %d before", after, before)
	}
	if n := s.garbage.Load(); n > flattenGarbage {
		t.Errorf("%d bytes of garbage after flattening", n)
	}
	appendOne(t, s, 1, storage.Placement{Webhook: key("w")})
}

func tableBytes(s *Store) (n uint64) {
	for _, table := range s.db.Tables() {
		n += uint64(table.OnDiskSize)
	}
	return n
}
