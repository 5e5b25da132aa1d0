package multisite

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
)

// failure is an error as the REST API of WordPress writes it. It is one itself.
type failure struct {
	Code    string      `json:"code"`
	Message string      `json:"message"`
	Data    failureData `json:"data"`
}

type failureData struct {
	Status int `json:"status"`
	// Params: the names of those that are missing, or what is wrong with which.
	Params any `json:"params,omitempty"`
}

func (f *failure) Error() string { return f.Message }

func fail(status int, code, text string) *failure {
	return &failure{Code: code, Message: text, Data: failureData{Status: status}}
}

// Codes of WordPress and of Ultimate Multisite.
const (
	codeForbidden = "rest_forbidden"
	codeMissing   = "rest_missing_callback_param"
	codeInvalid   = "rest_invalid_param"
	codeJSON      = "rest_invalid_json"
	codeWebhook   = "wu_rest_webhook"
	codeID        = "wu_rest_webhook_invalid_id"
	codeNoSetter  = "wu_rest_webhook_invalid_set_method"
)

const textForbidden = "Sorry, you are not allowed to do that."

var (
	errUnauthenticated = fail(http.StatusUnauthorized, codeForbidden, textForbidden)
	errForbidden       = fail(http.StatusForbidden, codeForbidden, textForbidden+" The API secret must be an app token, which says which app is meant.")
	errOrigin          = fail(http.StatusForbidden, codeForbidden, textForbidden+" A page of another origin cannot change anything.")
	errNoRoute         = fail(http.StatusNotFound, "rest_no_route", "No route was found matching the URL and request method.")
	errNotFound        = fail(http.StatusNotFound, codeID, "Item not found.")
	errJSON            = fail(http.StatusBadRequest, codeJSON, "Invalid JSON body passed. It must be an object.")
)

// missing says which parameters are.
func missing(names ...string) *failure {
	f := fail(http.StatusBadRequest, codeMissing, "Missing parameter(s): "+strings.Join(names, ", "))
	f.Data.Params = names
	return f
}

// invalid says what is wrong with a parameter.
func invalid(name, reason string) *failure {
	f := fail(http.StatusBadRequest, codeInvalid, "Invalid parameter(s): "+name)
	f.Data.Params = map[string]string{name: name + " " + reason}
	return f
}

// parameter is the name here of a field of Sidehook's.
func parameter(field string) string {
	switch field, _, _ = strings.Cut(field, "["); field {
	case "url":
		return "webhook_url"
	case "events":
		return "event"
	}
	return field
}

// failureOf words an error of the service; nil for trouble that is not the caller's.
func failureOf(err error) *failure {
	var f *failure
	var field *sidehook.FieldError
	var conflict *control.ConflictError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &field):
		return invalid(parameter(field.Field), field.Reason)
	case errors.As(err, &conflict):
		return fail(http.StatusConflict, codeWebhook, conflict.Error())
	case errors.Is(err, sidehook.ErrNotFound):
		return errNotFound
	case errors.Is(err, control.ErrUnauthenticated):
		return errUnauthenticated
	case errors.Is(err, control.ErrNotForOneApp):
		return errForbidden
	case errors.Is(err, sidehook.ErrFull):
		return fail(http.StatusServiceUnavailable, codeWebhook, err.Error())
	case errors.Is(err, control.ErrBusy), errors.Is(err, storage.ErrClosed):
		return fail(http.StatusServiceUnavailable, codeWebhook, "The control plane cannot take this now; try again.")
	}
	return nil
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	switch {
	case f != nil:
	case r.Context().Err() != nil:
		f = fail(http.StatusServiceUnavailable, codeWebhook, "The request was cancelled.")
	default:
		h.log.ErrorContext(r.Context(), "request failed", "error", err)
		f = fail(http.StatusInternalServerError, "internal_server_error", "Something is wrong in the control plane; its log says what.")
	}
	switch f.Data.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="sidehook"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	h.write(w, r, f.Data.Status, f)
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, code int, answer any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		h.log.ErrorContext(r.Context(), "cannot write the answer", "error", err)
		code = http.StatusInternalServerError
		b.Reset()
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	_, _ = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) // the client is gone if this fails
}

// absent lists those of the names that are not in sent, in their order.
func absent(sent map[string]json.RawMessage, names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		value, ok := sent[name]
		return ok && string(value) != "null"
	})
}
