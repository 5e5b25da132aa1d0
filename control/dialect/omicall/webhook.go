package omicall

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/dialect"
	"github.com/sidehook/sidehook/control/dialect/naming"
)

// types of webhooks, each the one event type that it is for: the record of a call that has ended, and what happens during
// one.
var types = []string{"call", "call_event"}

// isOf reports whether a webhook is the one of a type: it has this dialect's format, and gets just those events.
func isOf(w *sidehook.Webhook, hookType string) bool {
	return w.Format == sidehook.FormatOMICall && len(w.Events) == 1 && w.Events[0] == hookType
}

// view is a webhook as this API shows it.
type view struct {
	URL    string `json:"url"`
	Type   string `json:"type"`
	Status string `json:"status"`
}

// viewOf shows the events of webhooks made elsewhere as their type, with commas.
func viewOf(w *sidehook.Webhook) view {
	v := view{URL: w.URL, Type: strings.Join(w.Events, ","), Status: "actived"}
	if w.Status != sidehook.WebhookEnabled {
		v.Status = "deactived"
	}
	return v
}

func (h *handler) list(c *call) (any, error) {
	webhooks, err := h.svc.AllWebhooks(c.Context(), c.app)
	if err != nil {
		return nil, err
	}
	views := make([]view, 0, len(webhooks))
	for _, w := range webhooks {
		views = append(views, viewOf(w))
	}
	return views, nil
}

// input is what a client says of a webhook.
type input struct {
	Type *string `json:"type"`
	URL  *string `json:"url"`
}

// register makes the webhook of a type, or moves it to another URL. The answer is the whole list.
func (h *handler) register(c *call) (any, error) {
	in, err := c.input()
	if err != nil {
		return nil, err
	}
	hookType, err := typeOf("webhook.type", in.Type)
	if err != nil {
		return nil, err
	}
	if in.URL == nil || strings.TrimSpace(*in.URL) == "" {
		return nil, sidehook.Fieldf("webhook.url", "is required")
	}
	if err := h.place(c, hookType, strings.TrimSpace(*in.URL)); err != nil {
		return nil, sidehook.Under("webhook", err)
	}
	return h.list(c)
}

// place makes url the one of a type.
func (h *handler) place(c *call, hookType, url string) error {
	return naming.Free("OMICall "+hookType, func(name string) error {
		_, err := h.svc.ReplaceWebhooks(c.Context(), sidehook.Webhook{
			App: c.app, Name: name, URL: url, Events: []string{hookType}, AutomaticRetry: true, Format: sidehook.FormatOMICall,
		}, func(w *sidehook.Webhook) bool { return isOf(w, hookType) })
		return err
	})
}

// destroy removes the webhook of a type; that there is none is no failure.
func (h *handler) destroy(c *call) (any, error) {
	given, err := c.one("hook_type")
	if err != nil {
		return nil, err
	}
	hookType, err := typeOf("hook_type", &given)
	if err != nil {
		return nil, err
	}
	_, err = h.svc.RemoveWebhooks(c.Context(), c.app, func(w *sidehook.Webhook) bool { return isOf(w, hookType) })
	return nil, err
}

func typeOf(field string, given *string) (string, error) {
	if given == nil || *given == "" {
		return "", sidehook.Fieldf(field, "is required: %s", strings.Join(types, " or "))
	}
	if !slices.Contains(types, *given) {
		return "", sidehook.Fieldf(field, "must be %s", strings.Join(types, " or "))
	}
	return *given, nil
}

// input reads a body: {"webhook": {…}}, or what is in there alone. Other fields are left alone.
func (c *call) input() (*input, error) {
	mediaType, body, err := dialect.ReadBody(c.w, c.Request)
	if err != nil {
		return nil, err
	}
	if mediaType != "application/json" && mediaType != "" {
		return nil, dialect.Refuse(http.StatusUnsupportedMediaType, "content_type_not_supported: send application/json")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, dialect.Refuse(http.StatusBadRequest, "request_body_required")
	}
	var wrapped struct {
		Webhook *input `json:"webhook"`
		input
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	if err := decoder.Decode(&wrapped); err != nil {
		return nil, wrongJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, dialect.Refuse(http.StatusBadRequest, "request_body_invalid: more than one JSON value")
	}
	if wrapped.Webhook != nil {
		return wrapped.Webhook, nil
	}
	if wrapped.Type == nil && wrapped.URL == nil {
		return nil, sidehook.Fieldf("webhook", "is required: an object with type and url")
	}
	return &wrapped.input, nil
}

func wrongJSON(err error) error {
	var wrongType *json.UnmarshalTypeError
	if !errors.As(err, &wrongType) {
		return dialect.Refuse(http.StatusBadRequest, "request_body_invalid: not JSON")
	}
	switch field := wrongType.Field; {
	case field == "":
		return sidehook.Fieldf("webhook", "is required: an object with type and url")
	case strings.HasSuffix(field, "webhook"):
		return sidehook.Fieldf("webhook", "must be an object with type and url")
	case strings.HasSuffix(field, "url"):
		return sidehook.Fieldf("webhook.url", "must be a string")
	default:
		return sidehook.Fieldf("webhook.type", "must be a string")
	}
}
