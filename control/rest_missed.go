package control

import (
	"context"
	"errors"
	"time"

	"github.com/sidehook/sidehook"
)

// missedView is Missed as answers show it.
type missedView struct {
	Deliveries int       `json:"deliveries" doc:"How many are in the history as dropped and can be replayed"`
	More       bool      `json:"more,omitempty" doc:"There are more than that"`
	Since      time.Time `json:"since" doc:"Replay with this since and the state dropped to deliver them"`
}

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
	missed, err := h.fleet.Missed(ctx, k, before.DisabledAt)
	switch {
	case errors.Is(err, ErrNoSidecar): // the webhook is enabled all the same
	case err != nil:
		h.log.WarnContext(ctx, "cannot count what a webhook missed", "app", k.App, "webhook", k.ID, "error", err)
	case missed.Deliveries > 0:
		answer.Body.Missed = (*missedView)(missed)
	}
	return answer, nil
}
