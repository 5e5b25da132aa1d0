package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxItems is how many items one call may bring (transform.proto).
const maxItems = 256

// ReasonLate is the reason of the failure that the SDK answers for an item whose Transform is not back in time.
const ReasonLate = "the transformer did not answer in time"

// hurryAfter is how long the workers of a call have before they get help.
const hurryAfter = 200 * time.Microsecond

// server answers the sidecar's calls with a Transformer.
//
// Invariant: an item that has begun and is not answered when the call's time is up fails alone; the other items keep
// their answers. Only when some item could not even begin (every slot is held by hanging items) does the whole call
// fail, which tells the sidecar that the transformer is in trouble and no event is to blame.
type server struct {
	t     Transformer
	slots chan struct{} // one token for each Transform that runs
	log   *slog.Logger
}

func newServer(t Transformer, concurrency int, log *slog.Logger) *server {
	return &server{t: t, slots: make(chan struct{}, concurrency), log: log}
}

// serviceDesc is TransformerService with messages that read and write themselves (wire.go).
var serviceDesc = grpc.ServiceDesc{
	ServiceName: transformv1.TransformerService_ServiceDesc.ServiceName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{
		{MethodName: "Describe", Handler: handler(transformv1.TransformerService_Describe_FullMethodName, (*server).describe)},
		{MethodName: "Transform", Handler: handler(transformv1.TransformerService_Transform_FullMethodName, (*server).transform)},
	},
	Metadata: transformv1.TransformerService_ServiceDesc.Metadata,
}

// handler makes of a method what generated code would.
func handler[In, Out any](name string, method func(*server, context.Context, *In) (*Out, error)) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		if err := decode(in); err != nil {
			return nil, err
		}
		call := func(ctx context.Context, in any) (any, error) { return method(srv.(*server), ctx, in.(*In)) }
		if interceptor == nil {
			return call(ctx, in)
		}
		return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: name}, call)
	}
}

func (s *server) describe(context.Context, *transformv1.DescribeRequest) (*transformv1.DescribeResponse, error) {
	d := s.t.Describe()
	return &transformv1.DescribeResponse{Name: clip(d.Name), Version: clip(d.Version), Description: clip(d.Text)}, nil
}

func (s *server) transform(ctx context.Context, in *request) (*response, error) {
	if len(in.items) == 0 || len(in.items) > maxItems {
		return nil, status.Errorf(codes.InvalidArgument, "items: must be 1 to %d, not %d", maxItems, len(in.items))
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	b := &batch{items: in.items, slots: make([]slot, len(in.items)), done: make(chan struct{})}
	b.left.Store(int64(len(in.items)))
	if err := s.answer(ctx, b); err != nil {
		return nil, err
	}
	return b.response(), nil
}

// answer has the batch worked off, and returns when every item is answered or the time is up.
//
// Most transformers take microseconds for an item, and one worker is done before a second one would have begun. One that
// waits for something, or computes for long, gets more: as many again after each hurryAfter, and one for every item that
// waits when none was finished meanwhile.
func (s *server) answer(ctx context.Context, b *batch) error {
	go s.work(ctx, b)
	tick := time.NewTimer(hurryAfter)
	defer tick.Stop()
	for workers, left := 1, int64(len(b.items)); ; {
		select {
		case <-b.done:
			return nil
		case <-ctx.Done():
			return s.cutShort(ctx, b)
		case <-tick.C:
		}
		more, now := workers, b.left.Load()
		if now == left {
			more = len(b.items)
		}
		left = now
		if more = min(more, b.waiting(), cap(s.slots)-workers); more <= 0 {
			continue // what is under way is all there is, or all that may be
		}
		for range more {
			go s.work(ctx, b)
		}
		workers += more
		tick.Reset(hurryAfter)
	}
}

// batch is the items of one call. Its workers share next, the index of the next item that nobody has begun.
type batch struct {
	items []Item
	slots []slot
	next  atomic.Int64
	left  atomic.Int64  // items without an answer
	done  chan struct{} // closed when there are none
}

// waiting is how many items nobody has begun.
func (b *batch) waiting() int { return max(0, len(b.items)-int(b.next.Load())) }

// slot is the place of an item's answer. The worker that began the item alone writes result, before it says answered;
// after that the result may be read. One that comes back after the call is over still has its slot.
type slot struct {
	state  atomic.Int32
	result *Result
}

const (
	untouched int32 = iota
	begun
	answered
)

// cutShort answers what has begun when the time of a call is up.
func (s *server) cutShort(ctx context.Context, b *batch) error {
	if ctx.Err() == context.Canceled {
		return status.Error(codes.Canceled, "the sidecar stopped waiting")
	}
	for i := range b.slots {
		if b.slots[i].state.Load() == untouched {
			return status.Errorf(codes.DeadlineExceeded,
				"all %d Transform calls that may run at once were still busy when the time was up", cap(s.slots))
		}
	}
	return nil
}

// response has the answers that there are; an item that is still at work has none in time.
func (b *batch) response() *response {
	r := &response{items: b.items, results: make([]*Result, len(b.items))}
	for i := range b.slots {
		if b.slots[i].state.Load() == answered {
			r.results[i] = b.slots[i].result
		} else {
			r.results[i] = Fail(ReasonLate)
		}
	}
	return r
}

// work takes items of the batch, one after the other, until none is left or the time is up.
func (s *server) work(ctx context.Context, b *batch) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		i := int(b.next.Add(1)) - 1
		if i >= len(b.items) {
			return
		}
		at := &b.slots[i]
		at.state.Store(begun)
		at.result = s.one(ctx, &b.items[i])
		at.state.Store(answered)
		if b.left.Add(-1) == 0 {
			close(b.done)
		}
	}
}

// one asks the author's code about one item. Whatever it does, an answer comes of it.
func (s *server) one(ctx context.Context, item *Item) (out *Result) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("Transform panicked", "event", item.Event.ID, "panic", fmt.Sprint(p),
				"stack", string(debug.Stack()))
			out = Fail(fmt.Sprintf("panic in the transformer: %v", p))
		}
	}()
	result, err := s.t.Transform(ctx, item)
	switch {
	case err != nil:
		return Fail(err.Error())
	case result == nil:
		return Fail("the transformer returned neither a result nor an error")
	}
	if err := result.check(); err != nil {
		return Fail(err.Error())
	}
	return result
}

// withMargin ends the context a little before the sidecar stops waiting, so that an answer still reaches it.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := min(time.Until(deadline)/10, 200*time.Millisecond)
	return context.WithDeadline(ctx, deadline.Add(-margin))
}
