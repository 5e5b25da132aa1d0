package outbound

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// TestSent is what became of a test event: its first attempt.
type TestSent struct {
	Delivery sidehook.DeliveryID
	// Attempt as it is in the history. One that could not be made (its transformer is unavailable, none of the secrets
	// can sign) says so in Error, has OutcomeRetry without a time, and is not in the history: the delivery waits for it.
	Attempt sidehook.Attempt
	// Request that was sent, its body whole; nil when it did not come to one.
	Request *storage.SavedRequest
}

// ErrDisabled: the webhook gets no attempts, by its configuration or because its endpoint is gone.
var ErrDisabled = errors.New("webhook is disabled")

func isTest(event *sidehook.Event) bool { return event.Source == sidehook.TestSource }

// SendTest sends an event, which must be valid, normalized and not changed any more, to one webhook alone, whatever its
// patterns: it becomes durable and goes through the pipeline at once, past everything that waits for the endpoint, its
// open circuit included. It returns when the first attempt is over and recorded; a failed one is tried again later as
// that of any delivery. It is left out of the webhook's health.
//
// Before, it waits until the configuration has the webhook, with its UpdatedAt not before updatedAt (zero: any). When ctx
// ends meanwhile the error is sidehook.ErrNotFound for a webhook that is not there, else ctx's cause. Other errors:
// ErrDisabled, sidehook.ErrStopping, a *sidehook.FieldError for an event that was sent before or is of another app, a
// *sidehook.FullError. When ctx ends during the attempt its cause is the error, and the delivery goes on.
func (e *Engine) SendTest(
	ctx context.Context, key sidehook.WebhookKey, event *sidehook.Event, updatedAt time.Time,
) (*TestSent, error) {
	if event.App != key.App {
		return nil, sidehook.Fieldf("event.app", "must be %s, as that of the webhook", key.App)
	}
	r, err := e.awaitRoute(ctx, key, updatedAt)
	if err != nil {
		return nil, err
	}
	if w := r.webhook.Webhook; w.Status != sidehook.WebhookEnabled {
		return nil, disabled(key, w.DisabledReason)
	}
	turn := make(chan testTurn, 1)
	b := storage.NewBatch([]storage.Entry{{Event: event, Deliveries: []storage.Placement{{Webhook: key}}}})
	// Whether or not somebody still waits: what is taken must be attempted, or it would lie about until a restart.
	b.OnCommit = func(b *storage.Batch) {
		if entry := &b.Entries[0]; !entry.Duplicate {
			e.counters.accepted.Add(1)
			e.opts.OnCount()
			e.lane(key).attemptNow(r, &job{id: entry.Deliveries[0].ID, shared: &sharedEvent{event: event}, test: true}, turn)
		}
	}
	if err := e.store.Append(ctx, b); err != nil {
		return nil, fmt.Errorf("store the test event: %w", err)
	}
	if err := b.Wait(ctx); err != nil {
		return nil, fmt.Errorf("store the test event: %w", err)
	}
	if b.Entries[0].Duplicate {
		return nil, sidehook.Fieldf("event.id", "%s was sent before; a test event needs an id of its own", event.ID)
	}
	return e.awaitTurn(ctx, b.Entries[0].Deliveries[0].ID, turn)
}

// awaitRoute waits for the configuration of a webhook.
func (e *Engine) awaitRoute(ctx context.Context, key sidehook.WebhookKey, updatedAt time.Time) (*route, error) {
	for {
		news := e.news.next()
		if e.closed.Load() {
			return nil, sidehook.ErrStopping
		}
		r := e.config.Load().route(key)
		if r != nil && !r.webhook.UpdatedAt.Before(updatedAt) {
			return r, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			if r == nil {
				return nil, unknownWebhook(key)
			}
			return nil, fmt.Errorf("webhook %s: the configuration of %s has not come: %w", key,
				updatedAt.UTC().Format(time.RFC3339), context.Cause(ctx))
		}
	}
}

func unknownWebhook(key sidehook.WebhookKey) error {
	return fmt.Errorf("webhook %s is not in the configuration of this sidecar: %w", key, sidehook.ErrNotFound)
}

func disabled(key sidehook.WebhookKey, reason string) error {
	if reason != "" {
		reason = " (" + reason + ")"
	}
	return fmt.Errorf("%s%s: %w", key, reason, ErrDisabled)
}

// testTurn is a tried, or why there was no turn.
type testTurn struct {
	tried
	err error
}

// attemptNow has a delivery attempted at once by a worker of its own, besides those that the limit allows; it counts as
// in flight like theirs. turn, which must have room, gets how it went.
func (l *lane) attemptNow(r *route, j *job, turn chan<- testTurn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	started := l.e.goRun(func() {
		t := l.e.deliver(l, r, j)
		l.mu.Lock()
		l.leave()
		l.mu.Unlock()
		turn <- testTurn{tried: t}
	})
	if !started { // it stays in the store, and is queued at the next start
		turn <- testTurn{err: sidehook.ErrStopping}
		return
	}
	l.rate.take(l.rateLimit(r), l.e.now())
	l.e.inMemory.Add(1)
	if l.active > 0 {
		l.e.inFlight.Add(1)
	}
	l.active++
}

// awaitTurn waits until the first attempt is over and in the history.
func (e *Engine) awaitTurn(ctx context.Context, id sidehook.DeliveryID, turn <-chan testTurn) (*TestSent, error) {
	var t testTurn
	select {
	case t = <-turn:
	case <-ctx.Done():
		return nil, fmt.Errorf("the first attempt of %s is not over yet, and goes on: %w", id, context.Cause(ctx))
	}
	switch {
	case t.err != nil:
		return nil, t.err
	case t.unmade != nil && errors.Is(t.unmade, sidehook.ErrStopping):
		return nil, t.unmade
	}
	sent := &TestSent{Delivery: id, Attempt: *t.attempt}
	if t.request != nil && t.unmade == nil {
		sent.Request = &t.request.saved
	}
	if t.unmade != nil {
		sent.Attempt.Error = t.unmade.Error()
		sent.Attempt.Outcome = sidehook.Outcome{Kind: sidehook.OutcomeRetry}
		return sent, nil
	}
	if err := e.store.Flush(ctx); err != nil {
		return nil, fmt.Errorf("record the attempt of %s: %w", id, err)
	}
	return sent, nil
}
