package badgerstore

import (
	"context"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/storagetest"
)

func openStore(t testing.TB, dir string, opts Options) *Store {
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
