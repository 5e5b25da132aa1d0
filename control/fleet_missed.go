package control

import (
	"context"
	"time"

	"github.com/sidehook/sidehook"
)

// Missed is what a webhook did not get while the control plane had disabled it.
type Missed struct {
	// Deliveries are in the history as dropped; a replay of that state with this Since queues them.
	Deliveries int
	// More: there are others, which were not counted.
	More  bool
	Since time.Time
}

// Bounds of counting what was missed.
const (
	maxMissed    = 1000
	missedWithin = 3 * time.Second
)

// Missed counts the dropped deliveries of a webhook since it was disabled, as far as sidecars can be heard within 3 s. Its
// errors are those of Deliveries.
func (f *Fleet) Missed(ctx context.Context, k sidehook.WebhookKey, since time.Time) (*Missed, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, missedWithin, ErrSidecarSlow)
	defer cancel()
	dropped := sidehook.Dropped
	q := DeliveryQuery{App: k.App, Webhook: k.ID, State: &dropped, Since: since, Page: PageRequest{Limit: MaxPageLimit}}
	missed := &Missed{Since: since}
	for {
		page, err := f.Deliveries(ctx, q)
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
