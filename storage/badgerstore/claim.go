package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Claim takes due deliveries from a queue. Nothing is written: what is claimed is only remembered, and found queued
// again after a restart.
func (s *Store) Claim(
	ctx context.Context, key sidehook.WebhookKey, now time.Time, limit int,
) ([]storage.Claimed, time.Time, error) {
	if err := s.use(ctx); err != nil {
		return nil, time.Time{}, err
	}
	defer s.life.RUnlock()
	q := s.findQueue(key)
	if q == nil {
		return nil, time.Time{}, nil
	}
	refs, next := s.pick(q, nanos(now), limit)
	if len(refs) == 0 {
		return nil, next, nil
	}
	return s.deliver(q, refs), next, nil
}

// picked is a delivery that pick claimed.
type picked struct {
	ref    deliveryRef
	due    int64
	single single
}

// pick claims up to limit deliveries due at now, and moves the cursor to the first that is left.
func (s *Store) pick(q *queue, now int64, limit int) (out []picked, next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.empty || q.cursor.due > now || limit <= 0 {
		return nil, q.nextLocked()
	}
	// The moment to read is chosen under q.mu: what a later commit brings is inserted after this.
	_ = s.view(func(m *moment) error {
		w := s.newWalk(m, q, q.cursor)
		defer w.close()
		for {
			c, ok := w.next()
			if !ok {
				q.empty = true
				return nil
			}
			ref := deliveryRef{c.pos.seq, c.pos.index}
			if q.claimed[ref] != nil {
				continue
			}
			if len(out) == limit || c.pos.due > now {
				q.cursor = c.pos
				return nil
			}
			q.claimLocked(ref, &c)
			out = append(out, picked{ref, c.pos.due, c.single})
		}
	})
	return out, q.nextLocked()
}

func (q *queue) claimLocked(ref deliveryRef, c *candidate) {
	cl := &claim{pos: c.pos, single: c.single}
	if c.run != nil {
		r := q.runs[c.run.id]
		if r == nil {
			r = &run{id: c.run.id, left: len(c.run.members)}
			q.runs[c.run.id] = r
		}
		r.claimed++
		cl.run = r
	}
	q.claimed[ref] = cl
}

// deliver completes picked deliveries with their events and saved requests. One that cannot be read is ended, so that
// it does not stand in the way of the others.
func (s *Store) deliver(q *queue, refs []picked) []storage.Claimed {
	out := make([]storage.Claimed, 0, len(refs))
	var lost []move
	_ = s.latest(func(m *moment) error {
		l := eventLoader{s: s, m: m}
		for _, p := range refs {
			c := storage.Claimed{
				ID:       sidehook.DeliveryID{Origin: s.origin, Batch: p.ref.seq, Index: p.ref.index},
				Webhook:  q.key,
				Attempts: p.single.attempts,
				DueAt:    timeOf(p.due),
			}
			if p.single.firstAt != 0 {
				c.FirstAt = timeOf(p.single.firstAt)
			}
			var err error
			if c.Event, err = l.event(p.ref); err == nil {
				c.AcceptedAt = timeOf(l.at.block.accepted)
				var lost error
				if c.Saved, lost = l.saved(p.ref.seq, p.single.saved); lost != nil {
					s.log.Error("a saved request cannot be read; the delivery's next request is made anew",
						"delivery", c.ID, "webhook", q.key, "error", lost)
				}
			}
			if err == nil {
				out = append(out, c)
				continue
			}
			s.log.Error("a delivery cannot be read and is dropped", "delivery", c.ID, "webhook", q.key, "error", err)
			lost = append(lost, move{kind: moveLost, result: storage.Result{
				ID: c.ID, Webhook: q.key, State: sidehook.Dropped,
			}})
		}
		return nil
	})
	if len(lost) > 0 {
		if err := s.in.move(context.Background(), lost); err != nil {
			s.log.Warn("deliveries that cannot be read stay until the next start", "error", err)
		}
	}
	return out
}

// eventLoader reads events, and remembers what the last one needed.
type eventLoader struct {
	s      *Store
	m      *moment
	seq    uint64
	blocks []blockAt
	at     *cachedBlock
	last   uint32
}

// event of a delivery.
func (l *eventLoader) event(ref deliveryRef) (*sidehook.Event, error) {
	cb, err := l.block(ref)
	if err != nil {
		return nil, err
	}
	return cb.event(ref.index)
}

// block that holds the event of a delivery.
func (l *eventLoader) block(ref deliveryRef) (*cachedBlock, error) {
	if l.blocks == nil || l.seq != ref.seq {
		blocks, err := l.s.blocksOf(l.m, ref.seq)
		if err != nil {
			return nil, fmt.Errorf("batch %d: %w", ref.seq, err)
		}
		l.seq, l.blocks, l.at = ref.seq, blocks, nil
	}
	for _, at := range l.blocks {
		if ref.index > at.last {
			continue
		}
		if l.at != nil && l.last == at.last {
			return l.at, nil
		}
		cb, err := l.s.cache.get(l.s.segs, ref.seq, at)
		if err != nil {
			return nil, fmt.Errorf("block %d/%d: %w", ref.seq, at.last, err)
		}
		l.at, l.last = cb, at.last
		return cb, nil
	}
	return nil, fmt.Errorf("event of delivery %d/%d: %w", ref.seq, ref.index, sidehook.ErrNotFound)
}

func (l *eventLoader) saved(seq uint64, id savedID) (*storage.SavedRequest, error) {
	if id == (savedID{}) {
		return nil, nil
	}
	val, err := value(l.m, savedKey(seq, id))
	if err != nil {
		return nil, fmt.Errorf("saved request: %w", err)
	}
	ref, err := decodeRef(val)
	if err == nil {
		val, err = l.s.segs.read(ref)
	}
	if err != nil {
		return nil, fmt.Errorf("saved request: %w", err)
	}
	return decodeSaved(val)
}

func savedKey(seq uint64, id savedID) []byte { return append(seqKey(spaceSaved, seq), id[:]...) }

// blocksOf lists the blocks of a batch. The list is not changed, only replaced.
func (s *Store) blocksOf(m *moment, seq uint64) ([]blockAt, error) {
	s.mu.Lock()
	b := s.batches[seq]
	if b != nil {
		defer s.mu.Unlock()
		return b.blocks, nil
	}
	s.mu.Unlock()
	b, err := readBatch(m, seq)
	if err != nil {
		return nil, err
	}
	return b.blocks, nil
}

// readBatch reads a batch; sidehook.ErrNotFound when there is none.
func readBatch(m *moment, seq uint64) (*batch, error) {
	val, err := value(m, seqKey(spaceBatch, seq))
	if errors.Is(err, errNoKey) {
		return nil, sidehook.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return decodeBatch(seq, val)
}
