package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
)

type headerView struct {
	Key   string `json:"key" doc:"A legal header name that Sidehook does not set itself; at most 128 bytes"`
	Value string `json:"value,omitempty" doc:"At most 4096 bytes"`
}

type retryPolicyView struct {
	Schedule []string `json:"schedule,omitempty" doc:"Waits before the second, third, … attempt: at most 20, each 1s to 168h. Empty: the default schedule" example:"[\"5s\",\"5m0s\"]"`
}

// signingView is how requests are signed. All but the scheme is for hmac.
type signingView struct {
	Scheme          string `json:"scheme,omitempty" doc:"standard, standard-ed25519, twenty or hmac. Default: as the format says, twenty for the format of that name and standard for the others"`
	Algorithm       string `json:"algorithm,omitempty" doc:"For hmac: sha256 (default) or sha512"`
	Encoding        string `json:"encoding,omitempty" doc:"For hmac: hex (default) or base64"`
	Header          string `json:"header,omitempty" doc:"For hmac, required: name of the header that carries the signature" example:"X-Signature"`
	Prefix          string `json:"prefix,omitempty" doc:"For hmac: what stands before the signature; at most 64 bytes, {timestamp}, {timestamp_ms} and {id} are replaced" example:"sha256="`
	Template        string `json:"template,omitempty" doc:"For hmac: the text that is signed, with {body} once and {id}, {timestamp} (seconds) or {timestamp_ms}; {{ and }} are single braces; at most 256 bytes. Default {body}" example:"{timestamp}.{body}"`
	TimestampHeader string `json:"timestamp_header,omitempty" doc:"For hmac: name of a header that carries the timestamp, in milliseconds when the template or prefix has {timestamp_ms}. Default none" example:"X-Timestamp"`
}

func viewOfSigning(w *sidehook.Webhook) signingView {
	v := signingView(w.Signing)
	v.Scheme = w.Scheme()
	return v
}

// webhookView is a webhook as answers show it.
type webhookView struct {
	ID             string           `json:"id"`
	App            string           `json:"app"`
	Name           string           `json:"name"`
	URL            string           `json:"url"`
	Headers        []headerView     `json:"headers" nullable:"false"`
	Events         []string         `json:"events" nullable:"false"`
	AutomaticRetry bool             `json:"automatic_retry"`
	Format         string           `json:"format"`
	Signing        signingView      `json:"signing"`
	Transformer    string           `json:"transformer,omitempty"`
	Timeout        string           `json:"timeout"`
	RetryPolicy    *retryPolicyView `json:"retry_policy,omitempty" doc:"Absent: the default schedule"`
	Status         string           `json:"status" enum:"enabled,disabled"`
	Ordering       string           `json:"ordering" enum:"none,key"`
	RateLimit      *rateLimitView   `json:"rate_limit,omitempty" doc:"Absent: no limit"`
	Filter         string           `json:"filter,omitempty"`
	HistorySample  float64          `json:"history_sample"`
	DisabledReason string           `json:"disabled_reason,omitempty"`
	DisabledCause  string           `json:"disabled_cause,omitempty" enum:"gone,failing" doc:"Absent when a person disabled it; gone: the endpoint answered 410; failing: nothing but failure for too long"`
	DisabledAt     *time.Time       `json:"disabled_at,omitempty"`
	CreatedAt      time.Time        `json:"created_at"`
	UpdatedAt      time.Time        `json:"updated_at"`
	// Health is set in the answers to get and list only.
	Health *healthView `json:"health,omitempty" doc:"How it fares on the sidecars that reported of it, since they started; in the answers to get and list"`
	// Missed is set in the answer to enable only.
	Missed *missedView `json:"missed,omitempty" doc:"In the answer to enable only: what it did not get while the control plane had disabled it"`
	// Secret is set in the answer to create only.
	Secret string `json:"secret,omitempty" doc:"Key that signs deliveries (whsec_…), in the answer to create only; not for standard-ed25519"`
	// PublicKey is set in the answer to create only.
	PublicKey string `json:"public_key,omitempty" doc:"What the receiver checks Ed25519 signatures with (whpk_…), in the answer to create only; later, list the secrets"`
}

func viewOfWebhook(w *sidehook.Webhook) webhookView {
	v := webhookView{
		ID: w.ID, App: w.App, Name: w.Name, URL: w.URL, Headers: []headerView{}, Events: w.Events,
		AutomaticRetry: w.AutomaticRetry, Format: w.Format, Signing: viewOfSigning(w), Transformer: w.Transformer,
		Timeout: w.Timeout.String(), Status: string(w.Status), DisabledReason: w.DisabledReason, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
	}
	viewShaping(&v, w)
	for _, x := range w.Headers {
		v.Headers = append(v.Headers, headerView(x))
	}
	if len(w.RetrySchedule) > 0 {
		v.RetryPolicy = &retryPolicyView{}
		for _, d := range w.RetrySchedule {
			v.RetryPolicy.Schedule = append(v.RetryPolicy.Schedule, d.String())
		}
	}
	return v
}

// optional is a field of a JSON merge patch (RFC 7396): absent, null or a value.
type optional[T any] struct {
	sent  bool
	value *T // nil for null
}

// UnmarshalJSON implements json.Unmarshaler; it is not called for an absent field.
func (o *optional[T]) UnmarshalJSON(b []byte) error {
	o.sent = true
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	return json.Unmarshal(b, &o.value)
}

// Schema implements huma.SchemaProvider: T or null.
func (o optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *r.Schema(reflect.TypeFor[T](), false, "") // inline, as a reference cannot be nullable
	s.Nullable = true
	return &s
}

// patch is what a field does to a webhook: nil for nothing; null sets it to none.
func (o *optional[T]) patch(none T) *T {
	if o.sent && o.value == nil {
		return &none
	}
	return o.value
}

// webhookFields are the fields of a webhook that can be said. In a patch, absent ones stay as they are and null sets the
// default.
type webhookFields struct {
	Name           optional[string]          `json:"name,omitempty" doc:"For people; unique within the app; 1 to 50 characters"`
	URL            optional[string]          `json:"url,omitempty" doc:"http:// or https://, at most 2048 bytes, no user name and no fragment"`
	Headers        optional[[]headerView]    `json:"headers,omitempty" doc:"Added to every request; at most 10"`
	Events         optional[[]string]        `json:"events,omitempty" doc:"Patterns of event types, 1 to 100: exact, * or all, person.*, *.created, *.*"`
	AutomaticRetry optional[bool]            `json:"automatic_retry,omitempty" doc:"Whether failed attempts are tried again. Default true"`
	Format         optional[string]          `json:"format,omitempty" doc:"Shape of the requests: standard (default), cloudevents, cloudevents-binary, sigma, multisite, apiserver, twenty or omicall"`
	Signing        optional[signingView]     `json:"signing,omitempty" doc:"How requests are signed, replaced as a whole. Default: as the format says"`
	Transformer    optional[string]          `json:"transformer,omitempty" doc:"Transformer to run before the format; it must be installed on the sidecars. Default none"`
	Timeout        optional[string]          `json:"timeout,omitempty" doc:"Longest one attempt may take, as in 15s (default); 100ms to 1m" example:"15s"`
	RetryPolicy    optional[retryPolicyView] `json:"retry_policy,omitempty" doc:"When to try again. Default: 5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h"`
	Ordering       optional[string]          `json:"ordering,omitempty" doc:"none (default), or key: events of one ordering key one at a time, in the order in which they were accepted"`
	RateLimit      optional[rateLimitView]   `json:"rate_limit,omitempty" doc:"How many attempts it gets from one sidecar, replaced as a whole. Default: no limit"`
	Filter         optional[string]          `json:"filter,omitempty" doc:"CEL expression over type, source, subject, time, app and data that an event must meet besides events; at most 2048 bytes. Default none" example:"data.amount > 100"`
	HistorySample  optional[float64]         `json:"history_sample,omitempty" doc:"Share, 0 to 1, of successful deliveries whose attempt is kept in the history; failed attempts always are. Default 1" example:"0.1"`
	// Secret is for new webhooks alone.
	Secret *string `json:"secret,omitempty" doc:"The key that the receiver has already: whsec_… for every scheme, whsk_… for the standard ones, or plain text of 8 to 256 bytes for twenty and hmac, where the text as it stands is the key. Default: a new one"`
}

func (f *webhookFields) patch() (WebhookPatch, error) {
	p := WebhookPatch{
		Name: f.Name.patch(""), URL: f.URL.patch(""), Events: f.Events.patch(nil),
		AutomaticRetry: f.AutomaticRetry.patch(true), Format: f.Format.patch(""), Transformer: f.Transformer.patch(""),
	}
	if sent := f.Headers.patch(nil); sent != nil {
		headers := make([]sidehook.Header, 0, len(*sent))
		for _, x := range *sent {
			headers = append(headers, sidehook.Header(x))
		}
		p.Headers = &headers
	}
	if sent := f.Signing.patch(signingView{}); sent != nil {
		signing := sidehook.Signing(*sent)
		p.Signing = &signing
	}
	if err := f.patchShaping(&p); err != nil {
		return WebhookPatch{}, err
	}
	if err := f.patchTimes(&p); err != nil {
		return WebhookPatch{}, err
	}
	return p, nil
}

func (f *webhookFields) patchTimes(p *WebhookPatch) error {
	if f.Timeout.sent {
		p.Timeout = new(time.Duration)
		if f.Timeout.value != nil {
			d, err := parseDuration("timeout", *f.Timeout.value)
			if err != nil {
				return err
			}
			if d == 0 {
				return sidehook.Fieldf("timeout", "must be %s to %s", sidehook.MinTimeout, sidehook.MaxTimeout)
			}
			p.Timeout = &d
		}
	}
	if sent := f.RetryPolicy.patch(retryPolicyView{}); sent != nil {
		schedule := []time.Duration{}
		for i, text := range sent.Schedule {
			d, err := parseDuration(fmt.Sprintf("retry_policy.schedule[%d]", i), text)
			if err != nil {
				return err
			}
			schedule = append(schedule, d)
		}
		p.RetrySchedule = &schedule
	}
	return nil
}

func parseDuration(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, sidehook.Fieldf(field, "must be a duration such as 15s, 5m or 1h30m")
	}
	return d, nil
}

// webhookPath is the input of what is about a webhook.
type webhookPath struct {
	App string `path:"app" doc:"Id of the app"`
	ID  string `path:"id" doc:"Id of the webhook"`
}

func (p *webhookPath) key() sidehook.WebhookKey { return sidehook.WebhookKey{App: p.App, ID: p.ID} }

// TransformSchema implements huma.SchemaTransformer: a secret is changed by rotating it.
func (webhookFields) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	delete(s.Properties, "secret")
	return s
}

// newWebhookFields are the fields of a new webhook, of which some are required.
type newWebhookFields webhookFields

// TransformSchema implements huma.SchemaTransformer.
func (newWebhookFields) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"name", "url", "events"}
	return s
}

type createWebhookInput struct {
	App  string `path:"app" doc:"Id of the app"`
	Body newWebhookFields
}

type patchWebhookInput struct {
	App  string `path:"app" doc:"Id of the app"`
	ID   string `path:"id" doc:"Id of the webhook"`
	Body webhookFields
}

type listWebhooksInput struct {
	App    string `path:"app" doc:"Id of the app"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many to return"`
	Cursor string `query:"cursor" doc:"next_cursor of an earlier page"`
}

type disableInput struct {
	App  string `path:"app" doc:"Id of the app"`
	ID   string `path:"id" doc:"Id of the webhook"`
	Body *struct {
		Reason string `json:"reason,omitempty" doc:"For people; at most 500 bytes"`
	}
}

func (h *rest) registerWebhooks() {
	const all, one = "/v1/apps/{app}/webhooks", "/v1/apps/{app}/webhooks/{id}"
	tags := []string{"webhooks"}
	register(h, forApp, huma.Operation{
		OperationID: "create-webhook", Method: http.MethodPost, Path: all, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create a webhook; the answer shows its first secret, this once",
		Errors:  []int{404, 409, 413, 422},
	}, h.createWebhook)
	register(h, forApp, huma.Operation{
		OperationID: "list-webhooks", Method: http.MethodGet, Path: all, Tags: tags, Summary: "List webhooks, newest first",
		Errors: []int{404, 422},
	}, h.listWebhooks)
	register(h, forApp, huma.Operation{
		OperationID: "get-webhook", Method: http.MethodGet, Path: one, Tags: tags, Summary: "Get a webhook",
		Errors: []int{404},
	}, func(ctx context.Context, in *webhookPath) (*body[webhookView], error) {
		answer, err := webhookAnswer(h.svc.GetWebhook(ctx, in.key()))
		if err == nil {
			h.addHealth(&answer.Body)
		}
		return answer, err
	})
	register(h, forApp, huma.Operation{
		OperationID: "update-webhook", Method: http.MethodPatch, Path: one, Tags: tags,
		Summary: "Change fields of a webhook (JSON merge patch): absent ones stay, null sets the default",
		Errors:  []int{404, 409, 413, 422},
	}, func(ctx context.Context, in *patchWebhookInput) (*body[webhookView], error) {
		patch, err := in.Body.patch()
		if err != nil {
			return nil, err
		}
		return webhookAnswer(h.svc.UpdateWebhook(ctx, sidehook.WebhookKey{App: in.App, ID: in.ID}, patch))
	})
	register(h, forApp, huma.Operation{
		OperationID: "delete-webhook", Method: http.MethodDelete, Path: one, Tags: tags,
		Summary: "Delete a webhook and its secrets", Errors: []int{404}, DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *webhookPath) (*struct{}, error) {
		return nil, h.svc.DeleteWebhook(ctx, in.key())
	})
	h.registerSwitch(one, tags)
}

func (h *rest) registerSwitch(one string, tags []string) {
	register(h, forApp, huma.Operation{
		OperationID: "enable-webhook", Method: http.MethodPost, Path: one + "/enable", Tags: tags,
		Summary: "Let a webhook get new deliveries", Errors: []int{404}, DefaultStatus: http.StatusOK,
	}, func(ctx context.Context, in *webhookPath) (*body[webhookView], error) {
		return h.enable(ctx, in.key())
	})
	register(h, forApp, huma.Operation{
		OperationID: "disable-webhook", Method: http.MethodPost, Path: one + "/disable", Tags: tags,
		Summary: "Keep new deliveries from a webhook; what it has waits", Errors: []int{404, 422},
		DefaultStatus: http.StatusOK,
	}, func(ctx context.Context, in *disableInput) (*body[webhookView], error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		return webhookAnswer(h.svc.DisableWebhook(ctx, sidehook.WebhookKey{App: in.App, ID: in.ID}, reason))
	})
}

func webhookAnswer(w *sidehook.Webhook, err error) (*body[webhookView], error) {
	if err != nil {
		return nil, err
	}
	return &body[webhookView]{viewOfWebhook(w)}, nil
}

func (h *rest) createWebhook(ctx context.Context, in *createWebhookInput) (*body[webhookView], error) {
	patch, err := (*webhookFields)(&in.Body).patch()
	if err != nil {
		return nil, err
	}
	given, err := importKey(in.Body.Secret)
	if err != nil {
		return nil, err
	}
	spec := sidehook.Webhook{App: in.App, AutomaticRetry: true}
	patch.apply(&spec)
	w, key, err := h.svc.CreateWebhookWithKey(ctx, spec, given)
	if err != nil {
		return nil, err
	}
	out := &body[webhookView]{viewOfWebhook(w)}
	out.Body.Secret, out.Body.PublicKey = key.Shared(), key.PublicKey()
	return out, nil
}

func (h *rest) listWebhooks(ctx context.Context, in *listWebhooksInput) (*body[list[webhookView]], error) {
	webhooks, next, err := h.svc.ListWebhooks(ctx, in.App, PageRequest{Limit: in.Limit, Cursor: in.Cursor})
	if err != nil {
		return nil, err
	}
	out := &body[list[webhookView]]{list[webhookView]{Data: []webhookView{}, NextCursor: next}}
	for _, w := range webhooks {
		v := viewOfWebhook(w)
		h.addHealth(&v)
		out.Body.Data = append(out.Body.Data, v)
	}
	return out, nil
}
