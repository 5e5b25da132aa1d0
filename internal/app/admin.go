package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/storage"
)

// serveAdmin opens the admin endpoint, which stays open until everything else has stopped accepting, so that a drain
// can be watched.
func (s *Sidecar) serveAdmin(context.Context) error {
	if config.Off(s.cfg.Listen.Admin) {
		return nil
	}
	lis, err := net.Listen("tcp", s.cfg.Listen.Admin)
	if err != nil {
		return fmt.Errorf("listen.admin: %w", err)
	}
	s.Addrs.Admin = lis.Addr().String()
	serveHTTP(&s.parts, "admin", lis, newHTTPServer(s.adminHandler()), s.fail)
	return nil
}

// newHTTPServer bounds what a client can hold of this process.
func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
}

// serveHTTP serves on lis until parts stop it; stopping waits for the requests under way.
func serveHTTP(parts *stack, name string, lis net.Listener, srv *http.Server, failed func(error)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serve %s on %s: %w", name, lis.Addr(), err))
		}
	}()
	parts.add(name, func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, srv.Close())
		}
		<-done
		return err
	})
}

// adminHandler answers operators and probes on this host. It has no login: it listens on loopback, refuses names that
// are not of this host (a browser led astray by DNS), and changes anything by POST only.
func (s *Sidecar) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.adminIndex)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, 200, map[string]any{"live": true}) })
	mux.HandleFunc("GET /ready", s.adminReady)
	mux.Handle("GET /metrics", s.metrics.handler())
	mux.HandleFunc("GET /config_dump", s.adminConfig)
	mux.HandleFunc("GET /webhooks", s.adminWebhooks)
	mux.HandleFunc("GET /transformers", s.adminTransformers)
	mux.HandleFunc("GET /deliveries", s.adminDeliveries)
	mux.HandleFunc("GET /deliveries/{id}", s.adminDelivery)
	mux.HandleFunc("POST /drain", s.adminDrain)
	mux.HandleFunc("POST /quitquitquit", s.adminQuit)
	return localOnly(mux)
}

// localOnly refuses requests whose Host is a name other than localhost: those of a page that had its name resolve to
// this host.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if host, _, err := net.SplitHostPort(name); err == nil {
			name = host
		}
		name = strings.Trim(name, "[]")
		if _, err := netip.ParseAddr(name); err != nil && !strings.EqualFold(name, "localhost") {
			writeProblem(w, http.StatusMisdirectedRequest, "Host must be an address or localhost")
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); r.Method == http.MethodPost && site != "" && site != "same-origin" && site != "none" {
			writeProblem(w, http.StatusForbidden, "requests from another site are refused")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Sidecar) adminIndex(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, `sidehook sidecar %s, version %s

GET  /live              the process runs
GET  /ready             200 when it has configuration and takes events, else 503 with the reason
GET  /metrics           for Prometheus
GET  /config_dump       configuration in use, and what was refused; secrets are not shown
GET  /webhooks          how deliveries to each webhook go
GET  /transformers      the transformer processes
GET  /deliveries        newest first; ?app= &webhook= &state= &type= &limit= &cursor=
GET  /deliveries/{id}   one delivery with its attempts
POST /drain             take no more events, go on delivering
POST /quitquitquit      stop
`, s.id, Version())
}

// readiness says whether the sidecar is ready, and why not.
func (s *Sidecar) readiness() (bool, string) {
	switch {
	case s.draining.Load():
		return false, "draining"
	case s.engine == nil || !s.engine.Ready():
		return false, "no configuration yet: events are accepted and held"
	}
	return true, ""
}

// stale says whether the configuration in use came from disk. The engine is asked, not the source of configuration,
// which notes what was applied a little after the engine has it: ready and stale must not contradict each other.
func (s *Sidecar) stale() bool {
	snap := s.engine.Snapshot()
	return snap != nil && snap.Stale
}

func (s *Sidecar) adminReady(w http.ResponseWriter, _ *http.Request) {
	ready, reason := s.readiness()
	st := s.source.status()
	body := map[string]any{
		"ready": ready, "stale": s.stale(), "connected": st.Connected, "pending": s.store.Stats().Pending,
	}
	status := http.StatusOK
	if !ready {
		status, body["reason"] = http.StatusServiceUnavailable, reason
	}
	writeJSON(w, status, body)
}

func (s *Sidecar) adminConfig(w http.ResponseWriter, _ *http.Request) {
	dump := map[string]any{"source": dumpSource(s.source)}
	if snap := s.engine.Snapshot(); snap != nil {
		dump["version"], dump["stale"] = snap.Version, snap.Stale
		webhooks := []any{}
		for _, wh := range snap.Webhooks() {
			secrets := []any{}
			for _, sec := range wh.Secrets {
				secrets = append(secrets, map[string]any{
					"id": sec.ID, "key": sec.Key, "kind": sec.Key.Kind(), "not_before": optionalTime(sec.NotBefore), "not_after": optionalTime(sec.NotAfter),
				})
			}
			headers := []any{}
			for _, h := range wh.Headers { // values may be credentials
				headers = append(headers, map[string]any{"key": h.Key, "value": "[redacted]"})
			}
			webhooks = append(webhooks, map[string]any{
				"app": wh.App, "id": wh.ID, "name": wh.Name, "url": wh.URL, "events": wh.Events, "status": wh.Status,
				"disabled_reason": wh.DisabledReason, "automatic_retry": wh.AutomaticRetry, "format": wh.Format,
				"signing":     signingDump(wh.Webhook),
				"transformer": wh.Transformer, "timeout": wh.Timeout.String(), "headers": headers, "secrets": secrets,
			})
		}
		dump["apps"], dump["webhooks"] = snap.Apps(), webhooks
	}
	writeJSON(w, 200, dump)
}

// signingDump shows the scheme in force, and what is set of the rest; none of it is secret.
func signingDump(w *sidehook.Webhook) map[string]any {
	dump := map[string]any{"scheme": w.Scheme()}
	for name, value := range map[string]string{
		"algorithm": w.Signing.Algorithm, "encoding": w.Signing.Encoding, "header": w.Signing.Header,
		"prefix": w.Signing.Prefix, "template": w.Signing.Template, "timestamp_header": w.Signing.TimestampHeader,
	} {
		if value != "" {
			dump[name] = value
		}
	}
	return dump
}

func (s *Sidecar) adminWebhooks(w http.ResponseWriter, _ *http.Request) {
	all := []any{}
	for _, st := range s.engine.Webhooks() {
		all = append(all, map[string]any{
			"app": st.Key.App, "id": st.Key.ID, "phase": st.Phase, "reason": st.Reason, "in_flight": st.InFlight,
			"limit": st.Limit, "in_memory": st.InMemory, "next_due": optionalTime(st.NextDue),
			"failures_in_a_row": st.Trouble, "last_status": st.LastStatus, "last_error": st.LastError,
		})
	}
	writeJSON(w, 200, map[string]any{"data": all})
}

func (s *Sidecar) adminTransformers(w http.ResponseWriter, _ *http.Request) {
	all := []any{}
	for _, st := range s.plugins.Status() {
		all = append(all, map[string]any{
			"name": st.Name, "state": st.State, "since": optionalTime(st.Since), "pid": st.PID,
			"reported_name": st.ReportedName, "version": st.Version, "description": st.Description,
			"restarts": st.Restarts, "failures_in_a_row": st.Failures, "crash_looping": st.CrashLooping,
			"next_start": optionalTime(st.NextStart), "last_error": st.LastError,
			"last_error_at": optionalTime(st.LastErrorAt), "rss_bytes": st.RSS, "calls": st.Calls,
			"transformed": st.Transformed, "dropped": st.Dropped, "failed": st.Failed, "unavailable": st.Unavailable,
			"timeouts": st.Timeouts, "waiting": st.Waiting, "under_way": st.UnderWay,
		})
	}
	writeJSON(w, 200, map[string]any{"data": all})
}

func (s *Sidecar) adminDeliveries(w http.ResponseWriter, r *http.Request) {
	q, err := deliveryQuery(r)
	if err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return
	}
	page, err := s.store.Deliveries(r.Context(), q)
	if err != nil {
		s.adminError(w, err)
		return
	}
	list := []any{}
	for i := range page.Deliveries {
		list = append(list, deliveryJSON(&page.Deliveries[i]))
	}
	writeJSON(w, 200, map[string]any{"data": list, "next_cursor": page.Next})
}

func deliveryQuery(r *http.Request) (storage.Query, error) {
	v := r.URL.Query()
	q := storage.Query{App: v.Get("app"), Webhook: v.Get("webhook"), Type: v.Get("type"), Cursor: v.Get("cursor")}
	if text := v.Get("state"); text != "" {
		for _, st := range []sidehook.DeliveryState{sidehook.Pending, sidehook.Delivered, sidehook.Dead, sidehook.Dropped} {
			if st.String() == text {
				q.State = &st
			}
		}
		if q.State == nil {
			return q, sidehook.Fieldf("state", "must be pending, delivered, dead or dropped")
		}
	}
	if text := v.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > storage.MaxLimit {
			return q, sidehook.Fieldf("limit", "must be 1 to %d", storage.MaxLimit)
		}
		q.Limit = n
	}
	return q, nil
}

func (s *Sidecar) adminDelivery(w http.ResponseWriter, r *http.Request) {
	id, err := sidehook.ParseDeliveryID(r.PathValue("id"))
	if err != nil {
		writeProblem(w, http.StatusBadRequest, err.Error())
		return
	}
	d, err := s.store.Delivery(r.Context(), id)
	if err != nil {
		s.adminError(w, err)
		return
	}
	writeJSON(w, 200, deliveryJSON(d))
}

func deliveryJSON(d *storage.DeliveryInfo) map[string]any {
	attempts := []any{}
	for _, a := range d.Attempts {
		headers := map[string]string{}
		for _, h := range a.RequestHeaders {
			headers[h.Key] = h.Value
		}
		attempts = append(attempts, map[string]any{
			"number": a.Number, "at": a.At.UTC(), "latency_ms": float64(a.Latency.Microseconds()) / 1000, "url": a.URL,
			"request_headers": headers, "status": a.Status, "response": string(a.Response), "error": a.Error,
			"outcome": a.Outcome.Kind.String(), "retry_at": optionalTime(a.Outcome.RetryAt),
		})
	}
	return map[string]any{
		"id": d.ID.String(), "app": d.Webhook.App, "webhook": d.Webhook.ID, "event_id": d.EventID,
		"event_type": d.EventType, "accepted_at": d.AcceptedAt.UTC(), "state": d.State.String(),
		"next_attempt": optionalTime(d.NextAttempt), "attempt_count": d.AttemptCount, "attempts": attempts,
	}
}

func (s *Sidecar) adminError(w http.ResponseWriter, err error) {
	var fe *sidehook.FieldError
	switch {
	case errors.Is(err, sidehook.ErrNotFound):
		writeProblem(w, http.StatusNotFound, "no such delivery in the history")
	case errors.As(err, &fe):
		writeProblem(w, http.StatusBadRequest, err.Error())
	default:
		s.log.Error("admin query failed", "err", err)
		writeProblem(w, http.StatusInternalServerError, "the store could not answer; see the log")
	}
}

func (s *Sidecar) adminDrain(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusAccepted, map[string]any{"draining": true, "pending": s.drain()})
}

func (s *Sidecar) adminQuit(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusAccepted, map[string]any{"stopping": true})
	s.fail(nil)
}

func optionalTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(body) // the reader has gone; nobody is left to tell
}

// writeProblem answers RFC 9457.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
