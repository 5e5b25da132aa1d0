package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

var ctx = context.Background()

func key(id string) sidehook.WebhookKey { return sidehook.WebhookKey{App: "shop", ID: id} }

// appendOne appends one event and returns its deliveries.
func appendOne(t testing.TB, s *Store, n int, ps ...storage.Placement) []storage.Placement {
	t.Helper()
	b := storage.NewBatch([]storage.Entry{{Event: benchEvent(n, 900), Deliveries: ps}})
	must(t, s.Append(ctx, b))
	must(t, b.Wait(ctx))
	return b.Entries[0].Deliveries
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func record(t testing.TB, s *Store, rs ...storage.Result) {
	t.Helper()
	must(t, s.Record(ctx, rs))
	must(t, s.Flush(ctx))
}

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
	must(t, s.view(func(txn *badger.Txn) error {
		return scan(txn, []byte{space}, []byte{space}, func(_, _ []byte) (bool, error) {
			n++
			return true, nil
		})
	}))
	return n
}

func TestFolderIsPrivateAndLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "queue")
	openStore(t, dir, Options{})
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %v, want 0700", info.Mode().Perm())
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second opener: error is %v, want one that names another process", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{Durability: "sometimes"}); err == nil || !strings.Contains(err.Error(), "disk or process") {
		t.Errorf("error is %v, want one that names the durabilities", err)
	}
}

func TestProcessDurability(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{Durability: DurabilityProcess})
	appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true})
	must(t, s.Close())
	s = openStore(t, dir, Options{})
	got, _, err := s.Claim(ctx, key("w"), time.Now(), 1)
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("claimed %d, want 1", len(got))
	}
}

func TestFullDiskRefusesEventsAndDrains(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	opts := Options{MinFreeBytes: 1 << 30, freeBytes: func(string) (int64, error) { return free.Load(), nil }}
	dir := t.TempDir()
	s := openStore(t, dir, opts)
	p := appendOne(t, s, 1, storage.Placement{Webhook: key("w")})
	free.Store(1 << 20)
	s.watchDisk()
	err := s.Append(ctx, storage.NewBatch([]storage.Entry{{Event: benchEvent(2, 100)}}))
	var full *sidehook.FullError
	if !errors.As(err, &full) || !strings.Contains(full.What, "free") {
		t.Fatalf("Append on a full disk: %v, want a FullError that says why", err)
	}
	record(t, s, benchResult(p[0].ID, key("w"), 1))
	if n := s.Stats().Pending; n != 0 {
		t.Fatalf("%d pending, want what was queued to drain", n)
	}
	must(t, s.Close())
	if _, err := Open(dir, opts); !errors.As(err, &full) {
		t.Fatalf("Open on a full disk: %v, want a FullError", err)
	}
	free.Store(1 << 40)
	s = openStore(t, dir, opts)
	s.watchDisk()
	appendOne(t, s, 3, storage.Placement{Webhook: key("w")})
}

func TestFreeBytes(t *testing.T) {
	if n, err := freeBytes(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("freeBytes = %d, %v", n, err)
	}
	if _, err := freeBytes(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("freeBytes of a missing folder gives no error")
	}
}

// TestFailedCommit: a batch whose commit fails is forgotten, id and all; moves are written by a later commit.
func TestFailedCommit(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	p := appendOne(t, s, 1, storage.Placement{Webhook: key("w")}, storage.Placement{Webhook: key("w")})
	var fail atomic.Int64
	bad := errors.New("the disk is on fire")
	must(t, s.Flush(ctx))
	fault := func() error {
		if fail.Add(-1) >= 0 {
			return bad
		}
		return nil
	}
	// The committer is idle, and sees the field by the lock that the next submission takes.
	s.fault = fault

	fail.Store(3)
	b := storage.NewBatch([]storage.Entry{{
		Event: benchEvent(2, 500), Deliveries: []storage.Placement{{Webhook: key("v"), Queued: true}},
	}})
	r := benchResult(p[0].ID, key("w"), 1)
	told := make(chan struct{})
	r.OnCommit = func() { close(told) }
	must(t, s.Record(ctx, []storage.Result{r}))
	must(t, s.Append(ctx, b))
	if err := b.Wait(ctx); !errors.Is(err, bad) {
		t.Fatalf("batch of a failed commit: %v, want %v", err, bad)
	}
	<-told
	if n := s.Stats().Pending; n != 1 {
		t.Fatalf("%d pending, want 1", n)
	}
	again := appendOne(t, s, 2, storage.Placement{Webhook: key("v"), Queued: true})
	if again[0].ID == (sidehook.DeliveryID{}) {
		t.Fatal("the id of a failed batch was remembered")
	}
	must(t, s.Close())
	s = openStore(t, dir, Options{})
	for id, want := range map[string]int{"w": 1, "v": 1} {
		got, _, err := s.Claim(ctx, key(id), time.Now(), 10)
		must(t, err)
		if len(got) != want {
			t.Fatalf("%s: claimed %d after a restart, want %d", id, len(got), want)
		}
	}
}

// TestCloseWhileCommitsFail: Close ends, and says what was not written.
func TestCloseWhileCommitsFail(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	p := appendOne(t, s, 1, storage.Placement{Webhook: key("w")})
	must(t, s.Flush(ctx))
	bad := errors.New("the disk is on fire")
	tried := make(chan struct{}, 100)
	s.fault = func() error {
		select {
		case tried <- struct{}{}:
		default:
		}
		return bad
	}
	must(t, s.Record(ctx, []storage.Result{benchResult(p[0].ID, key("w"), 1)}))
	<-tried
	<-tried
	if err := s.Close(); !errors.Is(err, bad) {
		t.Fatalf("Close: %v, want %v", err, bad)
	}
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
	if blocks, saved := countKeys(t, s, spaceBlock), countKeys(t, s, spaceSaved); blocks != batches || saved != batches {
		t.Errorf("%d batches, but %d blocks and %d saved requests", batches, blocks, saved)
	}
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

// TestUnreadableEventIsDropped: a delivery whose event is gone does not stand in the way of the next.
func TestUnreadableEventIsDropped(t *testing.T) {
	for name, spoil := range map[string]func(txn *badger.Txn, key []byte) error{
		"missing": func(txn *badger.Txn, key []byte) error { return txn.Delete(key) },
		"corrupt": func(txn *badger.Txn, key []byte) error { return txn.Set(key, []byte{9, 9, 9}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), Options{})
			bad := appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true}, storage.Placement{Webhook: key("w")})
			good := appendOne(t, s, 2, storage.Placement{Webhook: key("w"), Queued: true})
			txn := s.db.NewTransactionAt(1<<40, true)
			must(t, spoil(txn, indexKey(spaceBlock, bad[0].ID.Batch, 1)))
			must(t, txn.CommitAt(s.committed.Load(), nil))
			got, _, err := s.Claim(ctx, key("w"), time.Now(), 10)
			must(t, err)
			if len(got) != 1 || got[0].ID != good[0].ID {
				t.Fatalf("claimed %v, want only the good one", got)
			}
			must(t, s.Flush(ctx))
			if n := s.Stats().Pending; n != 2 {
				t.Errorf("%d pending, want the good one and the taken one", n)
			}
			dir := s.dir
			must(t, s.Close())
			s = openStore(t, dir, Options{})
			if n := s.Stats().Pending; n != 1 {
				t.Errorf("%d pending after a restart, want the good one", n)
			}
		})
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	must(t, s.writeNowForTest([]op{{key: keyFormat, val: []byte{77}}}))
	must(t, s.Close())
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("error is %v, want one that names the format", err)
	}
}

// writeNowForTest writes ops while the committer is idle.
func (s *Store) writeNowForTest(ops []op) error {
	txn := s.db.NewTransactionAt(1<<40, true)
	defer txn.Discard()
	if err := stage(txn, ops); err != nil {
		return err
	}
	return txn.CommitAt(s.committed.Load()+1, nil)
}

// TestFlattenGivesSpaceBack: what was deleted does not stay on an idle disk.
func TestFlattenGivesSpaceBack(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{Options: storage.Options{HistoryBytes: 1 << 20, DedupeWindow: -1}})
	g := newBenchBatches(1, false)
	for range 120 {
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
	before, _ := s.db.Size()
	s.flatten()
	if n := s.garbage.Load(); n > flattenGarbage {
		t.Errorf("%d bytes of garbage after flattening", n)
	}
	t.Logf("%d MB of tables before, folder has %d MB after", before>>20, folderSize(dir)>>20)
}

// TestLargeUnclaim: what is taken when a sidecar stops goes back to the queues in as many commits as it takes.
func TestLargeUnclaim(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	g := newBenchBatches(40, false)
	var back []storage.Unclaimed
	for range 4 {
		b := g.batch(500)
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
		for i := range b.Entries {
			for j, p := range b.Entries[i].Deliveries {
				u := storage.Unclaimed{ID: p.ID, Webhook: p.Webhook}
				if j == 0 {
					u.DueAt = time.Now().Add(time.Duration(i) * time.Millisecond)
				}
				back = append(back, u)
			}
		}
	}
	must(t, s.Unclaim(ctx, back))
	total := 0
	for _, k := range g.hooks {
		for {
			got, next, err := s.Claim(ctx, k, time.Now().Add(time.Hour), 333)
			must(t, err)
			total += len(got)
			rs := make([]storage.Result, len(got))
			for i := range got {
				rs[i] = storage.Result{ID: got[i].ID, Webhook: k, State: sidehook.Delivered}
			}
			must(t, s.Record(ctx, rs))
			if next.IsZero() {
				break
			}
		}
	}
	must(t, s.Flush(ctx))
	if total != len(back) || s.Stats().Pending != 0 {
		t.Errorf("claimed %d of %d, %d pending", total, len(back), s.Stats().Pending)
	}
	if n := countKeys(t, s, spaceQueue) + countKeys(t, s, spaceSingle); n != 0 {
		t.Errorf("%d entries are left in queues", n)
	}
}
