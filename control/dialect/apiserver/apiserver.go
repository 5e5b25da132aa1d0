// Package apiserver is the dialect of Sigma's livestream API server: the webhooks of an app as
//
//	POST /v1/webhook                       uri, event: create
//	GET /v1/webhook?page=&length=&event=   list
//	GET|PUT|DELETE /v1/webhook/{id}        read, replace, delete (?event=: those events only)
//
// in JSON or as a form, with HTTP Basic: the id of an app token and the token. Success is 200 with the bare answer; errors
// are their status with {"ec","msg"}. It delivers nothing: what requests look like is the format of the same name.
package apiserver

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect"
)

// Options of New.
type Options struct {
	// DeleteByGet makes GET /v1/webhook/{id} delete, as the API server's document has it word for word. Default false:
	// GET reads.
	DeleteByGet bool
	// Logger; nil for none.
	Logger *slog.Logger
}

// Patterns are where New's handler belongs.
func Patterns() []string { return []string{root, root + "/"} }

const root = "/v1/webhook"

type handler struct {
	svc         *control.Service
	deleteByGet bool
	log         *slog.Logger
}

// New returns the dialect's handler.
func New(svc *control.Service, opts Options) http.Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &handler{svc: svc, deleteByGet: opts.DeleteByGet, log: opts.Logger}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	answer, err := h.serve(w, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// call is a request whose app is known.
type call struct {
	*http.Request
	app string
	w   http.ResponseWriter
}

// serve finds who asks and what for, in this order: who is not known learns nothing about paths.
func (h *handler) serve(w http.ResponseWriter, r *http.Request) (any, error) {
	app, err := h.authenticate(r)
	if err != nil {
		return nil, err
	}
	c := &call{r, app, w}
	id, one := strings.CutPrefix(r.URL.Path, root+"/")
	switch {
	case r.URL.Path == root || one && id == "":
		return h.serveAll(c)
	case one && !strings.Contains(id, "/"):
		return h.serveOne(c, sidehook.WebhookKey{App: app, ID: id})
	}
	return nil, dialect.Refuse(http.StatusNotFound, "there is nothing at this path")
}

func (h *handler) serveAll(c *call) (any, error) {
	switch c.Method {
	case http.MethodGet, http.MethodHead:
		return h.list(c)
	case http.MethodPost:
		return h.create(c)
	}
	return nil, c.wrongMethod("GET, HEAD, POST")
}

func (h *handler) serveOne(c *call, k sidehook.WebhookKey) (any, error) {
	switch c.Method {
	case http.MethodGet:
		if h.deleteByGet {
			return h.delete(c, k)
		}
		return h.get(c, k)
	case http.MethodHead: // never deletes
		return h.get(c, k)
	case http.MethodPut:
		return h.update(c, k)
	case http.MethodDelete:
		return h.delete(c, k)
	}
	return nil, c.wrongMethod("DELETE, GET, HEAD, PUT")
}

func (c *call) wrongMethod(allow string) error {
	c.w.Header().Set("Allow", allow)
	return dialect.Refuse(http.StatusMethodNotAllowed, "this path takes "+allow)
}

// authenticate returns the app of the credentials: the id of an app token as the user name, the token as the password.
func (h *handler) authenticate(r *http.Request) (string, error) {
	id, plain, ok := r.BasicAuth()
	if !ok {
		return "", control.ErrUnauthenticated
	}
	return dialect.PairApp(r.Context(), h.svc, id, plain)
}

// problem is the body of every error.
type problem struct {
	EC  int    `json:"ec"` // the HTTP status; 0 is for success
	Msg string `json:"msg"`
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := dialect.RefusalFor(w, r, h.log, err)
	msg, status := refusal.Reason, refusal.Status
	switch field, _, _ := strings.Cut(refusal.Field, "["); field {
	case "":
	case "url":
		msg = "uri: " + msg
	case "events":
		msg = "event: " + msg
	default:
		msg = refusal.Field + ": " + msg
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="sidehook", charset="UTF-8"`)
		msg = "send HTTP Basic credentials: the id of an app token (tok_…) and the token (" + control.TokenPrefix + "…)"
	case http.StatusConflict: // the API server has no 409
		status = http.StatusUnprocessableEntity
	}
	writeJSON(w, status, problem{EC: status, Msg: msg})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // URLs read as they were written
	_ = encoder.Encode(v)        // the client is gone if this fails
}
