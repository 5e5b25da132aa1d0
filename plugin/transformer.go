package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Transformer is what an author writes. It may also be an io.Closer: Close is called once, after the last Transform,
// when the process ends in good order (not when it is killed).
type Transformer interface {
	// Describe says who the transformer is. It is called once for each start and should answer at once.
	Describe() Description
	// Transform answers one event on its way to one webhook: Rewrite, Drop, Fail or Keep. An error is the same as
	// Fail(err.Error()). It is called from several goroutines at once and must not change the item, nor keep it.
	Transform(ctx context.Context, item *Item) (*Result, error)
}

// Description says who a transformer is.
type Description struct {
	// Name is 1 to 64 of A-Z a-z 0-9 _ -.
	Name string
	// Version is a semantic version of the transformer itself, such as 1.2.0.
	Version string
	// Text is one sentence for people.
	Text string
}

// Item is one event on its way to one webhook.
type Item struct {
	Event   Event
	Webhook Webhook
}

// Event is what happened, as the service published it.
type Event struct {
	App             string
	ID              string
	Source          string
	Type            string
	Subject         string
	Time            time.Time
	DataContentType string
	// Data is the payload; valid JSON when DataContentType is JSON.
	Data        []byte
	OrderingKey string
	Extensions  map[string]string
}

// Webhook is whom the event goes to. Its secrets and headers are never shown to a transformer.
type Webhook struct {
	App    string
	ID     string
	Name   string
	URL    string
	Format string
}

// Decode reads the event's data as JSON into v, which is a pointer as for json.Unmarshal.
func (i *Item) Decode(v any) error {
	if err := json.Unmarshal(i.Event.Data, v); err != nil {
		return fmt.Errorf("data of event %s is not the JSON expected: %w", i.Event.ID, err)
	}
	return nil
}
