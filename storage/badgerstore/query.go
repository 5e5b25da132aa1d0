package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// A finished delivery is in the history as long as the entry of the commit that ended it is, and its event.

// Deliveries walks the batches from the newest to the oldest. It reads one moment, and holds one page.
func (s *Store) Deliveries(ctx context.Context, q storage.Query) (storage.Page, error) {
	limit, err := q.PageLimit()
	if err != nil {
		return storage.Page{}, err
	}
	from := deliveryRef{seq: math.MaxUint64}
	if q.Cursor != "" {
		id, err := sidehook.ParseDeliveryID(q.Cursor)
		if err != nil || id.Origin != s.origin {
			return storage.Page{}, sidehook.Fieldf("cursor", "is not one that this list gave")
		}
		from = refOf(id)
	}
	if err := s.use(ctx); err != nil {
		return storage.Page{}, err
	}
	defer s.life.RUnlock()
	l := lister{s: s, ctx: ctx, query: &q, limit: limit}
	if err := s.view(func(m *moment) error { return l.list(m, from) }); err != nil {
		return storage.Page{}, fmt.Errorf("list deliveries: %w", err)
	}
	return l.page, nil
}

// lister fills a page.
type lister struct {
	s     *Store
	ctx   context.Context
	m     *moment
	load  eventLoader
	query *storage.Query
	limit int
	page  storage.Page
	found []found // not looked up in the history yet
}

// found is a delivery that the query selects.
type found struct {
	info    storage.DeliveryInfo
	place   place
	runDue  int64  // when it is due if it is in a run
	endedBy uint64 // no attempt was recorded after this commit
	saved   savedID
}

func (l *lister) list(m *moment, from deliveryRef) error {
	l.m = m
	l.load = eventLoader{s: l.s, m: m}
	full := false
	err := scanBack(m, []byte{spaceBatch}, seqKey(spaceBatch, from.seq), func(key, val []byte) (bool, error) {
		if l.ctx.Err() != nil {
			return false, context.Cause(l.ctx)
		}
		seq, err := seqOf(key)
		if err != nil {
			return false, err
		}
		b, err := decodeBatch(seq, val)
		if err != nil {
			return false, err
		}
		more, err := l.batch(b, from)
		full = !more
		return more, err
	})
	if err != nil || full {
		return err
	}
	return l.lookUp()
}

// batch lists the deliveries of one batch, newest first, those before from only; false when the page is full.
func (l *lister) batch(b *batch, from deliveryRef) (bool, error) {
	if !l.query.Covers(timeOf(b.accepted)) {
		return true, nil
	}
	end := len(b.places)
	if b.seq == from.seq {
		end = min(end, int(from.index))
	}
	for i := end - 1; i >= 0; i-- {
		if want := l.query.State; want != nil && b.places[i].state() != *want {
			continue
		}
		if err := l.delivery(b, uint32(i)); err != nil {
			return false, err
		}
		if len(l.found)+len(l.page.Deliveries) <= l.limit {
			continue
		}
		if err := l.lookUp(); err != nil {
			return false, err
		}
		if n := len(l.page.Deliveries); n > l.limit {
			l.page.Deliveries = l.page.Deliveries[:l.limit]
			l.page.Next = l.page.Deliveries[l.limit-1].ID.String()
			return false, nil
		}
	}
	return true, nil
}

// delivery adds a delivery to found if the query selects it.
func (l *lister) delivery(b *batch, index uint32) error {
	f, err := l.describe(b, index)
	if errors.Is(err, errCorrupt) {
		l.s.log.Error("a delivery cannot be read and is not listed", "batch", b.seq, "index", index, "error", err)
		return nil
	}
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if l.query.Matches(f.info.Webhook, f.info.EventType, f.info.State, f.info.AcceptedAt) {
		l.found = append(l.found, *f)
	}
	return nil
}

// describe tells what the batch and its blocks know of a delivery; sidehook.ErrNotFound when its event has left.
func (l *lister) describe(b *batch, index uint32) (*found, error) {
	cb, err := l.load.block(deliveryRef{b.seq, index})
	if err != nil {
		return nil, err
	}
	n := cb.block.find(index)
	if n < 0 {
		return nil, sidehook.ErrNotFound
	}
	e := &cb.block.entries[n]
	if e.hook(index) == storage.HoldQueue {
		return nil, sidehook.ErrNotFound
	}
	id, eventType, err := eventNames(e.record)
	if err != nil {
		return nil, err
	}
	f := &found{
		info: storage.DeliveryInfo{
			ID:         sidehook.DeliveryID{Origin: l.s.origin, Batch: b.seq, Index: index},
			Webhook:    e.hook(index),
			EventID:    id,
			EventType:  eventType,
			AcceptedAt: timeOf(b.accepted),
			State:      b.places[index].state(),
		},
		place:   b.places[index],
		runDue:  e.runDue(index, b.accepted),
		endedBy: math.MaxUint64,
	}
	if b.finishedAt != 0 {
		f.endedBy = b.finishedAt
	}
	return f, l.describePending(f)
}

// describePending adds what the queue knows.
func (l *lister) describePending(f *found) error {
	id := f.info.ID
	switch f.place {
	case placeRun:
		f.info.NextAttempt = timeOf(f.runDue)
	case placeSingle:
		at, left, err := readSingle(l.m, f.info.Webhook, refOf(id))
		if err != nil {
			return err
		}
		f.info.NextAttempt = timeOf(at.due)
		f.info.AttemptCount = left.attempts
		f.saved = left.saved
	default:
		return nil
	}
	if q := l.s.findQueue(f.info.Webhook); q != nil && q.isClaimed(refOf(id)) {
		f.info.NextAttempt = time.Time{} // it is being attempted
	}
	return nil
}

// lookUp finds the attempts of what was found, and moves it to the page; finished deliveries that the history does not
// know any more are left out.
func (l *lister) lookUp() error {
	last := make(map[sidehook.DeliveryID]result)
	err := l.s.results(l.ctx, l.m, l.found, func(r result) {
		if r.attempt == nil { // ended without one
			r.attempt = last[r.id].attempt
		}
		last[r.id] = r
	})
	if err != nil {
		return err
	}
	for i := range l.found {
		f := &l.found[i]
		r, known := last[f.info.ID]
		if f.place.final() {
			if !known || !r.place.final() {
				continue
			}
			f.info.AttemptCount = r.attempts
		}
		if known && r.attempt != nil {
			f.info.Attempts = []sidehook.Attempt{*r.attempt}
		}
		l.page.Deliveries = append(l.page.Deliveries, f.info)
	}
	l.found = l.found[:0]
	return nil
}

// results visits what the history holds of the wanted deliveries, oldest first.
func (s *Store) results(ctx context.Context, m *moment, wanted []found, visit func(result)) error {
	want := make(map[sidehook.DeliveryID]bool)
	first, last := uint64(math.MaxUint64), uint64(0)
	for i := range wanted {
		f := &wanted[i]
		if f.place == placeRun || f.place == placeTaken {
			continue // never attempted
		}
		want[f.info.ID] = true
		first = min(first, f.info.ID.Batch)
		last = max(last, f.endedBy)
	}
	if len(want) == 0 {
		return nil
	}
	wants := func(id sidehook.DeliveryID) bool { return want[id] }
	return scan(m, []byte{spaceHistory}, seqKey(spaceHistory, first), func(key, val []byte) (bool, error) {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		seq, err := seqOf(key)
		if err != nil || seq > last {
			return false, err
		}
		h, err := decodeHistoryEntry(val)
		if err != nil {
			return false, fmt.Errorf("history of commit %d: %w", seq, err)
		}
		if h.results == 0 {
			return true, nil
		}
		val, err = s.segs.read(h.ref)
		if err != nil { // these results are lost, the others are not
			s.log.Error("results in the history cannot be read", "commit", seq, "error", err)
			return true, nil
		}
		list, err := decodeHistory(val, s.origin, wants)
		if err != nil {
			return false, fmt.Errorf("history of commit %d: %w", seq, err)
		}
		for _, r := range list {
			visit(r)
		}
		return true, nil
	})
}

// Delivery gives one delivery with its attempts.
func (s *Store) Delivery(ctx context.Context, id sidehook.DeliveryID) (*storage.DeliveryInfo, error) {
	if err := s.use(ctx); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	var info *storage.DeliveryInfo
	err := s.view(func(m *moment) error {
		l := lister{s: s, ctx: ctx, m: m, load: eventLoader{s: s, m: m}}
		f, err := l.find(id)
		if err != nil {
			return err
		}
		ended := false
		err = s.results(ctx, m, []found{*f}, func(r result) {
			if r.attempt != nil {
				f.info.Attempts = append(f.info.Attempts, *r.attempt)
			}
			if ended = r.place.final(); ended && f.place.final() {
				f.info.AttemptCount, f.saved = r.attempts, r.saved
			}
		})
		if err != nil {
			return err
		}
		if f.place.final() && !ended {
			return sidehook.ErrNotFound
		}
		info = &f.info
		return l.complete(f)
	})
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, storage.DeliveryNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	return info, nil
}

// complete adds the event, and the saved request while it is there.
func (l *lister) complete(f *found) (err error) {
	ref := refOf(f.info.ID)
	if f.info.Event, err = l.load.event(ref); err != nil {
		return err
	}
	f.info.Saved, err = l.load.saved(ref.seq, f.saved)
	if errors.Is(err, errNoKey) {
		return nil
	}
	return err
}

// find describes a delivery by its id.
func (l *lister) find(id sidehook.DeliveryID) (*found, error) {
	if id.Origin != l.s.origin {
		return nil, sidehook.ErrNotFound
	}
	b, err := readBatch(l.m, id.Batch)
	if err != nil {
		return nil, err
	}
	if !b.has(id.Index) {
		return nil, sidehook.ErrNotFound
	}
	return l.describe(b, id.Index)
}
