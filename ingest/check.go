package ingest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// check normalizes and validates a batch as a whole and returns what it counts in flight, in
// bytes. The error names the field:
// `events[3].type`, or `type` when single, that is where the publisher did not send a list.
func (s *Server) check(events []*sidehook.Event, single bool) (size int64, err error) {
	if len(events) == 0 || len(events) > MaxEvents {
		return 0, sidehook.Fieldf("events", "must hold 1 to %d events", MaxEvents)
	}
	now := s.opts.Now()
	data := 0
	served := "" // the app last found to be served: most batches have one
	for i, e := range events {
		e.Normalize(now)
		if err := s.checkEvent(e, &served); err != nil {
			if !single {
				err = under(i, err)
			}
			return 0, err
		}
		data += len(e.Data)
		size += int64(storage.EventSize(e))
	}
	if data > MaxBatchBytes {
		return 0, &fieldError{"events", fmt.Errorf("%d bytes of data together are over the limit of %d of a batch; send smaller batches: %w",
			data, MaxBatchBytes, sidehook.ErrTooLarge)}
	}
	// What weighs more than there can ever be room for still has its turn, alone.
	return min(size, s.opts.WindowBytes, s.opts.InFlightBytes), nil
}

func (s *Server) checkEvent(e *sidehook.Event, served *string) error {
	if e.App == "" {
		if e.App = s.opts.DefaultApp; e.App == "" {
			return sidehook.Fieldf("app", "is required, because this sidecar serves more than one app")
		}
	}
	if err := s.validate(e); err != nil {
		return err
	}
	if e.App != *served {
		if !s.opts.Acceptor.Serves(e.App) {
			return &fieldError{"app", fmt.Errorf("%w %q: this sidecar does not serve it", sidehook.ErrUnknownApp, e.App)}
		}
		*served = e.App
	}
	return nil
}

// validate is Event.Validate, with the field on what it says of data that is too large.
func (s *Server) validate(e *sidehook.Event) error {
	err := e.Validate(s.opts.MaxData)
	if errors.Is(err, sidehook.ErrTooLarge) {
		return &fieldError{"data", fmt.Errorf("%d bytes is over the limit of %d: %w", len(e.Data), s.opts.MaxData, sidehook.ErrTooLarge)}
	}
	return err
}

// under puts the event's place in its batch before the field of err.
func under(i int, err error) error {
	prefix := "events[" + strconv.Itoa(i) + "]"
	if fe, ok := err.(*fieldError); ok {
		return &fieldError{prefix + "." + fe.field, fe.err}
	}
	return sidehook.Under(prefix, err)
}

// alone takes the place in the batch off the field of what the Acceptor says of a batch of one that the publisher did not
// send as a list.
func alone(err error) error {
	var fe *sidehook.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	return &sidehook.FieldError{Field: strings.TrimPrefix(fe.Field, "events[0]."), Reason: fe.Reason}
}
