package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

var errForbidden = errors.New("this token is not for that")

// fields of the service's errors that come from the path.
var pathFields = map[string]bool{"app": true, "id": true, "type": true}

// problem turns an error of the service into a problem. place is where its fields come from: body or query.
func (h *rest) problem(ctx context.Context, err error, place string) error {
	var field *sidehook.FieldError
	var conflict *ConflictError
	var full *sidehook.FullError
	var sidecar *SidecarError
	switch {
	case errors.As(err, &field):
		return newProblem(http.StatusUnprocessableEntity, field.Error(), field.Field, field.Reason, place)
	case errors.As(err, &conflict):
		return newProblem(http.StatusConflict, conflict.Error(), conflict.Field, conflict.Reason, place)
	case errors.Is(err, sidehook.ErrNotFound):
		return newProblem(http.StatusNotFound, err.Error(), "", "", "")
	case errors.Is(err, ErrUnauthenticated):
		p := newProblem(http.StatusUnauthorized, "send a token: Authorization: Bearer "+TokenPrefix+"…", "", "", "")
		return huma.ErrorWithHeaders(p, http.Header{"WWW-Authenticate": {`Bearer realm="sidehook"`}})
	case errors.Is(err, errForbidden):
		return newProblem(http.StatusForbidden, err.Error(), "", "", "")
	case errors.As(err, &full):
		return later(http.StatusInsufficientStorage, full.What, int(full.RetryAfter.Seconds()))
	case errors.Is(err, ErrBusy):
		return later(http.StatusServiceUnavailable, err.Error(), 1)
	case errors.Is(err, storage.ErrClosed), errors.Is(err, sidehook.ErrStopping):
		return later(http.StatusServiceUnavailable, "control plane is stopping", 1)
	case errors.Is(err, ErrNoSidecar):
		return later(http.StatusServiceUnavailable, noSidecarDetail(err), 5)
	case errors.Is(err, ErrWebhookDisabled), errors.Is(err, ErrSidecarRefused):
		return newProblem(http.StatusConflict, err.Error(), "", "", "")
	case errors.Is(err, ErrSidecarSlow):
		return newProblem(http.StatusGatewayTimeout, err.Error(), "", "", "")
	case errors.As(err, &sidecar):
		return newProblem(http.StatusBadGateway, err.Error(), "", "", "")
	case ctx.Err() != nil:
		return later(http.StatusServiceUnavailable, "request was cancelled", 1)
	}
	h.log.ErrorContext(ctx, "request failed", "error", err)
	return newProblem(http.StatusInternalServerError, "something is wrong in the control plane; its log says what", "", "", "")
}

// noSidecarDetail says how there comes to be one.
func noSidecarDetail(err error) string {
	var none *noSidecarError
	if !errors.As(err, &none) {
		return err.Error()
	}
	return fmt.Sprintf("%s; make a token (sidehook token create --kind sidecar --app %s) and start one with it "+
		"(sidehook sidecar --config FILE), or try sidehook dev", err, none.app)
}

func newProblem(code int, detail, field, reason, place string) *huma.ErrorModel {
	p := &huma.ErrorModel{Status: code, Title: http.StatusText(code), Detail: detail}
	if field != "" {
		if pathFields[field] {
			place = "path"
		}
		p.Errors = []*huma.ErrorDetail{{Message: reason, Location: place + "." + field}}
	}
	return p
}

func later(code int, detail string, seconds int) error {
	return huma.ErrorWithHeaders(newProblem(code, detail, "", "", ""),
		http.Header{"Retry-After": {strconv.Itoa(max(1, seconds))}})
}

// plainProblems rewords what huma says about malformed input, so that it names the field, and takes out the values,
// which can be secret.
func plainProblems(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	for _, e := range p.Errors {
		if e == nil {
			continue
		}
		e.Value = nil
		e.Location, e.Message = plainDetail(e.Location, e.Message)
	}
	if p.Detail == "validation failed" && len(p.Errors) > 0 && p.Errors[0] != nil {
		_, field, _ := strings.Cut(p.Errors[0].Location, ".")
		p.Detail = strings.TrimPrefix(field+": "+p.Errors[0].Message, ": ")
	}
	return p, nil
}

func plainDetail(location, message string) (string, string) {
	if rest, ok := strings.CutPrefix(message, "expected required property "); ok {
		if name, ok := strings.CutSuffix(rest, " to be present"); ok {
			return location + "." + name, "is required"
		}
	}
	for _, r := range reworded {
		if rest, ok := strings.CutPrefix(message, r.begins); ok {
			return location, strings.ReplaceAll(r.says, "{}", strings.Trim(rest, `"`))
		}
	}
	if rest, ok := strings.CutPrefix(message, "expected "); ok {
		return location, "must be " + article(rest)
	}
	return location, message
}

// reworded are huma's messages, by how they begin, that do not read well after the name of a field, and what is said
// instead: {} stands for what follows the beginning.
var reworded = []struct{ begins, says string }{
	{"unexpected property", "is not a known field"},
	{"unknown query parameter", "is not a known parameter"},
	{"expected value to be one of ", "must be one of {}"},
	{"expected number >= ", "must be at least {}"},
	{"expected number <= ", "must be at most {}"},
	{"expected array length >= ", "must have at least {} entries"},
	{"expected array length <= ", "must have at most {} entries"},
	{"expected length >= ", "must have at least {} characters"},
	{"expected length <= ", "must have at most {} characters"},
	{"expected string to match pattern ", "must match {}"},
	{"expected string to be RFC 3339 date-time", sayTime},
	{"invalid date/time", sayTime},
	{"invalid integer", "must be an integer"},
	{"invalid float", "must be a number"},
	{"invalid boolean", "must be true or false"},
}

const sayTime = "must be a time such as 2026-01-31T15:04:05Z"

// article puts "a" or "an" before the name of a type.
func article(s string) string {
	switch s {
	case "string", "boolean", "number":
		return "a " + s
	case "array", "object", "integer":
		return "an " + s
	}
	return s
}

// refuse writes the problem of an error outside an operation.
func (h *rest) refuse(w http.ResponseWriter, r *http.Request, err error) {
	err = h.problem(r.Context(), err, "")
	var headers huma.HeadersError
	if errors.As(err, &headers) {
		for key, values := range headers.GetHeaders() {
			for _, v := range values {
				w.Header().Add(key, v)
			}
		}
	}
	var p *huma.ErrorModel
	if errors.As(err, &p) {
		writeProblem(w, p)
	}
}

// unrouted turns what ServeMux answers without a matching pattern into a problem.
func (h *rest) unrouted(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	probe := &statusProbe{header: make(http.Header), code: http.StatusOK}
	handler.ServeHTTP(probe, r)
	detail := "there is nothing at this path; /openapi.json lists what there is"
	if probe.code == http.StatusMethodNotAllowed {
		w.Header()["Allow"] = probe.header["Allow"]
		detail = "this path takes " + probe.header.Get("Allow")
	} else {
		probe.code = http.StatusNotFound
	}
	writeProblem(w, newProblem(probe.code, detail, "", "", ""))
}

// statusProbe is a ResponseWriter that keeps the status and headers only.
type statusProbe struct {
	header http.Header
	code   int
}

func (p *statusProbe) Header() http.Header         { return p.header }
func (p *statusProbe) WriteHeader(code int)        { p.code = code }
func (p *statusProbe) Write(b []byte) (int, error) { return len(b), nil }

func writeProblem(w http.ResponseWriter, p *huma.ErrorModel) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}
