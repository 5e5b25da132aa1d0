package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// publisher is a service that emits batches over one PublishStream after the other. After a connection breaks it sends
// again what was not acknowledged, with the same ids; now and then it gives such a batch up instead, as a service does
// that dies as well.
type publisher struct {
	name   string
	conn   *grpc.ClientConn
	types  []string
	random *rand.Rand
	pace   time.Duration // between batches
	total  *atomic.Int64 // events acknowledged, over all publishers
	fresh  *atomic.Int64 // of them, those that were not repeats
	keys   int           // how many ordering keys there are; 0: events have none
	hold   func() bool   // when set, whether to wait with the next batch

	batches  uint64
	open     []*eventsv1.PublishStreamRequest // sent or to be sent, not acknowledged, oldest first
	acked    map[string]string                // type of each acknowledged event by id
	repeated int                              // acknowledged as repeats
	given    int                              // events given up
	failures []string
}

const (
	maxOpen  = 8 // batches
	maxBatch = 12
)

// run emits until stop is closed, and returns when all that was not given up is acknowledged.
func (p *publisher) run(ctx context.Context, stop <-chan struct{}) {
	for ctx.Err() == nil {
		if p.converse(ctx, stop) {
			return
		}
		p.giveUpSome()
	}
	p.failures = append(p.failures, fmt.Sprintf("%s: %d batches were never acknowledged", p.name, len(p.open)))
}

// giveUpSome forgets one open batch in ten.
func (p *publisher) giveUpSome() {
	kept := p.open[:0]
	for _, b := range p.open {
		if p.random.IntN(10) == 0 {
			p.given += len(b.GetEvents())
			continue
		}
		kept = append(kept, b)
	}
	p.open = kept
}

// converse holds one stream; done says that there is nothing left to do.
func (p *publisher) converse(ctx context.Context, stop <-chan struct{}) (done bool) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan *eventsv1.PublishStreamResponse)
	var reader sync.WaitGroup
	defer reader.Wait()
	defer cancel()
	stream, err := eventsv1.NewEventServiceClient(p.conn).PublishStream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false
	}
	reader.Go(func() {
		defer close(answers)
		for {
			answer, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case answers <- answer:
			case <-ctx.Done():
				return
			}
		}
	})
	for _, b := range p.open {
		if stream.Send(b) != nil {
			return false
		}
	}
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	for stopping := false; !stopping || len(p.open) > 0; {
		select {
		case <-stop:
			stop, stopping = nil, true
		case <-tick.C:
			if stopping || len(p.open) >= maxOpen || p.hold != nil && p.hold() {
				continue
			}
			b := p.next()
			p.open = append(p.open, b)
			if stream.Send(b) != nil {
				return false
			}
		case answer, ok := <-answers:
			if !ok || !p.settle(answer) {
				return false
			}
		}
	}
	return true
}

func (p *publisher) next() *eventsv1.PublishStreamRequest {
	p.batches++
	b := &eventsv1.PublishStreamRequest{Sequence: p.batches}
	for i := range 1 + p.random.IntN(maxBatch) {
		typ := p.types[p.random.IntN(len(p.types))]
		if p.keys == 0 {
			b.Events = append(b.Events, newEvent(fmt.Sprintf("%s_b%d_e%d", p.name, p.batches, i), typ))
			continue
		}
		key := p.random.IntN(p.keys)
		e := newEvent(keyedID(p.name, key, p.batches*maxBatch+uint64(i)), typ)
		e.OrderingKey = fmt.Sprintf("%s.%d", p.name, key)
		b.Events = append(b.Events, e)
	}
	return b
}

// settle notes an answer. It is false when the sidecar is stopping: the rest is for the next stream.
func (p *publisher) settle(answer *eventsv1.PublishStreamResponse) bool {
	for i, b := range p.open {
		if b.GetSequence() != answer.GetSequence() {
			continue
		}
		if r := answer.GetRefusal(); r != nil {
			if r.GetCode() != 14 { // UNAVAILABLE
				p.failures = append(p.failures, fmt.Sprintf("%s: a batch was refused: %s", p.name, r))
			}
			return false
		}
		p.open = append(p.open[:i], p.open[i+1:]...)
		p.record(b, answer.GetResults())
		return true
	}
	p.failures = append(p.failures, fmt.Sprintf("%s: an answer to batch %d, which is not open", p.name, answer.GetSequence()))
	return true
}

func (p *publisher) record(b *eventsv1.PublishStreamRequest, results []*eventsv1.PublishResult) {
	if len(results) != len(b.GetEvents()) {
		p.failures = append(p.failures, fmt.Sprintf("%s: %d results for %d events", p.name, len(results), len(b.GetEvents())))
		return
	}
	for i, e := range b.GetEvents() {
		switch r := results[i]; {
		case r.GetId() != e.GetId():
			p.failures = append(p.failures, fmt.Sprintf("%s: the result for %s is for %s", p.name, e.GetId(), r.GetId()))
		case r.GetDisposition() == eventsv1.Disposition_DISPOSITION_DUPLICATE:
			p.repeated++
			fallthrough
		case r.GetDisposition() == eventsv1.Disposition_DISPOSITION_ACCEPTED:
			if _, again := p.acked[e.GetId()]; !again {
				p.fresh.Add(1)
			}
			p.acked[e.GetId()] = e.GetType()
		default:
			p.failures = append(p.failures, fmt.Sprintf("%s: %s became %s", p.name, e.GetId(), r.GetDisposition()))
		}
	}
	p.total.Add(int64(len(results)))
}

// crowd is several publishers at work.
type crowd struct {
	all          []*publisher
	total, fresh atomic.Int64
	stop         chan struct{}
	ended        sync.WaitGroup
}

// startCrowd starts n publishers on a connection each. They end with finish.
func startCrowd(ctx context.Context, n int, seed uint64, types []string, dial func() *grpc.ClientConn) *crowd {
	c := newCrowd(n, seed, types, dial)
	c.start(ctx)
	return c
}

func newCrowd(n int, seed uint64, types []string, dial func() *grpc.ClientConn) *crowd {
	c := &crowd{stop: make(chan struct{})}
	for i := range n {
		p := &publisher{
			name: "p" + string(rune('A'+i)), conn: dial(), types: types, pace: 4 * time.Millisecond, total: &c.total, fresh: &c.fresh,
			random: rand.New(rand.NewPCG(seed, uint64(i))), acked: map[string]string{},
		}
		c.all = append(c.all, p)
	}
	return c
}

func (c *crowd) start(ctx context.Context) {
	for _, p := range c.all {
		c.ended.Go(func() { p.run(ctx, c.stop) })
	}
}

// finish lets the publishers have what is open acknowledged, and returns the type of every acknowledged event by id.
func (c *crowd) finish() (acked map[string]string, repeated, given int, failures []string) {
	close(c.stop)
	c.ended.Wait()
	acked = map[string]string{}
	for _, p := range c.all {
		for id, typ := range p.acked {
			acked[id] = typ
		}
		repeated, given, failures = repeated+p.repeated, given+p.given, append(failures, p.failures...)
	}
	return acked, repeated, given, failures
}
