// Package kvtest is the suite that every storage.KV passes. It tests the contract only, by its interface; what one
// implementation promises beyond it is tested beside that implementation.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/memkv"
)

// Backend is a KV under test.
type Backend struct {
	// Open opens the store that lives in dir, empty at first. The suite closes it.
	Open func(t *testing.T, dir string) storage.KV
	// Durable: what was committed is there again after Close and Open.
	Durable bool
	// Writers, each making Increments conditional writes at once to the same key; defaults 50 and 10.
	Writers, Increments int
}

// wait bounds how long the suite waits for something that should happen at once.
const wait = 30 * time.Second

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	if b.Writers == 0 {
		b.Writers = 50
	}
	if b.Increments == 0 {
		b.Increments = 10
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"GetMissing", testGetMissing},
		{"PutGetDelete", testPutGetDelete},
		{"Conditions", testConditions},
		{"FailedCommitChangesNothing", testFailedCommit},
		{"ListIsByKeyAndPrefix", testList},
		{"ValuesAreCopies", testCopies},
		{"EmptyValue", testEmptyValue},
		{"BadInput", testBadInput},
		{"LargeCommit", testLargeCommit},
		{"Watch", testWatch},
		{"WatchFromThePast", testWatchPast},
		{"WatchEndsWithContext", testWatchContext},
		{"WatchEndsWithStore", testWatchClose},
		{"WatchOfSlowReaderEndsEarly", testWatchSlow},
		{"WatchFollowsListWithoutGap", testWatchNoGap},
		{"ConcurrentConditionalWriters", testWriters},
		{"CancelledContext", testCancelled},
		{"Closed", testClosed},
		{"RandomOperationsAgainstModel", testModel},
		{"Reopen", testReopen},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fixture{Backend: b, dir: t.TempDir(), t: t}
			f.kv = b.Open(t, f.dir)
			defer func() { f.check(f.kv.Close()) }()
			c.run(t, f)
		})
	}
}

type fixture struct {
	Backend
	dir string
	kv  storage.KV
	t   *testing.T
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) put(key, value string) int64 {
	f.t.Helper()
	rev, err := f.kv.Commit(f.t.Context(), nil, []storage.Op{put(key, value)})
	f.check(err)
	return rev
}

func (f *fixture) get(key string) storage.Pair {
	f.t.Helper()
	p, err := f.kv.Get(f.t.Context(), key)
	f.check(err)
	return p
}

func (f *fixture) reopen() {
	f.t.Helper()
	f.check(f.kv.Close())
	f.kv = f.Open(f.t, f.dir)
}

func put(key, value string) storage.Op { return storage.Op{Key: key, Value: []byte(value)} }
func del(key string) storage.Op        { return storage.Op{Key: key, Delete: true} }

func testGetMissing(t *testing.T, f *fixture) {
	if _, err := f.kv.Get(t.Context(), "a"); !errors.Is(err, sidehook.ErrNotFound) {
		t.Fatalf("Get of nothing: %v", err)
	}
}

func testPutGetDelete(t *testing.T, f *fixture) {
	first := f.put("a", "1")
	if p := f.get("a"); string(p.Value) != "1" || p.Key != "a" || p.Revision != first {
		t.Fatalf("got %+v after revision %d", p, first)
	}
	second := f.put("a", "2")
	if second <= first {
		t.Fatalf("revision went from %d to %d", first, second)
	}
	if p := f.get("a"); string(p.Value) != "2" || p.Revision != second {
		t.Fatalf("got %+v after revision %d", p, second)
	}
	third, err := f.kv.Commit(t.Context(), nil, []storage.Op{del("a")})
	f.check(err)
	if third <= second {
		t.Fatalf("revision went from %d to %d on delete", second, third)
	}
	if _, err := f.kv.Get(t.Context(), "a"); !errors.Is(err, sidehook.ErrNotFound) {
		t.Fatalf("Get after delete: %v", err)
	}
}

func testConditions(t *testing.T, f *fixture) {
	a := f.put("a", "1")
	b := f.put("b", "1")
	for _, c := range []struct {
		name  string
		conds []storage.Cond
		ok    bool
	}{
		{"none", nil, true},
		{"exact", []storage.Cond{{Key: "a", Revision: a}}, true},
		{"two", []storage.Cond{{Key: "a", Revision: a}, {Key: "b", Revision: b}}, true},
		{"absent", []storage.Cond{{Key: "zzz"}}, true},
		{"older", []storage.Cond{{Key: "b", Revision: b - 1}}, false},
		{"newer", []storage.Cond{{Key: "a", Revision: a + 1}}, false},
		{"present though 0", []storage.Cond{{Key: "a"}}, false},
		{"absent though wanted", []storage.Cond{{Key: "zzz", Revision: a}}, false},
		{"second fails", []storage.Cond{{Key: "a", Revision: a}, {Key: "b", Revision: a}}, false},
	} {
		_, err := f.kv.Commit(t.Context(), c.conds, []storage.Op{put("other", c.name)})
		if c.ok && err != nil || !c.ok && !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := f.kv.Commit(t.Context(), []storage.Cond{{Key: "a", Revision: a}}, []storage.Op{del("a")})
	f.check(err)
	if _, err = f.kv.Commit(t.Context(), []storage.Cond{{Key: "a", Revision: a}}, []storage.Op{put("a", "2")}); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("condition on a deleted key held: %v", err)
	}
	_, err = f.kv.Commit(t.Context(), []storage.Cond{{Key: "a"}}, []storage.Op{put("a", "2")})
	f.check(err)
}

func testFailedCommit(t *testing.T, f *fixture) {
	f.put("a", "1")
	_, before, err := f.kv.List(t.Context(), "")
	f.check(err)
	_, err = f.kv.Commit(t.Context(), []storage.Cond{{Key: "a"}}, []storage.Op{put("b", "1"), del("a"), put("c", "1")})
	if !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("want ErrConflict, got %v", err)
	}
	pairs, after, err := f.kv.List(t.Context(), "")
	f.check(err)
	if len(pairs) != 1 || string(pairs[0].Value) != "1" || after != before {
		t.Fatalf("changed although refused: %+v, revision %d then %d", pairs, before, after)
	}
}

func testList(t *testing.T, f *fixture) {
	pairs, rev, err := f.kv.List(t.Context(), "")
	f.check(err)
	if len(pairs) != 0 || rev < 0 {
		t.Fatalf("new store: %d pairs, revision %d", len(pairs), rev)
	}
	want, err := f.kv.Commit(t.Context(), nil, []storage.Op{
		put("b/2", "x"), put("a", "x"), put("b/10", "x"), put("b", "x"), put("b/1", "x"), put("b0", "x"), put("b\xff", "x"),
	})
	f.check(err)
	for prefix, keys := range map[string]string{
		"": "a b b/1 b/10 b/2 b0 b\xff", "b/": "b/1 b/10 b/2", "b/1": "b/1 b/10", "b\xff": "b\xff", "c": "", "a": "a",
	} {
		pairs, rev, err := f.kv.List(t.Context(), prefix)
		f.check(err)
		var got []string
		for _, p := range pairs {
			got = append(got, p.Key)
			if p.Revision != want {
				t.Errorf("%q has revision %d, not that of its commit, %d", p.Key, p.Revision, want)
			}
		}
		if strings.Join(got, " ") != keys || rev != want {
			t.Errorf("List(%q) = %q at %d, want %q at %d", prefix, got, rev, keys, want)
		}
	}
}

func testCopies(t *testing.T, f *fixture) {
	value := []byte("one")
	_, err := f.kv.Commit(t.Context(), nil, []storage.Op{{Key: "a", Value: value}})
	f.check(err)
	value[0] = 'X'
	f.get("a").Value[1] = 'X'
	pairs, _, err := f.kv.List(t.Context(), "a")
	f.check(err)
	pairs[0].Value[2] = 'X'
	if got := f.get("a"); string(got.Value) != "one" {
		t.Fatalf("the stored value became %q", got.Value)
	}
}

func testEmptyValue(t *testing.T, f *fixture) {
	f.put("a", "")
	if p := f.get("a"); len(p.Value) != 0 {
		t.Fatalf("got %q", p.Value)
	}
}

func testBadInput(t *testing.T, f *fixture) {
	long := strings.Repeat("k", 2000)
	for name, ops := range map[string][]storage.Op{
		"empty key":     {put("", "x")},
		"leading slash": {put("/a", "x")},
		"long key":      {put(long, "x")},
		"key twice":     {put("a", "x"), put("a", "y")},
		"put, delete":   {put("a", "x"), del("a")},
		"big value":     {{Key: "a", Value: make([]byte, 512<<10+1)}},
		"many ops":      manyOps(1001, 1),
		"much in all":   manyOps(300, 4<<10),
	} {
		if _, err := f.kv.Commit(t.Context(), nil, ops); err == nil || errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.kv.Commit(t.Context(), []storage.Cond{{Key: ""}}, nil); err == nil {
		t.Error("a condition on an empty key was taken")
	}
	if pairs, _, err := f.kv.List(t.Context(), ""); err != nil || len(pairs) != 0 {
		t.Fatalf("something was stored: %d pairs, %v", len(pairs), err)
	}
}

func manyOps(n, size int) []storage.Op {
	ops := make([]storage.Op, n)
	for i := range ops {
		ops[i] = storage.Op{Key: fmt.Sprintf("k/%05d", i), Value: bytes.Repeat([]byte{'v'}, size)}
	}
	return ops
}

func testLargeCommit(t *testing.T, f *fixture) {
	rev, err := f.kv.Commit(t.Context(), nil, manyOps(1000, 1000))
	f.check(err)
	pairs, at, err := f.kv.List(t.Context(), "k/")
	f.check(err)
	if len(pairs) != 1000 || at != rev {
		t.Fatalf("%d pairs at %d, want 1000 at %d", len(pairs), at, rev)
	}
	_, err = f.kv.Commit(t.Context(), nil, []storage.Op{{Key: "big", Value: make([]byte, 512<<10)}})
	f.check(err)
	if n := len(f.get("big").Value); n != 512<<10 {
		t.Fatalf("the big value has %d bytes", n)
	}
}

// next waits for a change.
func next(t *testing.T, ch <-chan storage.Change) storage.Change {
	t.Helper()
	select {
	case c, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended")
		}
		return c
	case <-time.After(wait):
		t.Fatal("no change came")
	}
	return storage.Change{}
}

// ends waits until the watch ends and returns what came before.
func ends(t *testing.T, ch <-chan storage.Change) []storage.Change {
	t.Helper()
	var got []storage.Change
	timeout := time.After(wait)
	for {
		select {
		case c, ok := <-ch:
			if !ok {
				return got
			}
			got = append(got, c)
		case <-timeout:
			t.Fatal("the watch did not end")
		}
	}
}

func testWatch(t *testing.T, f *fixture) {
	from := f.put("a/0", "before")
	ch, err := f.kv.Watch(t.Context(), "a/", from)
	f.check(err)
	f.put("b/1", "other")
	one := f.put("a/1", "1")
	two, err := f.kv.Commit(t.Context(), nil, []storage.Op{put("a/3", "3"), del("a/1"), del("a/none"), put("a/2", "2")})
	f.check(err)
	for _, want := range []storage.Change{
		{Pair: storage.Pair{Key: "a/1", Value: []byte("1"), Revision: one}},
		{Pair: storage.Pair{Key: "a/3", Value: []byte("3"), Revision: two}},
		{Pair: storage.Pair{Key: "a/1", Revision: two}, Deleted: true},
		{Pair: storage.Pair{Key: "a/2", Value: []byte("2"), Revision: two}},
	} {
		if got := next(t, ch); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}

func testWatchPast(t *testing.T, f *fixture) {
	from := f.put("a", "0")
	for i := 1; i <= 20; i++ {
		f.put("a", strconv.Itoa(i))
	}
	ch, err := f.kv.Watch(t.Context(), "", from)
	f.check(err)
	for i := 1; i <= 20; i++ {
		if got := next(t, ch); string(got.Value) != strconv.Itoa(i) {
			t.Fatalf("change %d has %q", i, got.Value)
		}
	}
	last := f.put("a", "last")
	if got := next(t, ch); got.Revision != last {
		t.Fatalf("got %+v, want revision %d", got, last)
	}
}

func testWatchContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := f.kv.Watch(ctx, "", 0)
	f.check(err)
	cancel()
	if got := ends(t, ch); len(got) != 0 {
		t.Fatalf("got %+v", got)
	}
	f.put("a", "still works")
}

func testWatchClose(t *testing.T, f *fixture) {
	rev := f.put("a", "0")
	ch, err := f.kv.Watch(t.Context(), "", rev)
	f.check(err)
	f.reopen()
	ends(t, ch)
}

func testWatchSlow(t *testing.T, f *fixture) {
	rev := f.put("a", "0")
	ch, err := f.kv.Watch(t.Context(), "", rev)
	f.check(err)
	const total = 20_000 // far more than any buffer should hold
	for i := 0; i < total; i += 1000 {
		_, err := f.kv.Commit(t.Context(), nil, manyOps(1000, 1))
		f.check(err)
	}
	got := ends(t, ch)
	if len(got) >= total {
		t.Fatalf("%d changes were buffered for a reader that does not read", len(got))
	}
	for i, c := range got { // what came is in order and without a gap
		if want := fmt.Sprintf("k/%05d", i%1000); c.Key != want {
			t.Fatalf("change %d is of %q, want %q", i, c.Key, want)
		}
	}
}

// testWatchNoGap lists and watches again and again while a writer counts up: no value may be missed or seen twice.
func testWatchNoGap(t *testing.T, f *fixture) {
	const last = 300
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		for i := 1; i <= last; i++ {
			if _, err := f.kv.Commit(t.Context(), nil, []storage.Op{put("n", strconv.Itoa(i))}); err != nil {
				t.Errorf("put %d: %v", i, err)
				return
			}
		}
	})
	for seen := 0; seen < last; {
		pairs, rev, err := f.kv.List(t.Context(), "n")
		f.check(err)
		at := 0
		if len(pairs) > 0 {
			at, err = strconv.Atoi(string(pairs[0].Value))
			f.check(err)
		}
		if at < seen {
			t.Fatalf("List went back from %d to %d", seen, at)
		}
		seen = at
		ctx, cancel := context.WithCancel(t.Context())
		ch, err := f.kv.Watch(ctx, "n", rev)
		f.check(err)
		for range min(5, last-seen) {
			c := next(t, ch)
			seen++
			if string(c.Value) != strconv.Itoa(seen) {
				t.Fatalf("after %d came %s", seen-1, c.Value)
			}
		}
		cancel()
		ends(t, ch)
	}
}

func testWriters(t *testing.T, f *fixture) {
	f.put("n", "0")
	var writers sync.WaitGroup
	for range f.Writers {
		writers.Go(func() {
			for range f.Increments {
				if err := f.increment(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if got, want := string(f.get("n").Value), strconv.Itoa(f.Writers*f.Increments); got != want {
		t.Fatalf("counted %s, want %s", got, want)
	}
}

func (f *fixture) increment() error {
	for {
		p, err := f.kv.Get(f.t.Context(), "n")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(p.Value))
		if err != nil {
			return err
		}
		_, err = f.kv.Commit(f.t.Context(), []storage.Cond{{Key: "n", Revision: p.Revision}},
			[]storage.Op{put("n", strconv.Itoa(n+1))})
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
}

func testCancelled(t *testing.T, f *fixture) {
	cause := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err := f.kv.Commit(ctx, nil, []storage.Op{put("a", "1")})
	if !errors.Is(err, cause) && !errors.Is(err, context.Canceled) {
		t.Fatalf("Commit with a cancelled context: %v", err)
	}
	if _, err := f.kv.Get(t.Context(), "a"); !errors.Is(err, sidehook.ErrNotFound) {
		t.Fatalf("stored although cancelled: %v", err)
	}
}

func testClosed(t *testing.T, f *fixture) {
	f.check(f.kv.Close())
	if _, err := f.kv.Get(t.Context(), "a"); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if _, _, err := f.kv.List(t.Context(), "a"); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("List: %v", err)
	}
	if _, err := f.kv.Commit(t.Context(), nil, []storage.Op{put("a", "1")}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if _, err := f.kv.Watch(t.Context(), "a", 0); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Watch: %v", err)
	}
	f.check(f.kv.Close()) // again is fine
}

// testModel plays random commits, a tenth of them with stale conditions, to the store and to memkv, with reopens in
// between where the store is durable, and compares what both hold.
func testModel(t *testing.T, f *fixture) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	model := memkv.New()
	defer func() { f.check(model.Close()) }()
	for step := range 300 {
		conds, modelConds := f.randomConds(rng, model)
		ops := randomOps(rng)
		_, err := f.kv.Commit(t.Context(), conds, ops)
		_, modelErr := model.Commit(t.Context(), modelConds, ops)
		if errors.Is(err, storage.ErrConflict) != errors.Is(modelErr, storage.ErrConflict) ||
			(err == nil) != (modelErr == nil) {
			t.Fatalf("step %d: %v, the model %v", step, err, modelErr)
		}
		if f.Durable && rng.IntN(60) == 0 {
			f.reopen()
		}
		if step%10 == 0 {
			f.compare(step, model)
		}
	}
	f.compare(-1, model)
}

func randomKey(rng *rand.Rand) string { return fmt.Sprintf("m/%d/%d", rng.IntN(3), rng.IntN(5)) }

func randomOps(rng *rand.Rand) []storage.Op {
	var ops []storage.Op
	used := make(map[string]bool)
	for range 1 + rng.IntN(4) {
		key := randomKey(rng)
		if used[key] {
			continue
		}
		used[key] = true
		if rng.IntN(3) == 0 {
			ops = append(ops, del(key))
		} else {
			ops = append(ops, put(key, strconv.Itoa(rng.IntN(1000))))
		}
	}
	return ops
}

// randomConds makes the same conditions for both stores, each with its own revision of the key.
func (f *fixture) randomConds(rng *rand.Rand, model storage.KV) (conds, modelConds []storage.Cond) {
	for range rng.IntN(3) {
		key := randomKey(rng)
		real, realErr := f.kv.Get(f.t.Context(), key)
		want, wantErr := model.Get(f.t.Context(), key)
		if (realErr == nil) != (wantErr == nil) {
			f.t.Fatalf("%s: %v, the model %v", key, realErr, wantErr)
		}
		stale := int64(0)
		if rng.IntN(10) == 0 {
			stale = 1
		}
		conds = append(conds, storage.Cond{Key: key, Revision: real.Revision + stale})
		modelConds = append(modelConds, storage.Cond{Key: key, Revision: want.Revision + stale})
	}
	return conds, modelConds
}

func (f *fixture) compare(step int, model storage.KV) {
	f.t.Helper()
	for _, prefix := range []string{"", "m/0/", "m/2"} {
		got, _, err := f.kv.List(f.t.Context(), prefix)
		f.check(err)
		want, _, err := model.List(f.t.Context(), prefix)
		f.check(err)
		if g, w := contents(got), contents(want); g != w {
			f.t.Fatalf("step %d: List(%q)\n got %s\nwant %s", step, prefix, g, w)
		}
	}
}

func contents(pairs []storage.Pair) string {
	var b strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&b, "%s=%s ", p.Key, p.Value)
	}
	return b.String()
}

func testReopen(t *testing.T, f *fixture) {
	f.put("a", "1")
	rev := f.put("b", "2")
	f.reopen()
	if !f.Durable {
		return
	}
	if p := f.get("b"); string(p.Value) != "2" || p.Revision != rev {
		t.Fatalf("got %+v, want revision %d", p, rev)
	}
	_, at, err := f.kv.List(t.Context(), "")
	f.check(err)
	if at != rev {
		t.Fatalf("the store's revision went from %d to %d over a restart", rev, at)
	}
	ch, err := f.kv.Watch(t.Context(), "", at)
	f.check(err)
	after := f.put("c", "3")
	if after <= rev {
		t.Fatalf("revision went from %d to %d over a restart", rev, after)
	}
	if c := next(t, ch); c.Key != "c" || c.Revision != after {
		t.Fatalf("got %+v", c)
	}
}
