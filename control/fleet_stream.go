package control

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// maxCommands is how many commands may wait for their answers on one stream; more are refused with ErrBusy, so that a
// sidecar that does not answer holds back a bounded number of callers.
const maxCommands = 64

// answerGrace is how much longer than the sidecar the control plane waits, so that a sidecar that gives up can say so.
const answerGrace = 250 * time.Millisecond

// fleetStream is one Connect call: end makes it return err, ask sends a command on it and awaits the answer. Only the
// goroutine of send calls Send, once Welcome is out; commands that come earlier wait for it.
type fleetStream struct {
	over chan struct{}
	wake chan struct{} // told that queue has grown

	mu      sync.Mutex
	err     error // why it is over; set before over is closed
	ended   bool
	last    uint64 // id of the newest command
	queue   []*asked
	cancels []uint64 // commands that were given and that nobody awaits any more
	waiting map[uint64]*asked
}

// asked is a command that somebody awaits the answer of.
type asked struct {
	command  *fleetv1.Command
	given    bool                 // it has left, or is about to: from then on the sidecar may have acted on it
	answered chan *fleetv1.Answer // takes one answer without a reader
}

func newFleetStream() *fleetStream {
	return &fleetStream{over: make(chan struct{}), wake: make(chan struct{}, 1), waiting: make(map[uint64]*asked)}
}

func (s *fleetStream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended, s.err, s.queue, s.cancels = true, err, nil, nil
	close(s.over)
}

// ask sends a command, of which it sets id and within, and awaits the answer. given says whether the sidecar may have got
// it; when ctx ends, the sidecar is told that it need not go on. Errors are ErrSidecarSlow, ErrSidecarGone, ErrBusy or the
// cause of ctx.
func (s *fleetStream) ask(ctx context.Context, c *fleetv1.Command, within time.Duration) (answer *fleetv1.Answer, given bool, err error) {
	a, err := s.enqueue(c, within)
	if err != nil {
		return nil, false, err
	}
	defer func() { given = s.forget(a, ctx.Err() != nil) }()
	timer := time.NewTimer(within + answerGrace)
	defer timer.Stop()
	select {
	case answer := <-a.answered:
		return answer, true, nil
	case <-s.over:
		select {
		case answer := <-a.answered: // it came before the end
			return answer, true, nil
		default:
			return nil, false, ErrSidecarGone
		}
	case <-timer.C:
		return nil, false, ErrSidecarSlow
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

func (s *fleetStream) enqueue(c *fleetv1.Command, within time.Duration) (*asked, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return nil, ErrSidecarGone
	case len(s.waiting) >= maxCommands:
		return nil, ErrBusy
	}
	s.last++
	c.Id, c.Within = s.last, durationpb.New(within)
	a := &asked{command: c, answered: make(chan *fleetv1.Answer, 1)}
	s.waiting[c.Id] = a
	s.queue = append(s.queue, a)
	s.wakeUp()
	return a, nil
}

func (s *fleetStream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forget stops waiting for an answer. A command that was not given by then never is; one that was, and is not answered, is
// cancelled where hungUp.
func (s *fleetStream) forget(a *asked, hungUp bool) (given bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := a.command.GetId()
	_, unanswered := s.waiting[id]
	delete(s.waiting, id)
	switch {
	case !a.given:
		s.queue = slices.DeleteFunc(s.queue, func(other *asked) bool { return other == a })
	case hungUp && unanswered && !s.ended:
		s.cancels = append(s.cancels, id)
		s.wakeUp()
	}
	return a.given
}

// next takes what is to be sent next, nil for nothing: the oldest cancel, else the oldest command.
//
// Invariant: there are at most maxCommands cancels. Each is of a command that was given, and while there are any no other
// is given.
func (s *fleetStream) next() *fleetv1.ConnectResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cancels) > 0 {
		id := s.cancels[0]
		s.cancels = s.cancels[1:]
		return &fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Cancel{Cancel: &fleetv1.Cancel{Command: id}}}
	}
	if len(s.queue) == 0 {
		return nil
	}
	a := s.queue[0]
	s.queue = s.queue[1:]
	a.given = true
	return &fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Command{Command: a.command}}
}

// answer hands an answer to whoever awaits it. One that comes late, twice or for nothing is ignored.
func (s *fleetStream) answer(answer *fleetv1.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.waiting[answer.GetCommand()]
	if a == nil || !a.given {
		return
	}
	delete(s.waiting, answer.GetCommand())
	a.answered <- answer
}

var errStreamBroken = errors.New("commands cannot be sent on the stream any more")

// send sends commands and cancels until the stream is over. It does not hold up Connect: a Send that waits for a sidecar that does not
// read ends with the stream's context, which is soon after Connect has returned.
func (s *fleetStream) send(stream grpc.BidiStreamingServer[fleetv1.ConnectRequest, fleetv1.ConnectResponse]) {
	for {
		response := s.next()
		if response == nil {
			select {
			case <-s.wake:
				continue
			case <-s.over:
				return
			case <-stream.Context().Done():
				return
			}
		}
		if err := stream.Send(response); err != nil {
			s.end(errors.Join(errStreamBroken, err))
			return
		}
	}
}
