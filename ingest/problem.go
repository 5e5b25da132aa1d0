package ingest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
)

// problem is an error over HTTP (RFC 9457, application/problem+json).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Errors names the fields at fault.
	Errors []problemField `json:"errors,omitempty"`

	retryAfter time.Duration
}

type problemField struct {
	// Field as the publisher wrote it: `type`, or `events[3].type` in a batch.
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

func newProblem(status int, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail}
}

// problem is the refusal over HTTP. A full queue is 503, not 429: it is the sidecar that is short of room, not this
// publisher that sent too often.
func (r *refusal) problem() *problem {
	p := newProblem(r.httpStatus(), r.message)
	p.retryAfter = r.retryAfter
	if r.code == codes.Unavailable {
		p.retryAfter = defaultRetryAfter
	}
	if r.field != "" {
		field := cloudEventsField(r.field)
		p.Detail = field + ": " + r.reason
		p.Errors = []problemField{{Field: field, Detail: r.reason}}
	}
	return p
}

// statusClientClosedRequest is what proxies log for a client that gave up; nobody is there to read it.
const statusClientClosedRequest = 499

func (r *refusal) httpStatus() int {
	switch r.code {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.NotFound:
		return http.StatusNotFound
	case codes.ResourceExhausted:
		if r.retryAfter > 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusRequestEntityTooLarge
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Canceled:
		return statusClientClosedRequest
	}
	return http.StatusInternalServerError
}

func (p *problem) write(w http.ResponseWriter) {
	if p.retryAfter > 0 {
		seconds := max(1, int64((p.retryAfter+time.Second-1)/time.Second))
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers v. A failure to write means that the client has gone.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
