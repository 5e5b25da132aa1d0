package dialect

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
)

// Refusal is why a request is not done, before a dialect words it in its own shape.
type Refusal struct {
	// Status of HTTP: 401, 403, 404, 409 (a limit or a name that is taken), 413, 422 (a field), 500, 503 or 507.
	Status int
	// Field of the webhook as the Service names it, such as url or events[0]; empty for none.
	Field string
	// Reason for people, without the field.
	Reason string
	// RetryAfter in seconds, when trying again can help; else 0.
	RetryAfter int
}

// Error makes a Refusal an error, so that a dialect can refuse by itself.
func (r *Refusal) Error() string {
	if r.Field == "" {
		return r.Reason
	}
	return r.Field + ": " + r.Reason
}

// Refuse makes a Refusal without a field.
func Refuse(status int, reason string) *Refusal { return &Refusal{Status: status, Reason: reason} }

// RefusalOf says what an error means for the client. What is no fault of the client is logged, and not told.
func RefusalOf(ctx context.Context, log *slog.Logger, err error) *Refusal {
	var own *Refusal
	var field *sidehook.FieldError
	var conflict *control.ConflictError
	var full *sidehook.FullError
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &field):
		return &Refusal{Status: http.StatusUnprocessableEntity, Field: field.Field, Reason: field.Reason}
	case errors.As(err, &conflict):
		return &Refusal{Status: http.StatusConflict, Field: conflict.Field, Reason: conflict.Reason}
	case errors.Is(err, sidehook.ErrNotFound):
		return Refuse(http.StatusNotFound, err.Error())
	case errors.Is(err, control.ErrUnauthenticated):
		return Refuse(http.StatusUnauthorized, err.Error())
	case errors.As(err, &size):
		return Refuse(http.StatusRequestEntityTooLarge, "the body is over 256 KiB")
	case errors.As(err, &full):
		return &Refusal{Status: http.StatusInsufficientStorage, Reason: full.What, RetryAfter: max(1, int(full.RetryAfter.Seconds()))}
	case errors.Is(err, control.ErrBusy):
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: err.Error(), RetryAfter: 1}
	case errors.Is(err, storage.ErrClosed), errors.Is(err, sidehook.ErrStopping):
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: "control plane is stopping", RetryAfter: 1}
	case ctx.Err() != nil:
		return &Refusal{Status: http.StatusServiceUnavailable, Reason: "request was cancelled", RetryAfter: 1}
	}
	log.ErrorContext(ctx, "request failed", "error", err)
	return Refuse(http.StatusInternalServerError, "something is wrong in the control plane; its log says what")
}

// RefusalFor is RefusalOf for a request under way; it tells the client when to try again.
func RefusalFor(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) *Refusal {
	refused := RefusalOf(r.Context(), log, err)
	if refused.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(refused.RetryAfter))
	}
	return refused
}

// AppOf returns the app that a token is for: paths of the dialects name none, so it takes an app token.
func AppOf(t *control.Token) (string, error) {
	if t.Kind != control.TokenApp || len(t.Apps) != 1 {
		return "", Refuse(http.StatusForbidden, "a token of the kind "+string(t.Kind)+" does not say which app is meant; use an app token")
	}
	return t.Apps[0], nil
}
