package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/sidehook/sidehook"
)

// Server checks what comes in at the doors and submits it to the Acceptor. Register and Handler are its doors.
type Server struct {
	opts     Options
	hosts    map[string]bool
	inFlight *semaphore.Weighted // bytes submitted and not yet durable

	// stopping is closed by the first Stop; aborted ends when a Stop runs out of time.
	stopping chan struct{}
	aborted  context.Context
	abort    context.CancelCauseFunc

	mu      sync.Mutex // guards stopped, and orders work.Add before work.Wait
	stopped bool
	work    sync.WaitGroup

	complaints rate.Sometimes
}

// NewServer makes a server. It panics without an Acceptor. Stop it.
func NewServer(opts Options) *Server {
	if opts.Acceptor == nil {
		panic("ingest: Options.Acceptor is required")
	}
	opts = opts.withDefaults()
	s := &Server{
		opts:       opts,
		hosts:      hostSet(opts.AllowedHosts),
		inFlight:   semaphore.NewWeighted(opts.InFlightBytes),
		stopping:   make(chan struct{}),
		complaints: rate.Sometimes{First: 3, Interval: time.Second},
	}
	s.aborted, s.abort = context.WithCancelCause(context.Background())
	return s
}

// Metrics returns the counters.
func (s *Server) Metrics() *Metrics { return s.opts.Metrics }

// Stop takes no more events, answers the batches that were submitted, ends the streams with UNAVAILABLE, and waits
// until everything is answered or ctx ends; then it gives up the rest and returns ctx's cause. It may be called again.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped {
		s.stopped = true
		close(s.stopping)
	}
	s.mu.Unlock()

	idle := make(chan struct{})
	go func() {
		defer close(idle)
		s.work.Wait()
	}()
	defer s.abort(sidehook.ErrStopping)
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		s.abort(sidehook.ErrStopping)
		return context.Cause(ctx)
	}
}

// enter counts a piece of work that Stop waits for; leave ends it. False: the server is stopping.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.work.Add(1)
	return true
}

func (s *Server) leave() { s.work.Done() }

// publish takes one batch and waits until it is durable: the way of Publish and of HTTP.
func (s *Server) publish(ctx context.Context, events []*sidehook.Event, single bool) ([]Result, *refusal) {
	if !s.enter() {
		return nil, s.refuse(sidehook.ErrStopping)
	}
	defer s.leave()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.aborted, func() { cancel(sidehook.ErrStopping) })()

	size, err := s.check(events, single)
	if err != nil {
		return nil, s.refuse(err)
	}
	if err := s.inFlight.Acquire(ctx, size); err != nil {
		return nil, s.refuse(context.Cause(ctx))
	}
	defer s.inFlight.Release(size)
	bytes, count := dataBytes(events), len(events)
	receipt, err := s.opts.Acceptor.Accept(ctx, events)
	if err != nil && single {
		err = alone(err)
	}
	if err != nil {
		return nil, s.refuse(err)
	}
	return s.await(ctx, receipt, count, bytes)
}

// await waits for a receipt and counts what it says.
func (s *Server) await(ctx context.Context, receipt Receipt, count int, bytes uint64) ([]Result, *refusal) {
	results, err := receipt.Wait(ctx)
	if err == nil && len(results) != count {
		err = errors.New("acceptor: as many results as events are required")
	}
	if err != nil {
		return nil, s.refuse(err)
	}
	s.opts.Metrics.countResults(results)
	s.opts.Metrics.Bytes.Add(bytes)
	return results, nil
}

// refuse makes the refusal for err, counts it, and logs what is our own fault, now and then.
func (s *Server) refuse(err error) *refusal {
	r := refusalOf(err)
	s.opts.Metrics.countRefusal(r)
	if r.cause != nil {
		s.complaints.Do(func() {
			s.opts.Logger.Error("events could not be stored", slog.Any("err", r.cause))
		})
	}
	return r
}

func dataBytes(events []*sidehook.Event) uint64 {
	n := 0
	for _, e := range events {
		n += len(e.Data)
	}
	return uint64(n)
}
