package badgerstore

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

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
