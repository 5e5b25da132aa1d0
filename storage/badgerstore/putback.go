package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// PutBacks lists the singles of a queue: what was attempted or put back has left its run.
func (s *Store) PutBacks(ctx context.Context, key sidehook.WebhookKey) iter.Seq2[storage.PutBack, error] {
	return func(yield func(storage.PutBack, error) bool) {
		if err := s.use(ctx); err != nil {
			yield(storage.PutBack{}, err)
			return
		}
		defer s.life.RUnlock()
		q := s.findQueue(key)
		if q == nil {
			return
		}
		more := true
		err := s.view(func(m *moment) error {
			l := eventLoader{s: s, m: m}
			w := s.newWalk(m, q, pos{due: minDue})
			defer w.close()
			for more {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				c, ok := w.next()
				if !ok {
					return nil
				}
				ref := deliveryRef{c.pos.seq, c.pos.index}
				if c.run != nil || q.isClaimed(ref) {
					continue
				}
				event, err := l.event(ref)
				if errors.Is(err, errCorrupt) || errors.Is(err, sidehook.ErrNotFound) {
					continue // Claim ends it
				}
				if err != nil {
					return fmt.Errorf("delivery %d/%d: %w", ref.seq, ref.index, err)
				}
				more = yield(storage.PutBack{
					ID:          sidehook.DeliveryID{Origin: s.origin, Batch: ref.seq, Index: ref.index},
					OrderingKey: event.OrderingKey, DueAt: timeOf(c.pos.due), Attempts: c.single.attempts,
				}, nil)
			}
			return nil
		})
		if err != nil && more {
			yield(storage.PutBack{}, fmt.Errorf("list what was put back: %w", err))
		}
	}
}
