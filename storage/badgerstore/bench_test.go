package badgerstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// benchEvent makes an event with a payload such as services send: JSON of about size bytes, a third of it random.
func benchEvent(n, size int) *sidehook.Event {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"order":{"id":"ord_%016x","customer":{"id":"cus_%08x"},"items":[`, r.Uint64(), n%5000)
	for b.Len() < size-60 {
		fmt.Fprintf(&b, `{"sku":"sku-%06d","quantity":%d,"price":{"amount":%d,"currency":"VND"},"note":"%012x"},`,
			r.IntN(999999), 1+r.IntN(9), 1000*r.IntN(900), r.Uint64()>>16)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`]},"livemode":true}`)
	return &sidehook.Event{
		App: "shop", ID: "evt_" + strconv.Itoa(n), Source: "/orders", Type: "order.paid", Subject: "orders/" + strconv.Itoa(n),
		Time: time.Unix(1_770_000_000, 0).UTC(), DataContentType: "application/json", Data: b.Bytes(),
	}
}

// benchResult is a delivered result with an attempt such as the engine records.
func benchResult(id sidehook.DeliveryID, key sidehook.WebhookKey, n int) storage.Result {
	at := time.Now()
	r := rand.New(rand.NewPCG(uint64(n), uint64(id.Index)))
	return storage.Result{
		ID: id, Webhook: key, State: sidehook.Delivered,
		Attempt: &sidehook.Attempt{
			Number: 1, At: at, Latency: time.Duration(200_000 + r.IntN(900_000)), URL: "https://" + key.ID + ".example.com/hooks",
			Status: 200, Response: []byte("ok"), Outcome: sidehook.Outcome{Kind: sidehook.OutcomeDelivered},
			RequestHeaders: []sidehook.Header{
				{Key: "Content-Type", Value: "application/json"},
				{Key: "User-Agent", Value: "Sidehook/1"},
				{Key: "webhook-id", Value: "evt_" + strconv.Itoa(n)},
				{Key: "webhook-timestamp", Value: strconv.FormatInt(at.Unix(), 10)},
				{Key: "webhook-signature", Value: "v1," + strconv.FormatUint(r.Uint64()>>24, 36) + "…"},
				{Key: "Sidehook-Delivery", Value: id.String()},
				{Key: "Sidehook-Attempt", Value: "1"},
			},
		},
	}
}

func benchHooks(n int) []sidehook.WebhookKey {
	keys := make([]sidehook.WebhookKey, n)
	for i := range keys {
		keys[i] = sidehook.WebhookKey{App: "shop", ID: fmt.Sprintf("wh-%03d", i)}
	}
	return keys
}

// benchBatches hands out batches with fresh events; bodies come from a few templates, for making them is not measured.
type benchBatches struct {
	hooks  []sidehook.WebhookKey
	queued bool
	bodies [][]byte
	next   atomic.Int64
}

func newBenchBatches(fanout int, queued bool) *benchBatches {
	g := &benchBatches{hooks: benchHooks(fanout), queued: queued}
	for i := range 4096 {
		g.bodies = append(g.bodies, benchEvent(i, 1000).Data)
	}
	return g
}

func (g *benchBatches) batch(events int) *storage.Batch {
	entries := make([]storage.Entry, events)
	placements := make([]storage.Placement, events*len(g.hooks))
	for i := range entries {
		n := int(g.next.Add(1))
		ps := placements[i*len(g.hooks) : (i+1)*len(g.hooks)]
		for j := range ps {
			ps[j] = storage.Placement{Webhook: g.hooks[j], Queued: g.queued}
		}
		entries[i] = storage.Entry{Deliveries: ps, Event: &sidehook.Event{
			App: "shop", ID: "evt_" + strconv.Itoa(n), Source: "/orders", Type: "order.paid",
			Time: time.Unix(1_770_000_000, int64(n)).UTC(), DataContentType: "application/json", Data: g.bodies[n%len(g.bodies)],
		}}
	}
	return storage.NewBatch(entries)
}

// BenchmarkAppend measures durable events: submitters that each wait for their batch before the next.
func BenchmarkAppend(b *testing.B) {
	for _, test := range []struct{ events, fanout, submitters int }{
		{1, 1, 1}, {1, 1, 64}, {64, 1, 4}, {512, 1, 2}, {512, 10, 2}, {512, 100, 2},
	} {
		for _, queued := range []bool{false, true} {
			name := fmt.Sprintf("events=%d/fanout=%d/submitters=%d/queued=%v", test.events, test.fanout, test.submitters, queued)
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				s := openBench(b)
				g := newBenchBatches(test.fanout, queued)
				ctx := context.Background()
				var left atomic.Int64
				left.Store(int64(b.N))
				b.ResetTimer()
				var all sync.WaitGroup
				for range test.submitters {
					all.Go(func() {
						for left.Add(-int64(test.events)) > -int64(test.events) {
							batch := g.batch(test.events)
							if err := s.Append(ctx, batch); err != nil {
								b.Error(err)
								return
							}
							if err := batch.Wait(ctx); err != nil {
								b.Error(err)
								return
							}
							if !queued {
								dropTaken(s, batch)
							}
						}
					})
				}
				all.Wait()
				b.StopTimer()
				b.ReportMetric(float64(g.next.Load())/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}

// dropTaken keeps memory from growing with what the benchmark takes and never records. It is not part of the design:
// an engine bounds what it takes.
func dropTaken(s *Store, batch *storage.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch.Entries {
		if ps := batch.Entries[i].Deliveries; len(ps) > 0 {
			delete(s.batches, ps[0].ID.Batch)
		}
	}
}

func openBench(b testing.TB) *Store {
	return openStore(b, b.TempDir(), Options{})
}

// BenchmarkAppendRecord measures the full cycle of b.N deliveries: appended, taken, recorded, trimmed.
func BenchmarkAppendRecord(b *testing.B) {
	for _, test := range []struct{ events, fanout int }{{1, 1}, {64, 1}, {64, 10}, {64, 100}} {
		b.Run(fmt.Sprintf("events=%d/fanout=%d", test.events, test.fanout), func(b *testing.B) {
			b.ReportAllocs()
			s := openBench(b)
			g := newBenchBatches(test.fanout, false)
			ctx := context.Background()
			var left, written atomic.Int64
			left.Store(int64(b.N))
			submitters := max(2, 64/test.events)
			step := int64(test.events * test.fanout)
			before := writtenBytes()
			b.ResetTimer()
			var all sync.WaitGroup
			for range submitters {
				all.Go(func() {
					for left.Add(-step) > -step {
						batch := g.batch(test.events)
						if err := s.Append(ctx, batch); err != nil {
							b.Error(err)
							return
						}
						if err := batch.Wait(ctx); err != nil {
							b.Error(err)
							return
						}
						results := make([]storage.Result, 0, 512)
						for i := range batch.Entries {
							for j, p := range batch.Entries[i].Deliveries {
								results = append(results, benchResult(p.ID, p.Webhook, i*100+j))
								if len(results) == cap(results) || (i == len(batch.Entries)-1 && j == len(batch.Entries[i].Deliveries)-1) {
									if err := s.Record(ctx, results); err != nil {
										b.Error(err)
										return
									}
									written.Add(int64(len(results)))
									results = results[:0]
								}
							}
						}
					}
				})
			}
			all.Wait()
			if err := s.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			n := float64(written.Load())
			b.ReportMetric(n/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(float64(writtenBytes()-before)/n, "disk-B/delivery")
			b.ReportMetric(float64(s.Stats().Commits)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// writtenBytes is what this process has had written to disks so far, by the kernel's account.
func writtenBytes() int64 {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

// residentAnon is RssAnon and VmRSS of this process, in MB.
func residentAnon() (anon, rss float64) {
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "RssAnon:":
			anon = n / 1024
		case "VmRSS:":
			rss = n / 1024
		}
	}
	return anon, rss
}

func folderSize(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return err
	})
	return size
}

// benchPending fills a folder with a million pending deliveries of a thousand webhooks: half never attempted, half
// waiting for their second attempt with a saved request.
func benchPending(b *testing.B) string {
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	const events, fanout = 100_000, 10
	hooks := benchHooks(1000)
	for n := 0; n < events; n += 500 {
		entries := make([]storage.Entry, 500)
		for i := range entries {
			entries[i].Event = benchEvent(n+i, 1000)
			for j := range fanout {
				p := storage.Placement{Webhook: hooks[(n+i+j*97)%len(hooks)], Queued: j%2 == 0}
				entries[i].Deliveries = append(entries[i].Deliveries, p)
			}
		}
		batch := storage.NewBatch(entries)
		if err := s.Append(ctx, batch); err != nil {
			b.Fatal(err)
		}
		if err := batch.Wait(ctx); err != nil {
			b.Fatal(err)
		}
		var results []storage.Result
		for i := range entries {
			for _, p := range entries[i].Deliveries {
				if p.Queued {
					continue
				}
				r := benchResult(p.ID, p.Webhook, n+i)
				r.State, r.DueAt = sidehook.Pending, time.Now().Add(time.Minute)
				r.Save = &storage.SavedRequest{Body: entries[i].Event.Data, ContentType: "application/json"}
				results = append(results, r)
			}
		}
		if err := s.Record(ctx, results); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// BenchmarkPending shows what a million pending deliveries cost: opening, memory, and claiming.
func BenchmarkPending(b *testing.B) {
	start := time.Now()
	dir := benchPending(b)
	b.Logf("filled in %v, %d MB on disk", time.Since(start).Round(time.Millisecond), folderSize(dir)>>20)

	// In processes of their own, for this one's memory tells of the filling.
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.Command(os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), childDir+"="+dir, childMode+"="+modeOpen)
			out, err := cmd.CombinedOutput()
			if err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			var o opened
			if err := json.Unmarshal(out, &o); err != nil {
				b.Fatal(err)
			}
			if o.Pending != 1_000_000 {
				b.Fatalf("%d pending", o.Pending)
			}
			b.ReportMetric(o.Milliseconds, "ms-to-open")
			b.ReportMetric(o.Anon, "RssAnon-MB-open")
			b.ReportMetric(o.RSS, "VmRSS-MB-open")
			b.ReportMetric(o.AnonClaimed, "RssAnon-MB-claimed")
			b.ReportMetric(o.ClaimsPerSecond, "claimed/s")
		}
	})
}

// opened is what a child reports of opening a store and claiming from it.
type opened struct {
	Pending                                               int64
	Milliseconds, Anon, RSS, AnonClaimed, ClaimsPerSecond float64
}

// openAndReport is the child of BenchmarkPending: it opens the store, claims and puts back for a second, and prints
// what that took.
func openAndReport(dir string) {
	start := time.Now()
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	o := opened{Pending: s.Stats().Pending, Milliseconds: float64(time.Since(start).Microseconds()) / 1000}
	o.Anon, o.RSS = residentAnon()
	ctx := context.Background()
	hooks := benchHooks(1000)
	claimed := 0
	start = time.Now()
	for i := 0; time.Since(start) < time.Second; i++ {
		key := hooks[i%len(hooks)]
		got, _, err := s.Claim(ctx, key, start, 16)
		if err != nil {
			panic(err)
		}
		claimed += len(got)
		back := make([]storage.Unclaimed, len(got))
		for j := range got {
			back[j] = storage.Unclaimed{ID: got[j].ID, Webhook: key}
		}
		if err := s.Unclaim(ctx, back); err != nil {
			panic(err)
		}
	}
	o.ClaimsPerSecond = float64(claimed) / time.Since(start).Seconds()
	o.AnonClaimed, _ = residentAnon()
	if err := s.Close(); err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// BenchmarkDrain claims and records a backlog of one webhook, to its end.
func BenchmarkDrain(b *testing.B) {
	b.ReportAllocs()
	s := openBench(b)
	g := newBenchBatches(1, true)
	ctx := context.Background()
	for left := b.N; left > 0; left -= 500 {
		batch := g.batch(min(500, left))
		if err := s.Append(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	n := 0
	for {
		got, next, err := s.Claim(ctx, g.hooks[0], time.Now(), 256)
		if err != nil {
			b.Fatal(err)
		}
		if len(got) == 0 && next.IsZero() {
			break
		}
		results := make([]storage.Result, len(got))
		for i, c := range got {
			results[i] = benchResult(c.ID, c.Webhook, n+i)
		}
		n += len(got)
		if err := s.Record(ctx, results); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	if n != b.N {
		b.Fatalf("drained %d of %d", n, b.N)
	}
	checkLive(b, s)
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deliveries/s")
}
