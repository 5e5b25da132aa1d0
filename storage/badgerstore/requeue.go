package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// requeueStep is how many deliveries Requeue looks up at once.
const requeueStep = 4096

// Requeue looks up in the history how the deliveries stood, and has them queued again.
func (s *Store) Requeue(ctx context.Context, ids []sidehook.DeliveryID, now time.Time) (int, error) {
	total := 0
	for len(ids) > 0 {
		n := min(len(ids), requeueStep)
		moved, err := s.requeue(ctx, ids[:n], now)
		total += moved
		if err != nil {
			return total, err
		}
		ids = ids[n:]
	}
	return total, nil
}

func (s *Store) requeue(ctx context.Context, ids []sidehook.DeliveryID, now time.Time) (int, error) {
	if err := s.use(ctx); err != nil {
		return 0, err
	}
	defer s.life.RUnlock()
	w := &waiter{done: make(chan struct{})}
	var moves []move
	err := s.view(func(m *moment) error {
		ended, err := s.ended(ctx, m, ids)
		if err != nil {
			return err
		}
		last := make(map[sidehook.DeliveryID]result)
		if err := s.results(ctx, m, ended, func(r result) { last[r.id] = r }); err != nil {
			return err
		}
		for i := range ended {
			info := &ended[i].info
			r, ok := last[info.ID]
			if !ok || !r.place.final() {
				continue
			}
			moves = append(moves, move{
				kind: moveRequeue, again: &r, waiter: w,
				result: storage.Result{ID: info.ID, Webhook: info.Webhook, DueAt: now},
			})
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("look up deliveries to queue again: %w", err)
	}
	if err := s.moveAndWait(ctx, w, moves); err != nil {
		return 0, err
	}
	return w.moved, nil
}

// ended describes those of the deliveries that are finished and whose event is there.
func (s *Store) ended(ctx context.Context, m *moment, ids []sidehook.DeliveryID) ([]found, error) {
	l := lister{s: s, ctx: ctx, m: m, load: eventLoader{s: s, m: m}}
	var out []found
	for _, id := range ids {
		f, err := l.find(id)
		if errors.Is(err, sidehook.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if f.place.final() {
			out = append(out, *f)
		}
	}
	return out, nil
}
