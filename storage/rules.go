package storage

import (
	"time"
)

// Options that every implementation takes.
type Options struct {
	// DedupeWindow is how long an event id is remembered: at least so long, at most an eighth longer. Default 1 h;
	// negative: not at all.
	DedupeWindow time.Duration
	// DedupeEvents bounds how many ids are remembered; beyond it the oldest tenth is forgotten. Default 1,000,000 (about 24 MB when full).
	DedupeEvents int
	// HistoryBytes bounds the events and attempts kept after their deliveries ended. Default 32 MiB.
	HistoryBytes int64
	// HistoryAge bounds how long they are kept. Default 72 h.
	HistoryAge time.Duration
	// QueueBytes bounds the events of unfinished deliveries; beyond it Append answers *sidehook.FullError. Default
	// 10 GiB.
	QueueBytes int64
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// WithDefaults returns o with its zero fields filled.
func (o Options) WithDefaults() Options {
	if o.DedupeWindow == 0 {
		o.DedupeWindow = time.Hour
	}
	if o.DedupeEvents == 0 {
		o.DedupeEvents = 1_000_000
	}
	if o.HistoryBytes == 0 {
		o.HistoryBytes = 32 << 20
	}
	if o.HistoryAge == 0 {
		o.HistoryAge = 72 * time.Hour
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 10 << 30
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Limits of a Batch, so that one always fits a commit.
const (
	// MaxBatchEntries is how many entries a Batch may have.
	MaxBatchEntries = 1000
	// MaxBatchBytes bounds the sum of EventSize over a Batch, and so the size of an event.
	MaxBatchBytes = 768 << 10
	// MaxBatchDeliveries bounds the deliveries of a Batch.
	MaxBatchDeliveries = 1 << 16
	// DefaultLimit and MaxLimit bound a Query's page.
	DefaultLimit = 50
	MaxLimit     = 1000
)
