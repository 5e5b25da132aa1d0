package inbox

import (
	"net/http"
	"time"
)

// bin holds the arrivals sent to one path. Its fields are guarded by Inbox.mu.
type bin struct {
	name     string
	settings Settings
	failed   int        // arrivals failed on purpose since the settings were put
	arrivals []*Arrival // oldest first
	total    uint64     // arrivals ever, those that were forgotten included
	seen     map[string]int
	touched  time.Time
	watches  map[*watch]bool
}

// Arrival is one request that came in.
type Arrival struct {
	// ID grows with each arrival of the inbox.
	ID     uint64    `json:"id"`
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	// Path with its query, as sent.
	Path    string      `json:"path"`
	Headers http.Header `json:"headers"`
	// Body is the beginning of the body, as text; bytes that are not UTF-8 are replaced.
	Body string `json:"body"`
	// BodySize is the size of the whole body in bytes; Truncated tells that Body is not all of it.
	BodySize  int  `json:"body_size"`
	Truncated bool `json:"truncated,omitempty"`
	// Answered is the status that was answered.
	Answered int     `json:"answered"`
	Verdict  Verdict `json:"verdict"`
	// Repeat counts the arrivals with the same webhook-id before this one: attempts of one delivery, or replays.
	Repeat int `json:"repeat"`
	// Busy tells that too many requests were waiting for their delay already, so that this one was refused.
	Busy bool `json:"busy,omitempty"`

	size int
}

// WebhookID is the header webhook-id, empty when there is none.
func (a *Arrival) WebhookID() string { return a.Headers.Get("Webhook-Id") }

// ensure returns the bin, making it, and forgetting the one idle longest, where needed. Inbox.mu is held.
func (b *Inbox) ensure(name string) *bin {
	bn := b.bins[name]
	if bn == nil {
		if len(b.bins) >= MaxBins {
			b.forgetIdlest()
		}
		bn = &bin{name: name, settings: defaults(), seen: map[string]int{}, watches: map[*watch]bool{}}
		b.bins[name] = bn
	}
	bn.touched = b.now()
	return bn
}

func (b *Inbox) forgetIdlest() {
	var idlest *bin
	for _, bn := range b.bins {
		if idlest == nil || bn.touched.Before(idlest.touched) {
			idlest = bn
		}
	}
	b.forget(idlest)
}

func (b *Inbox) forget(bn *bin) {
	b.empty(bn)
	bn.endWatches(true)
	delete(b.bins, bn.name)
}

// empty forgets the arrivals of a bin. Inbox.mu is held.
func (b *Inbox) empty(bn *bin) {
	for _, a := range bn.arrivals {
		b.kept -= a.size
	}
	bn.arrivals, bn.seen = nil, map[string]int{}
}

// keep adds an arrival, makes room for it, and tells who watches. Inbox.mu is held.
func (b *Inbox) keep(bn *bin, a *Arrival) {
	b.nextID++
	a.ID = b.nextID
	if id := a.WebhookID(); id != "" {
		a.Repeat = bn.seen[id]
		bn.seen[id]++
	}
	if len(bn.arrivals) == MaxArrivals {
		b.dropOldest(bn)
	}
	bn.arrivals = append(bn.arrivals, a)
	bn.total++
	b.kept += a.size
	for b.kept > MaxKept {
		b.dropOldest(b.fullest())
	}
	for w := range bn.watches {
		w.push(a)
	}
}

// fullest is the bin that keeps the most arrivals. Inbox.mu is held.
func (b *Inbox) fullest() *bin {
	var most *bin
	for _, bn := range b.bins {
		if most == nil || len(bn.arrivals) > len(most.arrivals) {
			most = bn
		}
	}
	return most
}

// dropOldest forgets the oldest arrival of a bin; it counts as seen only while one with its webhook-id is kept.
func (b *Inbox) dropOldest(bn *bin) {
	a := bn.arrivals[0]
	bn.arrivals[0] = nil
	bn.arrivals = bn.arrivals[1:]
	b.kept -= a.size
	id := a.WebhookID()
	if id == "" {
		return
	}
	for _, other := range bn.arrivals {
		if other.WebhookID() == id {
			return
		}
	}
	delete(bn.seen, id)
}
