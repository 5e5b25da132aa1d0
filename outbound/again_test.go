package outbound_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

func TestRetryOfFinishedAndOfWaiting(t *testing.T) {
	r := newReal(t)
	r.answers(status(503))
	once := r.webhook("once", func(w *sidehook.Webhook) { w.AutomaticRetry = false })
	r.apply(once, r.webhook("later", slowRetry))
	r.publish(event("e1", "a.b"))
	r.awaitAttempt()
	r.awaitAttempt()
	if err := r.store.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	page, err := r.store.Deliveries(t.Context(), storage.Query{})
	if err != nil || len(page.Deliveries) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	r.answers(nil)
	for _, d := range page.Deliveries {
		if want := map[string]sidehook.DeliveryState{"once": sidehook.Dead, "later": sidehook.Pending}[d.Webhook.ID]; d.State != want {
			t.Fatalf("%s is %s", d.Webhook, d.State)
		}
		if err := r.engine.Retry(t.Context(), "elsewhere", d.ID); !errors.Is(err, sidehook.ErrNotFound) {
			t.Errorf("of another app: %v", err)
		}
		if err := r.engine.Retry(t.Context(), "demo", d.ID); err != nil {
			t.Fatal(err)
		}
		if a := r.awaitAttempt(); a.Number != 2 || a.Status != 200 {
			t.Errorf("%s: attempt %+v", d.Webhook, a)
		}
		if again := r.delivery(d.ID); again.State != sidehook.Delivered || len(again.Attempts) != 2 {
			t.Errorf("%s: %+v", d.Webhook, again)
		}
	}
	unknown := page.Deliveries[0].ID
	unknown.Batch = 1 << 40
	if err := r.engine.Retry(t.Context(), "demo", unknown); !errors.Is(err, sidehook.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	off := r.webhook("once", func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled })
	r.apply(off) // and later is removed
	for _, d := range page.Deliveries {
		want := map[string]error{"once": outbound.ErrDisabled, "later": sidehook.ErrNotFound}[d.Webhook.ID]
		if err := r.engine.Retry(t.Context(), "demo", d.ID); !errors.Is(err, want) {
			t.Errorf("%s disabled or removed: %v", d.Webhook, err)
		}
	}
}

func TestARequestIsMadeAgainAsItWasSent(t *testing.T) {
	r := newReal(t)
	w := r.webhook("w", func(w *sidehook.Webhook) { w.Format = sidehook.FormatCloudEvents })
	r.apply(w, r.webhook("t", func(w *sidehook.Webhook) { w.Transformer = "redact" }))
	e := event("e1", "a.b")
	if _, err := r.engine.SendTest(t.Context(), key("w"), e, time.Time{}); err != nil {
		t.Fatal(err)
	}
	made, ok := r.engine.MakeRequest(key("w"), e)
	if !ok || string(made.Body) != r.arrivals()[0].body || made.ContentType != r.arrivals()[0].headers.Get("Content-Type") {
		t.Errorf("made %+v, sent %+v", made, r.arrivals())
	}
	for _, id := range []string{"t", "none"} {
		if made, ok := r.engine.MakeRequest(key(id), e); ok {
			t.Errorf("%s: made %s", id, made.Body)
		}
	}
}
