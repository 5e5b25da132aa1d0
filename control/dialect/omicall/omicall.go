// Package omicall is the dialect of OMICall's public API, as far as it is about webhooks:
//
//	GET /api/auth?apiKey=                    an access token, good for 24 hours, for the API key (an app token)
//	GET /api/webhooks/list                   the app's webhooks
//	POST /api/webhooks/register              {"webhook": {"type", "url"}}: one per type, so that again replaces it
//	POST /api/webhooks/destroy?hook_type=    end that of a type
//
// Every answer but destroy's empty one is an envelope: status_code 9999 with a payload, or -9999 with a message. It
// delivers nothing: what requests look like is the format of the same name.
package omicall

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect"
)

// Options of New.
type Options struct {
	// InstanceID is the instance_id of every answer. Default "sidehook".
	InstanceID string
	// Logger; nil for none.
	Logger *slog.Logger
}

// Patterns are where New's handler belongs.
func Patterns() []string { return []string{"/api/auth", "/api/webhooks/"} }

// AccessLifetime is how long an access token is good for.
const AccessLifetime = 24 * time.Hour

type handler struct {
	svc      *control.Service
	instance string
	log      *slog.Logger
}

// New returns the dialect's handler.
func New(svc *control.Service, opts Options) http.Handler {
	if opts.InstanceID == "" {
		opts.InstanceID = "sidehook"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &handler{svc: svc, instance: opts.InstanceID, log: opts.Logger}
}

// call is a request; app is whose it is, once that is known.
type call struct {
	*http.Request
	w     http.ResponseWriter
	query url.Values
	app   string
}

// operation is what a path does. It returns a payload; nil for an empty answer.
type operation struct {
	method string
	open   bool // needs no access token
	do     func(*handler, *call) (any, error)
}

var operations = map[string]operation{
	"/api/auth":              {http.MethodGet, true, (*handler).auth},
	"/api/webhooks/list":     {http.MethodGet, false, (*handler).list},
	"/api/webhooks/register": {http.MethodPost, false, (*handler).register},
	"/api/webhooks/destroy":  {http.MethodPost, false, (*handler).destroy},
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	payload, err := h.serve(&call{Request: r, w: w})
	switch {
	case err != nil:
		h.refuse(w, r, err)
	case payload == nil:
		w.WriteHeader(http.StatusOK)
	default:
		h.write(w, http.StatusOK, envelope{StatusCode: done, Payload: payload})
	}
}

func (h *handler) serve(c *call) (any, error) {
	op, ok := operations[c.URL.Path]
	if !ok {
		return nil, dialect.Refuse(http.StatusNotFound, "path_not_found")
	}
	if c.Method != op.method {
		c.w.Header().Set("Allow", op.method)
		return nil, dialect.Refuse(http.StatusMethodNotAllowed, "method_not_allowed: this path takes "+op.method)
	}
	var err error
	if c.query, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return nil, dialect.Refuse(http.StatusBadRequest, "query_invalid: percent-encode what is not a letter or digit")
	}
	if !op.open {
		if c.app, err = h.authenticate(c.Request); err != nil {
			return nil, err
		}
	}
	return op.do(h, c)
}

// one returns a parameter that must be given once.
func (c *call) one(name string) (string, error) {
	switch values := c.query[name]; {
	case len(values) > 1:
		return "", sidehook.Fieldf(name, "is given %d times", len(values))
	case len(values) == 0 || values[0] == "":
		return "", nil
	default:
		return values[0], nil
	}
}

// Values of status_code.
const (
	done   = 9999
	failed = -9999
)

// envelope is every answer.
type envelope struct {
	StatusCode int    `json:"status_code"`
	InstanceID string `json:"instance_id"`
	Message    string `json:"message,omitempty"`
	Payload    any    `json:"payload,omitempty"`
	KeyEnabled bool   `json:"key_enabled"`
}

func (h *handler) write(w http.ResponseWriter, status int, e envelope) {
	e.InstanceID = h.instance
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // URLs read as they were written
	_ = encoder.Encode(e)        // the client is gone if this fails
}

// refuse answers an error. The document is silent about HTTP statuses of failures; they are real ones here, so that a
// client that looks at either of the two sees that it failed.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := dialect.RefusalFor(w, r, h.log, err)
	message, status := refusal.Reason, refusal.Status
	if refusal.Field != "" {
		message = refusal.Field + ": " + message
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sidehook"`)
	case http.StatusUnprocessableEntity:
		status = http.StatusBadRequest
	}
	h.write(w, status, envelope{StatusCode: failed, Message: strings.TrimSpace(message)})
}
