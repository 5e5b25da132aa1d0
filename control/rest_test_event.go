package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
)

type testInput struct {
	App  string `path:"app" doc:"Id of the app"`
	ID   string `path:"id" doc:"Id of the webhook"`
	Body struct {
		EventType string          `json:"event_type" doc:"Type of the test event; a strict app must know it" example:"person.created"`
		Data      json.RawMessage `json:"data,omitempty" doc:"Its data, any JSON. Default: the sample of the app's catalogue, or else one that says that it is a test"`
	}
}

// testView is what became of a test event.
type testView struct {
	Succeeded      bool            `json:"succeeded" doc:"Whether the receiver answered 2xx"`
	Status         int             `json:"status" doc:"Of the response; 0 when none came"`
	LatencyMS      float64         `json:"latency_ms" doc:"In milliseconds"`
	Outcome        string          `json:"outcome" enum:"delivered,retry,dead,gone,dropped,unknown"`
	Error          string          `json:"error,omitempty" doc:"Why it failed, in plain words"`
	DeliveryID     string          `json:"delivery_id"`
	EventID        string          `json:"event_id" doc:"What the receiver got as webhook-id"`
	Sidecar        string          `json:"sidecar" doc:"Id of the sidecar that sent it"`
	Request        testRequestView `json:"request"`
	Response       *string         `json:"response,omitempty" doc:"The beginning of the response's body, at most 1024 bytes"`
	ResponseBase64 *string         `json:"response_base64,omitempty" doc:"In place of response, where that is no UTF-8"`
}

type testRequestView struct {
	URL     string       `json:"url"`
	Headers []headerView `json:"headers" nullable:"false" doc:"As sent, signatures shortened"`
	requestBodyView
}

func viewOfTest(r *TestResult) testView {
	attempt := viewOfAttempt(&r.Attempt)
	v := testView{
		Succeeded: r.Succeeded(), Status: attempt.Status, LatencyMS: attempt.LatencyMS, Outcome: attempt.Outcome,
		Error: attempt.Error, DeliveryID: r.Delivery.String(), EventID: r.Event.ID, Sidecar: r.Sidecar,
		Request:  testRequestView{URL: attempt.URL, Headers: attempt.RequestHeaders},
		Response: attempt.Response, ResponseBase64: attempt.ResponseBase64,
	}
	if request := viewOfRequest(r.Request); request != nil {
		v.Request.requestBodyView = *request
	}
	return v
}

func (h *rest) registerTest() {
	register(h, forApp, huma.Operation{
		OperationID: "test-webhook", Method: http.MethodPost, Path: "/v1/apps/{app}/webhooks/{id}/test",
		Tags: []string{"webhooks"}, Summary: "Send a test event to a webhook alone, and tell what came back",
		Description: "A connected sidecar sends it as it sends everything: transformed, formatted, signed, recorded. The answer is " +
			"200 whenever there was an attempt; succeeded tells how it went. A failure is tried again later if the webhook says so.",
		DefaultStatus: http.StatusOK, Errors: []int{404, 409, 413, 422, 502, 503, 504},
	}, h.testWebhook)
}

func (h *rest) testWebhook(ctx context.Context, in *testInput) (*body[testView], error) {
	key := sidehook.WebhookKey{App: in.App, ID: in.ID}
	w, err := h.svc.GetWebhook(ctx, key)
	if err != nil {
		return nil, err
	}
	if w.Status != sidehook.WebhookEnabled {
		return nil, fmt.Errorf("%w; enable it, then test it", ErrWebhookDisabled)
	}
	event, err := h.svc.TestEvent(ctx, in.App, in.Body.EventType)
	if err != nil {
		return nil, err
	}
	if len(in.Body.Data) > 0 {
		event.Data = in.Body.Data
		if err := event.Validate(0); err != nil {
			return nil, err
		}
	}
	result, err := h.fleet.SendTest(ctx, w, event)
	if err != nil {
		return nil, err
	}
	return &body[testView]{viewOfTest(result)}, nil
}
