package outbound

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Disposition is what became of an accepted event.
type Disposition uint8

// The dispositions.
const (
	Accepted  Disposition = iota + 1 // stored; its deliveries are on their way
	Duplicate                        // accepted before, within the dedupe window
	Unmatched                        // no webhook wants it; counted, not stored
	Held                             // stored until there is configuration
)

// Accepting is what became of one event of an Accept.
type Accepting struct {
	Disposition Disposition
	// Deliveries the event caused, without those that are kept as dropped because the control plane disabled their webhook.
	Deliveries int
}

// Receipt is the promise of an Accept.
type Receipt struct {
	batches []*storage.Batch
	results []Accepting
	// entryOf gives, for each batch, the event that each of its entries is.
	entryOf [][]int
}

// Wait waits until the events are durable and says what became of each, in order. On an error the events may or may not
// be stored; publishing them again is safe.
func (r *Receipt) Wait(ctx context.Context) ([]Accepting, error) {
	for i, b := range r.batches {
		if err := b.Wait(ctx); err != nil {
			return nil, err
		}
		for j := range b.Entries {
			if b.Entries[j].Duplicate {
				r.results[r.entryOf[i][j]] = Accepting{Disposition: Duplicate}
			}
		}
	}
	return r.results, nil
}

// Serves reports whether events of an app are taken.
func (e *Engine) Serves(app string) bool {
	if slices.Contains(e.opts.LocalApps, app) {
		return true
	}
	if c := e.config.Load(); c != nil {
		return c.apps[app] != nil
	}
	return len(e.opts.LocalApps) == 0
}

// Accept matches events, which must be valid, normalized and not changed any more, and submits them with their
// deliveries to the store, in the order of the calls. It returns without waiting for the commit. Errors:
// sidehook.ErrStopping, sidehook.ErrUnknownApp, a *sidehook.FieldError for a type that an app which publishes strictly
// does not know or for data that does not fit the type's schema, a *sidehook.FullError, or ctx's cause; then nothing was stored, unless the events made more than one
// batch (storage.MaxBatchBytes, MaxBatchDeliveries) and an earlier one was taken: publishing again is safe.
func (e *Engine) Accept(ctx context.Context, events []*sidehook.Event) (*Receipt, error) {
	if e.closed.Load() {
		return nil, sidehook.ErrStopping
	}
	for i, ev := range events {
		if (i == 0 || ev.App != events[i-1].App) && !e.Serves(ev.App) {
			return nil, fmt.Errorf("events[%d].app: this sidecar does not serve %q: %w", i, ev.App, sidehook.ErrUnknownApp)
		}
	}
	return e.submit(ctx, events, false)
}

// matchBufs are scratch space for match results.
var matchBufs = sync.Pool{New: func() any { return new([]int) }}

// submit is Accept after its checks; released marks events that come off the hold queue.
func (e *Engine) submit(ctx context.Context, events []*sidehook.Event, released bool) (*Receipt, error) {
	r := &Receipt{results: make([]Accepting, len(events))}
	cfg := e.config.Load()
	if cfg != nil {
		if err := e.admit(ctx, cfg, events, released); err != nil {
			return nil, err
		}
	}
	buf := matchBufs.Get().(*[]int)
	defer matchBufs.Put(buf)

	sub := &submission{e: e, released: released}
	for i, ev := range events {
		switch {
		case cfg == nil:
			sub.add(i, ev, []storage.Placement{{Webhook: storage.HoldQueue, Queued: true}}, nil)
			r.results[i] = Accepting{Disposition: Held}
		default:
			app := cfg.apps[ev.App]
			if app == nil {
				r.results[i] = Accepting{Disposition: Unmatched}
				break
			}
			if !app.known.has(ev.Type) {
				e.counters.unknownTaken.Add(1)
			}
			*buf = e.filter(app, ev, app.match(ev.Type, (*buf)[:0]))
			if len(*buf) == 0 {
				r.results[i] = Accepting{Disposition: Unmatched}
				break
			}
			placements, lanes := e.place(app, *buf, ev.OrderingKey)
			sub.add(i, ev, placements, lanes)
			r.results[i] = Accepting{Disposition: Accepted, Deliveries: app.wanted(*buf)}
		}
		if r.results[i].Disposition == Unmatched {
			e.counters.unmatched.Add(1)
		}
	}
	if err := sub.send(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

// place decides for each matching lane whether the delivery is taken into memory or left in the durable queue.
func (e *Engine) place(app *appConfig, matches []int, orderingKey string) ([]storage.Placement, []*lane) {
	placements := make([]storage.Placement, len(matches))
	lanes := make([]*lane, len(matches))
	now := e.now()
	for i, m := range matches {
		l := app.lanes[m]
		lanes[i] = l
		placements[i] = storage.Placement{Webhook: l.key, Queued: !l.reserve(now, orderingKey)}
	}
	return placements, lanes
}

// submission cuts events into batches that the store takes, and tells the lanes when they are durable.
type submission struct {
	e        *Engine
	released bool
	cuts     []*cut
}

// cut is one batch in the making. events and lanes run parallel to entries.
type cut struct {
	e          *Engine
	entries    []storage.Entry
	lanes      [][]*lane
	index      []int // of the event in the submission
	bytes      int
	deliveries int
}

func (s *submission) add(i int, ev *sidehook.Event, placements []storage.Placement, lanes []*lane) {
	size := storage.EventSize(ev)
	var c *cut
	if n := len(s.cuts); n > 0 {
		c = s.cuts[n-1]
	}
	if c == nil || len(c.entries) >= storage.MaxBatchEntries || c.bytes+size > storage.MaxBatchBytes ||
		c.deliveries+len(placements) > storage.MaxBatchDeliveries {
		c = &cut{e: s.e}
		s.cuts = append(s.cuts, c)
	}
	c.entries = append(c.entries, storage.Entry{Event: ev, Deliveries: placements, SkipDedupe: s.released})
	c.lanes = append(c.lanes, lanes)
	c.index = append(c.index, i)
	c.bytes += size
	c.deliveries += len(placements)
}

func (s *submission) send(ctx context.Context, r *Receipt) error {
	for n, c := range s.cuts {
		b := storage.NewBatch(c.entries)
		b.OnCommit, b.OnFail = c.committed, c.failed
		if err := s.e.store.Append(ctx, b); err != nil {
			for _, rest := range s.cuts[n:] {
				rest.unreserve()
			}
			return fmt.Errorf("store events: %w", err)
		}
		r.batches = append(r.batches, b)
		r.entryOf = append(r.entryOf, c.index)
	}
	return nil
}

// committed hands durable deliveries to their lanes; the store calls it in commit order.
func (c *cut) committed(b *storage.Batch) {
	defer c.e.opts.OnCount()
	for i := range b.Entries {
		entry := &b.Entries[i]
		if entry.Duplicate {
			c.e.counters.duplicates.Add(1)
			c.unreserveEntry(i)
			continue
		}
		if c.lanes[i] == nil {
			c.e.counters.held.Add(1)
			continue
		}
		c.e.counters.accepted.Add(1)
		shared := &sharedEvent{event: entry.Event}
		for j := range entry.Deliveries {
			p := &entry.Deliveries[j]
			if p.Queued {
				c.lanes[i][j].noteQueued(p.DueAt)
			} else {
				c.lanes[i][j].push(&job{id: p.ID, shared: shared})
			}
		}
	}
}

func (c *cut) failed(*storage.Batch) { c.unreserve() }

func (c *cut) unreserve() {
	for i := range c.entries {
		c.unreserveEntry(i)
	}
}

func (c *cut) unreserveEntry(i int) {
	for j, l := range c.lanes[i] {
		if !c.entries[i].Deliveries[j].Queued {
			l.unreserve()
		}
	}
}
