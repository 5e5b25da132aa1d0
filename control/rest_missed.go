package control

import (
	"context"
	"errors"
	"time"

	"github.com/sidehook/sidehook"
)

// missedView is what a webhook did not get while the control plane had disabled it.
type missedView struct {
	Deliveries int       `json:"deliveries" doc:"How many are in the history as dropped and can be replayed"`
	More       bool      `json:"more,omitempty" doc:"There are more than that"`
	Since      time.Time `json:"since" doc:"Replay with this since and the state dropped to deliver them"`
}

// Bounds of counting what was missed.
const (
	maxMissed    = 1000
	missedWithin = 3 * time.Second
)

// enable lets a webhook get deliveries and tells what it missed.
func (h *rest) enable(ctx context.Context, k sidehook.WebhookKey) (*body[webhookView], error) {
	before, err := h.svc.GetWebhook(ctx, k)
	if err != nil {
		return nil, err
	}
	answer, err := webhookAnswer(h.svc.EnableWebhook(ctx, k))
	if err != nil || !before.MissesEvents() {
		return answer, err
	}
	counting, cancel := context.WithTimeoutCause(ctx, missedWithin, ErrSidecarSlow)
	defer cancel()
	missed, err := h.countMissed(counting, k, before.DisabledAt)
	if err != nil { // the webhook is enabled all the same
		if !errors.Is(err, ErrNoSidecar) {
			h.log.WarnContext(ctx, "cannot count what a webhook missed", "app", k.App, "webhook", k.ID, "error", err)
		}
		return answer, nil
	}
	if missed.Deliveries > 0 {
		answer.Body.Missed = missed
	}
	return answer, nil
}

// countMissed counts the dropped deliveries of a webhook since it was disabled, as far as sidecars can be heard.
func (h *rest) countMissed(ctx context.Context, k sidehook.WebhookKey, since time.Time) (*missedView, error) {
	dropped := sidehook.Dropped
	q := DeliveryQuery{App: k.App, Webhook: k.ID, State: &dropped, Since: since, Page: PageRequest{Limit: MaxPageLimit}}
	missed := &missedView{Since: since}
	for {
		page, err := h.fleet.Deliveries(ctx, q)
		if err != nil {
			return nil, err
		}
		missed.Deliveries += len(page.Deliveries)
		missed.More = page.Next != ""
		if !missed.More || missed.Deliveries >= maxMissed {
			return missed, nil
		}
		q.Page.Cursor = page.Next
	}
}
