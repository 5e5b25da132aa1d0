package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// The types of the bench's events: those that are measured, and those that only wait for an endpoint that is dead.
const (
	liveType    = "livestream.channel.live"
	backlogType = "mediaVOD.job.done"
	singleType  = "mediaVOD.job.failed"
)

// envelope is how many bytes the format standard adds to an event's data.
const envelope = len(`{"type":"` + liveType + `","timestamp":"2006-01-02T15:04:05.000Z","data":}`)

// publisher is a client that emits numbered events over one stream. One goroutine sends; answers are read by another.
type publisher struct {
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[eventsv1.PublishStreamRequest, eventsv1.PublishStreamResponse]
	cancel context.CancelFunc
	fanOut uint32 // deliveries that every event must cause
	arrive uint32 // of them, those that the receiver counts
	keys   uint64 // how many ordering keys the events have; 0: none
	id     string // prefix of event ids, so that two publishers do not repeat each other

	next uint64 // sequence of the next event
	msg  eventsv1.PublishStreamRequest
	pool []*eventsv1.Event

	mu       sync.Mutex
	acks     *sync.Cond
	acked    uint64
	sent     map[uint64]batch // by sequence of the batch
	refused  []batch
	refusals int
	failed   error
	ended    chan struct{}
}

// batch is a run of events.
type batch struct{ first, n uint64 }

// newPublisher connects to a sidecar. Every event must cause fanOut deliveries; their bodies have so many bytes.
func newPublisher(ctx context.Context, address, eventType string, bodyBytes, maxBatch int, fanOut uint32) (*publisher, error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &publisher{conn: conn, cancel: cancel, id: eventType + "-", fanOut: fanOut, arrive: fanOut, sent: make(map[uint64]batch), ended: make(chan struct{})}
	p.acks = sync.NewCond(&p.mu)
	for range maxBatch {
		p.pool = append(p.pool, &eventsv1.Event{
			Source: "/bench", Type: eventType, DataContentType: "application/json", Data: newBody(bodyBytes - envelope),
		})
	}
	if p.stream, err = eventsv1.NewEventServiceClient(conn).PublishStream(ctx); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("publish: %w", err), conn.Close())
	}
	go p.receive()
	return p, nil
}

// send emits the next events, one for each time it was due.
func (p *publisher) send(due ...time.Time) error {
	b := batch{first: p.next, n: uint64(len(due))}
	p.next += b.n
	return p.emit(b, due)
}

// emit sends a batch, the due time of each event beside it. The events are used again by the next call: Send has
// encoded them when it returns.
func (p *publisher) emit(b batch, due []time.Time) error {
	for i := range due {
		e := p.pool[i]
		seq := b.first + uint64(i)
		e.Id = p.id + strconv.FormatUint(seq, 10)
		if p.keys > 0 {
			e.OrderingKey = "key-" + strconv.FormatUint(orderingKey(seq, p.keys), 10)
		}
		fillBody(e.Data, seq, due[i])
	}
	p.msg.Events = p.pool[:len(due)]
	p.mu.Lock()
	p.msg.Sequence++
	p.sent[p.msg.Sequence] = b
	p.mu.Unlock()
	if err := p.stream.Send(&p.msg); err != nil {
		<-p.ended // receive knows why
		return p.failure()
	}
	return nil
}

// resend emits again what was refused, and reports whether there was any.
func (p *publisher) resend(due []time.Time) (bool, error) {
	p.mu.Lock()
	again := p.refused
	p.refused = nil
	p.mu.Unlock()
	for _, b := range again {
		now := time.Now()
		for i := range b.n {
			due[i] = now
		}
		if err := p.emit(b, due[:b.n]); err != nil {
			return true, err
		}
	}
	return len(again) > 0, nil
}

func (p *publisher) receive() {
	defer close(p.ended)
	for {
		resp, err := p.stream.Recv()
		if err == nil {
			err = p.answered(resp)
		}
		if err != nil {
			p.mu.Lock()
			if !errors.Is(err, io.EOF) {
				p.failed = fmt.Errorf("publish: %w", err)
			}
			p.acks.Broadcast()
			p.mu.Unlock()
			p.cancel()
			return
		}
	}
}

// answered notes what became of a batch.
func (p *publisher) answered(resp *eventsv1.PublishStreamResponse) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.sent[resp.GetSequence()]
	delete(p.sent, resp.GetSequence())
	switch refusal := resp.GetRefusal(); {
	case !ok:
		return fmt.Errorf("the sidecar answered batch %d, which was not sent", resp.GetSequence())
	case refusal != nil && refusal.GetRetryAfter() == nil:
		return fmt.Errorf("the sidecar refused events: %s", refusal.GetMessage())
	case refusal != nil:
		p.refused = append(p.refused, b)
		p.refusals++
		return nil
	case uint64(len(resp.GetResults())) != b.n:
		return fmt.Errorf("the sidecar answered %d events of %d", len(resp.GetResults()), b.n)
	}
	for _, r := range resp.GetResults() {
		if r.GetDisposition() != eventsv1.Disposition_DISPOSITION_ACCEPTED || r.GetDeliveries() != p.fanOut {
			return fmt.Errorf("event %s: %s with %d deliveries, want ACCEPTED with %d", r.GetId(), r.GetDisposition(),
				r.GetDeliveries(), p.fanOut)
		}
	}
	p.acked += b.n
	p.acks.Broadcast()
	return nil
}

func (p *publisher) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil {
		return io.ErrUnexpectedEOF
	}
	return p.failed
}

// ackedEvents is how many events are durable.
func (p *publisher) ackedEvents() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

// refusedBatches is how many batches were refused so far.
func (p *publisher) refusedBatches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusals
}

// awaitAcks waits until every event but so many is acknowledged or refused.
func (p *publisher) awaitAcks(but uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.failed == nil && p.unanswered() > but {
		select {
		case <-p.ended:
			return io.ErrUnexpectedEOF
		default:
		}
		p.acks.Wait()
	}
	return p.failed
}

// unanswered is how many events are under way; mu is held.
func (p *publisher) unanswered() uint64 {
	refused := uint64(0)
	for _, b := range p.refused {
		refused += b.n
	}
	return p.next - p.acked - refused
}

// finish resends what was refused until everything is acknowledged.
func (p *publisher) finish(ctx context.Context) error {
	due := make([]time.Time, len(p.pool))
	for {
		if err := p.awaitAcks(0); err != nil {
			return err
		}
		if again, err := p.resend(due); err != nil || !again {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (p *publisher) close() error {
	err := p.stream.CloseSend()
	<-p.ended
	p.cancel()
	return errors.Join(err, p.failed, p.conn.Close())
}

// closedLoop publishes for as long as ctx lasts, with never more than window events whose deliveries that count have not
// all arrived.
func (p *publisher) closedLoop(ctx context.Context, r *receiver, window, size int) error {
	due := make([]time.Time, size)
	arrive := uint64(p.arrive)
	for ctx.Err() == nil {
		if ahead := p.next + uint64(size); ahead > uint64(window) {
			if err := r.await(ctx, (ahead-uint64(window))*arrive); err != nil {
				return endOf(ctx, err)
			}
		}
		if _, err := p.resend(due); err != nil {
			return endOf(ctx, err)
		}
		now := time.Now()
		for i := range due {
			due[i] = now
		}
		if err := p.send(due...); err != nil {
			return endOf(ctx, err)
		}
	}
	return nil
}

// ackWindow is how many events publishAll leaves unacknowledged.
const ackWindow = 8192

// publishAll publishes n events, however few of them are delivered, until ctx ends.
func (p *publisher) publishAll(ctx context.Context, n uint64, size int) error {
	due := make([]time.Time, size)
	for p.next < n && ctx.Err() == nil {
		if err := p.awaitAcks(ackWindow); err != nil {
			return err
		}
		if _, err := p.resend(due); err != nil {
			return err
		}
		now := time.Now()
		for i := range due {
			due[i] = now
		}
		if err := p.send(due[:min(uint64(size), n-p.next)]...); err != nil {
			return err
		}
	}
	return p.finish(ctx)
}

// endOf drops an error that only says that ctx has ended.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// spinBefore is how long before its time a schedule stops sleeping: a timer wakes too late by up to as much.
const spinBefore = 300 * time.Microsecond

// openLoop publishes so many events per second for as long as ctx lasts, each at its time, however far behind the
// sidecar is. Events that are due together go together. Latency counts from the time in the schedule, so that a stall
// is not hidden.
func (p *publisher) openLoop(ctx context.Context, perSecond float64) error {
	s := newSchedule(time.Now(), perSecond)
	due := make([]time.Time, 0, len(p.pool))
	for {
		if err := s.await(ctx); err != nil {
			return endOf(ctx, err)
		}
		due = s.take(time.Now(), due[:0], cap(due))
		if err := p.send(due...); err != nil {
			return endOf(ctx, err)
		}
	}
}
