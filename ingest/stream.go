package ingest

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// publisher is one PublishStream. Two goroutines work on it: read takes batches and submits them, and the handler's
// own goroutine answers them in the same order. Between them is queue.
//
// Invariants:
//   - slots has one token for each batch that was read and not yet answered, so there is always room in queue: putting
//     into it never blocks, and a client that does not read its answers is not read from either.
//   - A batch is put into queue if and only if it was submitted or refused, under gate. Once gate is shut the handler
//     has everything that it has to answer.
//   - Bytes are given back as soon as the batch is durable, before its answer is sent, so a client that does not read
//     holds up nobody else.
type publisher struct {
	server *Server
	stream grpc.ServerStream
	// ctx bounds submitting; it ends with the stream and when the server stops.
	ctx    context.Context
	cancel context.CancelCauseFunc

	queue chan answer
	slots chan struct{}
	bytes *semaphore.Weighted

	gate sync.Mutex // held while a batch is submitted
	shut bool       // nothing more is submitted

	readErr error // why reading ended; set before queue is closed
}

// answer is what a batch will be answered: at once a refusal, or what the receipt says.
type answer struct {
	sequence uint64
	refused  *refusal
	receipt  Receipt
	ids      []string
	size     int64
	data     uint64
}

func (s *Server) publishStream(stream grpc.ServerStream) error {
	if !s.enter() {
		return s.refuse(sidehook.ErrStopping).status()
	}
	defer s.leave()
	s.opts.Metrics.Streams.Add(1)
	defer s.opts.Metrics.Streams.Add(-1)

	p := &publisher{
		server: s,
		stream: stream,
		queue:  make(chan answer, s.opts.Window),
		slots:  make(chan struct{}, s.opts.Window),
		bytes:  semaphore.NewWeighted(s.opts.WindowBytes),
	}
	p.ctx, p.cancel = context.WithCancelCause(stream.Context())
	defer p.cancel(nil)
	// read ends once this handler has returned, which ends the stream's context; Stop waits for it.
	s.work.Go(p.read)
	return p.answerAll()
}

// read takes batches until the client is done, the stream breaks, or the server stops.
func (p *publisher) read() {
	defer close(p.queue)
	for {
		select {
		case p.slots <- struct{}{}:
		case <-p.ctx.Done():
			p.readErr = context.Cause(p.ctx)
			return
		}
		in := newBatch(streamLayout)
		if err := p.stream.RecvMsg(in); err != nil {
			p.readErr = err
			return
		}
		if !p.submit(in) {
			p.readErr = sidehook.ErrStopping
			return
		}
	}
}

// submit checks and submits a batch and queues its answer. False: the gate is shut.
func (p *publisher) submit(in *batch) bool {
	a := answer{sequence: in.sequence}
	err := in.timeError()
	if err == nil {
		a.size, err = p.server.check(in.events, false)
	}
	if err == nil {
		err = p.acquire(a.size)
		if err != nil {
			a.size = 0
		}
	}

	p.gate.Lock()
	defer p.gate.Unlock()
	if p.shut {
		p.release(a.size)
		return false
	}
	if err == nil {
		a.ids, a.data = idsOf(in.events), dataBytes(in.events)
		a.receipt, err = p.server.opts.Acceptor.Accept(p.ctx, in.events)
	}
	if err != nil {
		p.release(a.size)
		a.size, a.refused = 0, p.server.refuse(err)
	}
	p.queue <- a
	return true
}

// acquire waits until the batch fits both the stream's window and what the server as a whole may have in flight.
func (p *publisher) acquire(size int64) error {
	if err := p.bytes.Acquire(p.ctx, size); err != nil {
		return context.Cause(p.ctx)
	}
	if err := p.server.inFlight.Acquire(p.ctx, size); err != nil {
		p.bytes.Release(size)
		return context.Cause(p.ctx)
	}
	return nil
}

func (p *publisher) release(size int64) {
	if size > 0 {
		p.bytes.Release(size)
		p.server.inFlight.Release(size)
	}
}

// answerAll answers the batches in order until reading ended or the server stops, and returns how the stream ends.
func (p *publisher) answerAll() error {
	for {
		select {
		case a, open := <-p.queue:
			if !open {
				return p.end()
			}
			p.answer(a)
		case <-p.server.stopping:
			p.stop()
			return p.end()
		}
	}
}

// stop shuts the gate, after cutting short a batch that waits for room, and answers what was submitted before.
func (p *publisher) stop() {
	p.cancel(sidehook.ErrStopping)
	p.gate.Lock()
	p.shut = true
	p.gate.Unlock()
	for {
		select {
		case a, open := <-p.queue:
			if !open {
				return
			}
			p.answer(a)
		default:
			return
		}
	}
}

// answer waits until the batch is durable and says so. It waits even when the client has gone, because until then the
// batch takes up memory and has not been counted.
func (p *publisher) answer(a answer) {
	defer func() { <-p.slots }()
	out := &eventsv1.PublishStreamResponse{Sequence: a.sequence}
	refused := a.refused
	if refused == nil {
		var results []Result
		results, refused = p.server.await(p.server.aborted, a.receipt, len(a.ids), a.data)
		p.release(a.size)
		if refused == nil {
			out.Results = resultsProto(a.ids, results)
		}
	}
	if refused != nil {
		out.Refusal = refused.proto()
	}
	// An error means that the stream is broken; reading ends with it too, and says why.
	_ = p.stream.SendMsg(out)
}

// end is the status that the stream ends with.
func (p *publisher) end() error {
	select {
	case <-p.server.stopping:
		return refusalOf(sidehook.ErrStopping).status()
	default:
	}
	// The queue is closed, so readErr is set.
	switch err := p.readErr; {
	case errors.Is(err, io.EOF):
		return nil
	case status.Code(err) != codes.Unknown:
		return err
	default:
		return refusalOf(err).status()
	}
}
