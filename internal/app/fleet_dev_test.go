package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/internal/config"
)

// startTestDev starts a control plane and a sidecar that are connected.
func startTestDev(t *testing.T) *Dev {
	t.Helper()
	d, err := StartDev(t.Context(), DevOptions{
		DataDir: t.TempDir(), Out: io.Discard, Log: discard,
		Ports: config.Ports{
			GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", XDS: "127.0.0.1:0", REST: "127.0.0.1:0",
			Inbox: "127.0.0.1:0",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	changes := d.Control.fleet.Changes(ctx, DevApp)
	for {
		if all := d.Control.fleet.Sidecars(); len(all) == 1 && all[0].Connected && all[0].Ready {
			return d
		}
		if _, ok := <-changes; !ok {
			t.Fatal("the sidecar did not connect")
		}
	}
}

// TestBothEndsOfTheFleet asks through the control plane what the sidecar answers.
func TestBothEndsOfTheFleet(t *testing.T) {
	d := startTestDev(t)
	status := make(chan int, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-status) }))
	defer endpoint.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()
	svc, fleet := d.Control.Service, d.Control.fleet
	w, _, err := svc.CreateWebhook(ctx, sidehook.Webhook{
		App: DevApp, Name: "fleet", URL: endpoint.URL, Events: []string{"only.this"}, AutomaticRetry: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	test := func(want int) *control.TestResult {
		t.Helper()
		event, err := svc.TestEvent(ctx, DevApp, "person.created")
		if err != nil {
			t.Fatal(err)
		}
		status <- want
		// Asked for at once: the sidecar may not have the configuration yet.
		result, err := fleet.SendTest(ctx, w, event)
		if err != nil {
			t.Fatal(err)
		}
		if result.Attempt.Status != want || result.Request == nil || !strings.Contains(string(result.Request.Body), "person.created") {
			t.Errorf("result %+v", result)
		}
		return result
	}
	test(200)
	format := sidehook.FormatCloudEvents
	if w, err = svc.UpdateWebhook(ctx, w.Key(), control.WebhookPatch{Format: &format}); err != nil {
		t.Fatal(err)
	}
	failed := test(500)
	if ct := failed.Request.ContentType; !strings.HasPrefix(ct, "application/cloudevents+json") {
		t.Errorf("the test was sent with the configuration before: %s", ct)
	}

	page, err := fleet.Deliveries(ctx, control.DeliveryQuery{App: DevApp, Webhook: w.ID})
	if err != nil || len(page.Deliveries) != 2 || page.Deliveries[0].ID != failed.Delivery || page.Deliveries[0].State != sidehook.Pending {
		t.Fatalf("page %+v, %v", page, err)
	}
	whole, err := fleet.Delivery(ctx, DevApp, failed.Delivery)
	if err != nil || whole.Event.ID != failed.Event.ID || whole.Request.MadeAgain || len(whole.Attempts) != 1 {
		t.Fatalf("delivery %+v, %v", whole, err)
	}
	status <- 200
	if err := fleet.Retry(ctx, DevApp, failed.Delivery); err != nil {
		t.Fatal(err)
	}
	changes := fleet.Changes(ctx, DevApp)
	for fleet.Sidecars()[0].Delivered < 2 {
		if _, ok := <-changes; !ok {
			t.Fatal("the retry was not reported")
		}
	}
	for range 2 {
		status <- 200
	}
	replayed, err := fleet.Replay(ctx, control.Replay{Webhook: w.Key(), States: []sidehook.DeliveryState{sidehook.Delivered}})
	if err != nil || replayed.Deliveries != 2 {
		t.Errorf("replayed %+v, %v", replayed, err)
	}
	if h := fleet.WebhookHealth(w.Key()); h.Delivered != 0 || h.FailedAttempts != 0 {
		t.Errorf("test events count in health: %+v", h)
	}
	if w, err = svc.DisableWebhook(ctx, w.Key(), "by hand"); err != nil {
		t.Fatal(err)
	}
	event, err := svc.TestEvent(ctx, DevApp, "person.created")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.SendTest(ctx, w, event); !errors.Is(err, control.ErrWebhookDisabled) {
		t.Errorf("a test of a disabled webhook: %v", err)
	}
}
