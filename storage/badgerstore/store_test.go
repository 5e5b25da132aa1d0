package badgerstore

import (
	"context"
	"log/slog"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/storagetest"
)

func openStore(t testing.TB, dir string, opts Options) *Store {
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	t.Helper()
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t testing.TB) storagetest.Harness {
		dir := t.TempDir()
		return storagetest.Harness{Open: func(t testing.TB, opts storage.Options) storage.Store {
			return openStore(t, dir, Options{Options: opts})
		}}
	})
}

// crashing is a store whose Close leaves what a crash would: a log beyond its last checkpoint.
type crashing struct{ *Store }

func (c crashing) Close() error { return c.end(func() error { return nil }) }

// TestSuiteOverCrashes runs the suite with stores that never close cleanly, and whose segments and checkpoints are so
// small that each test goes through many.
func TestSuiteOverCrashes(t *testing.T) {
	for name, opts := range map[string]Options{
		"log only":         {},
		"many segments":    {segmentSize: 4 << 10},
		"many checkpoints": {segmentSize: 16 << 10, overlayFull: 1 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t testing.TB) storagetest.Harness {
				dir := t.TempDir()
				return storagetest.Harness{Open: func(t testing.TB, o storage.Options) storage.Store {
					opts.Options = o
					s, err := Open(dir, opts)
					must(t, err)
					t.Cleanup(func() {
						checkHealth(t, s)
						must(t, s.Close())
					})
					return crashing{s}
				}}
			})
		})
	}
}

// checkHealth checks what must hold of any store that nothing has damaged.
func checkHealth(t testing.TB, s *Store) {
	t.Helper()
	if n := s.segs.damaged.Load(); n != 0 {
		t.Errorf("%d records or blobs count as damaged", n)
	}
	if s.in.closed {
		return
	}
	checkLive(t, s)
}

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
