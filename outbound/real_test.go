package outbound_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// real is an engine with a store on disk and a receiver behind a socket.
type real struct {
	*testing.T
	engine *outbound.Engine
	store  *badgerstore.Store
	url    string
	// recorded gets a value after each attempt; it has room for all that a test makes.
	recorded chan sidehook.Attempt

	mu     sync.Mutex
	got    []arrival
	answer func(w http.ResponseWriter, r *http.Request)
}

// arrival is a request that the receiver got.
type arrival struct {
	path, body string
	headers    http.Header
}

func newReal(t *testing.T) *real {
	r := &real{T: t, recorded: make(chan sidehook.Attempt, 100)}
	server := httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(server.Close)
	r.url = server.URL
	client := send.New(send.Options{Guard: send.NewGuard(send.GuardOptions{AllowLoopback: true})})
	t.Cleanup(func() { client.Close() })
	var err error
	if r.store, err = badgerstore.Open(t.TempDir(), badgerstore.Options{MinFreeBytes: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	r.engine = outbound.New(outbound.Options{
		Store: r.store, Sender: client, LocalApps: []string{"demo"},
		Observe: func(_ sidehook.WebhookKey, a *sidehook.Attempt) { r.recorded <- *a },
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.engine.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if err := r.engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *real) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.Error(err)
	}
	r.mu.Lock()
	r.got = append(r.got, arrival{req.URL.Path, string(body), req.Header.Clone()})
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, req)
	}
}

// answers sets what the receiver does.
func (r *real) answers(f func(w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func status(code int) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func (r *real) arrivals() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]arrival(nil), r.got...)
}

// webhook makes one that posts to the receiver.
func (r *real) webhook(id string, change ...func(*sidehook.Webhook)) *sidehook.Webhook {
	w := webhook(id, change...)
	w.URL = r.url + "/" + id
	return w
}

func (r *real) apply(webhooks ...*sidehook.Webhook) {
	r.Helper()
	k := kit{t: r.T, engine: r.engine}
	k.apply(webhooks...)
}

func (r *real) publish(events ...*sidehook.Event) {
	r.Helper()
	k := kit{t: r.T, engine: r.engine}
	k.publish(events...)
}

func (r *real) delivery(id sidehook.DeliveryID) *storage.DeliveryInfo {
	r.Helper()
	if err := r.store.Flush(r.Context()); err != nil {
		r.Fatal(err)
	}
	d, err := r.store.Delivery(r.Context(), id)
	if err != nil {
		r.Fatal(err)
	}
	return d
}

// awaitAttempt waits until an attempt was recorded.
func (r *real) awaitAttempt() sidehook.Attempt {
	r.Helper()
	select {
	case a := <-r.recorded:
		return a
	case <-time.After(20 * time.Second):
		r.Fatal("no attempt")
		return sidehook.Attempt{}
	}
}

func key(id string) sidehook.WebhookKey { return sidehook.WebhookKey{App: "demo", ID: id} }

// testEvent makes one as the control plane does.
func testEvent(id string) *sidehook.Event {
	e := event(id, "person.created")
	e.Source = "/sidehook/test"
	return e
}
