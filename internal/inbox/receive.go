package inbox

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// receive takes an arrival, keeps it, and answers as the bin's settings say.
func (b *Inbox) receive(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("bin")
	if !validBin(w, name) {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			writeError(w, http.StatusRequestEntityTooLarge, "body", "is over 1 MiB")
			return
		}
		writeError(w, http.StatusBadRequest, "body", "could not be read to its end")
		return
	}
	a := newArrival(r, body, b.now())
	settings := b.take(name, a, body, r.Header)
	b.log.Debug("arrival", "bin", name, "id", a.ID, "webhook_id", a.WebhookID(), "verdict", a.Verdict.Code, "answered", a.Answered)
	if settings.delay > 0 && !a.Busy && !b.pause(r.Context(), settings.delay) {
		return
	}
	answer(w, a, &settings)
}

// take decides how the arrival is answered and keeps it. When the answer is delayed, a place among those who wait is
// taken, which pause gives back.
func (b *Inbox) take(name string, a *Arrival, body []byte, headers http.Header) Settings {
	b.mu.Lock()
	settings := b.ensure(name).settings // validated settings are never written to
	b.mu.Unlock()
	a.Verdict = settings.verify(request{body: body, headers: headers, at: a.At}) // may take a while for a large body

	b.mu.Lock()
	defer b.mu.Unlock()
	bn := b.ensure(name)
	a.Answered = bn.settings.Status
	switch {
	case bn.settings.delay > 0 && b.waiting >= MaxWaiting:
		a.Answered, a.Busy = http.StatusServiceUnavailable, true
	case bn.settings.FailFirst < 0 || bn.failed < bn.settings.FailFirst:
		bn.failed++
		a.Answered = bn.settings.FailStatus
	}
	if bn.settings.delay > 0 && !a.Busy {
		b.waiting++
	}
	b.keep(bn, a)
	return bn.settings
}

func newArrival(r *http.Request, body []byte, at time.Time) *Arrival {
	a := &Arrival{At: at.UTC(), Method: r.Method, Path: cut(r.URL.RequestURI(), maxHeaderText), BodySize: len(body)}
	kept := body
	if len(kept) > MaxKeptBody {
		kept, a.Truncated = kept[:MaxKeptBody], true
	}
	a.Body = strings.ToValidUTF8(string(kept), "\uFFFD")
	a.size = len(a.Body) + len(a.Path) + 512
	a.Headers = http.Header{}
	room := maxHeaderText
	for key, values := range r.Header {
		for _, v := range values {
			if room -= len(key) + len(v); room < 0 {
				a.Headers["Sidehook-Inbox"] = []string{"further headers were left out"}
				break
			}
			a.Headers[key] = append(a.Headers[key], strings.ToValidUTF8(v, "\uFFFD"))
			a.size += len(key) + len(v) + 64
		}
	}
	return a
}

func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// pause waits in the place that take took; false: the sender gave up meanwhile. A closed inbox waits no longer.
func (b *Inbox) pause(ctx context.Context, d time.Duration) bool {
	defer func() {
		b.mu.Lock()
		b.waiting--
		b.mu.Unlock()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.closing:
	case <-ctx.Done():
		return false
	}
	return true
}

// answer writes the response. It shares its origin with the pages, so a browser is told to treat it as foreign whatever
// body the settings give it.
func answer(w http.ResponseWriter, a *Arrival, s *Settings) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	switch {
	case a.Busy:
		w.Header().Set("Retry-After", "1")
		writeError(w, a.Answered, "", "too many requests wait for their delay already")
		return
	case a.Answered >= 300 && s.RetryAfter != "":
		w.Header().Set("Retry-After", s.RetryAfter)
	}
	switch {
	case a.Answered == http.StatusNoContent || a.Answered == http.StatusNotModified:
		w.WriteHeader(a.Answered) // these have no body
	case s.Body != "":
		h := w.Header()
		h.Set("Content-Type", cmp.Or(s.ContentType, defaultContentType))
		h.Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(a.Answered)
		_, _ = io.WriteString(w, s.Body) // fails only when the sender has gone
	case a.Answered < 300:
		writeJSON(w, a.Answered, map[string]any{"received": a.ID, "verified": a.Verdict.OK})
	default:
		writeError(w, a.Answered, "", "this bin is set to answer so")
	}
}
