package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// sidecarConn is the connection to the local sidecar.
type sidecarConn struct {
	address string
	conn    *grpc.ClientConn
	events  eventsv1.EventServiceClient
	// dialErr is why the last attempt to connect failed.
	dialErr atomic.Pointer[error]
}

const unixPrefix = "unix:"

// dialSidecar prepares a connection to HOST:PORT or unix:PATH; it is made with the first call.
func dialSidecar(address, version string) (*sidecarConn, error) {
	network, addr := "tcp", address
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		network, addr = "unix", strings.TrimPrefix(path, "//")
	} else if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("the address %q is neither HOST:PORT nor unix:PATH", address)
	}
	s := &sidecarConn{address: address}
	conn, err := grpc.NewClient("passthrough:///sidecar",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the sidecar is on this host and speaks no TLS
		grpc.WithUserAgent("sidehook/"+version),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				s.dialErr.Store(&err)
			}
			return c, err
		}))
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to %s: %w", address, err)
	}
	s.conn, s.events = conn, eventsv1.NewEventServiceClient(conn)
	return s, nil
}

func (s *sidecarConn) close() { _ = s.conn.Close() } // nothing is left to be said on it

// explain words an error of a call for people.
func (s *sidecarConn) explain(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	if dialErr := s.dialErr.Load(); dialErr != nil && st.Code() == codes.Unavailable {
		return fmt.Errorf("no sidecar answers at %s; start one with \"sidehook dev\", or say where it is with --address: %w",
			s.address, *dialErr)
	}
	return errors.New(refusalText(st.Code(), st.Message(), violation(st), retryDelay(st)))
}

// violation is the first field that a status names, with what is wrong about it.
func violation(st *status.Status) string {
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				return strings.TrimPrefix(v.GetField(), "events[0].") + ": " + v.GetDescription()
			}
		}
	}
	return ""
}

func retryDelay(st *status.Status) time.Duration {
	for _, d := range st.Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			return retry.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

func refusalText(code codes.Code, message, violation string, retry time.Duration) string {
	text := printable(first(violation, message))
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.ResourceExhausted:
		text = "the sidecar refused it: " + text
	case codes.Unavailable:
		text = "the sidecar went away: " + text
	default:
		text = fmt.Sprintf("the sidecar failed (%s): %s", code, text)
	}
	if retry > 0 {
		text += fmt.Sprintf("; try again in %s", retry)
	}
	return text
}

// grace is how long answers are awaited after Ctrl-C.
const grace = 5 * time.Second

// stream emits batches and collects their answers.
type stream struct {
	grpc   grpc.BidiStreamingClient[eventsv1.PublishStreamRequest, eventsv1.PublishStreamResponse]
	report *report

	mu      sync.Mutex
	pending map[uint64][]place // events of the batches that are not answered; the stream's flow control bounds it
	last    uint64
}

// place is an event of a batch.
type place struct {
	line int
	id   string
}

// publishMany emits the events of a source over one stream. When ctx ends it sends no more, and waits a little for the
// answers to what it has sent.
func publishMany(ctx context.Context, s *sidecarConn, events eventSource, r *report, perSecond float64) error {
	streamCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil) // before Wait, which the helpers need it for
	helpers.Go(func() {
		select {
		case <-streamCtx.Done():
			return
		case <-ctx.Done():
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-streamCtx.Done():
		case <-timer.C:
			cancel(context.Cause(ctx))
		}
	})
	g, err := s.events.PublishStream(streamCtx)
	if err != nil {
		return err
	}
	st := &stream{grpc: g, report: r, pending: make(map[uint64][]place)}
	received := make(chan error, 1)
	helpers.Go(func() { received <- st.receive() })
	sendErr := st.sendAll(ctx, events, perSecond)
	if err := <-received; err != nil {
		return err
	}
	if errors.Is(sendErr, io.EOF) { // the receiver knows why the stream ended, and it found nothing wrong
		sendErr = fmt.Errorf("the sidecar ended the stream early: %w", io.ErrUnexpectedEOF)
	}
	if sendErr == nil && ctx.Err() != nil {
		sendErr = fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
	}
	return sendErr
}

// sendAll sends until the source or ctx ends, and closes its half of the stream.
func (st *stream) sendAll(ctx context.Context, events eventSource, perSecond float64) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	b := newBatcher(perSecond, st.send)
	err := st.sendEach(ctx, ahead(reading, events), b)
	if !errors.Is(err, io.EOF) { // after io.EOF the stream takes nothing more
		err = errors.Join(err, b.flush(ctx))
	}
	return errors.Join(err, st.grpc.CloseSend())
}

func (st *stream) sendEach(ctx context.Context, events <-chan sourced, b *batcher) error {
	for {
		e, state := next(ctx, events, len(b.events) > 0)
		var err error
		switch {
		case state == sourceEnded:
			return nil
		case state == sourceQuiet:
			err = b.flush(ctx)
		case e.err != nil && e.line > 0:
			st.report.refuse(e.line, "", e.err.Error())
		case e.err != nil:
			err = e.err
		default:
			err = b.add(ctx, e.numbered)
		}
		if err != nil {
			return err
		}
	}
}

func (st *stream) send(batch []numbered) error {
	req := &eventsv1.PublishStreamRequest{Events: make([]*eventsv1.Event, len(batch))}
	places := make([]place, len(batch))
	for i, e := range batch {
		req.Events[i] = e.event
		places[i] = place{line: e.line, id: e.event.GetId()}
	}
	st.mu.Lock()
	st.last++
	req.Sequence = st.last
	st.pending[req.Sequence] = places
	st.mu.Unlock()
	return st.grpc.Send(req)
}

// receive reports answers until the stream ends. A stream that ends with batches unanswered is an error.
func (st *stream) receive() error {
	for {
		resp, err := st.grpc.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		st.mu.Lock()
		places, ok := st.pending[resp.GetSequence()]
		delete(st.pending, resp.GetSequence())
		st.mu.Unlock()
		if !ok {
			return fmt.Errorf("the sidecar answered a batch %d that was not sent", resp.GetSequence())
		}
		st.answer(resp, places)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(st.pending); n > 0 {
		return fmt.Errorf("the sidecar ended the stream with %d batches unanswered: %w", n, io.ErrUnexpectedEOF)
	}
	return nil
}

// answer reports what became of a batch.
func (st *stream) answer(resp *eventsv1.PublishStreamResponse, places []place) {
	if refusal := resp.GetRefusal(); refusal != nil {
		st.refused(refusal, places)
		return
	}
	for i, p := range places {
		if i < len(resp.GetResults()) {
			st.report.result(p.line, resp.GetResults()[i])
		} else {
			st.report.refuse(p.line, p.id, "the sidecar gave no result for it")
		}
	}
}

// refused reports a batch that was refused whole: the event at fault with the reason, the others for its sake.
func (st *stream) refused(refusal *eventsv1.Refusal, places []place) {
	at, field := culprit(refusal.GetField())
	violation := ""
	if field != "" {
		violation = field + ": " + strings.TrimPrefix(refusal.GetMessage(), refusal.GetField()+": ")
	}
	text := refusalText(codes.Code(refusal.GetCode()), refusal.GetMessage(), violation,
		refusal.GetRetryAfter().AsDuration())
	for i, p := range places {
		switch {
		case at < 0 || at >= len(places) || i == at:
			st.report.refuse(p.line, p.id, text)
		default:
			st.report.refuse(p.line, p.id, "refused with the event "+describe(places[at]))
		}
	}
}

func describe(p place) string {
	if p.line > 0 {
		return "of line " + strconv.Itoa(p.line)
	}
	return printable(p.id)
}

// culprit splits events[3].type into 3 and type; -1 when no single event is at fault.
func culprit(field string) (int, string) {
	rest, ok := strings.CutPrefix(field, "events[")
	number, inner, closed := strings.Cut(rest, "]")
	n, err := strconv.Atoi(number)
	if !ok || !closed || err != nil || n < 0 {
		return -1, field
	}
	return n, strings.TrimPrefix(inner, ".")
}
