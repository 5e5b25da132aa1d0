package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// sendTestEvent does not ask whether the app is served: its configuration, and the webhook's, may be on their way.
func (s *Sidecar) sendTestEvent(ctx context.Context, ask *fleetv1.SendTestEvent) (*fleetv1.TestSent, error) {
	key := sidehook.WebhookKey{App: ask.GetApp(), ID: ask.GetWebhook()}
	if !sidehook.ValidName(key.App) {
		return nil, sidehook.Fieldf("app", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	}
	if err := checkWebhook(key.ID); err != nil {
		return nil, err
	}
	event, err := eventOfProto(ask.GetEvent(), time.Now(), int(s.cfg.Limits.Payload))
	if errors.Is(err, sidehook.ErrTooLarge) {
		return nil, fmt.Errorf("event.%w", err)
	}
	if err != nil {
		return nil, sidehook.Under("event", err)
	}
	updatedAt, err := timeOfProto("webhook_updated_at", ask.GetWebhookUpdatedAt())
	if err != nil {
		return nil, err
	}
	sent, err := s.engine.SendTest(ctx, key, event, updatedAt)
	if err != nil {
		return nil, err
	}
	return &fleetv1.TestSent{
		DeliveryId: sent.Delivery.String(), Attempt: attemptProto(&sent.Attempt), Request: requestProto(sent.Request, false),
	}, nil
}
