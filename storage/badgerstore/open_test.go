package badgerstore

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook/storage"
)

func TestFolderIsPrivateAndLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "queue")
	openStore(t, dir, Options{})
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode is %v, want 0700", info.Mode().Perm())
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("second opener: error is %v, want one that names another process", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{Durability: "sometimes"}); err == nil || !strings.Contains(err.Error(), "disk or process") {
		t.Errorf("error is %v, want one that names the durabilities", err)
	}
}

func TestProcessDurability(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{Durability: DurabilityProcess})
	appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true})
	must(t, s.Close())
	s = openStore(t, dir, Options{})
	got, _, err := s.Claim(ctx, key("w"), time.Now(), 1)
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("claimed %d, want 1", len(got))
	}
}

func TestUnknownFormatIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	must(t, txn.Set(keyFormat, []byte{77}))
	must(t, txn.CommitAt(s.db.MaxVersion()+1, nil))
	must(t, s.Close())
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "format") {
		t.Errorf("error is %v, want one that names the format", err)
	}
}
