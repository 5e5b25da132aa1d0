package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

// Bounds of commands.
const (
	maxCommandTime     = 2 * time.Minute
	maxFailureText     = 1024 // bytes
	maxDeliveriesAsked = 200
	// maxLeft is how many tests that nobody waits for any more may go on beside those that have a place.
	maxLeft = 64
)

// commander carries out the commands of one stream. Answers wait in no queue: a command keeps its place until its answer
// is taken, and reading of further ones stops while a refusal waits, so that nothing grows with what is asked.
type commander struct {
	obey    func(ctx context.Context, c *fleetv1.Command) (*fleetv1.Answer, error)
	answers chan *fleetv1.Answer
	places  places
	running sync.WaitGroup
	log     *slog.Logger

	mu       sync.Mutex
	underWay map[uint64]*underWay // by id
	left     int                  // tests that were cancelled and may go on
}

// underWay is a command that is being carried out.
type underWay struct {
	end  context.CancelCauseFunc
	test bool
	left bool // it was cancelled, and counts among the left
}

func newCommander(obey func(context.Context, *fleetv1.Command) (*fleetv1.Answer, error), log *slog.Logger) *commander {
	return &commander{
		obey: obey, answers: make(chan *fleetv1.Answer), log: log, underWay: make(map[uint64]*underWay),
	}
}

// take starts a command, or refuses it. ctx ends with the stream.
func (c *commander) take(ctx context.Context, command *fleetv1.Command) {
	within := command.GetWithin()
	if !within.IsValid() || within.AsDuration() <= 0 || within.AsDuration() > maxCommandTime {
		c.fail(ctx, command, sidehook.Fieldf("within", "is required: more than 0 and at most %s", maxCommandTime))
		return
	}
	leave, err := c.places.take(command)
	if err != nil {
		c.fail(ctx, command, err)
		return
	}
	giveUp := fmt.Errorf("not done within %s: %w", within.AsDuration(), context.DeadlineExceeded)
	timed, stop := context.WithTimeoutCause(ctx, within.AsDuration(), giveUp)
	working, end := context.WithCancelCause(timed)
	u := &underWay{end: end, test: command.GetSendTestEvent() != nil}
	c.mu.Lock()
	c.underWay[command.GetId()] = u
	c.mu.Unlock()
	c.running.Go(func() {
		defer stop()
		defer end(nil)
		c.carryOut(ctx, working, command)
		leave()
		c.finish(timed, command.GetId(), u)
	})
}

// errHungUp: the control plane cancelled the command.
var errHungUp = errors.New("nobody waits for the answer any more")

// cancel ends a command that nobody waits for, and so frees its place. What a test has begun at an endpoint goes on, until
// the command's time is over at the latest: with maxLeft of those about, further tests keep their places, so that who
// tests and hangs up again and again does not have any number of requests under way.
func (c *commander) cancel(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.underWay[id]
	if u == nil || u.left {
		return
	}
	if u.test {
		if c.left >= maxLeft {
			return
		}
		c.left++
		u.left = true
	}
	u.end(errHungUp)
}

// finish forgets a command that has given its place back; a test that goes on counts among the left until its time is
// over, which within ends with.
func (c *commander) finish(within context.Context, id uint64, u *underWay) {
	c.mu.Lock()
	if c.underWay[id] == u {
		delete(c.underWay, id)
	}
	left := u.left
	c.mu.Unlock()
	if !left {
		return
	}
	<-within.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left--
}

var errUnknownCommand = errors.New("this sidecar's version does not know the command")

// carryOut answers a command, unless working has ended with errHungUp. stream ends with the stream, working with the
// command's time too.
func (c *commander) carryOut(stream, working context.Context, command *fleetv1.Command) {
	a, err := c.obey(working, command)
	switch {
	case errors.Is(context.Cause(working), errHungUp):
		return
	case err != nil:
		c.fail(stream, command, err)
		return
	}
	a.Command = command.GetId()
	c.answer(stream, a)
}

func (c *commander) fail(ctx context.Context, command *fleetv1.Command, err error) {
	if ctx.Err() != nil {
		return // nobody is there to hear it, and that may be why it failed
	}
	code, text := failureOf(err)
	if code == codes.Internal {
		c.log.Error("a command of the control plane failed", "command", command.GetId(), "err", err)
	}
	c.answer(ctx, &fleetv1.Answer{Command: command.GetId(), Result: &fleetv1.Answer_Failure{
		Failure: &fleetv1.Failure{Code: int32(code), Message: cutText(text, maxFailureText)},
	}})
}

func (c *commander) answer(ctx context.Context, a *fleetv1.Answer) {
	select {
	case c.answers <- a:
	case <-ctx.Done(): // nobody is there to hear it
	}
}

// failureOf says with which code a command fails, and what people are told.
func failureOf(err error) (codes.Code, string) {
	code := codes.Internal
	var fe *sidehook.FieldError
	var tooMany *tooManyError
	switch {
	case errors.As(err, &fe):
		return codes.InvalidArgument, fe.Error()
	case errors.Is(err, sidehook.ErrTooLarge):
		code = codes.InvalidArgument
	case errors.Is(err, sidehook.ErrNotFound), errors.Is(err, sidehook.ErrUnknownApp):
		code = codes.NotFound
	case errors.Is(err, outbound.ErrDisabled):
		code = codes.FailedPrecondition
	case errors.Is(err, sidehook.ErrFull), errors.As(err, &tooMany):
		code = codes.ResourceExhausted
	case errors.Is(err, errUnknownCommand):
		code = codes.Unimplemented
	case errors.Is(err, sidehook.ErrStopping), errors.Is(err, storage.ErrClosed), errors.Is(err, context.Canceled):
		code = codes.Unavailable
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	default:
		return code, "the sidecar failed at it; its log says why"
	}
	return code, err.Error()
}

// obey carries out a command.
func (s *Sidecar) obey(ctx context.Context, c *fleetv1.Command) (*fleetv1.Answer, error) {
	switch ask := c.GetAsk().(type) {
	case *fleetv1.Command_ListDeliveries:
		list, err := s.listDeliveries(ctx, ask.ListDeliveries)
		return &fleetv1.Answer{Result: &fleetv1.Answer_DeliveryList{DeliveryList: list}}, err
	case *fleetv1.Command_GetDelivery:
		d, err := s.getDelivery(ctx, ask.GetDelivery)
		return &fleetv1.Answer{Result: &fleetv1.Answer_Delivery{Delivery: d}}, err
	case *fleetv1.Command_RetryDelivery:
		err := s.retryDelivery(ctx, ask.RetryDelivery)
		return &fleetv1.Answer{Result: &fleetv1.Answer_Retried{Retried: &fleetv1.Retried{}}}, err
	case *fleetv1.Command_ReplayDeliveries:
		r, err := s.replayDeliveries(ctx, ask.ReplayDeliveries)
		return &fleetv1.Answer{Result: &fleetv1.Answer_Replayed{Replayed: r}}, err
	case *fleetv1.Command_SendTestEvent:
		sent, err := s.sendTestEvent(ctx, ask.SendTestEvent)
		return &fleetv1.Answer{Result: &fleetv1.Answer_TestSent{TestSent: sent}}, err
	case *fleetv1.Command_Drain:
		left := uint64(max(0, s.drain()))
		return &fleetv1.Answer{Result: &fleetv1.Answer_Draining{Draining: &fleetv1.Draining{Pending: left}}}, nil
	}
	return nil, errUnknownCommand
}

// checkApp refuses apps that this sidecar does not serve. Other than for events, one that it may come to serve is
// refused too: it has no deliveries.
func (s *Sidecar) checkApp(app string) error {
	if !sidehook.ValidName(app) {
		return sidehook.Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	if slices.Contains(s.cfg.Apps, app) {
		return nil
	}
	if snap := s.engine.Snapshot(); snap != nil && snap.App(app) != nil {
		return nil
	}
	return fmt.Errorf("app: this sidecar does not serve %s: %w", app, sidehook.ErrUnknownApp)
}

func checkWebhook(id string) error {
	if !sidehook.ValidName(id) {
		return sidehook.Fieldf("webhook", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	return nil
}

func parseDelivery(field, text string) (sidehook.DeliveryID, error) {
	id, err := sidehook.ParseDeliveryID(text)
	if err != nil {
		return id, sidehook.Fieldf(field, "%s", err)
	}
	return id, nil
}
