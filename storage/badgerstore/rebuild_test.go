package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// bodySize is how large the events of these tests are.
const bodySize = 700

// delivery is one event for one webhook.
type delivery struct {
	webhook sidehook.WebhookKey
	event   int
}

// ledger is what a store must and may claim after a damage.
type ledger struct {
	origin  uint32
	pending map[delivery]bool
	ended   map[delivery]bool
}

func (l *ledger) count(d delivery, pending bool) {
	if pending {
		l.pending[d] = true
		return
	}
	delete(l.pending, d)
	l.ended[d] = true
}

// smallStore has a store go through many segments and checkpoints.
var smallStore = Options{
	Options:     storage.Options{HistoryBytes: 24 << 10},
	segmentSize: 24 << 10, overlayFull: 8 << 10, overlayLog: 48 << 10,
}

// tried opens what smallStore made. No power is lost in these tests, and syncs are most of their time.
var tried = func() Options {
	o := smallStore
	o.Durability = DurabilityProcess
	return o
}()

// fillAll makes a store with deliveries in every state: never attempted, due later, waiting for a retry, on their way, held,
// and delivered, at once or much later, while segments are given up, used again and rewritten. It leaves two folders: of a
// store that was closed, and of one that crashed.
func fillAll(t *testing.T) (folders map[string]string, l *ledger) {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "closed")
	s, err := Open(dir, smallStore)
	must(t, err)
	l = &ledger{origin: s.origin, pending: make(map[delivery]bool), ended: make(map[delivery]bool)}
	later := time.Now().Add(30 * time.Minute)
	var late []storage.Result
	for n := range 400 {
		plan := map[string]storage.Placement{"done": {}}
		if n%12 == 0 || n > 300 {
			plan["never"] = storage.Placement{Queued: true}
			plan["later"] = storage.Placement{Queued: true, DueAt: later}
			plan["retry"], plan["underway"], plan["late"] = storage.Placement{}, storage.Placement{}, storage.Placement{}
		}
		if n%40 == 0 {
			plan["held"] = storage.Placement{Queued: true}
		}
		var ps []storage.Placement
		for _, name := range slices.Sorted(maps.Keys(plan)) {
			p := plan[name]
			if p.Webhook = key(name); name == "held" {
				p.Webhook = storage.HoldQueue
			}
			ps = append(ps, p)
		}
		b := storage.NewBatch([]storage.Entry{{Event: benchEvent(n, bodySize), Deliveries: ps}})
		must(t, s.Append(ctx, b))
		must(t, b.Wait(ctx))
		var results []storage.Result
		for _, p := range ps {
			r := benchResult(p.ID, p.Webhook, n)
			d := delivery{p.Webhook, n}
			switch p.Webhook.ID {
			case "done":
				results = append(results, r)
			case "retry":
				r.State, r.DueAt = sidehook.Pending, later
				r.Save = &storage.SavedRequest{Body: benchEvent(n+1000, 200).Data, ContentType: "a/b"}
				results = append(results, r)
			case "late":
				late = append(late, r)
			}
			l.count(d, p.Webhook.ID != "done" && p.Webhook.ID != "late")
		}
		record(t, s, results...)
		if n%100 == 99 {
			record(t, s, late...)
			late = nil
			settle(t, s, "segments given up", func() bool { return s.victim.Load() == 0 })
		}
	}
	record(t, s, late...)
	for _, n := range []int{310, 320, 330} { // put back, so that their runs are written by other records
		got, _, err := s.Claim(ctx, key("never"), time.Now(), n)
		must(t, err)
		back := make([]storage.Unclaimed, len(got))
		for i, c := range got {
			back[i] = storage.Unclaimed{ID: c.ID, Webhook: c.Webhook}
			if i%7 == 0 {
				back[i].DueAt = later
			}
		}
		must(t, s.Unclaim(ctx, back))
	}
	must(t, s.Flush(ctx))
	must(t, crashing{s}.Close())
	crashed := filepath.Join(parent, "crashed")
	must(t, os.CopyFS(crashed, os.DirFS(dir)))
	s, err = Open(dir, smallStore)
	must(t, err)
	must(t, s.Close())
	return map[string]string{"closed": dir, "crashed": crashed}, l
}

// eventsIn lists the events with a block in a stretch of a segment file.
func eventsIn(t *testing.T, path string, from, to int64) map[int]bool {
	t.Helper()
	in := make(map[int]bool)
	eachBlockIn(t, path, func(_ recordInfo, ref blobRef, events []int) {
		if int64(ref.off) < to && int64(ref.off)+ref.stored() > from {
			for _, n := range events {
				in[n] = true
			}
		}
	})
	return in
}

// eachBlockIn visits the blocks that the records of a segment file brought.
func eachBlockIn(t *testing.T, path string, visit func(info recordInfo, ref blobRef, events []int)) {
	t.Helper()
	eachRecordIn(t, path, func(g *segment, info recordInfo, list recordOps) {
		for _, o := range list.ops {
			if o.del || o.key[0] != spaceBatch {
				continue
			}
			seq, err := seqOf(o.key)
			must(t, err)
			b, err := decodeBatch(seq, o.val)
			must(t, err)
			for _, at := range b.blocks {
				if at.ref.seg != g.id || at.ref.off < info.off || int64(at.ref.off) >= info.opsAt() {
					continue
				}
				p := make([]byte, at.ref.stored())
				_, err := g.file.ReadAt(p, int64(at.ref.off))
				must(t, err)
				bl, err := decodeBlock(p[blobHead:])
				must(t, err)
				var events []int
				for i := range bl.entries {
					e, err := decodeEvent(bl.entries[i].record)
					must(t, err)
					events = append(events, atoi(t, strings.TrimPrefix(e.ID, "evt_")))
				}
				visit(info, at.ref, events)
			}
		}
	})
}

func eachRecordIn(t *testing.T, path string, visit func(g *segment, info recordInfo, list recordOps)) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	g := &segment{file: f, path: path}
	_, err = g.readHead()
	must(t, err)
	for off := int64(segmentHead); g.id != 0; {
		info, at, err := findRecord(g, off)
		must(t, err)
		if at < 0 {
			return
		}
		ops := make([]byte, info.ops)
		_, err = f.ReadAt(ops, info.opsAt())
		must(t, err)
		list, err := decodeOps(ops)
		must(t, err)
		visit(g, info, list)
		off = alignUp(at + info.size())
	}
}

// spoiling does something to a segment file; it gives the events whose bytes that cost.
type spoiling func(t *testing.T, path string) map[int]bool

// recordOf gives a record in the middle of a segment file that brought a block, and the block.
func recordOf(t *testing.T, path string) (recordInfo, blobRef) {
	t.Helper()
	var infos []recordInfo
	var refs []blobRef
	eachBlockIn(t, path, func(info recordInfo, ref blobRef, _ []int) { infos, refs = append(infos, info), append(refs, ref) })
	if len(infos) == 0 {
		return recordInfo{}, blobRef{}
	}
	return infos[len(infos)/2], refs[len(refs)/2]
}

const untouched = "left as it is"

var spoilings = map[string]spoiling{
	untouched: func(*testing.T, string) map[int]bool { return nil },
	"bit in the head": func(t *testing.T, path string) map[int]bool {
		flip(t, path, 11)
		return nil
	},
	"bit in a record's head": func(t *testing.T, path string) map[int]bool {
		info, _ := recordOf(t, path)
		flip(t, path, int64(info.off)+17)
		return nil
	},
	"bit in a body": func(t *testing.T, path string) map[int]bool {
		_, ref := recordOf(t, path)
		at := int64(ref.off) + ref.stored()/2
		lost := eventsIn(t, path, at, at+1)
		flip(t, path, at)
		return lost
	},
	"bits in entries": func(t *testing.T, path string) map[int]bool {
		info, _ := recordOf(t, path)
		flip(t, path, info.opsAt()+3)
		flip(t, path, info.opsAt()+int64(info.ops)/2)
		return nil
	},
	"entries overwritten everywhere": func(t *testing.T, path string) map[int]bool {
		var infos []recordInfo
		eachBlockIn(t, path, func(info recordInfo, _ blobRef, _ []int) { infos = append(infos, info) })
		for _, info := range infos {
			overwrite(t, path, info.opsAt(), int64(info.ops), 0xff)
		}
		return nil
	},
	"cut short": func(t *testing.T, path string) map[int]bool {
		_, ref := recordOf(t, path)
		at := int64(ref.off) + 5
		lost := eventsIn(t, path, at, 1<<40)
		must(t, os.Truncate(path, at))
		return lost
	},
	"head overwritten": func(t *testing.T, path string) map[int]bool {
		lost := eventsIn(t, path, 0, 1<<40)
		overwrite(t, path, 4, 40, 0xee)
		return lost
	},
	"missing": func(t *testing.T, path string) map[int]bool {
		lost := eventsIn(t, path, 0, 1<<40)
		must(t, os.Remove(path))
		return lost
	},
}

// databaseHarms are what is done to all of Badger's files with an extension or name.
var databaseHarms = map[string]func(t *testing.T, dir string){
	untouched:           func(*testing.T, string) {},
	"manifest missing":  func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "MANIFEST"))) },
	"manifest cut":      func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, "MANIFEST"), 7)) },
	"manifest flipped":  func(t *testing.T, dir string) { flipAt(.5).do(t, filepath.Join(dir, "MANIFEST")) },
	"a table missing":   func(t *testing.T, dir string) { must(t, os.Remove(aTable(t, dir))) },
	"a table flipped":   func(t *testing.T, dir string) { flipAt(.3).do(t, aTable(t, dir)) },
	"a table cut short": func(t *testing.T, dir string) { cutShort.do(t, aTable(t, dir)) },
	"registry flipped":  func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "KEYREGISTRY"), 20) },
	"value log missing": func(t *testing.T, dir string) {
		for _, path := range databaseFiles(t, dir) {
			if filepath.Ext(path) == ".vlog" {
				must(t, os.Remove(path))
			}
		}
	},
	"all flipped": func(t *testing.T, dir string) {
		for _, path := range databaseFiles(t, dir) {
			flipAt(.4).do(t, path)
		}
	},
	"all missing": func(t *testing.T, dir string) {
		for _, path := range databaseFiles(t, dir) {
			must(t, os.Remove(path))
		}
	},
}

func databaseFiles(t *testing.T, dir string) (paths []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if filepath.Ext(e.Name()) != segmentSuffix && e.Name() != "LOCK" {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// aTable gives a table; where there is none yet, the manifest, which costs the database as well.
func aTable(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(t, err)
	if len(paths) == 0 {
		return filepath.Join(dir, "MANIFEST")
	}
	return paths[len(paths)/2]
}

// claimEvery claims everything in every queue, and checks the events, that nothing is there twice, and that as much is
// pending.
func claimEvery(t *testing.T, s *Store) map[delivery]bool {
	t.Helper()
	there := make(map[delivery]bool)
	ids := make(map[sidehook.DeliveryID]bool)
	var keys []sidehook.WebhookKey
	for h, err := range s.Queues(ctx) {
		must(t, err)
		keys = append(keys, h.Webhook)
	}
	for _, key := range keys {
		for {
			got, next, err := s.Claim(ctx, key, time.Now().Add(time.Hour), 100)
			must(t, err)
			for _, c := range got {
				n := atoi(t, strings.TrimPrefix(c.Event.ID, "evt_"))
				if !bytes.Equal(c.Event.Data, benchEvent(n, bodySize).Data) {
					t.Errorf("event %d has another body", n)
				}
				if c.Saved != nil && !bytes.Equal(c.Saved.Body, benchEvent(n+1000, 200).Data) {
					t.Errorf("event %d has another saved body", n)
				}
				if ids[c.ID] {
					t.Errorf("delivery %s of event %d is there twice", c.ID, n)
				}
				ids[c.ID] = true
				there[delivery{key, n}] = true
			}
			if len(got) == 0 && next.IsZero() {
				break
			}
		}
	}
	must(t, s.Flush(ctx)) // what cannot be read is dropped
	if n := s.Stats().Pending; n != int64(len(ids)) {
		t.Errorf("%d are pending, %d were claimed", n, len(ids))
	}
	return there
}

// check compares what is claimed with the ledger. lost are the events whose bytes are gone.
func (l *ledger) check(t *testing.T, there map[delivery]bool, lost map[int]bool) (repeated int) {
	t.Helper()
	missing := 0
	for d := range l.pending {
		if !there[d] && !lost[d.event] {
			if missing++; missing < 5 {
				t.Errorf("event %d for %s is not there", d.event, d.webhook)
			}
		}
	}
	if missing > 0 {
		t.Errorf("%d deliveries are missing of %d", missing, len(l.pending))
	}
	for d := range there {
		if !l.pending[d] {
			repeated++
			if !l.ended[d] {
				t.Errorf("event %d was never for %s", d.event, d.webhook)
			}
		}
	}
	return repeated
}

// TestDamageCostsNoMoreThanItsBytes: whatever happens to the database, to a segment, or to both, the store opens; every
// delivery that was pending and whose event is not among the damaged bytes is claimed, with its body; and it goes on.
func TestDamageCostsNoMoreThanItsBytes(t *testing.T) {
	folders, l := fillAll(t)
	turn := 0
	for _, state := range slices.Sorted(maps.Keys(folders)) {
		paths, err := filepath.Glob(filepath.Join(folders[state], "*"+segmentSuffix))
		must(t, err)
		var used []string
		for _, path := range paths {
			if info, _ := recordOf(t, path); info.off != 0 {
				used = append(used, filepath.Base(path))
			}
		}
		if len(used) < 5 {
			t.Fatalf("only %d segments hold events", len(used))
		}
		for _, harm := range slices.Sorted(maps.Keys(databaseHarms)) {
			for _, spoil := range slices.Sorted(maps.Keys(spoilings)) {
				turn++
				if spoil != untouched && harm != untouched && harm != "all missing" {
					continue
				}
				segment := used[turn%len(used)]
				t.Run(state+"/"+harm+"/segment "+spoil, func(t *testing.T) {
					tryBoth(t, folders[state], l, databaseHarms[harm], spoilings[spoil], segment)
				})
			}
		}
	}
}

func tryBoth(t *testing.T, from string, l *ledger, harm func(*testing.T, string), spoil spoiling, segment string) {
	dir := filepath.Join(t.TempDir(), "queue")
	must(t, os.CopyFS(dir, os.DirFS(from)))
	lost := spoil(t, filepath.Join(dir, segment))
	harm(t, dir)
	opts := tried
	var log bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	for round := range 2 { // the second after a crash of the first
		s, _, err := OpenOrSetAside(dir, opts)
		must(t, err)
		there := claimEvery(t, s)
		repeated := l.check(t, there, lost)
		if testing.Verbose() {
			r, ok := s.Rebuilt()
			t.Logf("round %d: %d of %d pending there, %d lost events, %d repeated, %d damaged, rebuilt %v %+v",
				round, len(there)-repeated, len(l.pending), len(lost), repeated, s.Damaged(), ok, r)
		}
		if s.origin != l.origin {
			t.Errorf("the deliveries have other ids now: origin %d, not %d", s.origin, l.origin)
		}
		checkLive(t, s)
		_, err = s.Deliveries(ctx, storage.Query{Limit: 1000})
		must(t, err)
		if round == 0 {
			must(t, crashing{s}.Close())
			continue
		}
		goesOn(t, s)
		must(t, s.Close())
	}
	if t.Failed() {
		t.Logf("log:\n%s", &log)
	}
}

// goesOn delivers what is left and a new event, and expects nothing to be left.
func goesOn(t *testing.T, s *Store) {
	t.Helper()
	var results []storage.Result
	for _, q := range s.queues {
		q.mu.Lock()
		for ref := range q.claimed {
			id := sidehook.DeliveryID{Origin: s.origin, Batch: ref.seq, Index: ref.index}
			results = append(results, storage.Result{ID: id, Webhook: q.key, State: sidehook.Delivered})
		}
		q.mu.Unlock()
	}
	record(t, s, results...)
	if st := s.Stats(); st.Pending != 0 || st.Held != 0 {
		t.Errorf("after everything was delivered %d are pending, %d held", st.Pending, st.Held)
	}
	for _, space := range []byte{spaceQueue, spaceSingle} {
		if n := countKeys(t, s, space); n != 0 {
			t.Errorf("%d entries %q are left", n, space)
		}
	}
	appendOne(t, s, 5000, storage.Placement{Webhook: key("new"), Queued: true})
	if got, _, err := s.Claim(ctx, key("new"), time.Now(), 5); err != nil || len(got) != 1 {
		t.Errorf("a new event came back as %v, %v", got, err)
	}
}

// TestRebuildCutShort: a crash at any point of a rebuild costs nothing; the next start begins it again.
func TestRebuildCutShort(t *testing.T) {
	folders, l := fillAll(t)
	crash := errors.New("crash")
	for _, step := range []string{"history", "batches", "strays", "queues", "counts", "checkpoint", "end"} {
		t.Run(step, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "queue")
			must(t, os.CopyFS(dir, os.DirFS(folders["crashed"])))
			databaseHarms["manifest flipped"](t, dir)
			opts := tried
			opts.mendFault = func(at string) error {
				if at == step {
					return crash
				}
				return nil
			}
			if _, _, err := OpenOrSetAside(dir, opts); !errors.Is(err, crash) {
				t.Fatalf("error is %v, want the crash", err)
			}
			s, aside, err := OpenOrSetAside(dir, tried)
			must(t, err)
			defer func() { must(t, s.Close()) }()
			if aside != "" {
				t.Errorf("the new database was set aside: %s", aside)
			}
			l.check(t, claimEvery(t, s), nil)
			checkHealth(t, s)
			goesOn(t, s)
		})
	}
}

// TestMoveCutShort: a crash while the damaged database is set aside leaves segments without a database, from which the next
// start goes on.
func TestMoveCutShort(t *testing.T) {
	folders, l := fillAll(t)
	dir := filepath.Join(t.TempDir(), "queue")
	must(t, os.CopyFS(dir, os.DirFS(folders["closed"])))
	must(t, os.Remove(filepath.Join(dir, "MANIFEST"))) // it goes first
	s, aside, err := OpenOrSetAside(dir, tried)
	must(t, err)
	defer func() { must(t, s.Close()) }()
	if tables, err := filepath.Glob(filepath.Join(aside, "*.sst")); err != nil || len(tables) == 0 {
		t.Errorf("no tables were set aside in %q", aside)
	}
	l.check(t, claimEvery(t, s), nil)
	checkHealth(t, s)
}

// TestRebuiltIsTold: the numbers of a rebuild are in the log, and the store answers them until it is opened again.
func TestRebuiltIsTold(t *testing.T) {
	folders, l := fillAll(t)
	dir := folders["closed"]
	databaseHarms["manifest cut"](t, dir)
	var log bytes.Buffer
	opts := tried
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, _, err := OpenOrSetAside(dir, opts)
	must(t, err)
	r, ok := s.Rebuilt()
	if !ok || r.Segments < 5 || r.Records < 50 || r.Pending < int64(len(l.pending)) || r.Pending != s.Stats().Pending {
		t.Errorf("rebuilt %v: %+v, with %d pending of which %d are known", ok, r, s.Stats().Pending, len(l.pending))
	}
	if want := "pending=" + strconv.FormatInt(r.Pending, 10); !strings.Contains(log.String(), "was rebuilt") || !strings.Contains(log.String(), want) {
		t.Errorf("the log does not tell of the rebuild, or not %s:\n%s", want, &log)
	}
	must(t, s.Close())
	s = openStore(t, dir, tried)
	if r, ok := s.Rebuilt(); ok || r != (Rebuilt{}) {
		t.Errorf("the next start tells of a rebuild, too: %+v", r)
	}
	fmt.Fprintln(t.Output(), r)
}

// TestStrayBlock: a block that was moved by a record whose entries are damaged takes the place of the one that is gone, in
// the batch that it belongs to and no other.
func TestStrayBlock(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	p := appendOne(t, s, 1, storage.Placement{Webhook: key("w"), Queued: true})
	var b *batch
	must(t, s.view(func(m *moment) (err error) {
		b, err = readBatch(m, p[0].ID.Batch)
		return err
	}))
	there := b.blocks[0].ref
	data, err := s.segs.read(there)
	must(t, err)
	bl, err := decodeBlock(data)
	must(t, err)
	gone := there
	gone.seg = 999
	for name, c := range map[string]struct {
		is       blobRef
		accepted int64
		want     blobRef
		found    bool
	}{
		"gone":               {gone, b.accepted, there, true},
		"still there":        {there, b.accepted, there, true},
		"of another batch":   {gone, b.accepted + 1, gone, false},
		"of an earlier time": {gone, b.accepted - 1, gone, false},
	} {
		t.Run(name, func(t *testing.T) {
			s.strays = []stray{{ref: there, block: bl}}
			defer func() { s.strays = nil }()
			tried := *b
			tried.accepted, tried.blocks = c.accepted, []blockAt{{b.blocks[0].last, c.is}}
			(&reconciler{s: s}).findStrays(&tried)
			if tried.blocks[0].ref != c.want || s.strays[0].found != c.found {
				t.Errorf("the block is at %v, found: %v", tried.blocks[0].ref, s.strays[0].found)
			}
		})
	}
}
