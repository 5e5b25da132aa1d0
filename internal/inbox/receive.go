package inbox

import (
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
	b.log.Debug("arrival", "bin", name, "id", a.ID, "webhook_id", a.WebhookID(), "ok", a.Verdict.OK, "answered", a.Answered)
	if !pause(r, settings.delay) {
		return
	}
	answer(w, a, settings)
}

// take decides how the arrival is answered and keeps it.
func (b *Inbox) take(name string, a *Arrival, body []byte, headers http.Header) Settings {
	b.mu.Lock()
	secrets := b.ensure(name).settings.Secrets
	b.mu.Unlock()
	a.Verdict = verify(secrets, body, headers) // may take a while for a large body

	b.mu.Lock()
	defer b.mu.Unlock()
	bn := b.ensure(name)
	a.Answered = http.StatusOK
	if bn.settings.FailFirst < 0 || bn.failed < bn.settings.FailFirst {
		bn.failed++
		a.Answered = bn.settings.Status
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

// pause waits; false: the sender gave up meanwhile.
func pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func answer(w http.ResponseWriter, a *Arrival, s Settings) {
	if a.Answered == http.StatusOK {
		writeJSON(w, http.StatusOK, map[string]any{"received": a.ID, "verified": a.Verdict.OK})
		return
	}
	if s.RetryAfter != "" {
		w.Header().Set("Retry-After", s.RetryAfter)
	}
	writeError(w, a.Answered, "", "this bin is set to fail")
}
