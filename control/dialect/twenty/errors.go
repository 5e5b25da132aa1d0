package twenty

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
)

// failure is an error as Twenty's REST API writes it. It is one itself.
type failure struct {
	StatusCode int      `json:"statusCode"`
	Name       string   `json:"error"`
	Messages   []string `json:"messages"`
	Code       string   `json:"code,omitempty"`
}

func (f *failure) Error() string { return strings.Join(f.Messages, "; ") }

func fail(status int, code string, messages ...string) *failure {
	return &failure{StatusCode: status, Name: exception(status), Messages: messages, Code: code}
}

// exception names the errors of a status as Twenty does.
func exception(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BadRequestException"
	case http.StatusUnauthorized:
		return "UnauthorizedException"
	case http.StatusForbidden:
		return "ForbiddenException"
	case http.StatusNotFound:
		return "NotFoundException"
	case http.StatusConflict:
		return "ConflictException"
	case http.StatusRequestEntityTooLarge:
		return "PayloadTooLargeException"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailableException"
	}
	return "InternalServerErrorException"
}

// Codes of Twenty's webhook errors.
const (
	codeNotFound   = "WEBHOOK_NOT_FOUND"
	codeBadInput   = "INVALID_WEBHOOK_INPUT"
	codeBadURL     = "INVALID_TARGET_URL"
	fieldURL       = "targetUrl"
	textNeedURL    = "Target URL is required"
	textInvalidURL = "Please provide a valid HTTP or HTTPS URL"
)

var (
	errNoToken   = fail(http.StatusUnauthorized, "UNAUTHENTICATED", "Missing authentication token")
	errBadToken  = fail(http.StatusUnauthorized, "UNAUTHENTICATED", "Token invalid.")
	errForbidden = fail(http.StatusForbidden, "FORBIDDEN", "Forbidden resource", "the token must be an app token: it says which app is meant")
	errNoRoute   = fail(http.StatusNotFound, "", "there is nothing for this method and path")
	errNotFound  = fail(http.StatusNotFound, codeNotFound, "Webhook not found")
)

// badField is what is wrong with a field of the input.
func badField(field, format string, args ...any) *failure {
	return fail(http.StatusBadRequest, codeBadInput, field+": "+fmt.Sprintf(format, args...))
}

// fields are Twenty's names of Sidehook's fields.
var fields = strings.NewReplacer("events", "operations", "url", fieldURL, "name", "description")

// failureOf words an error of the service; nil for trouble that is not the caller's.
func failureOf(err error) *failure {
	var f *failure
	var field *sidehook.FieldError
	var conflict *control.ConflictError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &field):
		name := fields.Replace(field.Field)
		if name == fieldURL {
			return fail(http.StatusBadRequest, codeBadURL, textInvalidURL, name+": "+field.Reason)
		}
		return badField(name, "%s", field.Reason)
	case errors.As(err, &conflict):
		return fail(http.StatusConflict, codeBadInput, conflict.Error())
	case errors.Is(err, sidehook.ErrNotFound):
		return errNotFound
	case errors.Is(err, control.ErrUnauthenticated):
		return errBadToken
	case errors.Is(err, control.ErrNotForOneApp):
		return errForbidden
	case errors.Is(err, sidehook.ErrFull):
		return fail(http.StatusServiceUnavailable, "", err.Error())
	case errors.Is(err, control.ErrBusy), errors.Is(err, storage.ErrClosed):
		return fail(http.StatusServiceUnavailable, "", "the control plane cannot take this now; try again")
	}
	return nil
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := failureOf(err)
	switch {
	case f != nil:
	case r.Context().Err() != nil:
		f = fail(http.StatusServiceUnavailable, "", "the request was cancelled")
	default:
		h.log.ErrorContext(r.Context(), "request failed", "error", err)
		f = fail(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "something is wrong in the control plane; its log says what")
	}
	switch f.StatusCode {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="sidehook"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	h.write(w, r, f.StatusCode, f)
}

// write answers with JSON as JavaScript prints it: without HTML escapes.
func (h *handler) write(w http.ResponseWriter, r *http.Request, code int, answer any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		h.log.ErrorContext(r.Context(), "cannot write the answer", "error", err)
		code = http.StatusInternalServerError
		b.Reset()
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) // the client is gone if this fails
}
