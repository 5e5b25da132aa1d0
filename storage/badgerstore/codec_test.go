package badgerstore

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

func sampleBlock() []byte {
	var w blockWriter
	w.add(0, []storage.Placement{{Webhook: key("a")}, {Webhook: key("b"), Queued: true}}, appendEvent(nil, benchEvent(1, 300)))
	w.add(2, []storage.Placement{{Webhook: key("a")}, {Webhook: key("b")}}, appendEvent(nil, benchEvent(2, 300)))
	w.add(9, []storage.Placement{{Webhook: key("c"), Queued: true, DueAt: time.Unix(5, 6)}}, appendEvent(nil, benchEvent(3, 10)))
	return w.close(nil, 1234)
}

func TestBlockRoundTrip(t *testing.T) {
	b, err := decodeBlock(sampleBlock())
	must(t, err)
	for index, want := range map[uint32]string{0: "a", 1: "b", 2: "a", 3: "b", 9: "c"} {
		n := b.find(index)
		if n < 0 || b.entries[n].hook(index) != key(want) {
			t.Errorf("delivery %d: entry %d, want webhook %s", index, n, want)
		}
	}
	for _, index := range []uint32{4, 8, 10, math.MaxUint32} {
		if n := b.find(index); n >= 0 {
			t.Errorf("delivery %d is found in entry %d", index, n)
		}
	}
	if d := b.entries[2].runDue(9, b.accepted); d != time.Unix(5, 6).UnixNano() {
		t.Errorf("due %d", d)
	}
	if d := b.entries[0].runDue(1, b.accepted); d != 1234 {
		t.Errorf("due at once is %d, want when accepted", d)
	}
	e, err := decodeEvent(b.entries[1].record)
	must(t, err)
	if d := cmp.Diff(benchEvent(2, 300), e); d != "" {
		t.Error(d)
	}
	ps := b.entries[0].placements(b.accepted)
	if d := cmp.Diff([]storage.Placement{{Webhook: key("a")}, {Webhook: key("b"), Queued: true}}, ps); d != "" {
		t.Error(d)
	}
}

func sampleBatch(n int, seed uint64) *batch {
	r := rand.New(rand.NewPCG(seed, 3))
	b := &batch{seq: 7, accepted: 99, bytes: 1000, saved: 3, blocks: []blockAt{{5, blobRef{1, 2, 3}}, {9, blobRef{1 << 31, 1 << 30, 1 << 20}}, {uint32(n) + 9, blobRef{7, 8, 9}}}, thinnedAt: 4}
	for range n {
		p := place(r.IntN(int(places)))
		for range 1 + r.IntN(40) {
			b.places = append(b.places, p)
			b.count(p, 1)
		}
	}
	return b
}

func TestBatchRoundTrip(t *testing.T) {
	for n := range 60 {
		want := sampleBatch(n, uint64(n))
		got, err := decodeBatch(7, want.encode(nil))
		must(t, err)
		if d := cmp.Diff(want, got, cmp.AllowUnexported(batch{}, blockAt{}, blobRef{}), cmp.Transformer("places", func(p []place) string {
			return string(append([]place{}, p...))
		})); d != "" {
			t.Fatalf("%d: %s", n, d)
		}
	}
}

func TestRunRoundTrip(t *testing.T) {
	for _, members := range [][]uint32{
		{0}, {5}, {0, 1, 2, 3}, {3, 103, 203, 303, 304}, {0, 2, 4, 5, 7, 100, 1000, maxPlaces - 1}, {1, 2}, {1, 5, 6, 7, 8, 20, 30, 40},
	} {
		got, err := decodeRun(appendRun(nil, members))
		if err != nil || !slices.Equal(got, members) {
			t.Errorf("%v comes back as %v, %v", members, got, err)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		var members []uint32
		for at := uint32(r.IntN(5)); len(members) < 300; at += 1 + uint32(r.IntN(3))*uint32(r.IntN(3)) {
			members = append(members, at)
		}
		got, err := decodeRun(appendRun(nil, members))
		if err != nil || !slices.Equal(got, members) {
			t.Fatalf("%v comes back as %v, %v", members, got, err)
		}
	}
	steps := make([]uint32, 512)
	for i := range steps {
		steps[i] = uint32(i * 100)
	}
	if n := len(appendRun(nil, steps)); n > 8 {
		t.Errorf("an even run takes %d bytes", n)
	}
}

func sampleHistory() (value []byte, results []result) {
	var w historyWriter
	w.reset(1_000_000)
	for i := range 40 {
		id := sidehook.DeliveryID{Origin: 3, Batch: uint64(10 + i/7), Index: uint32(i * 5 % 11)}
		r := result{id: id, place: place(2 + i%4), attempts: 1 + i%3}
		if i%5 != 0 {
			a := benchResult(id, key("w"), i).Attempt
			a.Number, a.At = r.attempts, time.Unix(0, int64(2_000_000+i)).UTC()
			if i%3 == 0 {
				a.Error, a.Response = "no answer", nil
				a.Outcome = sidehook.Outcome{Kind: sidehook.OutcomeRetry, RetryAt: time.Unix(9, 9).UTC()}
				a.Number = 50
			}
			if i%7 == 0 {
				a.RequestHeaders = nil
			}
			r.attempt, r.firstAt = a, nanos(a.At)
		}
		if i%4 == 0 {
			r.firstAt, r.saved = 77, savedID{1, byte(i)}
		}
		w.add(&r)
		results = append(results, r)
	}
	return w.encode(nil, []uint64{4, 9}), results
}

func TestHistoryRoundTrip(t *testing.T) {
	val, want := sampleHistory()
	got, err := decodeHistory(val, 3, func(sidehook.DeliveryID) bool { return true })
	must(t, err)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(result{})); d != "" {
		t.Fatal(d)
	}
	one, err := decodeHistory(val, 3, func(id sidehook.DeliveryID) bool { return id == want[17].id })
	must(t, err)
	for _, r := range one {
		if r.id != want[17].id {
			t.Errorf("got %v, which is not wanted", r.id)
		}
	}
	if len(one) == 0 {
		t.Error("the wanted result is not found")
	}
	head, err := decodeHistoryHead(val)
	must(t, err)
	if head.at != 1_000_000 || !slices.Equal(head.finished, []uint64{4, 9}) || head.results != 40 {
		t.Errorf("head is %+v", head)
	}
}

func TestNanosClamp(t *testing.T) {
	for _, test := range []struct {
		t    time.Time
		want int64
	}{
		{time.Time{}, math.MinInt64}, {time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxInt64}, {time.Unix(1, 2), 1_000_000_002},
	} {
		if got := nanos(test.t); got != test.want {
			t.Errorf("nanos(%v) = %d, want %d", test.t, got, test.want)
		}
	}
}

func TestQueueKeysSortByDueTime(t *testing.T) {
	at := []pos{{math.MinInt64, 1, 1}, {-5, 1, 0}, {0, 9, 9}, {5, 1, 0}, {5, 1, 1}, {5, 2, 0}, {math.MaxInt64, 0, 0}}
	for i := 1; i < len(at); i++ {
		if a, b := singleKey(key("w"), at[i-1]), singleKey(key("w"), at[i]); bytes.Compare(a, b) >= 0 || !at[i-1].before(at[i]) {
			t.Errorf("%+v does not sort before %+v", at[i-1], at[i])
		}
		k, p, kind, err := parseQueueKey(singleKey(key("w"), at[i]))
		if err != nil || k != key("w") || p != at[i] || kind != kindSingle {
			t.Errorf("%+v comes back as %v %+v %d, %v", at[i], k, p, kind, err)
		}
	}
	k, _, kind, err := parseQueueKey(runKey(storage.HoldQueue, 7, 8))
	if err != nil || k != storage.HoldQueue || kind != kindRun {
		t.Errorf("key of the HoldQueue comes back as %v %d, %v", k, kind, err)
	}
}

func TestHashSet(t *testing.T) {
	var s hashSet
	var h idHash
	for i := range uint64(5000) {
		binary.LittleEndian.PutUint64(h[:], i*0x9E3779B97F4A7C15)
		binary.LittleEndian.PutUint64(h[8:], i+1)
		if s.has(h) {
			t.Fatalf("%d is there before it was added", i)
		}
		s.add(h)
		s.add(h)
	}
	if s.n != 5000 {
		t.Errorf("has %d, want 5000", s.n)
	}
	for i := range uint64(5000) {
		binary.LittleEndian.PutUint64(h[:], i*0x9E3779B97F4A7C15)
		binary.LittleEndian.PutUint64(h[8:], i+1)
		if !s.has(h) {
			t.Fatalf("%d is lost", i)
		}
	}
}

// FuzzDecode: no stored value, however wrong, makes a decoder panic or take much memory.
func FuzzDecode(f *testing.F) {
	hist, _ := sampleHistory()
	f.Add(sampleBlock())
	f.Add(sampleBatch(20, 1).encode(nil))
	f.Add(appendRun(nil, []uint32{1, 2, 3, 9}))
	f.Add(hist)
	f.Add((&marks{seq: 9, pending: -1}).encode(nil))
	f.Add(single{attempts: 3, firstAt: 5, saved: savedID{1}}.encode(nil))
	f.Add(encodeSaved(&storage.SavedRequest{Body: []byte("b"), Headers: []sidehook.Header{{Key: "a", Value: "b"}}}))
	f.Add(appendEvent(nil, benchEvent(1, 100)))
	f.Add(encodeIDs(nil, 5, []idHash{{1}}))
	f.Add([]byte{historyVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0xff, 0xff, 3})
	f.Add(singleKey(key("w"), pos{1, 2, 3}))
	f.Add(appendOps(nil, &marks{seq: 3}, []liveDelta{{1, -5}}, []op{{key: []byte("d1"), val: []byte("v")}, {key: []byte("q"), del: true}}))
	f.Add(encodeLog(segPos{3, 64}, []segmentRow{{1, 2, 3}, {3, 0, 1 << 23}}))
	f.Add(blobRef{1, 2, 3}.encode(nil))
	f.Add((&segment{id: 1, salt: 7}).head())
	f.Fuzz(func(t *testing.T, p []byte) {
		if b, err := decodeBlock(p); err == nil {
			for i := range b.entries {
				_, _ = decodeEvent(b.entries[i].record)
				_, _, _ = eventNames(b.entries[i].record)
				b.find(b.entries[i].first)
			}
		}
		if b, err := decodeBatch(1, p); err == nil {
			again, err := decodeBatch(1, b.encode(nil))
			if err != nil || again.unfinished != b.unfinished {
				t.Fatalf("a batch that decodes does not come back: %v", err)
			}
		}
		if m, err := decodeRun(p); err == nil {
			if !slices.IsSorted(m) || len(slices.Compact(slices.Clone(m))) != len(m) {
				t.Fatalf("run is not ascending: %v", m)
			}
		}
		_, _ = decodeHistory(p, 1, func(sidehook.DeliveryID) bool { return true })
		_, _ = decodeHistoryHead(p)
		_, _ = decodeMarks(p)
		_, _ = decodeHistoryEntry(p)
		_, _ = decodeRef(p)
		if from, rows, err := decodeLog(p); err == nil {
			if again, _, err := decodeLog(encodeLog(from, rows)); err != nil || again != from {
				t.Fatalf("a list of segments that decodes does not come back: %v", err)
			}
		}
		if list, err := decodeOps(p); err == nil {
			again, err := decodeOps(appendOps(nil, &list.marks, list.deltas, list.ops))
			if err != nil || len(again.ops) != len(list.ops) || len(again.deltas) != len(list.deltas) {
				t.Fatalf("ops that decode do not come back: %v", err)
			}
		}
		if info, ok := parseRecordHead(p, &segment{id: 1, salt: 7}, 64); ok && info.size() < recordHead {
			t.Fatalf("record of %d bytes", info.size())
		}
		_, _ = decodeSingle(p)
		_, _ = decodeSaved(p)
		_, _ = decodeEvent(p)
		_, _, _ = decodeIDs(p)
		_, _, _, _ = parseQueueKey(p)
	})
}
