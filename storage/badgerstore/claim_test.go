package badgerstore

import (
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// TestUnreadableEventIsDropped: a delivery whose event is gone does not stand in the way of the next.
func TestUnreadableEventIsDropped(t *testing.T) {
	for name, spoil := range map[string]func(s *Store, ref blobRef) error{
		"missing": func(s *Store, ref blobRef) error { return s.segs.byID[ref.seg].file.Truncate(int64(ref.off)) },
		"corrupt": func(s *Store, ref blobRef) error {
			_, err := s.segs.byID[ref.seg].file.WriteAt([]byte{9, 9, 9}, int64(ref.off)+20)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), Options{})
			bad := appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true}, storage.Placement{Webhook: key("w")})
			must(t, spoil(s, s.batches[bad[0].ID.Batch].blocks[0].ref))
			good := appendOne(t, s, 2, storage.Placement{Webhook: key("w"), Queued: true})
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
