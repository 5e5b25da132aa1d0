package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/sidehook/sidehook"
)

// EventType is an entry of an app's catalogue.
type EventType struct {
	Type string `json:"type"`
	// Product is for grouping.
	Product string `json:"product,omitempty"`
	// Name and Description are for people, by language ("vi", "en").
	Name        map[string]string `json:"name,omitempty"`
	Description map[string]string `json:"description,omitempty"`
	// Sample is a realistic payload: any JSON.
	Sample json.RawMessage `json:"sample,omitempty"`
	// Schema is the JSON Schema that data of such events fits.
	Schema json.RawMessage `json:"schema,omitempty"`
}

// EventTypeChanges counts what became of the entries of a catalogue. Kept ones are as they were.
type EventTypeChanges struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Removed int `json:"removed"`
	Kept    int `json:"kept"`
}

// Catalogue is a built-in list of event types.
type Catalogue struct {
	Name       string            `json:"name"`
	Title      map[string]string `json:"title"` // by language
	Products   []string          `json:"products"`
	EventTypes int               `json:"event_types"` // how many
}

// EventTypes lists the event types of an app, by product and type; product selects those of one, empty for all.
func (c *Client) EventTypes(ctx context.Context, app, product string) ([]EventType, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	query := url.Values{}
	if product != "" {
		query.Set("product", product)
	}
	return allOf[EventType](ctx, c, query, "apps", app, "event-types")
}

// EventType gets one event type.
func (c *Client) EventType(ctx context.Context, app, typ string) (*EventType, error) {
	t := new(EventType)
	return t, c.eventType(ctx, http.MethodGet, app, typ, nil, t)
}

// PutEventType adds an event type or replaces the one there is.
func (c *Client) PutEventType(ctx context.Context, app string, t EventType) (*EventType, error) {
	put := new(EventType)
	return put, c.eventType(ctx, http.MethodPut, app, t.Type, t, put)
}

// DeleteEventType removes an event type; webhooks keep their patterns.
func (c *Client) DeleteEventType(ctx context.Context, app, typ string) error {
	return c.eventType(ctx, http.MethodDelete, app, typ, nil, nil)
}

func (c *Client) eventType(ctx context.Context, method, app, typ string, in, out any) error {
	if err := names("app", app); err != nil {
		return err
	}
	if !sidehook.ValidEventType(typ) || typ == "." || typ == ".." {
		return sidehook.Fieldf("type", "%.60q is not an event type: it must be 1 to %d of A-Z a-z 0-9 _ . : / -", typ,
			sidehook.MaxEventTypeLen)
	}
	return c.do(ctx, method, []string{"apps", app, "event-types", typ}, nil, in, out)
}

// ReplaceEventTypes makes the given entries the whole catalogue of an app, in one step.
func (c *Client) ReplaceEventTypes(ctx context.Context, app string, all []EventType) (*EventTypeChanges, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	if all == nil {
		all = []EventType{}
	}
	changes := new(EventTypeChanges)
	return changes, c.do(ctx, http.MethodPut, []string{"apps", app, "event-types"}, nil, page[EventType]{Data: all}, changes)
}

// ImportEventTypes adds the entries of a built-in catalogue. Those that the app has stay as they are unless overwrite is
// set.
func (c *Client) ImportEventTypes(ctx context.Context, app, catalogue string, overwrite bool) (*EventTypeChanges, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	in := struct {
		Catalogue string `json:"catalogue"`
		Overwrite bool   `json:"overwrite,omitempty"`
	}{catalogue, overwrite}
	changes := new(EventTypeChanges)
	return changes, c.do(ctx, http.MethodPost, []string{"apps", app, "event-types", "import"}, nil, in, changes)
}

// Catalogues lists the built-in catalogues, by name.
func (c *Client) Catalogues(ctx context.Context) ([]Catalogue, error) {
	p := page[Catalogue]{}
	if err := c.do(ctx, http.MethodGet, []string{"catalogues"}, nil, nil, &p); err != nil {
		return nil, err
	}
	return p.Data, nil
}
