package outbound

import (
	"context"
	"fmt"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/schema"
)

// known says which event types an app's catalogue has, what their data is like, and what becomes of other events. It is
// immutable.
type known struct {
	types   map[string]*sidehook.EventType // of the snapshot: never changed
	schemas map[string]knownSchema         // of the types that have one; nil when none has
	strict  bool
}

// knownSchema is a compiled schema with the event type that it is of.
type knownSchema struct {
	of     *sidehook.EventType
	schema *schema.Schema
}

// knownOf compiles the schemas of an app; those of event types that are the same as before it takes from there.
func knownOf(app *xds.App, before *known) (known, error) {
	k := known{
		types:  app.EventTypes,
		strict: app.Policy != nil && app.Policy.Publish == sidehook.PublishStrict,
	}
	for typ, t := range app.EventTypes {
		if len(t.Schema) == 0 {
			continue
		}
		ready := knownSchema{of: t}
		if before != nil && before.schemas[typ].of == t {
			ready = before.schemas[typ]
		} else {
			var err error
			if ready.schema, err = schema.Compile(t.Schema); err != nil { // xds has compiled it already, so a bug
				return known{}, fmt.Errorf("event type %s of app %s: %w", typ, app.ID, sidehook.Under("schema", err))
			}
		}
		if k.schemas == nil {
			k.schemas = make(map[string]knownSchema)
		}
		k.schemas[typ] = ready
	}
	return k, nil
}

// has reports whether a type is in the catalogue. An app without one knows everything: a control plane makes no app
// strict that has no event types, so then they are still on their way.
func (k *known) has(typ string) bool { return len(k.types) == 0 || k.types[typ] != nil }

// fits reports why an event's data does not fit the schema of its type, if that has one. The error is for the publisher:
// it names places in the data, never values.
func (k *known) fits(ev *sidehook.Event) error {
	if k.schemas == nil {
		return nil
	}
	s, ok := k.schemas[ev.Type]
	switch {
	case !ok:
		return nil
	case !ev.IsJSON():
		return fmt.Errorf("is %.60q, and the schema is one of JSON", ev.DataContentType)
	}
	return s.schema.Check(ev.Data)
}

// admit refuses events that their app does not take, where it publishes strictly: those of a type that is not in the
// catalogue, and those whose data does not fit its schema. It refuses all of them because of one, as validation does.
// Elsewhere it counts the latter. Checks of many large events take a while, so it ends with ctx.
func (e *Engine) admit(ctx context.Context, c *config, events []*sidehook.Event, released bool) error {
	for i, ev := range events {
		app := c.apps[ev.App]
		if app == nil {
			continue
		}
		refuse := app.known.strict && !released // what is held was acknowledged, so it is delivered whatever it is
		if !refuse && app.known.schemas == nil {
			continue // nothing to find out here
		}
		if app.known.schemas != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !app.known.has(ev.Type) {
			if refuse {
				e.counters.unknownRefused.Add(int64(len(events)))
				return sidehook.Fieldf(fmt.Sprintf("events[%d].type", i),
					"%q is not among the event types of app %s, which takes no others", ev.Type, ev.App)
			}
			continue // counted when it is taken
		}
		if err := app.known.fits(ev); err != nil {
			if refuse {
				e.counters.invalidRefused.Add(int64(len(events)))
				return sidehook.Fieldf(fmt.Sprintf("events[%d].data", i), "%s (schema of %s in app %s)", err.Error(), ev.Type,
					ev.App)
			}
			e.counters.invalidTaken.Add(1)
		}
	}
	return nil
}
