package sidehook

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers decide on. They are wrapped with context; test with errors.Is.
var (
	// ErrUnknownApp: the app is not one that this process serves.
	ErrUnknownApp = errors.New("unknown app")
	// ErrNotFound: the named thing does not exist, or is outside what the caller may see.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge: a payload or batch is over its size limit; trying again cannot help.
	ErrTooLarge = errors.New("too large")
	// ErrFull: the queue or the disk has no room now; trying again later can help.
	ErrFull = errors.New("no room")
	// ErrStopping: the process is stopping and takes no more work.
	ErrStopping = errors.New("stopping")
)

// FieldError says which field of the input is wrong, why, and how to mend it. Field is a path such as
// `events[3].type` or `headers[0].key`.
type FieldError struct {
	Field  string
	Reason string

	format string
	args   []any
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Reason
	}
	return e.Field + ": " + e.Reason
}

// Template returns what Fieldf was given to make Reason of, so that it can be looked up and said in another language;
// empty when Reason was not made by Fieldf.
func (e *FieldError) Template() (format string, args []any) { return e.format, e.args }

// At returns the same error of another field.
func (e *FieldError) At(field string) *FieldError {
	at := *e
	at.Field = field
	return &at
}

// Fieldf makes a FieldError.
func Fieldf(field, format string, args ...any) *FieldError {
	return &FieldError{Field: field, Reason: fmt.Sprintf(format, args...), format: format, args: args}
}

// Under returns err with prefix put before its field path when it is a FieldError: Under("events[3]", err).
func Under(prefix string, err error) error {
	var fe *FieldError
	if !errors.As(err, &fe) {
		return err
	}
	field := prefix
	if fe.Field != "" {
		field += "." + fe.Field
	}
	return fe.At(field)
}

// FullError is ErrFull with what is full and when to try again.
type FullError struct {
	// What is full, for people: "queue is at its limit of 10 GiB".
	What string
	// RetryAfter is a hint for the publisher.
	RetryAfter time.Duration
}

func (e *FullError) Error() string { return "no room: " + e.What }

// Is makes errors.Is(err, ErrFull) hold.
func (e *FullError) Is(target error) bool { return target == ErrFull }
