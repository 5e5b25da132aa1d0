package ingest

import (
	"context"

	"github.com/sidehook/sidehook"
)

// Acceptor is what takes the events. Its methods may be called concurrently.
type Acceptor interface {
	// Accept submits events, all or none, in the order of the calls, and returns a receipt without waiting for them to
	// be durable. They are valid and normalized, 1 to MaxEvents of them, with at most MaxBatchBytes of data together; the slice
	// and the events are the Acceptor's from here on. It may block while too much is waiting, until ctx ends, and then
	// returns ctx's cause.
	//
	// Errors: sidehook.ErrUnknownApp, sidehook.ErrTooLarge, sidehook.ErrStopping, *sidehook.FullError,
	// *sidehook.FieldError, each possibly wrapped. Nothing of the batch is stored then.
	Accept(ctx context.Context, events []*sidehook.Event) (Receipt, error)

	// Serves reports whether events of the app are taken: the configuration knows the app or, before there is any
	// configuration, the process is allowed to serve it.
	Serves(app string) bool
}

// Receipt stands for a batch that was submitted.
type Receipt interface {
	// Wait waits until the batch is durable and returns a result for each of its events, in their order; or why
	// nothing of it is stored, with the errors of Accept; or ctx's cause, and then the batch may still become durable.
	Wait(ctx context.Context) ([]Result, error)
}

// Result says what became of one event.
type Result struct {
	Disposition Disposition
	// Deliveries is how many the event caused; 0 when held.
	Deliveries int
}

// Disposition is what was done with an event. The values are those of the Disposition in sidehook.events.v1.
type Disposition uint8

// The dispositions.
const (
	Accepted  Disposition = iota + 1 // stored; its deliveries are on their way
	Duplicate                        // seen within the dedupe window; not stored again
	Unmatched                        // no webhook wants it; counted and not stored
	Held                             // stored until there is a configuration to match it with
)

// String gives the text form that the HTTP endpoint answers.
func (d Disposition) String() string {
	switch d {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	case Unmatched:
		return "unmatched"
	case Held:
		return "held"
	}
	return "invalid"
}
