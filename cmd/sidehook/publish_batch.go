package main

import (
	"context"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"
)

// Bounds of a batch: within those of PublishRequest, and small enough that one refusal costs little.
const (
	batchEvents = 256
	batchBytes  = 512 << 10
	// linger is how long a batch waits for more events: those of a pipe that has gone quiet must not wait for ever.
	linger = 2 * time.Millisecond
	// ticks is into how many batches a second is cut when a rate is given.
	ticks = 100
)

// batcher gathers events into batches and paces them.
type batcher struct {
	send   func([]numbered) error
	limit  *rate.Limiter
	most   int
	events []numbered
	bytes  int
}

// newBatcher makes a batcher for a rate in events per second; 0 for no limit.
func newBatcher(perSecond float64, send func([]numbered) error) *batcher {
	b := &batcher{send: send, limit: rate.NewLimiter(rate.Inf, 1), most: batchEvents}
	if perSecond > 0 {
		b.most = min(batchEvents, max(1, int(perSecond)/ticks))
		b.limit = rate.NewLimiter(rate.Limit(perSecond), b.most)
	}
	return b
}

// add takes an event, and sends what there is when it would be too much.
func (b *batcher) add(ctx context.Context, e numbered) error {
	n := proto.Size(e.event)
	if len(b.events) > 0 && b.bytes+n > batchBytes {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.events, b.bytes = append(b.events, e), b.bytes+n
	if len(b.events) >= b.most {
		return b.flush(ctx)
	}
	return nil
}

// flush sends what there is, when its time has come. When ctx ends nothing is sent: it was not promised.
func (b *batcher) flush(ctx context.Context) error {
	if len(b.events) == 0 || ctx.Err() != nil {
		return nil
	}
	if err := b.limit.WaitN(ctx, len(b.events)); err != nil && ctx.Err() != nil {
		return nil
	}
	events := b.events
	b.events, b.bytes = nil, 0
	return b.send(events)
}

// sourced is what a source yields.
type sourced struct {
	numbered
	err error
}

// ahead reads a source in a goroutine of its own, so that a source that says nothing for long does not keep the sender
// from stopping. The goroutine ends with the source or, once the read it is in returns, with ctx: a read of a terminal
// cannot be interrupted, so nobody waits for it and the end of the process takes it along.
func ahead(ctx context.Context, events eventSource) <-chan sourced {
	out := make(chan sourced, batchEvents)
	go func() {
		defer close(out)
		for e, err := range events {
			select {
			case out <- sourced{e, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// sourceState is what next found.
type sourceState int

const (
	sourceGave  sourceState = iota // an event or an error
	sourceQuiet                    // nothing for a while
	sourceEnded                    // nothing any more, or ctx has ended
)

// next waits for the next event; with hurry only for a moment.
func next(ctx context.Context, events <-chan sourced, hurry bool) (sourced, sourceState) {
	if ctx.Err() != nil {
		return sourced{}, sourceEnded
	}
	var quiet <-chan time.Time
	if hurry {
		select { // without a timer while there is more
		case e, ok := <-events:
			return given(e, ok)
		default:
		}
		timer := time.NewTimer(linger)
		defer timer.Stop()
		quiet = timer.C
	}
	select {
	case e, ok := <-events:
		return given(e, ok)
	case <-quiet:
		return sourced{}, sourceQuiet
	case <-ctx.Done():
		return sourced{}, sourceEnded
	}
}

func given(e sourced, ok bool) (sourced, sourceState) {
	if !ok {
		return sourced{}, sourceEnded
	}
	return e, sourceGave
}
