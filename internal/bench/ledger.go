package main

import (
	"math/bits"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ledger knows which events arrived at which path, how often, and how long after they were due to be published.
type ledger struct {
	mu       sync.Mutex
	seen     map[string]*bitmap
	arrivals uint64 // requests with an event in them
	distinct uint64 // of them, first arrivals of their event at their path
	bytes    uint64
	strange  uint64                  // requests without an event
	latest   []uint64                // by ordering key, one more than the latest event at orderedPath
	disorder uint64                  // first arrivals there after a later event of their key
	latency  *hdrhistogram.Histogram // nanoseconds
	since    time.Time
}

// Bounds of a latency that can be told apart; slower ones count as the slowest.
const (
	fastest     = int64(time.Microsecond)
	slowest     = int64(2 * time.Minute)
	significant = 3
)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(fastest, slowest, significant) }

func newLedger() *ledger {
	return &ledger{seen: make(map[string]*bitmap), latency: newHistogram(), since: time.Now()}
}

// arrived notes a request and returns how many distinct deliveries have arrived.
func (l *ledger) arrived(path string, body []byte, now time.Time) uint64 {
	seq, at, ok := readStamp(body)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok {
		l.strange++
		return l.distinct
	}
	l.arrivals++
	l.bytes += uint64(len(body))
	b := l.seen[path]
	if b == nil {
		b = new(bitmap)
		l.seen[path] = b
	}
	if b.set(seq) {
		l.distinct++
		if path == orderedPath {
			l.noteOrder(seq)
		}
	}
	_ = l.latency.RecordValue(min(max(now.UnixNano()-at, fastest), slowest)) // it is within the bounds
	return l.distinct
}

// noteOrder checks an event's place in the order of its key; mu is held. Only one event of a key is under way, so events
// of one key come here one after the other.
func (l *ledger) noteOrder(seq uint64) {
	if l.latest == nil {
		l.latest = make([]uint64, orderingKeys)
	}
	k := orderingKey(seq, orderingKeys)
	if seq < l.latest[k] {
		l.disorder++
	}
	l.latest[k] = max(l.latest[k], seq+1)
}

// summary is what a ledger holds, in numbers.
type summary struct {
	Arrivals, Distinct, Bytes, Strange, Disorder uint64
	// Since the histogram was last cleared: how long, how many, and nanoseconds.
	Elapsed                  time.Duration
	Samples                  int64
	P50, P90, P99, P999, Max int64
	// Paths says for each what arrived there.
	Paths map[string]pathSummary
}

// pathSummary: Distinct events arrived, all below Below.
type pathSummary struct{ Distinct, Below uint64 }

func (l *ledger) summary() summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := summary{
		Arrivals: l.arrivals, Distinct: l.distinct, Bytes: l.bytes, Strange: l.strange, Disorder: l.disorder,
		Elapsed: time.Since(l.since), Samples: l.latency.TotalCount(),
		P50: l.latency.ValueAtQuantile(50), P90: l.latency.ValueAtQuantile(90), P99: l.latency.ValueAtQuantile(99),
		P999: l.latency.ValueAtQuantile(99.9), Max: l.latency.Max(), Paths: make(map[string]pathSummary, len(l.seen)),
	}
	for path, b := range l.seen {
		s.Paths[path] = pathSummary{Distinct: b.count(), Below: b.below()}
	}
	return s
}

// mark starts a new measurement: latencies are forgotten, what arrived is not.
func (l *ledger) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latency.Reset()
	l.since = time.Now()
}

// reset forgets everything.
func (l *ledger) reset() {
	fresh := newLedger()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen, l.arrivals, l.distinct, l.bytes, l.strange = fresh.seen, 0, 0, 0, 0
	l.latest, l.disorder = nil, 0
	l.latency, l.since = fresh.latency, fresh.since
}

// bitmap is a set of small numbers.
type bitmap struct{ words []uint64 }

// set adds n and reports whether it is new.
func (b *bitmap) set(n uint64) bool {
	word, bit := n/64, uint64(1)<<(n%64)
	for uint64(len(b.words)) <= word {
		b.words = append(b.words, 0)
	}
	old := b.words[word]
	b.words[word] = old | bit
	return old&bit == 0
}

func (b *bitmap) count() uint64 {
	n := 0
	for _, w := range b.words {
		n += bits.OnesCount64(w)
	}
	return uint64(n)
}

// below is one more than the largest number of the set, 0 when it is empty.
func (b *bitmap) below() uint64 {
	for i := len(b.words) - 1; i >= 0; i-- {
		if b.words[i] != 0 {
			return uint64(i*64 + bits.Len64(b.words[i]))
		}
	}
	return 0
}
