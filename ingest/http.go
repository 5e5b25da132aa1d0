package ingest

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sidehook/sidehook"
)

// EventsPath is where CloudEvents are posted.
const EventsPath = "/v1/events"

const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
)

// NewHTTP makes the HTTP server of s, with the limits that a door needs. Serve it, and stop it with Shutdown after
// Server.Stop.
func NewHTTP(s *Server) *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
}

// Handler answers POST /v1/events: CloudEvents 1.0, structured, binary or batch. The extension attributes app and
// orderingkey become the event's App and OrderingKey.
//
// Success is 200, not 202, since the answer means durable: {"results":[{"id","disposition","deliveries"}]}, a result
// for each event in order. Errors are application/problem+json: 400 names the field, 403 cross-origin, 404 unknown app,
// 405, 413 too large, 415 not CloudEvents, 421 wrong Host, 503 with Retry-After when the queue is full or the sidecar
// is stopping.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(EventsPath, s.handleEvents)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusNotFound, "there is nothing here; post CloudEvents to "+EventsPath).write(w)
	})
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.hostAllowed(r) {
			newProblem(http.StatusMisdirectedRequest, "the Host header must be a loopback name or address, or one that is configured").write(w)
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			newProblem(http.StatusForbidden, "web pages of other origins may not publish").write(w)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type httpAnswer struct {
	Results []httpResult `json:"results"`
}

type httpResult struct {
	ID          string `json:"id"`
	Disposition string `json:"disposition"`
	Deliveries  int    `json:"deliveries"`
}

func (s *Server) handleEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		newProblem(http.StatusMethodNotAllowed, "CloudEvents are published with POST").write(w)
		return
	}
	body, prob := readBody(w, r)
	if prob != nil {
		prob.write(w)
		return
	}
	events, single, err := parseCloudEvents(r.Header, body)
	if err != nil {
		s.problemOf(err).write(w)
		return
	}
	ids := idsOf(events)
	results, refused := s.publish(r.Context(), events, single)
	if refused != nil {
		refused.problem().write(w)
		return
	}
	answer := httpAnswer{Results: make([]httpResult, len(results))}
	for i, res := range results {
		answer.Results[i] = httpResult{ids[i], res.Disposition.String(), res.Deliveries}
	}
	writeJSON(w, http.StatusOK, "application/json", answer)
}

// problemOf tells what is no CloudEvent at all from a CloudEvent with a bad field.
func (s *Server) problemOf(err error) *problem {
	var media *mediaError
	if errors.As(err, &media) {
		s.opts.Metrics.Refused.Invalid.Add(1)
		return newProblem(http.StatusUnsupportedMediaType, media.Error())
	}
	return s.refuse(err).problem()
}

// readBody reads the body within MaxRequestBytes.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *problem) {
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "send the body without Content-Encoding")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequestBytes))
	if err == nil {
		return body, nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, refusalOf(&fieldError{"body", sidehook.ErrTooLarge}).problem()
	}
	return nil, newProblem(http.StatusBadRequest, "the body could not be read to its end")
}
