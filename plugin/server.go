package plugin

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxItems is how many items one call may bring (transform.proto).
const maxItems = 256

// ReasonLate is the reason of the failure that the SDK answers for an item whose Transform is not back in time.
const ReasonLate = "the transformer did not answer in time"

// server answers the sidecar's calls with a Transformer.
//
// Invariant: an item that has begun and is not answered when the call's time is up fails alone; the other items keep
// their answers. Only when some item could not even begin (every slot is held by hanging items) does the whole call
// fail, which tells the sidecar that the transformer is in trouble and no event is to blame.
type server struct {
	transformv1.UnimplementedTransformerServiceServer
	t     Transformer
	slots chan struct{} // one token for each Transform that runs
	log   *slog.Logger
}

func newServer(t Transformer, concurrency int, log *slog.Logger) *server {
	return &server{t: t, slots: make(chan struct{}, concurrency), log: log}
}

// Describe implements the service.
func (s *server) Describe(context.Context, *transformv1.DescribeRequest) (*transformv1.DescribeResponse, error) {
	d := s.t.Describe()
	return &transformv1.DescribeResponse{Name: clip(d.Name), Version: clip(d.Version), Description: clip(d.Text)}, nil
}

// answer is what a worker has to say about the item at index.
type answer struct {
	index  int
	result *transformv1.TransformResult
}

// Transform implements the service.
func (s *server) Transform(ctx context.Context, req *transformv1.TransformRequest) (*transformv1.TransformResponse, error) {
	items := req.GetItems()
	if len(items) == 0 || len(items) > maxItems {
		return nil, status.Errorf(codes.InvalidArgument, "items: must be 1 to %d, not %d", maxItems, len(items))
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()

	// The workers of one call share the next index. Every answer has room in the channel, so that a worker that comes
	// back after the call is over neither blocks nor touches the response.
	b := &batch{items: items, answers: make(chan answer, len(items)), begun: make([]atomic.Bool, len(items))}
	for range min(len(items), cap(s.slots)) {
		go s.work(ctx, b)
	}
	results := make([]*transformv1.TransformResult, len(items))
	for range items {
		select {
		case a := <-b.answers:
			results[a.index] = a.result
		case <-ctx.Done():
			return s.cutShort(ctx, b, results)
		}
	}
	return &transformv1.TransformResponse{Results: results}, nil
}

type batch struct {
	items   []*transformv1.TransformItem
	next    atomic.Int64
	answers chan answer
	begun   []atomic.Bool
}

// cutShort answers a call whose time is up.
func (s *server) cutShort(ctx context.Context, b *batch, results []*transformv1.TransformResult) (*transformv1.TransformResponse, error) {
	for more := true; more; {
		select {
		case a := <-b.answers:
			results[a.index] = a.result
		default:
			more = false
		}
	}
	if ctx.Err() == context.Canceled {
		return nil, status.Error(codes.Canceled, "the sidecar stopped waiting")
	}
	for i := range results {
		switch {
		case results[i] != nil:
		case b.begun[i].Load():
			results[i] = failure(ReasonLate)
		default:
			return nil, status.Errorf(codes.DeadlineExceeded,
				"all %d Transform calls that may run at once were still busy when the time was up", cap(s.slots))
		}
	}
	return &transformv1.TransformResponse{Results: results}, nil
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
		b.begun[i].Store(true)
		b.answers <- answer{i, s.one(ctx, b.items[i])}
	}
}

// one asks the author's code about one item. Whatever it does, an answer comes of it.
func (s *server) one(ctx context.Context, in *transformv1.TransformItem) (out *transformv1.TransformResult) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("Transform panicked", "event", in.GetEvent().GetId(), "panic", fmt.Sprint(p),
				"stack", string(debug.Stack()))
			out = failure(fmt.Sprintf("panic in the transformer: %v", p))
		}
	}()
	result, err := s.t.Transform(ctx, itemFromProto(in))
	switch {
	case err != nil:
		return failure(err.Error())
	case result == nil:
		return failure("the transformer returned neither a result nor an error")
	}
	if err := result.check(); err != nil {
		return failure(err.Error())
	}
	return result.toProto(in)
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

func itemFromProto(in *transformv1.TransformItem) *Item {
	e, w := in.GetEvent(), in.GetWebhook()
	return &Item{
		Event: Event{
			App: e.GetApp(), ID: e.GetId(), Source: e.GetSource(), Type: e.GetType(), Subject: e.GetSubject(),
			Time: e.GetTime().AsTime(), DataContentType: e.GetDataContentType(), Data: e.GetData(),
			OrderingKey: e.GetOrderingKey(), Extensions: e.GetExtensions(),
		},
		Webhook: Webhook{
			App: w.GetApp(), ID: w.GetId(), Name: w.GetName(), URL: w.GetUrl(), Format: w.GetFormat(),
		},
	}
}
