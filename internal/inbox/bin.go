package inbox

import (
	"net/http"
	"time"

	"github.com/sidehook/sidehook"
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

	size int
}

// WebhookID is the header webhook-id, empty when there is none.
func (a *Arrival) WebhookID() string { return a.Headers.Get("Webhook-Id") }

// Settings say what a bin verifies against and how it behaves. PUT replaces them all.
type Settings struct {
	// Secrets, whsec_<base64> each; a signature that one of them made is good. At most 8.
	Secrets []string `json:"secrets"`
	// FailFirst is how many arrivals are answered with Status before they are answered 200; -1: all.
	FailFirst int `json:"fail_first"`
	// Status of failures, 300 to 599; default 503.
	Status int `json:"status"`
	// Delay before each answer, as in "200ms"; at most 5 minutes.
	Delay string `json:"delay"`
	// RetryAfter, when set, is sent as Retry-After with failures: seconds or an HTTP date.
	RetryAfter string `json:"retry_after"`

	delay time.Duration
}

// validate checks the settings and fills the defaults. It returns a *sidehook.FieldError.
func (s *Settings) validate() error {
	if len(s.Secrets) > maxSecrets {
		return sidehook.Fieldf("secrets", "must be at most %d", maxSecrets)
	}
	for _, secret := range s.Secrets {
		if _, err := sidehook.ParseKey(secret); err != nil {
			return sidehook.Fieldf("secrets", "must each be whsec_ and the base64 of %d to %d bytes", sidehook.MinKeyLen, sidehook.MaxKeyLen)
		}
	}
	if s.FailFirst < -1 {
		return sidehook.Fieldf("fail_first", "must be 0 or more, or -1 for all")
	}
	if s.Status == 0 {
		s.Status = http.StatusServiceUnavailable
	}
	if s.Status < 300 || s.Status > 599 {
		return sidehook.Fieldf("status", "must be 300 to 599")
	}
	if s.Delay != "" {
		d, err := time.ParseDuration(s.Delay)
		if err != nil || d < 0 || d > MaxDelay {
			return sidehook.Fieldf("delay", "must be a duration such as 200ms, at most %v", MaxDelay)
		}
		s.delay = d
	}
	if len(s.RetryAfter) > 64 || !isPlain(s.RetryAfter) {
		return sidehook.Fieldf("retry_after", "must be seconds or an HTTP date")
	}
	return nil
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// ensure returns the bin, making it, and forgetting the one idle longest, where needed. Inbox.mu is held.
func (b *Inbox) ensure(name string) *bin {
	bn := b.bins[name]
	if bn == nil {
		if len(b.bins) >= MaxBins {
			b.forgetIdlest()
		}
		bn = &bin{name: name, settings: Settings{Status: http.StatusServiceUnavailable}, seen: map[string]int{}, watches: map[*watch]bool{}}
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
	for len(bn.arrivals) > 0 {
		b.dropOldest(bn)
	}
	bn.endWatches()
	delete(b.bins, bn.name)
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
