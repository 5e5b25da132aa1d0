package outbound_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
)

// An answer that breaks off is a failure whatever its status, also one that would end the delivery or the webhook. The
// attempt has its status and what came of its body, and its Retry-After counts.
func TestAnswersThatBreakOff(t *testing.T) {
	for _, code := range []int{http.StatusOK, http.StatusGone, http.StatusNotFound, http.StatusServiceUnavailable} {
		r := newReal(t)
		r.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Header().Set("Retry-After", "3000")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "so far")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		r.apply(r.webhook("w"))
		r.publish(event("evt_1", "person.created"))
		a := r.awaitAttempt()
		if a.Status != code || string(a.Response) != "so far" || !strings.HasSuffix(a.Error, " by the receiver while reading the response body") ||
			a.Outcome.Kind != sidehook.OutcomeRetry || a.Outcome.RetryAt.Sub(a.At) < 3000*time.Second {
			t.Errorf("%d: recorded as %d %q %q, %s at %s", code, a.Status, a.Response, a.Error, a.Outcome.Kind, a.Outcome.RetryAt)
		}
	}
}
