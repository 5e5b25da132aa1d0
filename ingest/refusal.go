package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// defaultRetryAfter is the hint to publishers when what is full does not give one.
const defaultRetryAfter = time.Second

// fieldError puts a field path on an error that is not itself a *sidehook.FieldError, such as ErrTooLarge.
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return e.field + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// refusal is why a batch is not taken, ready to be put into any of the three answers: a gRPC status, a Refusal on a
// stream, a problem over HTTP.
type refusal struct {
	code    codes.Code
	message string // for people; starts with the field when there is one
	reason  string // the message without the field
	field   string
	// retryAfter is set when trying again after it can succeed.
	retryAfter time.Duration
	// cause is set when it is our fault and worth logging.
	cause error
}

// refusalOf reads an error of check, of an Acceptor or of a Receipt.
func refusalOf(err error) *refusal {
	r := &refusal{message: err.Error(), reason: err.Error()}
	var (
		field   *sidehook.FieldError
		outer   *fieldError
		full    *sidehook.FullError
		located = errors.As(err, &outer)
	)
	if located {
		r.field, r.reason = outer.field, outer.err.Error()
	}
	switch {
	case errors.Is(err, sidehook.ErrUnknownApp):
		r.code = codes.NotFound
	case errors.As(err, &full):
		r.code = codes.ResourceExhausted
		r.retryAfter = full.RetryAfter
		if r.retryAfter <= 0 {
			r.retryAfter = defaultRetryAfter
		}
	case errors.Is(err, sidehook.ErrFull):
		r.code, r.retryAfter = codes.ResourceExhausted, defaultRetryAfter
	case errors.Is(err, sidehook.ErrTooLarge):
		r.code = codes.ResourceExhausted
	case errors.Is(err, sidehook.ErrStopping):
		r.code, r.message = codes.Unavailable, "the sidecar is stopping; publish again when it is back"
		r.reason = r.message
	case errors.Is(err, context.DeadlineExceeded):
		r.code, r.message = codes.DeadlineExceeded, "the deadline passed before the events were durable; they may be stored"
		r.reason = r.message
	case errors.Is(err, context.Canceled):
		r.code, r.message = codes.Canceled, "the publisher gave up before the events were durable; they may be stored"
		r.reason = r.message
	case errors.As(err, &field):
		r.code, r.field, r.reason = codes.InvalidArgument, field.Field, field.Reason
	default:
		// What went wrong inside goes to the log, not over the wire.
		r.code, r.message, r.cause = codes.Internal, "the sidecar could not store the events; its log says why", err
		r.reason = r.message
	}
	return r
}

// status is the refusal as a gRPC status with the google.rpc details that the proto promises.
func (r *refusal) status() error {
	st := status.New(r.code, r.message)
	var details []protoadapt.MessageV1
	if r.field != "" && r.code == codes.InvalidArgument {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: r.field, Description: r.reason},
		}})
	}
	if r.retryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retryAfter)})
	}
	if len(details) == 0 {
		return st.Err()
	}
	detailed, err := st.WithDetails(details...)
	if err != nil {
		return fmt.Errorf("putting details on %q: %w", r.message, err)
	}
	return detailed.Err()
}

// proto is the refusal as it answers a batch of a stream.
func (r *refusal) proto() *eventsv1.Refusal {
	p := &eventsv1.Refusal{Code: int32(r.code), Message: r.message, Field: r.field}
	if r.retryAfter > 0 {
		p.RetryAfter = durationpb.New(r.retryAfter)
	}
	return p
}
