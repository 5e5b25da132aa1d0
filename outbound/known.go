package outbound

import (
	"fmt"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

// known says which event types an app's catalogue has, and what becomes of the others.
type known struct {
	types  map[string]*sidehook.EventType // of the snapshot: never changed
	strict bool
}

func knownOf(app *xds.App) known {
	return known{
		types:  app.EventTypes,
		strict: app.Policy != nil && app.Policy.Publish == sidehook.PublishStrict,
	}
}

// has reports whether a type is in the catalogue. An app without one knows everything: a control plane makes no app
// strict that has no event types, so then they are still on their way.
func (k *known) has(typ string) bool { return len(k.types) == 0 || k.types[typ] != nil }

// admit refuses events whose type their app does not know, where the app publishes strictly; it refuses all of them
// because of one, as validation does.
func (c *config) admit(events []*sidehook.Event) error {
	for i, ev := range events {
		app := c.apps[ev.App]
		if app != nil && app.known.strict && !app.known.has(ev.Type) {
			return sidehook.Fieldf(fmt.Sprintf("events[%d].type", i),
				"%q is not among the event types of app %s, which takes no others", ev.Type, ev.App)
		}
	}
	return nil
}
