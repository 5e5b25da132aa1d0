package badgerstore

import (
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// TestOldestWhileQueuedAgain: what is asked for the age of the oldest pending delivery while one of an older batch is
// queued again does not have later askers, nor the next start, pass that batch.
func TestOldestWhileQueuedAgain(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	old := appendOne(t, s, 1, storage.Placement{Webhook: key("w")})[0]
	accepted := s.Stats().OldestPending
	record(t, s, benchResult(old.ID, key("w"), 1))
	appendOne(t, s, 2, storage.Placement{Webhook: key("w"), Queued: true})
	if at := s.Stats().OldestPending; !at.After(accepted) {
		t.Fatalf("oldest at %v, but what was accepted at %v has ended", at, accepted)
	}
	must(t, s.Flush(ctx))
	asked := false
	// The committer is idle, and sees the field by the lock that the next submission takes.
	s.fault = func() error {
		asked = true
		s.Stats()
		return nil
	}
	n, err := s.Requeue(ctx, []sidehook.DeliveryID{old.ID}, time.Now())
	must(t, err)
	if n != 1 || !asked {
		t.Fatalf("%d queued again, asked meanwhile: %v", n, asked)
	}
	if at := s.Stats().OldestPending; !at.Equal(accepted) {
		t.Errorf("oldest at %v, want %v", at, accepted)
	}
	must(t, s.Close())
	s = openStore(t, dir, Options{})
	if at := s.Stats().OldestPending; !at.Equal(accepted) {
		t.Errorf("after a restart oldest at %v, want %v", at, accepted)
	}
}

// TestOldestOfALookThatTookLong: a look that began before a batch was queued again, and found a later one, changes
// nothing after that.
func TestOldestOfALookThatTookLong(t *testing.T) {
	var o oldest
	_, downs := o.at()
	o.raise(7, downs)
	_, before := o.at()
	o.lower(9) // behind it, but a look that is under way may pass it
	o.raise(12, before)
	if from, _ := o.at(); from != 7 {
		t.Errorf("it is at %d, want 7", from)
	}
	_, after := o.at()
	o.raise(9, after)
	o.raise(8, after)
	if from, _ := o.at(); from != 9 {
		t.Errorf("it is at %d, want 9", from)
	}
}
