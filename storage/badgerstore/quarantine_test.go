package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

const damagedEvents = 600

// damagedFolders makes two folders with as many queued deliveries: of a queue that was closed, and of one that crashed.
func damagedFolders(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	closed, crashed := filepath.Join(dir, "closed"), filepath.Join(dir, "crashed")
	s, err := Open(closed, Options{})
	must(t, err)
	g := newBenchBatches(1, true)
	g.hooks = []sidehook.WebhookKey{key("w")}
	for range damagedEvents / 100 {
		b := g.batch(100)
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
	}
	must(t, os.CopyFS(crashed, os.DirFS(closed)))
	must(t, s.Close())
	return map[string]string{"closed": closed, "crashed": crashed}
}

// harm does something to a file.
type harm struct {
	name string
	do   func(t *testing.T, path string)
}

func flipAt(share float64) harm {
	return harm{fmt.Sprintf("flip at %d%%", int(100*share)), func(t *testing.T, path string) {
		b, err := os.ReadFile(path)
		must(t, err)
		if len(b) == 0 {
			return
		}
		b[int(share*float64(len(b)-1))] ^= 0x10
		must(t, os.WriteFile(path, b, 0o600))
	}}
}

var (
	missing  = harm{"missing", func(t *testing.T, path string) { must(t, os.Remove(path)) }}
	empty    = harm{"empty", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }}
	cutShort = harm{"cut short", func(t *testing.T, path string) {
		info, err := os.Stat(path)
		must(t, err)
		must(t, os.Truncate(path, info.Size()/2))
	}}
	otherKey = harm{"another key", func(t *testing.T, path string) {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		_, err = f.WriteAt([]byte{1, 2, 3, 4}, 2)
		must(t, errors.Join(err, f.Close()))
	}}
	flips = []harm{flipAt(0), flipAt(.1), flipAt(.5), flipAt(.9), flipAt(1)}
)

// harms are what is done to each of Badger's files, by its extension or name, and whether that costs the database.
var harms = map[string]struct {
	fatal, harmless []harm
}{
	".sst":        {append(flips, missing, empty, cutShort), nil},
	"MANIFEST":    {append(flips, missing, empty), nil},
	"KEYREGISTRY": {nil, append(flips, missing, empty, cutShort)},
	".vlog":       {nil, []harm{missing, empty, otherKey}},
	".mem":        {nil, append(flips, missing, empty, cutShort, otherKey)}, // what it held is in the log
}

// TestDamagedDatabase: whatever happens to a file of Badger's, the queue opens with all that was in it; when the database
// is lost it is rebuilt, with the damaged files aside as they were, and saying so.
func TestDamagedDatabase(t *testing.T) {
	tried := map[string]bool{}
	for state, from := range damagedFolders(t) {
		entries, err := os.ReadDir(from)
		must(t, err)
		for _, e := range entries {
			kind := filepath.Ext(e.Name())
			if kind == "" {
				kind = e.Name()
			}
			info, err := e.Info()
			must(t, err)
			if info.Size() == 0 {
				continue
			}
			tried[kind] = true
			for fatal, list := range map[bool][]harm{true: harms[kind].fatal, false: harms[kind].harmless} {
				for _, h := range list {
					t.Run(state+"/"+e.Name()+"/"+h.name, func(t *testing.T) { tryDamage(t, from, e.Name(), h, fatal) })
				}
			}
		}
	}
	for kind := range harms {
		if !tried[kind] {
			t.Errorf("there is no %s to damage", kind)
		}
	}
}

func tryDamage(t *testing.T, from, name string, h harm, fatal bool) {
	dir := filepath.Join(t.TempDir(), "queue")
	must(t, os.CopyFS(dir, os.DirFS(from)))
	h.do(t, filepath.Join(dir, name))
	harmed, harmedErr := os.ReadFile(filepath.Join(dir, name))
	var log bytes.Buffer
	s, aside, err := OpenOrSetAside(dir, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	if fatal {
		if now, err := os.ReadFile(filepath.Join(aside, name)); aside == "" || !bytes.Equal(now, harmed) || (err == nil) != (harmedErr == nil) {
			t.Errorf("what was set aside (%q) is not as it was: %v", aside, err)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), aside) {
			t.Errorf("the log does not say so:\n%s", &log)
		}
	} else if aside != "" {
		t.Errorf("was set aside:\n%s", &log)
	}
	if _, rebuilt := s.Rebuilt(); fatal && !rebuilt {
		t.Error("does not say that it was rebuilt")
	}
	if got := len(claimW(t, s)); got != damagedEvents {
		t.Errorf("%d deliveries are there, want %d", got, damagedEvents)
	}
	checkHealth(t, s)
	appendOne(t, s, 1_000_000, storage.Placement{Webhook: key("w"), Queued: true})
	if got := claimW(t, s); len(got) != 1 {
		t.Errorf("a new event came back as %v", got)
	}
}

// claimW claims everything of the webhook w, and gives the events' ids.
func claimW(t *testing.T, s *Store) (ids []string) {
	t.Helper()
	for {
		got, _, err := s.Claim(ctx, key("w"), time.Now().Add(time.Hour), 1000)
		must(t, err)
		for _, c := range got {
			ids = append(ids, c.Event.ID)
		}
		if len(got) == 0 {
			slices.Sort(ids)
			return slices.Compact(ids)
		}
	}
}

// TestNothingIsSetAsideWithoutDamage: trouble of another kind is an error, and the folder stays where it is.
func TestNothingIsSetAsideWithoutDamage(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		opts    Options
		says    string
	}{
		"in use":       {func(t *testing.T, dir string) { openStore(t, dir, Options{}) }, Options{}, "another process"},
		"disk full":    {func(*testing.T, string) {}, Options{MinFreeBytes: 1 << 60}, "free"},
		"other format": {func(t *testing.T, dir string) { writeFormat(t, dir, 77) }, Options{}, "format"},
		"no option":    {func(*testing.T, string) {}, Options{Durability: "some"}, "durability"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "queue")
			must(t, os.Mkdir(dir, 0o700))
			c.prepare(t, dir)
			_, aside, err := OpenOrSetAside(dir, c.opts)
			if err == nil || aside != "" || !strings.Contains(err.Error(), c.says) {
				t.Errorf("aside %q, error %v, want one that says %q", aside, err, c.says)
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
				t.Errorf("there is more than the queue now: %v, %v", entries, err)
			}
		})
	}
}

// writeFormat makes a queue of another format.
func writeFormat(t *testing.T, dir string, format byte) {
	t.Helper()
	s, err := Open(dir, Options{})
	must(t, err)
	txn := s.db.NewTransactionAt(1<<40, true)
	must(t, txn.Set(keyFormat, []byte{format}))
	must(t, txn.CommitAt(1<<40, nil))
	must(t, s.Close())
}

// TestPanicOverWhatWasRead: a start that panics over what it reads lets go of the folder, so that it can be set aside.
func TestPanicOverWhatWasRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "queue")
	s, err := Open(dir, Options{})
	must(t, err)
	appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true})
	must(t, crashing{s}.Close())
	must(t, os.Remove(filepath.Join(dir, "MANIFEST")))
	panics := 1
	opts := Options{mendFault: func(string) error {
		if panics--; panics == 0 {
			panic("an entry that nobody thought of")
		}
		return nil
	}}
	s, aside, err := OpenOrSetAside(dir, opts)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	if _, err := os.Stat(filepath.Join(aside, "MANIFEST")); err != nil {
		t.Errorf("the folder that the start panicked over is not in %q: %v", aside, err)
	}
	goesOn(t, s)
}
