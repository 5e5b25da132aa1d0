package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// TestEveryEndOfTheLog: wherever the log ends, the store is as it was after the last record that is whole. That the end
// was never written is no damage; that the file was cut off is.
func TestEveryEndOfTheLog(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	must(t, err)
	type moment struct {
		end     int64
		pending int
		queued  string
	}
	moments := []moment{{end: s.segs.end().off, queued: "[]"}}
	var ids []string
	var taken []storage.Placement
	note := func() {
		must(t, s.Flush(ctx))
		moments = append(moments, moment{s.segs.end().off, len(ids) + len(taken), fmt.Sprint(ids)})
	}
	for i := range 12 {
		if i%3 == 2 { // a taken one ends
			record(t, s, benchResult(taken[0].ID, key("taken"), i))
			taken = taken[1:]
			note()
			continue
		}
		ps := appendOne(t, s, i, storage.Placement{Webhook: key("w"), Queued: true}, storage.Placement{Webhook: key("taken")})
		ids = append(ids, fmt.Sprintf("evt_%d", i))
		taken = append(taken, ps[1])
		note()
	}
	path := s.segs.cur.path
	must(t, crashing{s}.Close())
	for i, m := range moments {
		cuts := []int64{m.end}
		if i+1 < len(moments) {
			next := moments[i+1].end
			cuts = append(cuts, m.end+1)
			for at := (m.end + recordHead + sector) &^ (sector - 1); at+recordAlign+sectorPart <= next; at += sector {
				cuts = append(cuts, at)
			}
		}
		for _, cut := range cuts {
			for how, end := range map[string]func(string) error{
				"never written": func(path string) error { return errors.Join(os.Truncate(path, cut), os.Truncate(path, segmentSize)) },
				"cut off":       func(path string) error { return os.Truncate(path, cut) },
			} {
				copied := copyFolder(t, dir)
				must(t, end(filepath.Join(copied, filepath.Base(path))))
				s, err := Open(copied, Options{})
				must(t, err)
				got := fmt.Sprint(claimAll(t, s))
				if how == "cut off" { // what is there of the record is not lost
					if !strings.HasPrefix(got, strings.TrimSuffix(m.queued, "]")) || s.Damaged() == 0 {
						t.Errorf("%s from %d: claimed %s, want at least %s; %d damaged", how, cut, got, m.queued, s.Damaged())
					}
				} else {
					if n := s.Stats().Pending; n != int64(m.pending) {
						t.Errorf("%s from %d: %d pending, want %d", how, cut, n, m.pending)
					}
					if got != m.queued {
						t.Errorf("%s from %d: claimed %s, want %s", how, cut, got, m.queued)
					}
					checkHealth(t, s)
				}
				checkLive(t, s)
				must(t, s.Close())
			}
		}
	}
}

func copyFolder(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// TestCheckpointCutShort: a crash in the middle of a checkpoint leaves entries in Badger that the last checkpoint does
// not know. What is deleted later is deleted all the same.
func TestCheckpointCutShort(t *testing.T) {
	for _, part := range []int{1, 2, 5, 100} {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			dir := t.TempDir()
			opts := Options{segmentSize: 16 << 10}
			s, err := Open(dir, opts)
			must(t, err)
			for i := range 20 {
				appendOne(t, s, i, storage.Placement{Webhook: key("w"), Queued: true})
			}
			flushPart(t, s, part)
			must(t, crashing{s}.Close())

			// Small overlays, so that replay begins several.
			opts.overlayFull = 1
			s, err = Open(dir, opts)
			must(t, err)
			got, _, err := s.Claim(ctx, key("w"), s.opts.Now(), 100)
			must(t, err)
			if len(got) != 20 {
				t.Fatalf("claimed %d of 20", len(got))
			}
			for i, c := range got {
				record(t, s, storage.Result{ID: c.ID, Webhook: key("w"), State: sidehook.Delivered, Attempt: benchResult(c.ID, key("w"), i).Attempt})
			}
			must(t, s.Close())

			s = openStore(t, dir, opts)
			if n := countKeys(t, s, spaceQueue); n != 0 {
				t.Errorf("%d entries of queues are there again", n)
			}
			if got := claimAll(t, s); len(got) != 0 || s.Stats().Pending != 0 {
				t.Errorf("delivered events are queued again: %v, %d pending", got, s.Stats().Pending)
			}
			checkHealth(t, s)
		})
	}
}

// flushPart writes one entry in part of the active overlay to Badger, as a checkpoint does before it is cut short.
func flushPart(t *testing.T, s *Store, part int) {
	t.Helper()
	must(t, s.Flush(ctx))
	wb := s.db.NewWriteBatchAt(s.durable.seq)
	defer wb.Cancel()
	n := 0
	must(t, s.tiers.Load().active.each(func(key, val []byte, deleted bool) error {
		if n++; n%part != 0 {
			return nil
		}
		if deleted {
			return errors.New("nothing was deleted yet")
		}
		return wb.Set(key, val)
	}))
	must(t, wb.Flush())
}
