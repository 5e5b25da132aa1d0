package control

import (
	"context"
	"errors"
	"time"

	"github.com/sidehook/sidehook"
)

var errNotAsked = errors.New("not built yet")

// Deliveries lists an app's deliveries, newest first, a page. Bad input gives a *sidehook.FieldError, an app without a
// connected sidecar ErrNoSidecar.
func (f *Fleet) Deliveries(ctx context.Context, q DeliveryQuery) (*DeliveryPage, error) {
	return nil, errNotAsked
}

// Delivery gives one delivery of an app with its attempts. Errors are sidehook.ErrNotFound when no connected sidecar has
// it, ErrNoSidecar, or a *SidecarError.
func (f *Fleet) Delivery(ctx context.Context, app string, id sidehook.DeliveryID) (*Delivery, error) {
	return nil, errNotAsked
}

// Retry attempts a delivery once more, at once. Errors as of Delivery.
func (f *Fleet) Retry(ctx context.Context, app string, id sidehook.DeliveryID) error {
	return errNotAsked
}

// Replay queues finished deliveries of a webhook once more, on all sidecars of its app. Errors are ErrNoSidecar, a
// *sidehook.FieldError, or a *SidecarError when no sidecar could.
func (f *Fleet) Replay(ctx context.Context, r Replay) (*Replayed, error) {
	return nil, errNotAsked
}

// SendTest sends a test event (see Service.TestEvent) to one webhook through a connected sidecar of its app, and returns
// when its first attempt is over. updated is the webhook's UpdatedAt: the sidecar waits until it has that configuration.
// Errors are ErrNoSidecar, ErrWebhookDisabled, sidehook.ErrNotFound, ErrSidecarSlow, as a *SidecarError where a sidecar
// said so.
func (f *Fleet) SendTest(ctx context.Context, k sidehook.WebhookKey, event *sidehook.Event, updated time.Time) (*TestResult, error) {
	return nil, errNotAsked
}

// Drain makes a sidecar refuse events while it delivers what it has, until it is restarted; pending is how many
// deliveries it has left.
func (f *Fleet) Drain(ctx context.Context, sidecar string) (pending int, err error) {
	return 0, errNotAsked
}

// WebhookHealth tells how a webhook fares; zero when no sidecar has reported of it.
func (f *Fleet) WebhookHealth(k sidehook.WebhookKey) WebhookHealth {
	return WebhookHealth{}
}

// Changes gives a channel that receives after something of an app's sidecars changed: one came or went, or a report told
// news. Several changes may be told as one. It is closed when ctx ends or the Fleet closes.
func (f *Fleet) Changes(ctx context.Context, app string) <-chan struct{} {
	return nil
}
