package twenty

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook/control/dialect"
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

// failureOf words what is refused.
func failureOf(refused *dialect.Refusal) *failure {
	switch refused.Status {
	case http.StatusUnprocessableEntity:
		name := fields.Replace(refused.Field)
		if name == fieldURL {
			return fail(http.StatusBadRequest, codeBadURL, textInvalidURL, name+": "+refused.Reason)
		}
		return badField(name, "%s", refused.Reason)
	case http.StatusConflict:
		return fail(http.StatusConflict, codeBadInput, refused.Error())
	case http.StatusNotFound:
		return errNotFound
	case http.StatusUnauthorized:
		return errBadToken
	case http.StatusForbidden:
		return errForbidden
	case http.StatusRequestEntityTooLarge:
		return fail(refused.Status, "", "request entity too large")
	case http.StatusInsufficientStorage, http.StatusServiceUnavailable: // Twenty has one for both
		return fail(http.StatusServiceUnavailable, "", refused.Reason)
	}
	return fail(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", refused.Reason)
}

func (h *handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var f *failure
	if !errors.As(err, &f) {
		refused := dialect.RefusalFor(w, r, h.log, err)
		f = failureOf(refused)
	}
	if f.StatusCode == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="sidehook"`)
	}
	h.write(w, r, f.StatusCode, f)
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, code int, answer any) {
	dialect.WriteJSON(w, r, h.log, code, "application/json; charset=utf-8", answer)
}
