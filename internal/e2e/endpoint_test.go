package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sidehook/sidehook"
)

// endpoint is a receiver that keeps a ledger. It checks every request with the published Go library.
type endpoint struct {
	name   string
	url    string
	secret sidehook.Key

	// answer, when set, decides what a request gets; 0 breaks the connection off. It is called with mu held.
	answer func(*http.Request) int

	mu       sync.Mutex
	verifier *standardwebhooks.Webhook
	arrivals map[string]*arrival // by webhook-id
	captures []capture           // the first ones
	instead  http.Handler
	last     capture
	wrong    []string
}

// arrival is what came for one event.
type arrival struct {
	body     [sha256.Size]byte
	delivery string
	accepted int // requests answered with 2xx
	refused  int
}

const maxCaptures = 16

// capture is a request as it came.
type capture struct {
	header http.Header
	body   []byte
}

func newEndpoint(t *testing.T, name string) *endpoint {
	t.Helper()
	e := &endpoint{name: name, arrivals: map[string]*arrival{}}
	e.useSecret(t, sidehook.NewKey())
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	e.url = srv.URL + "/in"
	return e
}

func (e *endpoint) useSecret(t *testing.T, key sidehook.Key) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.secret, e.verifier = key, v
}

// hang has a handler take the requests instead of the ledger; nil for the ledger again.
func (e *endpoint) hang(h http.Handler) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instead = h
}

// ServeHTTP takes a delivery.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	instead := e.instead
	e.mu.Unlock()
	if instead != nil {
		instead.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender died in the middle
	}
	status := e.take(r, body)
	if status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
}

func (e *endpoint) take(r *http.Request, body []byte) (status int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	status = http.StatusNoContent
	if e.answer != nil {
		status = e.answer(r)
	}
	e.last = capture{r.Header.Clone(), body}
	if len(e.captures) < maxCaptures {
		e.captures = append(e.captures, e.last)
	}
	if err := e.verifier.Verify(body, r.Header); err != nil {
		e.complain("a signature does not hold: %v", err)
	}
	id := r.Header.Get("Webhook-Id")
	var envelope struct{ Data struct{ N string } }
	if err := json.Unmarshal(body, &envelope); err != nil || envelope.Data.N != id {
		e.complain("webhook-id %q came with the body %.200q", id, body)
	}
	a := e.arrivals[id]
	if a == nil {
		a = &arrival{body: sha256.Sum256(body), delivery: r.Header.Get("Sidehook-Delivery")}
		e.arrivals[id] = a
	}
	if a.body != sha256.Sum256(body) {
		e.complain("%s came again with another body: %.200q", id, body)
	}
	if d := r.Header.Get("Sidehook-Delivery"); d != a.delivery || d == "" {
		e.complain("%s came as delivery %q and as %q", id, a.delivery, d)
	}
	if status/100 == 2 {
		a.accepted++
	} else {
		a.refused++
	}
	return status
}

func (e *endpoint) complain(format string, args ...any) {
	if len(e.wrong) < 10 {
		e.wrong = append(e.wrong, e.name+": "+fmt.Sprintf(format, args...))
	}
}

// check fails the test when a request was not as it must be.
func (e *endpoint) check(t *testing.T) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.wrong {
		t.Error(w)
	}
}

// of returns what came for an event.
func (e *endpoint) of(id string) arrival {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a := e.arrivals[id]; a != nil {
		return *a
	}
	return arrival{}
}

// awaitArrival waits until the endpoint has accepted each event.
func (e *endpoint) awaitArrival(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		await(t, id+" arrives at "+e.name, func() error {
			if a := e.of(id); a.accepted == 0 {
				return fmt.Errorf("%d requests came, none accepted", a.refused)
			}
			return nil
		})
	}
	e.check(t)
}

// first returns the requests that came first.
func (e *endpoint) first() []capture {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.captures)
}

// captured is the newest request.
func (e *endpoint) captured() capture {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}
