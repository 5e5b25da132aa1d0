package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// stack is what has been started, with how to stop it. Each part registers its undo as soon as it runs; stop undoes in
// reverse order, all of it, whatever fails.
type stack struct {
	log  *slog.Logger
	mu   sync.Mutex
	undo []step
}

type step struct {
	name string
	stop func(context.Context) error
}

func (s *stack) add(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undo = append(s.undo, step{name, stop})
}

// stop undoes every step once; ctx bounds them all together.
func (s *stack) stop(ctx context.Context) error {
	s.mu.Lock()
	steps := s.undo
	s.undo = nil
	s.mu.Unlock()
	var errs []error
	for _, st := range slices.Backward(steps) {
		began := time.Now()
		if err := st.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", st.name, err))
		}
		s.log.Debug("stopped", "part", st.name, "took", time.Since(began))
	}
	return errors.Join(errs...)
}

// background runs f until the stack stops it, and reports its end through failed when that comes earlier.
func (s *stack) background(name string, failed func(error), f func(context.Context) error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("%s: %w", name, err))
		}
	}()
	s.add(name, func(context.Context) error {
		cancel(errStopRequested)
		<-done
		return nil
	})
}

// offer sends v when ch has room or a reader, and lets it go otherwise: for signals of which the first counts.
func offer[T any](ch chan<- T, v T) {
	select {
	case ch <- v:
	default:
	}
}

var errStopRequested = errors.New("stop requested")
