package badgerstore

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

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

// TestNoCheckpointOnAFullDisk: Badger is left alone while the disk is nearly full; the log goes on, and the next start
// replays it.
func TestNoCheckpointOnAFullDisk(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	opts := Options{freeBytes: func(string) (int64, error) { return free.Load(), nil }}
	dir := t.TempDir()
	s := openStore(t, dir, opts)
	p := appendOne(t, s, 1, storage.Placement{Webhook: key("w")})
	before := s.db.MaxVersion()
	free.Store(10 << 20)
	var full *sidehook.FullError
	if err := s.flush(s.tiers.Load().active); !errors.As(err, &full) {
		t.Fatalf("checkpoint on a full disk: %v, want a FullError", err)
	}
	record(t, s, benchResult(p[0].ID, key("w"), 1))
	must(t, s.lastCheckpoint())
	if v := s.db.MaxVersion(); v != before {
		t.Errorf("Badger was written to: version %d, was %d", v, before)
	}
	must(t, s.Close())
	free.Store(1 << 40)
	s = openStore(t, dir, opts)
	if n := s.Stats().Pending; n != 0 {
		t.Errorf("%d pending after the restart, want none", n)
	}
	checkHealth(t, s)
}

func TestFreeBytes(t *testing.T) {
	if n, err := freeBytes(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("freeBytes = %d, %v", n, err)
	}
	if _, err := freeBytes(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("freeBytes of a missing folder gives no error")
	}
}
