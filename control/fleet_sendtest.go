package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// SendTest sends a test event (see Service.TestEvent) to one webhook through a connected sidecar of its app, and returns
// when its first attempt is over: within the time of ctx, at most the webhook's timeout and ten seconds. The sidecar waits
// until it has the webhook's configuration, by its UpdatedAt. Errors are ErrNoSidecar, ErrWebhookDisabled,
// sidehook.ErrNotFound, ErrSidecarSlow, as a *SidecarError where a sidecar said so.
//
// Another sidecar is asked only when it is certain that the one before has not sent the event.
func (f *Fleet) SendTest(ctx context.Context, w *sidehook.Webhook, event *sidehook.Event) (*TestResult, error) {
	peers, _, err := f.peers(w.App)
	if err != nil {
		return nil, err
	}
	fittest(peers)
	ctx, cancel := context.WithTimeoutCause(ctx, min(w.Timeout, sidehook.MaxTimeout)+testSpare, ErrSidecarSlow)
	defer cancel()
	deadline, _ := ctx.Deadline()
	end := deadline.Add(-answerGrace)
	for i := range peers {
		left := time.Until(end)
		if i > 0 && left < answerGrace {
			break
		}
		var result *TestResult
		var sure bool
		if result, sure, err = peers[i].sendTest(ctx, w, event, max(left, time.Millisecond)); err == nil || !sure {
			return result, err
		}
	}
	return nil, err
}

// fittest puts first who can send a test best: ready, with current configuration, with the least to do.
func fittest(peers []peer) {
	rank := func(p *peer) int {
		switch {
		case p.ready && !p.stale:
			return 0
		case p.ready:
			return 1
		}
		return 2
	}
	slices.SortFunc(peers, func(a, b peer) int {
		return cmp.Or(rank(&a)-rank(&b), cmp.Compare(a.pending, b.pending), a.key.compare(b.key))
	})
}

// sendTest asks one sidecar. sure says of an error that the event was not sent, and that another sidecar could fare
// better.
func (p *peer) sendTest(ctx context.Context, w *sidehook.Webhook, event *sidehook.Event, within time.Duration) (
	result *TestResult, sure bool, err error,
) {
	answer, given, err := p.ask(ctx, &fleetv1.Command{Ask: &fleetv1.Command_SendTestEvent{SendTestEvent: &fleetv1.SendTestEvent{
		App: w.App, Webhook: w.ID, Event: wireEvent(event), WebhookUpdatedAt: timestamp(w.UpdatedAt),
	}}}, within)
	switch {
	case err == nil:
		result, err = p.testResult(event, answer.GetTestSent())
		return result, false, err
	case ctx.Err() != nil && !given:
		return nil, false, &SidecarError{Sidecar: p.key.id, Reason: "did not take the test event in time; it was not sent", Err: ErrSidecarSlow}
	case ctx.Err() != nil:
		err = &SidecarError{Sidecar: p.key.id, Reason: "did not answer in time", Err: ErrSidecarSlow}
	case errors.Is(err, ErrSidecarRefused):
		refused := *p.failed(err)
		refused.Err = ErrWebhookDisabled
		return nil, false, &refused
	}
	sure = !given || errors.Is(err, ErrBusy) || errors.Is(err, errTooOld) || errors.Is(err, sidehook.ErrNotFound)
	return nil, sure, unsure(p, err, given, "the test event may have been sent, its deliveries will tell; it is not sent twice")
}

func (p *peer) testResult(event *sidehook.Event, sent *fleetv1.TestSent) (*TestResult, error) {
	if sent.GetAttempt() == nil {
		return nil, p.failed(errOtherThanAsked)
	}
	id, err := sidehook.ParseDeliveryID(sent.GetDeliveryId())
	if err != nil {
		return nil, p.failed(fmt.Errorf("%w: %w", errOtherThanAsked, err))
	}
	return &TestResult{
		Sidecar: p.key.id, Delivery: id, Event: event, Attempt: attemptOf(sent.GetAttempt()), Request: requestOf(sent.GetRequest()),
	}, nil
}
