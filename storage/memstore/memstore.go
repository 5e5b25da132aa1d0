// Package memstore is a storage.Store in memory: a reference model that is small enough to be seen to be right. Tests
// compare other stores with it, and use it where a disk would only be in the way. It is not durable, scans rather than
// indexes, and keeps its whole history: HistoryBytes and HistoryAge have no effect.
package memstore

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// origin of the ids of every Store of this package.
const origin = 1

// Store is a storage.Store in memory.
type Store struct {
	opts storage.Options

	mu         sync.Mutex
	closed     bool
	batches    uint64
	commits    int64
	bytes      int64
	seen       map[[2]string]time.Time // when (app, event id) was last appended
	deliveries map[sidehook.DeliveryID]*delivery
	pending    map[sidehook.WebhookKey]map[sidehook.DeliveryID]*delivery
	order      []*delivery // every delivery by id
}

var _ storage.Store = (*Store)(nil)

// place is where a pending delivery is.
type place uint8

const (
	queued  place = iota // in its webhook's queue
	claimed              // taken from the queue by a caller
	taken                // handed to the caller of Append
)

type delivery struct {
	id       sidehook.DeliveryID
	webhook  sidehook.WebhookKey
	event    *sidehook.Event
	accepted time.Time
	state    sidehook.DeliveryState
	place    place
	due      time.Time
	firstAt  time.Time
	saved    *storage.SavedRequest
	attempts []sidehook.Attempt
}

// New makes an empty store.
func New(opts storage.Options) *Store {
	return &Store{
		opts:       opts.WithDefaults(),
		seen:       make(map[[2]string]time.Time),
		deliveries: make(map[sidehook.DeliveryID]*delivery),
		pending:    make(map[sidehook.WebhookKey]map[sidehook.DeliveryID]*delivery),
	}
}

// Reopen does what a crash and a restart do: every delivery that was claimed or taken is queued again. The store can
// be used again even if it was closed.
func (s *Store) Reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
	for _, queue := range s.pending {
		for _, d := range queue {
			d.place = queued
		}
	}
}

// Append stores the batch at once.
func (s *Store) Append(ctx context.Context, b *storage.Batch) error {
	if err := storage.CheckBatch(b); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	if s.bytes >= s.opts.QueueBytes {
		return storage.QueueFull(s.opts.QueueBytes)
	}
	now := s.now()
	s.batches++
	s.commits++
	index := uint32(0)
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.Duplicate = !e.SkipDedupe && s.isDuplicate(e.Event, now); e.Duplicate {
			continue
		}
		s.seen[[2]string{e.Event.App, e.Event.ID}] = now
		for j := range e.Deliveries {
			s.add(e.Event, &e.Deliveries[j], index, now)
			index++
		}
	}
	b.Finish(nil)
	return nil
}

func (s *Store) isDuplicate(e *sidehook.Event, now time.Time) bool {
	at, ok := s.seen[[2]string{e.App, e.ID}]
	return ok && now.Sub(at) <= s.opts.DedupeWindow
}

func (s *Store) add(e *sidehook.Event, p *storage.Placement, index uint32, now time.Time) {
	p.ID = sidehook.DeliveryID{Origin: origin, Batch: s.batches, Index: index}
	d := &delivery{id: p.ID, webhook: p.Webhook, event: e, accepted: now, place: taken, due: now}
	if p.Queued {
		d.place = queued
		if !p.DueAt.IsZero() {
			d.due = p.DueAt
		}
	}
	s.deliveries[d.id] = d
	s.order = append(s.order, d)
	s.setPending(d)
}

func (s *Store) setPending(d *delivery) {
	if s.pending[d.webhook] == nil {
		s.pending[d.webhook] = make(map[sidehook.DeliveryID]*delivery)
	}
	s.pending[d.webhook][d.id] = d
	d.state = sidehook.Pending
	s.bytes += int64(storage.EventSize(d.event))
}

func (s *Store) setFinal(d *delivery, state sidehook.DeliveryState) {
	delete(s.pending[d.webhook], d.id)
	d.state = state
	s.bytes -= int64(storage.EventSize(d.event))
}

// inQueue lists the queued deliveries of a webhook in the order Claim takes them.
func (s *Store) inQueue(key sidehook.WebhookKey) []*delivery {
	var list []*delivery
	for _, d := range s.pending[key] {
		if d.place == queued {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b *delivery) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.id.Batch, b.id.Batch), cmp.Compare(a.id.Index, b.id.Index))
	})
	return list
}

// Claim takes due deliveries.
func (s *Store) Claim(
	ctx context.Context, key sidehook.WebhookKey, now time.Time, limit int,
) (out []storage.Claimed, next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, time.Time{}, err
	}
	for _, d := range s.inQueue(key) {
		if len(out) >= limit || d.due.After(now) {
			return out, d.due, nil
		}
		d.place = claimed
		out = append(out, storage.Claimed{
			ID: d.id, Webhook: d.webhook, Event: d.event, AcceptedAt: d.accepted, DueAt: d.due, Attempts: len(d.attempts), FirstAt: d.firstAt, Saved: d.saved,
		})
	}
	return out, time.Time{}, nil
}

// inHand returns a delivery that a caller has, claimed or taken.
func (s *Store) inHand(id sidehook.DeliveryID, key sidehook.WebhookKey) (*delivery, bool) {
	d, ok := s.deliveries[id]
	return d, ok && d.webhook == key && !d.state.Final() && d.place != queued
}

// Unclaim puts deliveries back.
func (s *Store) Unclaim(ctx context.Context, back []storage.Unclaimed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	for _, u := range back {
		d, ok := s.inHand(u.ID, u.Webhook)
		if !ok {
			continue
		}
		d.place = queued
		if !u.DueAt.IsZero() {
			d.due = u.DueAt
		}
	}
	return nil
}

// Record applies results at once.
func (s *Store) Record(ctx context.Context, results []storage.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.commits++
	for i := range results {
		r := &results[i]
		if d, ok := s.inHand(r.ID, r.Webhook); ok {
			s.apply(d, r)
		}
		if r.OnCommit != nil {
			r.OnCommit()
		}
	}
	return nil
}

func (s *Store) apply(d *delivery, r *storage.Result) {
	if r.Attempt != nil {
		if d.firstAt.IsZero() {
			d.firstAt = r.Attempt.At
		}
		d.attempts = append(d.attempts, *r.Attempt)
	}
	if r.State.Final() {
		s.setFinal(d, r.State)
		return
	}
	if d.saved == nil {
		d.saved = r.Save
	}
	d.place = queued
	d.due = r.DueAt
	if d.due.IsZero() {
		d.due = s.now()
	}
}

// Flush has nothing to wait for.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable(ctx)
}

// Queues lists the queues.
func (s *Store) Queues(ctx context.Context) iter.Seq2[storage.QueueHead, error] {
	return func(yield func(storage.QueueHead, error) bool) {
		s.mu.Lock()
		err := s.usable(ctx)
		var heads []storage.QueueHead
		for key := range s.pending {
			if list := s.inQueue(key); len(list) > 0 {
				heads = append(heads, storage.QueueHead{Webhook: key, NextDue: list[0].due})
			}
		}
		s.mu.Unlock()
		if err != nil {
			yield(storage.QueueHead{}, err)
			return
		}
		for _, h := range heads {
			if !yield(h, nil) {
				return
			}
		}
	}
}

// Requeue queues finished deliveries once more.
func (s *Store) Requeue(ctx context.Context, ids []sidehook.DeliveryID, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	n := 0
	for _, id := range ids {
		d, ok := s.deliveries[id]
		if !ok || !d.state.Final() || d.webhook == storage.HoldQueue {
			continue
		}
		s.setPending(d)
		d.place, d.due = queued, now
		n++
	}
	return n, nil
}

// Hasten makes a queued delivery due.
func (s *Store) Hasten(ctx context.Context, id sidehook.DeliveryID, now time.Time) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return false, err
	}
	d, ok := s.deliveries[id]
	if !ok || d.state.Final() || d.place != queued || !d.listed() {
		return false, nil
	}
	if d.due.After(now) {
		d.due = now
	}
	return true, nil
}

// Deliveries lists deliveries, newest first. The cursor is the position in the order of ids.
func (s *Store) Deliveries(ctx context.Context, q storage.Query) (storage.Page, error) {
	limit, err := q.PageLimit()
	if err != nil {
		return storage.Page{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return storage.Page{}, err
	}
	end := len(s.order)
	if q.Cursor != "" {
		end, err = strconv.Atoi(q.Cursor)
		if err != nil || end < 0 || end > len(s.order) {
			return storage.Page{}, sidehook.Fieldf("cursor", "is not one that this list gave")
		}
	}
	var page storage.Page
	for i := end - 1; i >= 0; i-- {
		d := s.order[i]
		if !d.listed() || !q.Matches(d.webhook, d.event.Type, d.state, d.accepted) {
			continue
		}
		if len(page.Deliveries) == limit {
			page.Next = strconv.Itoa(i + 1)
			break
		}
		info := d.info()
		if n := len(info.Attempts); n > 1 {
			info.Attempts = info.Attempts[n-1:]
		}
		page.Deliveries = append(page.Deliveries, info)
	}
	return page, nil
}

func (d *delivery) listed() bool { return d.webhook != storage.HoldQueue }

func (d *delivery) info() storage.DeliveryInfo {
	info := storage.DeliveryInfo{
		ID: d.id, Webhook: d.webhook, EventID: d.event.ID, EventType: d.event.Type, AcceptedAt: d.accepted,
		State: d.state, AttemptCount: len(d.attempts), Attempts: slices.Clone(d.attempts),
	}
	if d.state == sidehook.Pending && d.place == queued {
		info.NextAttempt = d.due
	}
	return info
}

// Delivery gives one delivery.
func (s *Store) Delivery(ctx context.Context, id sidehook.DeliveryID) (*storage.DeliveryInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	d, ok := s.deliveries[id]
	if !ok || !d.listed() {
		return nil, storage.DeliveryNotFound(id)
	}
	info := d.info()
	info.Event, info.Saved = d.event, d.saved
	return &info, nil
}

// Stats counts. Bytes are those of the events of unfinished deliveries, once for each delivery.
func (s *Store) Stats() storage.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := storage.Stats{Commits: s.commits, Bytes: s.bytes, Held: int64(len(s.pending[storage.HoldQueue]))}
	for _, d := range s.order {
		if !d.state.Final() {
			st.Pending++
			if st.OldestPending.IsZero() {
				st.OldestPending = d.accepted
			}
		}
	}
	return st
}

// Close closes the store; Reopen opens it again.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *Store) usable(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.closed {
		return storage.ErrClosed
	}
	return nil
}

// now is the clock without the monotonic part, which would not survive a restart.
func (s *Store) now() time.Time { return s.opts.Now().Round(0).UTC() }
