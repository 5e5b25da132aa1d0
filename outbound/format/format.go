// Package format turns an event on its way to a webhook into the body and headers of an HTTP request. Formats are
// built in; payloads of one's own making are the work of transformers. It neither signs nor sends.
package format

import (
	"slices"

	"github.com/sidehook/sidehook"
)

// Format is one shape of request. Implementations have no state and are safe for concurrent use.
type Format interface {
	// Name is what a webhook's format field says.
	Name() string
	// PerEvent reports whether the request depends on the event alone: then the result of one Request serves all
	// webhooks of this format that the same event goes to, and w may be nil.
	PerEvent() bool
	// Request shapes e, which must have passed its Validate. It fails, with a *sidehook.FieldError, only for an event
	// that the format has no place for.
	Request(e *sidehook.Event, w *sidehook.Webhook) (Shaped, error)
}

// Shaped is a request as a format makes it. What Sidehook itself adds (signature, tracing, the webhook's own headers)
// is not part of it.
type Shaped struct {
	// Body to sign and to send; the caller may keep it but not change it, since deliveries share it.
	Body []byte
	// ContentType of Body; empty when there is no body.
	ContentType string
	// Headers that the format adds; nil for most.
	Headers []sidehook.Header
}

const contentTypeJSON = "application/json"

// formats lists what is built in.
var formats = []Format{
	standard{}, cloudEvents{}, cloudEventsBinary{}, sigma{}, multisite{}, apiServer{}, twenty{}, omicall{},
}

// Lookup returns the format of that name, and whether there is one. The empty name is the standard format.
func Lookup(name string) (Format, bool) {
	if name == "" {
		name = sidehook.FormatStandard
	}
	for _, f := range formats {
		if f.Name() == name {
			return f, true
		}
	}
	return nil, false
}

// Names lists the names of the formats, sorted.
func Names() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.Name()
	}
	slices.Sort(names)
	return names
}
