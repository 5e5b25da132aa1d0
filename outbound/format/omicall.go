package format

import "github.com/sidehook/sidehook"

// omicall is the body of OMICall's call webhooks: the flat record of a call (transaction_id, direction, state, …) as
// published; its state field says what happened. See flat for data that is no object.
type omicall struct{}

func (omicall) Name() string   { return sidehook.FormatOMICall }
func (omicall) PerEvent() bool { return true }

func (omicall) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	return Shaped{Body: flat(e), ContentType: contentTypeJSON}, nil
}
