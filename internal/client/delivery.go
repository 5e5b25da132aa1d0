package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sidehook/sidehook"
)

// Delivery is one event for one webhook, as its sidecar tells.
type Delivery struct {
	ID           string       `json:"id"`
	App          string       `json:"app"`
	Webhook      string       `json:"webhook"`
	Sidecar      string       `json:"sidecar"`
	EventID      string       `json:"event_id"`
	EventType    string       `json:"event_type"`
	AcceptedAt   time.Time    `json:"accepted_at"`
	State        string       `json:"state"`
	NextAttempt  time.Time    `json:"next_attempt,omitzero"`
	AttemptCount int          `json:"attempt_count"`
	Attempts     []Attempt    `json:"attempts"`          // oldest first; in a list the last one alone
	Event        *Event       `json:"event,omitempty"`   // not in a list
	Request      *RequestBody `json:"request,omitempty"` // not in a list
}

// Attempt is one HTTP request of a delivery, and what came back.
type Attempt struct {
	Number         int       `json:"number"`
	At             time.Time `json:"at"`
	LatencyMS      float64   `json:"latency_ms"`
	URL            string    `json:"url"`
	RequestHeaders []Header  `json:"request_headers"`
	Status         int       `json:"status"` // 0: no response
	Response       string    `json:"response,omitempty"`
	ResponseBase64 string    `json:"response_base64,omitempty"` // in place of Response
	Error          string    `json:"error,omitempty"`
	Outcome        string    `json:"outcome"`
	RetryAt        time.Time `json:"retry_at,omitzero"`
}

// RequestBody is what a delivery sends.
type RequestBody struct {
	Body        string `json:"body,omitempty"`
	BodyBase64  string `json:"body_base64,omitempty"` // in place of Body
	ContentType string `json:"content_type,omitempty"`
	// MadeAgain: not kept from the attempt, but made again from the event and the webhook as they are now.
	MadeAgain bool `json:"made_again,omitempty"`
}

// Event is what happened.
type Event struct {
	ID              string            `json:"id"`
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	Subject         string            `json:"subject,omitempty"`
	Time            time.Time         `json:"time,omitzero"`
	DataContentType string            `json:"data_content_type,omitempty"`
	DataSchema      string            `json:"data_schema,omitempty"`
	OrderingKey     string            `json:"ordering_key,omitempty"`
	Extensions      map[string]string `json:"extensions,omitempty"`
	Data            json.RawMessage   `json:"data,omitempty"`
	DataBase64      string            `json:"data_base64,omitempty"` // in place of Data
}

// DeliveryFilter selects deliveries; zero fields select everything.
type DeliveryFilter struct {
	Webhook   string
	State     string
	EventType string
	// Since (inclusive) and Until (exclusive) bound when the event was accepted.
	Since, Until time.Time
}

func (f *DeliveryFilter) query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{"webhook": f.Webhook, "state": f.State, "event_type": f.EventType} {
		if value != "" {
			q.Set(key, value)
		}
	}
	for key, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(key, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return q
}

// MissingSidecar is a sidecar that an answer lacks.
type MissingSidecar struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// DeliveryList is the newest deliveries of an app.
type DeliveryList struct {
	Data []Delivery `json:"data"`
	// Missing are the sidecars that could not be asked.
	Missing []MissingSidecar `json:"missing"`
	// NextCursor is set when there are more.
	NextCursor string `json:"next_cursor,omitempty"`
}

// Deliveries lists the newest deliveries of an app that a filter selects, at most limit.
func (c *Client) Deliveries(ctx context.Context, app string, f DeliveryFilter, limit int) (*DeliveryList, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	const largest = 200 // page that the API gives
	query := f.query()
	whole := &DeliveryList{Data: []Delivery{}, Missing: []MissingSidecar{}}
	for range maxPages {
		query.Set("limit", strconv.Itoa(min(largest, limit-len(whole.Data))))
		var page DeliveryList
		if err := c.do(ctx, http.MethodGet, []string{"apps", app, "deliveries"}, query, nil, &page); err != nil {
			return nil, err
		}
		whole.Data = append(whole.Data, page.Data...)
		whole.NextCursor = page.NextCursor
		whole.addMissing(page.Missing)
		if page.NextCursor == "" || len(whole.Data) >= limit {
			return whole, nil
		}
		query.Set("cursor", page.NextCursor)
	}
	return nil, errors.New("the list of deliveries does not end")
}

// addMissing notes who is missing, each once.
func (l *DeliveryList) addMissing(more []MissingSidecar) {
	for _, m := range more {
		known := false
		for _, have := range l.Missing {
			known = known || have.ID == m.ID
		}
		if !known {
			l.Missing = append(l.Missing, m)
		}
	}
}

// Delivery gets one delivery with its attempts, its event and its request.
func (c *Client) Delivery(ctx context.Context, app, id string) (*Delivery, error) {
	segments, err := deliveryAt(app, id)
	if err != nil {
		return nil, err
	}
	d := new(Delivery)
	return d, c.do(ctx, http.MethodGet, segments, nil, nil, d)
}

// RetryDelivery attempts a delivery once more, at once.
func (c *Client) RetryDelivery(ctx context.Context, app, id string) error {
	segments, err := deliveryAt(app, id)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, append(segments, "retry"), nil, nil, nil)
}

func deliveryAt(app, id string) ([]string, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	if _, err := sidehook.ParseDeliveryID(id); err != nil {
		return nil, err
	}
	return []string{"apps", app, "deliveries", id}, nil
}

// ReplayFields select the finished deliveries to queue once more.
type ReplayFields struct {
	Since     time.Time `json:"since,omitzero"`
	Until     time.Time `json:"until,omitzero"`
	States    []string  `json:"states,omitempty"` // none: dead and dropped
	EventType string    `json:"event_type,omitempty"`
}

// Replayed is what became of a replay.
type Replayed struct {
	Deliveries int              `json:"deliveries"`
	Missing    []MissingSidecar `json:"missing"`
}

// slow is how long the API takes at most for what it does while somebody waits: a test or a replay.
const slow = 80 * time.Second

// patient is a client that waits for what takes long.
func (c *Client) patient() *Client {
	p, h := *c, *c.http
	h.Timeout = max(h.Timeout, slow)
	p.http = &h
	return &p
}

// ReplayWebhook queues finished deliveries of a webhook once more.
func (c *Client) ReplayWebhook(ctx context.Context, app, id string, fields ReplayFields) (*Replayed, error) {
	r := new(Replayed)
	return r, c.patient().webhook(ctx, http.MethodPost, app, id, "replay", fields, r)
}

// TestResult is what became of a test event.
type TestResult struct {
	Succeeded      bool        `json:"succeeded"`
	Status         int         `json:"status"` // 0: no response
	LatencyMS      float64     `json:"latency_ms"`
	Outcome        string      `json:"outcome"`
	Error          string      `json:"error,omitempty"`
	DeliveryID     string      `json:"delivery_id"`
	EventID        string      `json:"event_id"`
	Sidecar        string      `json:"sidecar"`
	Request        TestRequest `json:"request"`
	Response       string      `json:"response,omitempty"`
	ResponseBase64 string      `json:"response_base64,omitempty"` // in place of Response
}

// TestRequest is the request of a test as it was sent.
type TestRequest struct {
	URL     string   `json:"url"`
	Headers []Header `json:"headers"`
	RequestBody
}

// TestWebhook sends a test event to a webhook alone and waits for what comes back. Without data it is the sample of the
// app's catalogue.
func (c *Client) TestWebhook(ctx context.Context, app, id, eventType string, data json.RawMessage) (*TestResult, error) {
	in := struct {
		EventType string          `json:"event_type"`
		Data      json.RawMessage `json:"data,omitempty"`
	}{eventType, data}
	r := new(TestResult)
	return r, c.patient().webhook(ctx, http.MethodPost, app, id, "test", in, r)
}
