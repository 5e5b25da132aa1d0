package storage

import (
	"time"

	"github.com/sidehook/sidehook"
)

// PutBack is a queued delivery that does not wait where it was put when its event was accepted.
type PutBack struct {
	ID sidehook.DeliveryID
	// OrderingKey of its event.
	OrderingKey string
	DueAt       time.Time
	// Attempts made so far.
	Attempts int
}
