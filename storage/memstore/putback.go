package memstore

import (
	"context"
	"iter"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// PutBacks lists queued deliveries that were attempted or put back.
func (s *Store) PutBacks(ctx context.Context, key sidehook.WebhookKey) iter.Seq2[storage.PutBack, error] {
	return func(yield func(storage.PutBack, error) bool) {
		s.mu.Lock()
		err := s.usable(ctx)
		list := s.inQueue(key)
		s.mu.Unlock()
		if err != nil {
			yield(storage.PutBack{}, err)
			return
		}
		for _, d := range list {
			if len(d.attempts) == 0 && d.due.Equal(d.accepted) {
				continue
			}
			if !yield(storage.PutBack{ID: d.id, OrderingKey: d.event.OrderingKey, DueAt: d.due, Attempts: len(d.attempts)}, nil) {
				return
			}
		}
	}
}
