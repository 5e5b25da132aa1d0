package storage

import (
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
)

// CheckBatch checks a batch against the limits before it is stored. It returns a *sidehook.FieldError, or an error
// that is sidehook.ErrTooLarge.
func CheckBatch(b *Batch) error {
	if len(b.Entries) > MaxBatchEntries {
		return fmt.Errorf("batch of %d events is over the limit of %d: %w", len(b.Entries), MaxBatchEntries,
			sidehook.ErrTooLarge)
	}
	bytes, deliveries := 0, 0
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.Event == nil {
			return sidehook.Fieldf(fmt.Sprintf("entries[%d].event", i), "is required")
		}
		bytes += EventSize(e.Event)
		deliveries += len(e.Deliveries)
		for j := range e.Deliveries {
			if key := e.Deliveries[j].Webhook; !validQueue(key) {
				return sidehook.Fieldf(fmt.Sprintf("entries[%d].deliveries[%d].webhook", i, j),
					"%.140q is neither a webhook's key nor the HoldQueue", key)
			}
		}
	}
	if bytes > MaxBatchBytes {
		return fmt.Errorf("batch of %d bytes is over the limit of %d: %w", bytes, MaxBatchBytes, sidehook.ErrTooLarge)
	}
	if deliveries > MaxBatchDeliveries {
		return fmt.Errorf("batch of %d deliveries is over the limit of %d: %w", deliveries, MaxBatchDeliveries,
			sidehook.ErrTooLarge)
	}
	return nil
}

func validQueue(key sidehook.WebhookKey) bool {
	return key == HoldQueue || sidehook.ValidName(key.App) && sidehook.ValidName(key.ID)
}

// PageLimit is Limit with its default, or a *sidehook.FieldError.
func (q *Query) PageLimit() (int, error) {
	switch {
	case q.Limit == 0:
		return DefaultLimit, nil
	case q.Limit < 0 || q.Limit > MaxLimit:
		return 0, sidehook.Fieldf("limit", "must be 1 to %d", MaxLimit)
	}
	return q.Limit, nil
}

// Matches reports whether a delivery is one that the query selects.
func (q *Query) Matches(key sidehook.WebhookKey, eventType string, state sidehook.DeliveryState, at time.Time) bool {
	return (q.App == "" || q.App == key.App) &&
		(q.Webhook == "" || q.Webhook == key.ID) &&
		(q.Type == "" || q.Type == eventType) &&
		(q.State == nil || *q.State == state) &&
		q.Covers(at)
}

// Covers reports whether the query's bounds of time hold at.
func (q *Query) Covers(at time.Time) bool {
	return !at.Before(q.Since) && (q.Until.IsZero() || at.Before(q.Until))
}

// DeliveryNotFound is the error for an id that a store does not know (any more).
func DeliveryNotFound(id sidehook.DeliveryID) error {
	return fmt.Errorf("delivery %s is not here, or has left the history: %w", id, sidehook.ErrNotFound)
}

// QueueFull is the error of Append beyond Options.QueueBytes.
func QueueFull(limit int64) error {
	return &sidehook.FullError{
		What:       fmt.Sprintf("queue is at its limit of %d MiB; it drains as deliveries end", limit>>20),
		RetryAfter: time.Second,
	}
}
