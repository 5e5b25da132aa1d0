package format

import "github.com/sidehook/sidehook"

// headerEvent carries the event's type where the body has no place for it.
const headerEvent = "sidehook-event"

// multisite is the body of Ultimate Multisite: the event's data itself, flat, as published. The body has no name of the
// event in it, so that stands in the header Sidehook-Event. wu_version is in the body when the publisher put it into
// the data: Sidehook does not know the version of the software that published. See flat for data that is no object.
type multisite struct{}

func (multisite) Name() string   { return sidehook.FormatMultisite }
func (multisite) PerEvent() bool { return true }

func (multisite) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	return Shaped{
		Body: flat(e), ContentType: contentTypeJSON,
		Headers: []sidehook.Header{{Key: headerEvent, Value: e.Type}},
	}, nil
}
