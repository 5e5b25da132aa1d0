package outbound

import (
	"context"
	"fmt"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Retry attempts a delivery of an app once more, whatever became of it: a finished one is queued again, a waiting one is
// due at once, and one that is being attempted is left alone. Errors are sidehook.ErrNotFound, for a delivery that the
// store does not know or that is of another app, or a webhook that the configuration does not have; and ErrDisabled.
func (e *Engine) Retry(ctx context.Context, app string, id sidehook.DeliveryID) error {
	info, err := e.store.Delivery(ctx, id)
	if err != nil {
		return err
	}
	if info.Webhook.App != app {
		return storage.DeliveryNotFound(id)
	}
	if info.State.Final() {
		n, err := e.Requeue(ctx, info.Webhook, []sidehook.DeliveryID{id})
		if err == nil && n == 0 { // somebody else was faster, unless it has left the history
			_, err = e.store.Delivery(ctx, id)
		}
		return err
	}
	if err := e.TakesAttempts(info.Webhook); err != nil {
		return err
	}
	now := e.now()
	waits, err := e.store.Hasten(ctx, id, now)
	if err != nil {
		return fmt.Errorf("make delivery %s due: %w", id, err)
	}
	if waits {
		e.lane(info.Webhook).noteQueued(now)
		e.opts.OnCount()
	}
	return nil
}

// Requeue queues finished deliveries of a webhook once more, due at once, and returns how many: those that have left the
// history cannot be, nor those still pending. Errors are sidehook.ErrNotFound for a webhook that the configuration does
// not have, and ErrDisabled.
func (e *Engine) Requeue(ctx context.Context, key sidehook.WebhookKey, ids []sidehook.DeliveryID) (int, error) {
	if err := e.TakesAttempts(key); err != nil {
		return 0, err
	}
	now := e.now()
	n, err := e.store.Requeue(ctx, ids, now)
	// Woken even after an error, for some may be queued.
	e.lane(key).noteQueued(now)
	e.opts.OnCount()
	if err != nil {
		return n, fmt.Errorf("queue deliveries again: %w", err)
	}
	return n, nil
}

// TakesAttempts is nil for a webhook that gets attempts; else the error is sidehook.ErrNotFound, for one that the
// configuration does not have, or ErrDisabled, with the reason.
func (e *Engine) TakesAttempts(key sidehook.WebhookKey) error {
	r := e.config.Load().route(key)
	if r == nil {
		return unknownWebhook(key)
	}
	if w := r.webhook.Webhook; w.Status != sidehook.WebhookEnabled {
		return disabled(key, w.DisabledReason)
	}
	if e.lane(key).isGone() {
		return disabled(key, "the endpoint answered 410 Gone")
	}
	return nil
}

func (l *lane) isGone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.goneAt.IsZero()
}

// MakeRequest makes the request of an event for a webhook as it is configured now. ok is false where only the way of a
// delivery could tell: for a webhook that is not configured, has a transformer, or has a format without a place for the
// event.
func (e *Engine) MakeRequest(key sidehook.WebhookKey, event *sidehook.Event) (made *storage.SavedRequest, ok bool) {
	r := e.config.Load().route(key)
	if r == nil || r.webhook.Transformer != "" {
		return nil, false
	}
	saved, err := shapeEvent(r, event)
	if err != nil {
		return nil, false
	}
	return &saved, true
}
