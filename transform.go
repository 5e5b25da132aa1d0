package sidehook

import (
	"context"
	"errors"
)

// Transformers runs transformers: plugin processes that rewrite a delivery before it is signed.
type Transformers interface {
	// Installed reports whether a transformer of that name can be run.
	Installed(name string) bool
	// Begin asks the named transformer about one event on its way to one webhook, and does not wait for the answer. The
	// event and the webhook must not change any more.
	Begin(name string, e *Event, w *Webhook) Transforming
	// Ahead is Begin for an answer that nobody waits for yet; nil when the transformer has enough to do already.
	Ahead(name string, e *Event, w *Webhook) Transforming
}

// Transforming is a transformer's answer on its way. It takes nothing but memory to let go of one.
type Transforming interface {
	// Wait waits for the answer and is called at most once. An error that is ErrTransformerUnavailable is trouble of the
	// transformer (crashed, hung, still starting, not installed): the delivery waits and no attempt is counted; so is the
	// end of ctx, whose cause it wraps. A *TransformFailure is its refusal of this event: a failed attempt.
	Wait(ctx context.Context) (*Transformed, error)
}

// Transformed is a transformer's answer.
type Transformed struct {
	// Drop: do not deliver to this webhook; DropReason says why.
	Drop       bool
	DropReason string
	// Event to format instead: a changed copy, never the shared original.
	Event *Event
	// Headers to add to the request, already validated.
	Headers []Header
}

// ErrTransformerUnavailable: the transformer could not be asked.
var ErrTransformerUnavailable = errors.New("transformer is unavailable")

// TransformFailure is a transformer's refusal of an event.
type TransformFailure struct {
	Transformer string
	Reason      string
}

func (e *TransformFailure) Error() string {
	return "transformer " + e.Transformer + " failed: " + e.Reason
}
