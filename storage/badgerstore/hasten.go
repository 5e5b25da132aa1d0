package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Hasten claims the delivery where it waits, and puts it back due at now.
func (s *Store) Hasten(ctx context.Context, id sidehook.DeliveryID, now time.Time) (bool, error) {
	if err := s.use(ctx); err != nil {
		return false, err
	}
	defer s.life.RUnlock()
	var f *found
	err := s.view(func(m *moment) (err error) {
		l := lister{s: s, ctx: ctx, m: m, load: eventLoader{s: s, m: m}}
		f, err = l.find(id)
		return err
	})
	if errors.Is(err, sidehook.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look up a delivery to hasten: %w", err)
	}
	q := s.findQueue(f.info.Webhook)
	if q == nil {
		return false, nil
	}
	waits, due, err := s.pickOne(q, refOf(id), f.runDue, nanos(now))
	if err != nil || due {
		return waits, err
	}
	if !waits {
		return false, nil
	}
	w := &waiter{done: make(chan struct{})}
	return true, s.moveAndWait(ctx, w, []move{{
		kind: moveUnclaim, waiter: w, result: storage.Result{ID: id, Webhook: q.key, DueAt: now},
	}})
}

// pickOne claims one delivery that waits in the queue and is not due yet; waits and due say which of the two holds.
// The cursor is left where it is: at worst it stands at what is claimed, which Claim passes.
func (s *Store) pickOne(q *queue, ref deliveryRef, runDue, now int64) (waits, due bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.claimed[ref] != nil {
		return false, false, nil
	}
	// The moment to read is chosen under q.mu, as in pick.
	err = s.view(func(m *moment) error {
		b, err := readBatch(m, ref.seq)
		if err != nil {
			return err
		}
		c := candidate{pos: pos{runDue, ref.seq, ref.index}}
		switch b.places[ref.index] {
		case placeRun:
			// One member is never more than the run has; see run.left.
			c.run = &walkedRun{id: runID{runDue, ref.seq}, members: []uint32{ref.index}}
		case placeSingle:
			if c.pos, c.single, err = readSingle(m, q.key, ref); err != nil {
				return err
			}
		default:
			return nil
		}
		waits, due = true, c.pos.due <= now
		if !due {
			q.claimLocked(ref, &c)
		}
		return nil
	})
	if errors.Is(err, sidehook.ErrNotFound) {
		err = nil
	}
	return waits, due, err
}

// readSingle finds a single by its id.
func readSingle(m *moment, key sidehook.WebhookKey, ref deliveryRef) (pos, single, error) {
	at := pos{seq: ref.seq, index: ref.index}
	due, err := value(m, indexKey(spaceSingle, ref.seq, ref.index))
	if err != nil || len(due) != 8 {
		return at, single{}, fmt.Errorf("due time of delivery %d/%d: %w", ref.seq, ref.index, errors.Join(errCorrupt, err))
	}
	at.due = int64(binary.BigEndian.Uint64(due) ^ 1<<63)
	val, err := value(m, singleKey(key, at))
	if err != nil {
		return at, single{}, fmt.Errorf("queue entry of delivery %d/%d: %w", ref.seq, ref.index, err)
	}
	left, err := decodeSingle(val)
	if err != nil {
		return at, single{}, fmt.Errorf("queue entry of delivery %d/%d: %w", ref.seq, ref.index, err)
	}
	return at, left, nil
}
