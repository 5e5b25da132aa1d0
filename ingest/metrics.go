package ingest

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

// Metrics counts events since the start. The fields may be read at any time. An event whose publisher went away
// before the answer of a unary or HTTP request is counted under Refused.Canceled although it may have been stored.
type Metrics struct {
	Accepted  atomic.Uint64
	Duplicate atomic.Uint64
	Unmatched atomic.Uint64
	Held      atomic.Uint64
	// Bytes of payload of the events that were acknowledged.
	Bytes atomic.Uint64
	// Streams that are open now.
	Streams atomic.Int64
	// Refused counts batches, not events, by reason.
	Refused RefusedBatches
}

// RefusedBatches counts refused batches by reason.
type RefusedBatches struct {
	Invalid    atomic.Uint64 // a field is missing or malformed
	UnknownApp atomic.Uint64
	TooLarge   atomic.Uint64
	Full       atomic.Uint64 // queue or disk; trying again later can help
	Stopping   atomic.Uint64
	Canceled   atomic.Uint64 // the publisher gave up
	Internal   atomic.Uint64 // the store failed
}

func (m *Metrics) countResults(results []Result) {
	var n [Held + 1]uint64
	for i := range results {
		if d := results[i].Disposition; d <= Held {
			n[d]++
		}
	}
	addSome(&m.Accepted, n[Accepted])
	addSome(&m.Duplicate, n[Duplicate])
	addSome(&m.Unmatched, n[Unmatched])
	addSome(&m.Held, n[Held])
}

// addSome spares the shared cache line when there is nothing to add.
func addSome(c *atomic.Uint64, n uint64) {
	if n > 0 {
		c.Add(n)
	}
}

func (m *Metrics) countRefusal(r *refusal) {
	switch {
	case r.code == codes.InvalidArgument:
		m.Refused.Invalid.Add(1)
	case r.code == codes.NotFound:
		m.Refused.UnknownApp.Add(1)
	case r.code == codes.ResourceExhausted && r.retryAfter > 0:
		m.Refused.Full.Add(1)
	case r.code == codes.ResourceExhausted:
		m.Refused.TooLarge.Add(1)
	case r.code == codes.Unavailable:
		m.Refused.Stopping.Add(1)
	case r.code == codes.Canceled || r.code == codes.DeadlineExceeded:
		m.Refused.Canceled.Add(1)
	default:
		m.Refused.Internal.Add(1)
	}
}
