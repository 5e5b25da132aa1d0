package control

import (
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
)

// Deliveries live on the sidecar that made them; the Fleet asks the connected sidecars of an app and merges what they
// answer. The types here are what it gives.

// ErrNoSidecar: no sidecar that serves the app is connected, so nobody can be asked.
var ErrNoSidecar = errors.New("no sidecar of the app is connected")

// SidecarError is a command's failure on a sidecar.
type SidecarError struct {
	// Sidecar that failed, by its id; empty where none is to blame.
	Sidecar string
	// Reason for people.
	Reason string
	// Err is a sentinel that callers decide on: sidehook.ErrNotFound, ErrSidecarSlow, ErrWebhookDisabled, …; may be nil.
	Err error
}

func (e *SidecarError) Error() string {
	if e.Sidecar == "" {
		return e.Reason
	}
	return fmt.Sprintf("sidecar %s: %s", e.Sidecar, e.Reason)
}

func (e *SidecarError) Unwrap() error { return e.Err }

// Errors of commands.
var (
	// ErrSidecarSlow: no answer within the time given.
	ErrSidecarSlow = errors.New("no answer in time")
	// ErrSidecarGone: the sidecar went away before it answered. What was asked for may have been done.
	ErrSidecarGone = errors.New("went away before it answered")
	// ErrSidecarRefused: the sidecar cannot do that as things are; its reason says why.
	ErrSidecarRefused = errors.New("not possible now")
	// ErrWebhookDisabled: a disabled webhook cannot be tested.
	ErrWebhookDisabled = errors.New("webhook is disabled")
)

// DeliveryQuery selects deliveries of an app. Zero fields other than App select everything.
type DeliveryQuery struct {
	App     string
	Webhook string
	State   *sidehook.DeliveryState
	// EventType, exact.
	EventType string
	// Since (inclusive) and Until (exclusive) bound when the event was accepted.
	Since, Until time.Time
	Page         PageRequest
}

// DeliveryPage is a page of deliveries, newest first, over all sidecars of the app.
type DeliveryPage struct {
	Deliveries []Delivery
	// Next continues the list; empty at its end.
	Next string
	// Missing are the sidecars of the app that were not heard: the list lacks theirs.
	Missing []MissingSidecar
}

// MissingSidecar is a sidecar whose deliveries an answer lacks.
type MissingSidecar struct {
	ID     string
	Reason string
}

// Delivery is one event for one webhook, as its sidecar told.
type Delivery struct {
	ID        sidehook.DeliveryID
	Webhook   sidehook.WebhookKey
	Sidecar   string
	EventID   string
	EventType string
	// AcceptedAt is when its event became durable.
	AcceptedAt time.Time
	State      sidehook.DeliveryState
	// NextAttempt is set while it is pending and an attempt is scheduled.
	NextAttempt time.Time
	// AttemptCount made so far, those that have left the history included.
	AttemptCount int
	// Attempts, oldest first: all that the history has for one delivery, the last one only in a page.
	Attempts []sidehook.Attempt
	// Event, while the history has it; nil in a page.
	Event *sidehook.Event
	// Request is the body of its requests, where it is known; nil in a page.
	Request *RequestBody
}

// RequestBody is what a delivery sends.
type RequestBody struct {
	Body        []byte
	ContentType string
	// MadeAgain: not kept from the attempt, but made again from the event and the webhook as they are now.
	MadeAgain bool
}

// Replay selects the deliveries that are to be queued once more.
type Replay struct {
	Webhook sidehook.WebhookKey
	// States to take, final ones; none for dead and dropped.
	States []sidehook.DeliveryState
	// EventType, exact; empty for all.
	EventType string
	// Since (inclusive) and Until (exclusive) bound when the event was accepted; zero for no bound.
	Since, Until time.Time
}

// Replayed is what became of a Replay.
type Replayed struct {
	// Deliveries queued.
	Deliveries int
	// Missing are the sidecars that were not heard: theirs were not queued, or it is not known.
	Missing []MissingSidecar
}

// TestResult is what became of a test event: its first attempt.
type TestResult struct {
	Sidecar  string
	Delivery sidehook.DeliveryID
	Event    *sidehook.Event
	// Attempt holds status, latency, the request's headers and the response.
	Attempt sidehook.Attempt
	Request *RequestBody
}

// Succeeded reports whether the receiver answered 2xx.
func (r *TestResult) Succeeded() bool { return r.Attempt.Outcome.Kind == sidehook.OutcomeDelivered }
