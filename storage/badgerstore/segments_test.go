package badgerstore

import (
	"maps"
	"testing"
)

// checkLive compares what the segments count as live with what entries refer to.
func checkLive(t testing.TB, s *Store) {
	t.Helper()
	var got, want map[uint32]int64
	for range 20 { // housekeeping may move blobs meanwhile
		must(t, s.Flush(ctx))
		if got, want = liveNow(t, s); maps.Equal(got, want) {
			return
		}
	}
	t.Fatalf("segments count %v bytes live, entries refer to %v", got, want)
}

func liveNow(t testing.TB, s *Store) (got, want map[uint32]int64) {
	t.Helper()
	want, got = make(map[uint32]int64), make(map[uint32]int64)
	must(t, s.view(func(m *moment) error {
		var err error
		want, err = liveBytes(m)
		return err
	}))
	s.segs.mu.RLock()
	defer s.segs.mu.RUnlock()
	for id, g := range s.segs.byID {
		if g.live != 0 {
			got[id] = g.live
		}
	}
	maps.DeleteFunc(want, func(_ uint32, n int64) bool { return n == 0 })
	return got, want
}
