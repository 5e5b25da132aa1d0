package badgerstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/kvtest"
)

func openKV(t *testing.T, dir string, opts KVOptions) storage.KV {
	t.Helper()
	kv, err := OpenKV(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kv.Close(); err != nil {
			t.Error(err)
		}
	})
	return kv
}

func kvPut(t *testing.T, kv storage.KV, key, value string) int64 {
	t.Helper()
	rev, err := kv.Commit(t.Context(), nil, []storage.Op{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func TestKVSuite(t *testing.T) {
	kvtest.Run(t, kvtest.Backend{
		Durable: true,
		Open:    func(t *testing.T, dir string) storage.KV { return openKV(t, dir, KVOptions{}) },
	})
}

func TestKVWatchIsCompacted(t *testing.T) {
	kv := openKV(t, t.TempDir(), KVOptions{WatchHistory: 10})
	first := kvPut(t, kv, "a", "1")
	for i := range 20 {
		kvPut(t, kv, "a", strconv.Itoa(i))
	}
	if _, err := kv.Watch(t.Context(), "", first); !errors.Is(err, storage.ErrCompacted) {
		t.Fatalf("watch from revision %d: %v", first, err)
	}
	ch, err := kv.Watch(t.Context(), "", first+10)
	if err != nil {
		t.Fatal(err)
	}
	for want := first + 11; want <= first+20; want++ {
		if c := <-ch; c.Revision != want {
			t.Fatalf("got revision %d, want %d", c.Revision, want)
		}
	}
}

func TestKVWatchHistoryIsBoundedInBytes(t *testing.T) {
	kv := openKV(t, t.TempDir(), KVOptions{})
	first := kvPut(t, kv, "a", "1")
	big := strings.Repeat("v", kvMaxValue)
	for range kvMaxHistoryBytes/kvMaxValue + 1 {
		kvPut(t, kv, "a", big)
	}
	if _, err := kv.Watch(t.Context(), "", first); !errors.Is(err, storage.ErrCompacted) {
		t.Fatalf("watch from revision %d: %v", first, err)
	}
}

func TestKVIsCompactedAfterRestart(t *testing.T) {
	dir := t.TempDir()
	kv := openKV(t, dir, KVOptions{})
	first := kvPut(t, kv, "a", "1")
	kvPut(t, kv, "a", "2")
	if err := kv.Close(); err != nil {
		t.Fatal(err)
	}
	kv = openKV(t, dir, KVOptions{})
	if _, err := kv.Watch(t.Context(), "", first); !errors.Is(err, storage.ErrCompacted) {
		t.Fatalf("watch from before the restart: %v", err)
	}
}

func TestKVRefusesPutsOnFullDisk(t *testing.T) {
	free := int64(1 << 30)
	opts := KVOptions{freeDisk: func(string) (int64, error) { return free, nil }}
	kv := openKV(t, t.TempDir(), opts)
	kvPut(t, kv, "a", "1")
	free = 63 << 20
	_, err := kv.Commit(t.Context(), nil, []storage.Op{{Key: "b", Value: []byte("2")}})
	var full *sidehook.FullError
	if !errors.As(err, &full) || full.RetryAfter <= 0 {
		t.Fatalf("put on a full disk: %v", err)
	}
	if _, err := kv.Get(t.Context(), "a"); err != nil {
		t.Errorf("get on a full disk: %v", err)
	}
	if _, err := kv.Commit(t.Context(), nil, []storage.Op{{Key: "a", Delete: true}}); err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
	if _, err := OpenKV(t.TempDir(), KVOptions{freeDisk: func(string) (int64, error) { return 1 << 20, nil }}); !errors.Is(err, sidehook.ErrFull) {
		t.Errorf("open on a full disk: %v", err)
	}
}

func TestKVFreeDisk(t *testing.T) {
	if free, err := freeBytes(t.TempDir()); err != nil || free <= 0 {
		t.Fatalf("%d bytes free, %v", free, err)
	}
	if _, err := freeBytes(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Fatal("a folder that is not there has free space")
	}
}

func TestKVFolderIsPrivateAndLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "store")
	openKV(t, dir, KVOptions{})
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if _, err := OpenKV(dir, KVOptions{}); err == nil {
		t.Fatal("two stores have the same folder open")
	}
}

// kvChildDir tells a process that it is the child of TestKVSurvivesKill.
const kvChildDir = "SIDEHOOK_TEST_KV_DIR"

// TestKVChild is the body of the child process: it commits, and says so on its standard output, until it is killed.
func TestKVChild(t *testing.T) {
	dir := os.Getenv(kvChildDir)
	if dir == "" {
		return // not a test of its own
	}
	kv, err := OpenKV(dir, KVOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		rev, err := kv.Commit(context.Background(), nil, []storage.Op{
			{Key: fmt.Sprintf("n/%08d", i), Value: []byte("v")}, {Key: "last", Value: []byte(strconv.Itoa(i))},
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("acked %d %d\n", i, rev)
	}
}

// TestKVSurvivesKill kills a process in the middle of its commits: everything acknowledged is there, and no commit is
// there in part.
func TestKVSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		acked, revision := killedCommits(t, dir, 200)
		kv := openKV(t, dir, KVOptions{})
		pairs, at, err := kv.List(t.Context(), "n/")
		if err != nil {
			t.Fatal(err)
		}
		last, err := kv.Get(t.Context(), "last")
		if err != nil {
			t.Fatal(err)
		}
		if at < revision || int64(len(pairs)) <= acked {
			t.Fatalf("acknowledged %d at revision %d; found %d pairs at revision %d", acked, revision, len(pairs), at)
		}
		n, err := strconv.Atoi(string(last.Value))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := kv.Get(t.Context(), fmt.Sprintf("n/%08d", n)); err != nil || got.Revision != last.Revision {
			t.Fatalf("commit %d is there in part: at %d, last at %d, %v", n, got.Revision, last.Revision, err)
		}
		if err := kv.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killedCommits runs the child until it has acknowledged n commits, kills it, and returns the last it acknowledged.
func killedCommits(t *testing.T, dir string, n int) (acked, revision int64) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKVChild$", "-test.count=1")
	child.Env = append(os.Environ(), kvChildDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	seen := 0
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "acked %d %d", &acked, &revision); err != nil {
			continue // the last line may be cut
		}
		if seen++; seen == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || seen < n {
		t.Fatalf("the child ended by itself after %d commits: %v", seen, err)
	}
	return acked, revision
}
