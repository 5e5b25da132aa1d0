package badgerstore

import (
	"slices"
	"testing"
	"time"

	"github.com/sidehook/sidehook/storage"
)

// TestSalvageAfterAClockThatWasSetBack: the events of a record whose entries are damaged are found although they seem to
// be older than those of the batches before.
func TestSalvageAfterAClockThatWasSetBack(t *testing.T) {
	for name, window := range map[string]time.Duration{"with dedupe": time.Hour, "without dedupe": -1} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			now := time.Now()
			opts := Options{Options: storage.Options{DedupeWindow: window, Now: func() time.Time { return now }}}
			s, err := Open(dir, opts)
			must(t, err)
			w := storage.Placement{Webhook: key("w"), Queued: true}
			appendOne(t, s, 1, w)
			must(t, s.Close())
			now = now.Add(-30 * time.Minute)
			s, err = Open(dir, opts)
			must(t, err)
			off := s.segs.end().off
			appendOne(t, s, 2, w)
			info, ok, err := recordAt(s.segs.cur, off)
			must(t, err)
			if !ok {
				t.Fatal("there is no record where one was written")
			}
			appendOne(t, s, 3, w)
			path := s.segs.cur.path
			must(t, crashing{s}.Close())
			flip(t, path, info.opsAt()+3)

			s = openStore(t, dir, opts)
			ids := claimAll(t, s)
			slices.Sort(ids)
			if want := []string{"evt_1", "evt_2", "evt_3"}; !slices.Equal(ids, want) {
				t.Errorf("claimed %v, want %v", ids, want)
			}
		})
	}
}
