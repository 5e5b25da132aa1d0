package badgerstore

import (
	"errors"
	"testing"

	"github.com/sidehook/sidehook/storage"
)

func kvChange(key string, revision int64) storage.Change {
	return storage.Change{Pair: storage.Pair{Key: key, Value: []byte("v"), Revision: revision}}
}

// TestKVFeedReset: after a failed commit nobody knows what became of it, so every watch ends and must list anew.
func TestKVFeedReset(t *testing.T) {
	f := newKVFeed(5, 10, 10)
	defer f.close()
	f.announce([]storage.Change{kvChange("a", 6)})
	ch, err := f.watch(t.Context(), "", 5)
	if err != nil {
		t.Fatal(err)
	}
	f.reset(7)
	if c := <-ch; c.Revision != 6 {
		t.Errorf("the backlog is %+v", c)
	}
	if _, ok := <-ch; ok {
		t.Error("the watch goes on")
	}
	if _, err := f.watch(t.Context(), "", 6); !errors.Is(err, storage.ErrCompacted) {
		t.Errorf("watch from before the reset: %v", err)
	}
	if _, err := f.watch(t.Context(), "", 7); err != nil {
		t.Errorf("watch from the reset: %v", err)
	}
}

// TestKVFeedAnnouncedLate: whoever listed a commit before it was announced is not told of it again.
func TestKVFeedAnnouncedLate(t *testing.T) {
	f := newKVFeed(5, 10, 10)
	defer f.close()
	ch, err := f.watch(t.Context(), "", 6) // 6 is visible already
	if err != nil {
		t.Fatal(err)
	}
	f.announce([]storage.Change{kvChange("a", 6)})
	f.announce([]storage.Change{kvChange("a", 7)})
	if c := <-ch; c.Revision != 7 {
		t.Errorf("the first change after 6 is %d", c.Revision)
	}
}

// TestKVFeedForgetsWholeRevisions: a watch that starts within what is remembered sees each later commit whole.
func TestKVFeedForgetsWholeRevisions(t *testing.T) {
	f := newKVFeed(0, 10, 3)
	defer f.close()
	f.announce([]storage.Change{kvChange("a", 1), kvChange("b", 1)})
	f.announce([]storage.Change{kvChange("a", 2), kvChange("b", 2)})
	if _, err := f.watch(t.Context(), "", 0); !errors.Is(err, storage.ErrCompacted) {
		t.Errorf("watch from a half forgotten revision: %v", err)
	}
	ch, err := f.watch(t.Context(), "", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(ch) != 2 {
		t.Errorf("%d changes are there, want 2", len(ch))
	}
}

// TestKVSyncs: what a power cut would show, kill -9 does not.
func TestKVSyncs(t *testing.T) {
	if o := kvBadgerOptions(t.TempDir(), nil); !o.SyncWrites || o.ValueThreshold < kvMaxValue+kvRevisionLen {
		t.Errorf("SyncWrites %v, ValueThreshold %d: a commit may not be on disk when it is acknowledged", o.SyncWrites,
			o.ValueThreshold)
	}
}

// TestKVFailedCommit: when Badger refuses, the error says so and is not a conflict.
func TestKVFailedCommit(t *testing.T) {
	kv, err := OpenKV(t.TempDir(), KVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.(*kvStore).db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = kv.Commit(t.Context(), nil, []storage.Op{{Key: "a"}})
	if err == nil || errors.Is(err, storage.ErrConflict) {
		t.Errorf("commit to a broken store: %v", err)
	}
	if err := kv.Close(); err != nil {
		t.Error(err)
	}
}
