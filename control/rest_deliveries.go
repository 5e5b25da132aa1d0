package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
)

// deliveryView is a delivery as answers show it. In a list it has its last attempt alone, and neither event nor request.
type deliveryView struct {
	ID           string           `json:"id" example:"dlv_7zzzzzy000000000002g000000"`
	App          string           `json:"app"`
	Webhook      string           `json:"webhook" doc:"Id of the webhook; it may be deleted meanwhile"`
	Sidecar      string           `json:"sidecar" doc:"Id of the sidecar that has it"`
	EventID      string           `json:"event_id" doc:"What receivers get as webhook-id"`
	EventType    string           `json:"event_type" example:"person.created"`
	AcceptedAt   time.Time        `json:"accepted_at" doc:"When its event became durable"`
	State        string           `json:"state" enum:"pending,delivered,dead,dropped"`
	NextAttempt  *time.Time       `json:"next_attempt,omitempty" doc:"Set while it is pending and an attempt is scheduled"`
	AttemptCount int              `json:"attempt_count" doc:"Attempts made so far, those that have left the history included"`
	Attempts     []attemptView    `json:"attempts" nullable:"false" doc:"Oldest first; in a list the last one alone"`
	Event        *eventView       `json:"event,omitempty" doc:"While the history has it; not in a list"`
	Request      *requestBodyView `json:"request,omitempty" doc:"Where it is known; not in a list"`
}

// attemptView is an HTTP request and what came back.
type attemptView struct {
	Number         int          `json:"number" doc:"From 1"`
	At             time.Time    `json:"at"`
	LatencyMS      float64      `json:"latency_ms" doc:"In milliseconds"`
	URL            string       `json:"url"`
	RequestHeaders []headerView `json:"request_headers" nullable:"false" doc:"As sent, signatures shortened"`
	Status         int          `json:"status" doc:"Of the response; 0 when none came"`
	Response       *string      `json:"response,omitempty" doc:"The beginning of the response's body, at most 1024 bytes"`
	ResponseBase64 *string      `json:"response_base64,omitempty" doc:"In place of response, where that is no UTF-8"`
	Error          string       `json:"error,omitempty" doc:"Why it failed, in plain words"`
	Outcome        string       `json:"outcome" enum:"delivered,retry,dead,gone,dropped,unknown"`
	RetryAt        *time.Time   `json:"retry_at,omitempty" doc:"Set with the outcome retry"`
}

// requestBodyView is what a delivery sends.
type requestBodyView struct {
	Body        *string `json:"body,omitempty"`
	BodyBase64  *string `json:"body_base64,omitempty" doc:"In place of body, where that is no UTF-8"`
	ContentType string  `json:"content_type,omitempty"`
	MadeAgain   bool    `json:"made_again,omitempty" doc:"Not kept from the attempt, but made again from the event and the webhook as they are now"`
}

// eventView is an event, its data as CloudEvents in JSON have it.
type eventView struct {
	ID              string            `json:"id"`
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	Subject         string            `json:"subject,omitempty"`
	Time            *time.Time        `json:"time,omitempty"`
	DataContentType string            `json:"data_content_type,omitempty"`
	DataSchema      string            `json:"data_schema,omitempty"`
	OrderingKey     string            `json:"ordering_key,omitempty"`
	Extensions      map[string]string `json:"extensions,omitempty"`
	Data            json.RawMessage   `json:"data,omitempty" doc:"As it is when it is JSON, a string when it is other text"`
	DataBase64      *string           `json:"data_base64,omitempty" doc:"In place of data, where that is no UTF-8"`
}

// textOrBase64 is bytes as a string, in one of two fields.
func textOrBase64(b []byte) (text, encoded *string) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := base64.StdEncoding.EncodeToString(b)
	return nil, &s
}

func setTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func viewOfDelivery(d *Delivery) (deliveryView, error) {
	v := deliveryView{
		ID: d.ID.String(), App: d.Webhook.App, Webhook: d.Webhook.ID, Sidecar: d.Sidecar, EventID: d.EventID,
		EventType: d.EventType, AcceptedAt: d.AcceptedAt.UTC(), State: d.State.String(), NextAttempt: setTime(d.NextAttempt),
		AttemptCount: d.AttemptCount, Attempts: []attemptView{}, Request: viewOfRequest(d.Request),
	}
	for i := range d.Attempts {
		v.Attempts = append(v.Attempts, viewOfAttempt(&d.Attempts[i]))
	}
	event, err := viewOfEvent(d.Event)
	v.Event = event
	return v, err
}

func viewOfAttempt(a *sidehook.Attempt) attemptView {
	v := attemptView{
		Number: a.Number, At: a.At.UTC(), LatencyMS: milliseconds(a.Latency), URL: a.URL, RequestHeaders: []headerView{},
		Status: a.Status, Error: a.Error, Outcome: outcomeName(a.Outcome.Kind), RetryAt: setTime(a.Outcome.RetryAt),
	}
	for _, x := range a.RequestHeaders {
		v.RequestHeaders = append(v.RequestHeaders, headerView(x))
	}
	if a.Status != 0 {
		v.Response, v.ResponseBase64 = textOrBase64(a.Response)
	}
	return v
}

// outcomeName also names what a newer sidecar says.
func outcomeName(k sidehook.OutcomeKind) string {
	if k == 0 {
		return "unknown"
	}
	return k.String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func viewOfRequest(r *RequestBody) *requestBodyView {
	if r == nil {
		return nil
	}
	v := &requestBodyView{ContentType: r.ContentType, MadeAgain: r.MadeAgain}
	v.Body, v.BodyBase64 = textOrBase64(r.Body)
	return v
}

func viewOfEvent(e *sidehook.Event) (*eventView, error) {
	if e == nil {
		return nil, nil
	}
	v := &eventView{
		ID: e.ID, Source: e.Source, Type: e.Type, Subject: e.Subject, Time: setTime(e.Time), DataContentType: e.DataContentType,
		DataSchema: e.DataSchema, OrderingKey: e.OrderingKey, Extensions: e.Extensions,
	}
	switch {
	case len(e.Data) == 0:
	case e.IsJSON():
		v.Data = e.Data
	default:
		var text *string
		if text, v.DataBase64 = textOrBase64(e.Data); text != nil {
			var err error
			if v.Data, err = json.Marshal(text); err != nil {
				return nil, fmt.Errorf("show the data of an event: %w", err)
			}
		}
	}
	return v, nil
}

type missingView struct {
	ID     string `json:"id" doc:"Id of the sidecar"`
	Reason string `json:"reason" example:"did not answer within 2s"`
}

func viewOfMissing(missing []MissingSidecar) []missingView {
	views := []missingView{}
	for _, m := range missing {
		views = append(views, missingView(m))
	}
	return views
}

type deliveriesView struct {
	list[deliveryView]
	Missing []missingView `json:"missing" nullable:"false" doc:"Sidecars of the app that could not be asked: the list lacks theirs"`
}

type appDeliveriesInput struct {
	App     string `path:"app" doc:"Id of the app"`
	Webhook string `query:"webhook" doc:"Only those of this webhook, which may be deleted"`
	DeliveryParams
}

type webhookDeliveriesInput struct {
	App     string `path:"app" doc:"Id of the app"`
	Webhook string `path:"id" doc:"Id of the webhook"`
	DeliveryParams
}

// DeliveryParams are the query parameters of both lists of deliveries. It is exported for huma alone, which looks into no
// other embedded types.
type DeliveryParams struct {
	State     string    `query:"state" enum:"pending,delivered,dead,dropped" doc:"Only those in this state"`
	EventType string    `query:"event_type" doc:"Only those of events of this type" example:"person.created"`
	Since     time.Time `query:"since" doc:"Only those whose event was accepted then or later" example:"2026-01-31T12:00:00Z"`
	Until     time.Time `query:"until" doc:"Only those whose event was accepted before" example:"2026-02-01T12:00:00Z"`
	Limit     int       `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many to return at most; a page can have fewer and not be the last"`
	Cursor    string    `query:"cursor" doc:"next_cursor of an earlier page"`
}

func (in *DeliveryParams) query(app, webhook string) DeliveryQuery {
	q := DeliveryQuery{
		App: app, Webhook: webhook, EventType: in.EventType, Since: in.Since, Until: in.Until,
		Page: PageRequest{Limit: in.Limit, Cursor: in.Cursor},
	}
	if s, ok := sidehook.ParseDeliveryState(in.State); ok {
		q.State = &s
	}
	return q
}

type deliveryPath struct {
	App string `path:"app" doc:"Id of the app"`
	ID  string `path:"id" doc:"Id of the delivery, dlv_…"`
}

// deliveryID reads the id; what cannot be one is not there.
func (p *deliveryPath) deliveryID() (sidehook.DeliveryID, error) {
	id, err := sidehook.ParseDeliveryID(p.ID)
	if err != nil {
		return id, fmt.Errorf("%w: %w", err, sidehook.ErrNotFound)
	}
	return id, nil
}

type replayInput struct {
	App  string `path:"app" doc:"Id of the app"`
	ID   string `path:"id" doc:"Id of the webhook"`
	Body *struct {
		Since     *time.Time `json:"since,omitempty" doc:"Only those whose event was accepted then or later" example:"2026-01-31T12:00:00Z"`
		Until     *time.Time `json:"until,omitempty" doc:"Only those whose event was accepted before" example:"2026-02-01T12:00:00Z"`
		States    []string   `json:"states,omitempty" enum:"delivered,dead,dropped" maxItems:"3" doc:"Which ends to take. Default: dead and dropped" example:"[\"dead\"]"`
		EventType string     `json:"event_type,omitempty" doc:"Only those of events of this type" example:"person.created"`
	}
}

func (in *replayInput) replay() Replay {
	r := Replay{Webhook: sidehook.WebhookKey{App: in.App, ID: in.ID}}
	if in.Body == nil {
		return r
	}
	r.EventType = in.Body.EventType
	for _, name := range in.Body.States {
		if s, ok := sidehook.ParseDeliveryState(name); ok { // the schema lets no other through
			r.States = append(r.States, s)
		}
	}
	if in.Body.Since != nil {
		r.Since = *in.Body.Since
	}
	if in.Body.Until != nil {
		r.Until = *in.Body.Until
	}
	return r
}

type replayedView struct {
	Deliveries int           `json:"deliveries" doc:"How many were queued once more"`
	Missing    []missingView `json:"missing" nullable:"false" doc:"Sidecars of the app that could not be asked: theirs were not queued, or it is not known"`
}

func (h *rest) registerDeliveries() {
	const app = "/v1/apps/{app}"
	tags := []string{"deliveries"}
	register(h, forApp, huma.Operation{
		OperationID: "list-deliveries", Method: http.MethodGet, Path: app + "/deliveries", Tags: tags,
		Summary:     "List the app's deliveries, newest first",
		Description: "The connected sidecars are asked, each for what its history has.",
		Errors:      []int{404, 422, 502, 503, 504},
	}, func(ctx context.Context, in *appDeliveriesInput) (*body[deliveriesView], error) {
		if _, err := h.svc.GetApp(ctx, in.App); err != nil {
			return nil, err
		}
		return h.listDeliveries(ctx, in.query(in.App, in.Webhook))
	})
	register(h, forApp, huma.Operation{
		OperationID: "list-webhook-deliveries", Method: http.MethodGet, Path: app + "/webhooks/{id}/deliveries", Tags: tags,
		Summary: "List a webhook's deliveries, newest first", Errors: []int{404, 422, 502, 503, 504},
	}, func(ctx context.Context, in *webhookDeliveriesInput) (*body[deliveriesView], error) {
		if _, err := h.svc.GetWebhook(ctx, sidehook.WebhookKey{App: in.App, ID: in.Webhook}); err != nil {
			return nil, err
		}
		return h.listDeliveries(ctx, in.query(in.App, in.Webhook))
	})
	register(h, forApp, huma.Operation{
		OperationID: "get-delivery", Method: http.MethodGet, Path: app + "/deliveries/{id}", Tags: tags,
		Summary: "Get a delivery with its attempts, its event and its request", Errors: []int{404, 502, 503, 504},
	}, h.getDelivery)
	register(h, forApp, huma.Operation{
		OperationID: "retry-delivery", Method: http.MethodPost, Path: app + "/deliveries/{id}/retry", Tags: tags,
		Summary:       "Attempt a delivery once more now, whatever became of it",
		DefaultStatus: http.StatusAccepted, Errors: []int{404, 409, 502, 503, 504},
	}, func(ctx context.Context, in *deliveryPath) (*struct{}, error) {
		if _, err := h.svc.GetApp(ctx, in.App); err != nil {
			return nil, err
		}
		id, err := in.deliveryID()
		if err != nil {
			return nil, err
		}
		return nil, h.fleet.Retry(ctx, in.App, id)
	})
	register(h, forApp, huma.Operation{
		OperationID: "replay-webhook", Method: http.MethodPost, Path: app + "/webhooks/{id}/replay", Tags: tags,
		Summary:       "Queue finished deliveries of a webhook once more, each with its event's id as before",
		DefaultStatus: http.StatusOK, Errors: []int{404, 409, 422, 502, 503, 504},
	}, h.replay)
}

func (h *rest) listDeliveries(ctx context.Context, q DeliveryQuery) (*body[deliveriesView], error) {
	page, err := h.fleet.Deliveries(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &body[deliveriesView]{deliveriesView{
		list: list[deliveryView]{Data: []deliveryView{}, NextCursor: page.Next}, Missing: viewOfMissing(page.Missing),
	}}
	for i := range page.Deliveries {
		v, err := viewOfDelivery(&page.Deliveries[i])
		if err != nil {
			return nil, err
		}
		out.Body.Data = append(out.Body.Data, v)
	}
	return out, nil
}

func (h *rest) getDelivery(ctx context.Context, in *deliveryPath) (*body[deliveryView], error) {
	if _, err := h.svc.GetApp(ctx, in.App); err != nil {
		return nil, err
	}
	id, err := in.deliveryID()
	if err != nil {
		return nil, err
	}
	d, err := h.fleet.Delivery(ctx, in.App, id)
	if err != nil {
		return nil, err
	}
	v, err := viewOfDelivery(d)
	return &body[deliveryView]{v}, err
}

func (h *rest) replay(ctx context.Context, in *replayInput) (*body[replayedView], error) {
	r := in.replay()
	if _, err := h.svc.GetWebhook(ctx, r.Webhook); err != nil {
		return nil, err
	}
	replayed, err := h.fleet.Replay(ctx, r)
	if err != nil {
		return nil, err
	}
	return &body[replayedView]{replayedView{Deliveries: replayed.Deliveries, Missing: viewOfMissing(replayed.Missing)}}, nil
}
