package multisite

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sidehook/sidehook/control/dialect"
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

// failureOf words what is refused.
func failureOf(refused *dialect.Refusal) *failure {
	switch refused.Status {
	case http.StatusUnprocessableEntity:
		return invalid(parameter(refused.Field), refused.Reason)
	case http.StatusConflict:
		return fail(http.StatusConflict, codeWebhook, refused.Error())
	case http.StatusNotFound:
		return errNotFound
	case http.StatusUnauthorized:
		return errUnauthenticated
	case http.StatusForbidden:
		return errForbidden
	case http.StatusRequestEntityTooLarge:
		return fail(refused.Status, "rest_too_large", "The body is too large.")
	case http.StatusInsufficientStorage, http.StatusServiceUnavailable: // WordPress has one for both
		return fail(http.StatusServiceUnavailable, codeWebhook, refused.Reason)
	}
	return fail(http.StatusInternalServerError, "internal_server_error", refused.Reason)
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f *failure
	if !errors.As(err, &f) {
		refused := dialect.RefusalFor(w, r, h.log, err)
		f = failureOf(refused)
	}
	if f.Data.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="sidehook"`)
	}
	h.write(w, r, f.Data.Status, f)
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, code int, answer any) {
	dialect.WriteJSON(w, r, h.log, code, "application/json; charset=UTF-8", answer)
}

// absent lists those of the names that are not in sent, in their order.
func absent(sent map[string]json.RawMessage, names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		value, ok := sent[name]
		return ok && string(value) != "null"
	})
}
