package badgerstore

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// crashed makes a store with one queued delivery in each of n commits, none of them in a checkpoint, and leaves it as
// a crash would. It returns where the records are.
func crashed(t *testing.T, dir string, n int) (at []recordInfo, path string) {
	t.Helper()
	s, err := Open(dir, Options{})
	must(t, err)
	for i := range n {
		off := s.segs.end().off
		appendOne(t, s, i, storage.Placement{Webhook: key("w"), Queued: true})
		info, ok, err := recordAt(s.segs.cur, off)
		must(t, err)
		if !ok {
			t.Fatal("there is no record where one was written")
		}
		at = append(at, info)
	}
	path = s.segs.cur.path
	must(t, crashing{s}.Close())
	return at, path
}

// claimAll claims what can be claimed of the webhook w, and gives the events' ids.
func claimAll(t *testing.T, s *Store) (ids []string) {
	t.Helper()
	for {
		got, next, err := s.Claim(ctx, key("w"), time.Now().Add(time.Hour), 10)
		must(t, err)
		for _, c := range got {
			ids = append(ids, c.Event.ID)
		}
		if len(got) == 0 && next.IsZero() {
			return ids
		}
	}
}

func flip(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	var p [1]byte
	_, err = f.ReadAt(p[:], off)
	must(t, err)
	p[0] ^= 0x10
	_, err = f.WriteAt(p[:], off)
	must(t, err)
}

// overwrite writes n times the byte c.
func overwrite(t *testing.T, path string, off, n int64, c byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{c}, int(n)), off)
	must(t, err)
}

// TestDamagedLog: whatever happens to a record, the store opens, everything that can be read is there, and the loss is
// told; but for a last record that was never written whole, of which nobody was told.
func TestDamagedLog(t *testing.T) {
	const n = 5
	all := []string{"evt_0", "evt_1", "evt_2", "evt_3", "evt_4"}
	for name, test := range map[string]struct {
		spoil   func(t *testing.T, path string, at []recordInfo)
		want    string
		damaged bool
	}{
		"nothing": {func(*testing.T, string, []recordInfo) {}, "evt_0 evt_1 evt_2 evt_3 evt_4", false},
		"cut within the last record": {func(t *testing.T, path string, at []recordInfo) {
			must(t, os.Truncate(path, int64(at[4].off)+100))
		}, "evt_0 evt_1 evt_2 evt_3", true},
		"cut within the last head": {func(t *testing.T, path string, at []recordInfo) {
			must(t, os.Truncate(path, int64(at[4].off)+10))
		}, "evt_0 evt_1 evt_2 evt_3", true},
		"a sector of the last record not written": {func(t *testing.T, path string, at []recordInfo) {
			start := int64(at[4].off) + recordHead
			overwrite(t, path, start, sector-start%sector, 0)
		}, "evt_0 evt_1 evt_2 evt_3", false},
		"an older record under the last": {func(t *testing.T, path string, at []recordInfo) {
			old := make([]byte, recordHead+8)
			sealRecord(old, &segment{id: 1000, salt: 7}, 3, recordHead)
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			_, err = f.WriteAt(old, int64(at[4].off)+4*recordAlign)
			must(t, err)
		}, "evt_0 evt_1 evt_2 evt_3", false},
		"bit in the last body": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, int64(at[4].off)+recordHead+50)
		}, "evt_0 evt_1 evt_2 evt_3", true},
		"bit in the last ops": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, at[4].opsAt()+5)
		}, "evt_0 evt_1 evt_2 evt_3 evt_4", true},
		"cut to nothing": {func(t *testing.T, path string, at []recordInfo) { must(t, os.Truncate(path, 0)) }, "", true},
		"bit in a head": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, int64(at[2].off)+9)
		}, "evt_0 evt_1 evt_2 evt_3 evt_4", false},
		"a head overwritten": {func(t *testing.T, path string, at []recordInfo) {
			overwrite(t, path, int64(at[2].off), recordHead, 0xa5)
		}, "evt_0 evt_1 evt_3 evt_4", true},
		"bit in a body": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, int64(at[1].off)+recordHead+60)
		}, "evt_0 evt_2 evt_3 evt_4", true},
		"bit in the ops": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, at[3].opsAt()+5)
		}, "evt_0 evt_1 evt_2 evt_3 evt_4", true},
		"ops overwritten": {func(t *testing.T, path string, at []recordInfo) {
			overwrite(t, path, at[3].opsAt(), int64(at[3].ops), 0xff)
		}, "evt_0 evt_1 evt_2 evt_3 evt_4", true},
		"bits in body and ops": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, int64(at[3].off)+recordHead+60)
			flip(t, path, at[3].opsAt()+5)
		}, "evt_0 evt_1 evt_2 evt_4", true},
		"bit in the segment's head": {func(t *testing.T, path string, at []recordInfo) {
			flip(t, path, 18)
		}, "evt_0 evt_1 evt_2 evt_3 evt_4", false},
		"segment's head overwritten": {func(t *testing.T, path string, at []recordInfo) {
			overwrite(t, path, 8, 20, 0xff)
		}, "", true},
		"segment missing": {func(t *testing.T, path string, at []recordInfo) { must(t, os.Remove(path)) }, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at, path := crashed(t, dir, n)
			test.spoil(t, path, at)
			for round := range 2 { // what was found must be settled by the next start
				s, err := Open(dir, Options{})
				must(t, err)
				got := strings.Join(claimAll(t, s), " ")
				if got != test.want {
					t.Errorf("start %d: %s are left of %v, want %s", round, got, all, test.want)
				}
				if damaged := s.Damaged() > 0; round == 0 && damaged != test.damaged {
					t.Errorf("%d damaged, want some: %v", s.Damaged(), test.damaged)
				}
				must(t, s.Flush(ctx))
				if pending := len(strings.Fields(got)); s.Stats().Pending != int64(pending) {
					t.Errorf("start %d: %d pending, want %d", round, s.Stats().Pending, pending)
				}
				_, err = s.Deliveries(ctx, storage.Query{})
				must(t, err)
				checkLive(t, s)
				must(t, s.Close())
			}
			// And it is as good as new.
			s := openStore(t, dir, Options{})
			appendOne(t, s, 9, storage.Placement{Webhook: key("w"), Queued: true})
			if got := claimAll(t, s); !strings.HasSuffix(strings.Join(got, " "), "evt_9") {
				t.Errorf("a new event is not there: %v", got)
			}
		})
	}
}

// TestTornWriteIsOverwritten: after a torn write the next records go to its place, and survive.
func TestTornWriteIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	at, path := crashed(t, dir, 3)
	overwrite(t, path, int64(at[2].off)+sector, sector, 0)
	s, err := Open(dir, Options{})
	must(t, err)
	appendOne(t, s, 7, storage.Placement{Webhook: key("w"), Queued: true})
	must(t, crashing{s}.Close())
	s = openStore(t, dir, Options{})
	if got := strings.Join(claimAll(t, s), " "); got != "evt_0 evt_1 evt_7" {
		t.Errorf("claimed %s", got)
	}
	checkHealth(t, s)
}

// TestForgedRecord: data that looks like a record does not pass for one, for it cannot know the segment's salt.
func TestForgedRecord(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	must(t, err)
	forged := make([]byte, recordHead+8)
	sealRecord(forged, &segment{id: s.segs.cur.id, salt: 1}, 1<<40, recordHead)
	data := make([]byte, 0, 4096)
	for len(data) < 4096 {
		data = append(data, 0)
		if len(data)%recordAlign == 0 {
			data = append(data, forged...)
		}
	}
	e := benchEvent(0, 100)
	e.Data = data
	b := storage.NewBatch([]storage.Entry{{Event: e, Deliveries: []storage.Placement{{Webhook: key("w"), Queued: true}}}})
	off := s.segs.end().off
	must(t, s.Append(ctx, b))
	must(t, b.Wait(ctx))
	appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true})
	path := s.segs.cur.path
	must(t, crashing{s}.Close())
	overwrite(t, path, off, recordHead, 0xa5) // so that the search for the next record goes through the data
	s = openStore(t, dir, Options{})
	if got := strings.Join(claimAll(t, s), " "); got != "evt_1" {
		t.Errorf("claimed %s", got)
	}
	if s.marks.seq > 1<<30 {
		t.Error("a forged record was replayed")
	}
}

// TestDiskWithoutRoom: a write that finds no room is a FullError, nothing of it is stored, and results are written when
// there is room again.
func TestDiskWithoutRoom(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	p := appendOne(t, s, 1, storage.Placement{Webhook: key("w")})
	must(t, s.Flush(ctx))
	var fail atomic.Int64
	s.fault = func() error {
		if fail.Add(-1) >= 0 {
			return &fs.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
		}
		return nil
	}
	fail.Store(3)
	b := storage.NewBatch([]storage.Entry{{Event: benchEvent(2, 500), Deliveries: []storage.Placement{{Webhook: key("w"), Queued: true}}}})
	r := benchResult(p[0].ID, key("w"), 1)
	r.State, r.Save = sidehook.Pending, &storage.SavedRequest{Body: []byte("the body as first sent"), ContentType: "a/b"}
	must(t, s.Record(ctx, []storage.Result{r}))
	must(t, s.Append(ctx, b))
	var full *sidehook.FullError
	if err := b.Wait(ctx); !errors.As(err, &full) {
		t.Fatalf("a batch on a full disk: %v, want a FullError", err)
	}
	must(t, s.Flush(ctx))
	checkLive(t, s)
	must(t, crashing{s}.Close())
	s = openStore(t, dir, Options{})
	got, _, err := s.Claim(ctx, key("w"), time.Now().Add(time.Hour), 10)
	must(t, err)
	if len(got) != 1 || got[0].Saved == nil || string(got[0].Saved.Body) != "the body as first sent" {
		t.Fatalf("claimed %+v, want the delivery of the first event with its saved request", got)
	}
	checkHealth(t, s)
}

// TestNoRoomForASegment: when no further file can be made the current one goes on.
func TestNoRoomForASegment(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{segmentSize: 16 << 10})
	blocked := filepath.Join(dir, "000001"+segmentSuffix)
	must(t, os.WriteFile(blocked, nil, 0o600))
	for i := range 40 {
		appendOne(t, s, i, storage.Placement{Webhook: key("w"), Queued: true})
	}
	if got := claimAll(t, s); len(got) != 40 {
		t.Errorf("claimed %d of 40", len(got))
	}
	checkHealth(t, s)
}

// TestOlderLayoutIsRefused: a folder of the layout before segments is left as it is.
func TestOlderLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	txn := s.db.NewTransactionAt(1<<40, true)
	must(t, txn.Set(keyFormat, []byte{1}))
	must(t, txn.CommitAt(1<<40, nil))
	must(t, s.Close())
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "format 01") {
		t.Errorf("error is %v, want one that names the format", err)
	}
}
