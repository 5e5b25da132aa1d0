package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

func TestATestEventGoesToOneWebhookAloneThroughTheWholePath(t *testing.T) {
	r := newReal(t)
	r.apply(
		r.webhook("a", func(w *sidehook.Webhook) { w.Events = []string{"company.*"} }), // not person.created
		r.webhook("b"),
	)
	sent, err := r.engine.SendTest(t.Context(), key("a"), testEvent("test_1"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	got := r.arrivals()
	if len(got) != 1 || got[0].path != "/a" {
		t.Fatalf("arrived: %+v", got)
	}
	if sent.Request == nil || string(sent.Request.Body) != got[0].body || sent.Request.ContentType != "application/json" {
		t.Errorf("the answer has the request %+v, sent was %s", sent.Request, got[0].body)
	}
	if h := got[0].headers; h.Get("webhook-id") != "test_1" || h.Get("sidehook-delivery") != sent.Delivery.String() ||
		!strings.HasPrefix(h.Get("webhook-signature"), "v1,") {
		t.Errorf("headers %v", h)
	}
	if a := sent.Attempt; a.Number != 1 || a.Status != 200 || a.Outcome.Kind != sidehook.OutcomeDelivered {
		t.Errorf("attempt %+v", a)
	}
	d := r.delivery(sent.Delivery)
	if d.State != sidehook.Delivered || len(d.Attempts) != 1 || d.Event.ID != "test_1" || d.Webhook != key("a") {
		t.Errorf("recorded as %+v", d)
	}
	if n := r.store.Stats().Pending; n != 0 {
		t.Errorf("%d pending", n)
	}
	if c := r.engine.Counts(); c.InMemory != 0 || c.Delivered != 1 || c.Accepted != 1 {
		t.Errorf("counts %+v", c)
	}
	if _, err := r.engine.SendTest(t.Context(), key("a"), testEvent("test_1"), time.Time{}); !errors.As(err, new(*sidehook.FieldError)) {
		t.Errorf("the same event again: %v", err)
	}
}

func TestAFailingTestEventIsTriedAgainAndLeftOutOfHealth(t *testing.T) {
	r := newReal(t)
	r.answers(status(500))
	r.apply(r.webhook("again", func(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{time.Second, time.Hour} }),
		r.webhook("once", func(w *sidehook.Webhook) { w.AutomaticRetry = false }))
	again, err := r.engine.SendTest(t.Context(), key("again"), testEvent("test_1"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	once, err := r.engine.SendTest(t.Context(), key("once"), testEvent("test_2"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if a := again.Attempt; a.Outcome.Kind != sidehook.OutcomeRetry || a.Error != "500 Internal Server Error" || again.Request == nil {
		t.Errorf("attempt %+v", a)
	}
	if d := r.delivery(again.Delivery); d.State != sidehook.Pending || d.NextAttempt.IsZero() || d.Saved == nil {
		t.Errorf("delivery %+v", d)
	}
	if d := r.delivery(once.Delivery); d.State != sidehook.Dead {
		t.Errorf("delivery without automatic retry %+v", d)
	}
	r.awaitAttempt()
	r.awaitAttempt()
	if a := r.awaitAttempt(); a.Number != 2 { // from the queue
		t.Errorf("attempt %+v", a)
	}
	if err := r.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	health, _ := r.engine.HealthChanges().Next(10)
	for _, h := range health {
		if h.FailedAttempts != 0 || h.Dead != 0 || !h.LastFailure.IsZero() {
			t.Errorf("test events count in the health of %s: %+v", h.Key, h)
		}
	}
	if got := r.arrivals(); len(got) != 3 || got[0].body != got[2].body {
		t.Errorf("arrived %+v", got)
	}
}

func TestATestEventPassesAnOpenCircuit(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			if s.headers["webhook-id"] == "test_1" {
				return 200, "", nil
			}
			return 0, "", errors.New("connection refused")
		}
		k.apply(webhook("w", slowRetry))
		for i := range 20 {
			k.publish(event(fmt.Sprint("e", i), "a.b"))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		if st := k.engine.Webhooks()[0]; st.Phase != "paused" {
			t.Fatalf("the circuit is not open: %+v", st)
		}
		began := time.Now()
		got, err := k.engine.SendTest(k.t.Context(), key("w"), testEvent("test_1"), time.Time{})
		if err != nil || got.Attempt.Outcome.Kind != sidehook.OutcomeDelivered {
			t.Fatalf("%+v, %v", got, err)
		}
		k.want("waited", time.Since(began), time.Duration(0))
	})
}

func TestATestEventWaitsForItsConfiguration(t *testing.T) {
	bubble(t, func(k *kit) {
		first := time.Now()
		second := first.Add(time.Minute)
		at := func(u time.Time) func(*sidehook.Webhook) { return func(w *sidehook.Webhook) { w.UpdatedAt = u } }
		type end struct {
			got *outbound.TestSent
			err error
		}
		ended := make(chan end, 1)
		begin := func(ctx context.Context, id string) {
			go func() {
				got, err := k.engine.SendTest(ctx, key("w"), testEvent(id), second)
				ended <- end{got, err}
			}()
			synctest.Wait()
			k.want("ended at once", len(ended), 0)
		}
		begin(k.t.Context(), "test_1") // without any configuration
		k.apply(webhook("other"))
		synctest.Wait()
		k.want("ended without the webhook", len(ended), 0)
		k.apply(webhook("w", at(first)))
		synctest.Wait()
		k.want("ended with an old configuration", len(ended), 0)
		k.apply(webhook("w", at(second)))
		if e := <-ended; e.err != nil || e.got.Attempt.Status != 200 {
			t.Errorf("with the configuration: %+v, %v", e.got, e.err)
		}
		k.apply(webhook("w", at(second.Add(time.Hour))))
		if _, err := k.engine.SendTest(k.t.Context(), key("w"), testEvent("test_2"), second); err != nil {
			t.Errorf("with a newer configuration: %v", err)
		}

		k.apply(webhook("w", at(first)))
		ctx, cancel := context.WithTimeout(k.t.Context(), 3*time.Second)
		defer cancel()
		begin(ctx, "test_3")
		if e := <-ended; !errors.Is(e.err, context.DeadlineExceeded) || errors.Is(e.err, sidehook.ErrNotFound) {
			t.Errorf("configuration that does not come: %v", e.err)
		}
		_, err := k.engine.SendTest(ctx, key("none"), testEvent("test_4"), time.Time{})
		if !errors.Is(err, sidehook.ErrNotFound) {
			t.Errorf("unknown webhook: %v", err)
		}
		begin(k.t.Context(), "test_5")
		k.engine.StopAccepting()
		if e := <-ended; !errors.Is(e.err, sidehook.ErrStopping) {
			t.Errorf("stopped meanwhile: %v", e.err)
		}
		k.want("requests", len(k.recv.all()), 2)
	})
}

func TestATestEventThatCannotBeSentIsRefused(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("off", func(w *sidehook.Webhook) { w.Status, w.DisabledReason = sidehook.WebhookDisabled, "by hand" }))
		_, err := k.engine.SendTest(k.t.Context(), key("off"), testEvent("test_1"), time.Time{})
		if !errors.Is(err, outbound.ErrDisabled) || !strings.Contains(err.Error(), "by hand") {
			t.Errorf("disabled: %v", err)
		}
		foreign := testEvent("test_1")
		foreign.App = "elsewhere"
		var fe *sidehook.FieldError
		if _, err := k.engine.SendTest(k.t.Context(), key("off"), foreign, time.Time{}); !errors.As(err, &fe) || fe.Field != "event.app" {
			t.Errorf("an event of another app: %v", err)
		}
		k.want("stored", len(k.deliveries(storage.Query{})), 0)
	})
}

func TestATestEventWaitsWhenItsTransformerIsAway(t *testing.T) {
	r := newReal(t)
	r.apply(r.webhook("w", func(w *sidehook.Webhook) { w.Transformer = "redact" }))
	got, err := r.engine.SendTest(t.Context(), key("w"), testEvent("test_1"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if a := got.Attempt; !strings.Contains(a.Error, "redact is not installed") || a.Outcome.Kind != sidehook.OutcomeRetry || a.Status != 0 {
		t.Errorf("attempt %+v", a)
	}
	if got.Request != nil {
		t.Errorf("there is a request: %s", got.Request.Body)
	}
	if d := r.delivery(got.Delivery); d.State != sidehook.Pending || d.AttemptCount != 0 {
		t.Errorf("delivery %+v", d)
	}
	health, _ := r.engine.HealthChanges().Next(10)
	if len(health) != 1 || !strings.Contains(health[0].Paused, "redact") {
		t.Errorf("health %+v", health)
	}
	r.apply(r.webhook("w"))
	if a := r.awaitAttempt(); a.Number != 1 || a.Status != 200 {
		t.Errorf("after the transformer was taken off: %+v", a)
	}
	if d := r.delivery(got.Delivery); d.State != sidehook.Delivered {
		t.Errorf("delivery %+v", d)
	}
}

func TestATestEventGoesOnWhenNobodyWaitsAnyMore(t *testing.T) {
	r := newReal(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	r.answers(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	})
	r.apply(r.webhook("w"))
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := r.engine.SendTest(ctx, key("w"), testEvent("test_1"), time.Time{})
		ended <- err
	}()
	<-arrived
	if st := r.engine.Webhooks()[0]; st.InFlight != 1 {
		t.Errorf("in flight: %+v", st)
	}
	reason := errors.New("the reason")
	cancel(reason)
	if err := <-ended; !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
	close(release)
	if a := r.awaitAttempt(); a.Outcome.Kind != sidehook.OutcomeDelivered {
		t.Errorf("attempt %+v", a)
	}
}
