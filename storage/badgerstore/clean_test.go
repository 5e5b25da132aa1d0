package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// segmentBytes is what the segment files take.
func segmentBytes(t testing.TB, dir string) (n int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	must(t, err)
	for _, p := range paths {
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given back meanwhile
		}
		must(t, err)
		n += info.Size()
	}
	return n
}

// settle has the store do what it does when nothing comes in, until done.
func settle(t testing.TB, s *Store, what string, done func() bool) {
	t.Helper()
	tidyUntil(t, s, what, func() bool {
		s.rest()
		return done()
	})
}

// deliverAll claims and ends everything that is due within a minute.
func deliverAll(t testing.TB, s *Store, webhook string) (n int) {
	t.Helper()
	for {
		got, next, err := s.Claim(ctx, key(webhook), time.Now().Add(time.Minute), 64)
		must(t, err)
		results := make([]storage.Result, len(got))
		for i, c := range got {
			results[i] = benchResult(c.ID, key(webhook), i)
		}
		record(t, s, results...)
		n += len(got)
		if len(got) == 0 && (next.IsZero() || next.After(time.Now().Add(time.Minute))) {
			return n
		}
	}
}

// TestSpaceComesBack: a backlog that has been delivered leaves nothing but the history.
func TestSpaceComesBack(t *testing.T) {
	const size, history = 64 << 10, 256 << 10
	dir := t.TempDir()
	s := openStore(t, dir, Options{Options: storage.Options{HistoryBytes: history}, segmentSize: size})
	g := newBenchBatches(1, true)
	g.hooks = []sidehook.WebhookKey{key("w")}
	for range 30 {
		b := g.batch(200)
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
	}
	if n := segmentBytes(t, dir); n < 2<<20 {
		t.Fatalf("the backlog takes only %d bytes", n)
	}
	if n := deliverAll(t, s, "w"); n != 6000 {
		t.Fatalf("delivered %d of 6000", n)
	}
	settle(t, s, "the space back", func() bool { return segmentBytes(t, dir) < 2*history+6*size })
	checkHealth(t, s)
	page, err := s.Deliveries(ctx, storage.Query{Limit: 1000})
	must(t, err)
	if len(page.Deliveries) < 100 {
		t.Errorf("the history lists %d deliveries", len(page.Deliveries))
	}
	for _, d := range page.Deliveries[:50] {
		info, err := s.Delivery(ctx, d.ID)
		must(t, err)
		if info.Event == nil && len(info.Attempts) != 1 {
			t.Errorf("delivery %s has no attempts", d.ID)
		}
	}
}

// TestManySegments: a large backlog is in larger segments, so that it does not take a file descriptor for every few
// megabytes.
func TestManySegments(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{segmentSize: 4 << 10})
	for i := range 500 {
		appendOne(t, s, i, storage.Placement{Webhook: key("w"), Queued: true})
	}
	if n := len(s.segs.table()); n < manySegments || n > 2*manySegments {
		t.Errorf("%d segments", n)
	}
	must(t, crashing{s}.Close())
	s = openStore(t, dir, Options{segmentSize: 4 << 10})
	if n := deliverAll(t, s, "w"); n != 500 {
		t.Errorf("delivered %d of 500", n)
	}
	checkHealth(t, s)
}

// TestStuckDeliveriesDoNotHoldSegments: what is live in segments that are mostly dead is written again elsewhere, its
// saved request and its attempts, too.
func TestStuckDeliveriesDoNotHoldSegments(t *testing.T) {
	const size = 64 << 10
	dir := t.TempDir()
	opts := Options{Options: storage.Options{HistoryBytes: 128 << 10}, segmentSize: size}
	s, err := Open(dir, opts)
	must(t, err)
	stuck := make(map[string]sidehook.DeliveryID)
	for i := range 400 {
		ps := []storage.Placement{{Webhook: key("w"), Queued: true}}
		if i%40 == 0 {
			ps = append(ps, storage.Placement{Webhook: key("stuck")})
		}
		ps = appendOne(t, s, i, ps...)
		if len(ps) > 1 {
			r := benchResult(ps[1].ID, key("stuck"), i)
			r.State, r.DueAt = sidehook.Pending, time.Now().Add(time.Hour)
			r.Save = &storage.SavedRequest{Body: fmt.Appendf(nil, "saved %d", i), ContentType: "a/b"}
			must(t, s.Record(ctx, []storage.Result{r}))
			stuck[fmt.Sprintf("evt_%d", i)] = ps[1].ID
		}
	}
	deliverAll(t, s, "w")
	before := s.segs.end().seg
	settle(t, s, "old segments given up", func() bool {
		s.segs.mu.RLock()
		defer s.segs.mu.RUnlock()
		for id := range s.segs.byID {
			if id < before-4 {
				return false
			}
		}
		return true
	})
	checkHealth(t, s)
	must(t, crashing{s}.Close())
	s = openStore(t, dir, opts)
	got, _, err := s.Claim(ctx, key("stuck"), time.Now().Add(2*time.Hour), 1000)
	must(t, err)
	for _, c := range got {
		want := "saved " + c.Event.ID[len("evt_"):]
		if stuck[c.Event.ID] != c.ID || c.Saved == nil || string(c.Saved.Body) != want || string(c.Event.Data) != string(benchEvent(atoi(t, c.Event.ID[4:]), 900).Data) {
			t.Errorf("%s came back changed", c.Event.ID)
		}
		delete(stuck, c.Event.ID)
	}
	if len(stuck) != 0 {
		t.Errorf("%v are lost", stuck)
	}
	checkHealth(t, s)
}

func atoi(t testing.TB, s string) (n int) {
	t.Helper()
	_, err := fmt.Sscan(s, &n)
	must(t, err)
	return n
}
