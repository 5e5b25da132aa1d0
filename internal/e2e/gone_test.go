package e2e

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestGoneDisables: an endpoint that answers 410 gets its webhook disabled in the control plane, with the reason;
// enabled again it goes on. Another webhook is not touched.
func TestGoneDisables(t *testing.T) {
	plane := newPlane(t)
	control := plane.start()
	s := plane.newSidecar().open()
	leaving, staying := newEndpoint(t, "leaving"), newEndpoint(t, "staying")
	var gone atomic.Bool
	gone.Store(true)
	leaving.answer = func(*http.Request) int {
		if gone.Load() {
			return http.StatusGone
		}
		return http.StatusOK
	}
	w := plane.webhook(leaving, "*")
	plane.webhook(staying, "*")
	s.awaitWebhooks(2)

	publish(t, s.grpc, "person.created", "evt_gone")
	awaitStatus(t, plane, w.ID, "disabled", func(w *client.Webhook) bool { return strings.Contains(w.DisabledReason, "410") })
	awaitPhase(t, s, w.ID, "disabled")
	results := publish(t, s.grpc, "person.created", "evt_unseen")
	if n := results[0].GetDeliveries(); n != 1 {
		t.Errorf("with one of two webhooks disabled, an event causes %d deliveries", n)
	}
	staying.awaitArrival(t, "evt_gone", "evt_unseen")

	gone.Store(false)
	if _, err := plane.api.EnableWebhook(t.Context(), "demo", w.ID); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, plane, w.ID, "enabled", func(w *client.Webhook) bool { return w.DisabledReason == "" })
	await(t, "the sidecar knows that the webhook is enabled", func() error {
		if phase, err := phaseOf(s, w.ID); err != nil || phase == "disabled" {
			return errors.Join(err, errors.New("it is "+phase))
		}
		return nil
	})
	publish(t, s.grpc, "person.created", "evt_again")
	leaving.awaitArrival(t, "evt_again")
	if leaving.of("evt_unseen").accepted != 0 {
		t.Error("an event from when the webhook was disabled arrived")
	}
	awaitStatus(t, plane, w.ID, "enabled", func(*client.Webhook) bool { return true })
	s.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)
}

func awaitStatus(t *testing.T, plane *plane, id, status string, ok func(*client.Webhook) bool) {
	t.Helper()
	await(t, "the control plane has the webhook "+status, func() error {
		w, err := plane.api.Webhook(t.Context(), "demo", id)
		if err == nil && (w.Status != status || !ok(w)) {
			err = errors.New("it is " + w.Status + " because " + w.DisabledReason)
		}
		return err
	})
}

func awaitPhase(t *testing.T, s *sidecar, id, want string) {
	t.Helper()
	await(t, "the sidecar has the webhook "+want, func() error {
		phase, err := phaseOf(s, id)
		if err == nil && phase != want {
			err = errors.New("it is " + phase)
		}
		return err
	})
}

func phaseOf(s *sidecar, id string) (string, error) {
	var got struct{ Data []struct{ ID, Phase string } }
	if _, err := getJSON("http://"+s.admin+"/webhooks", &got); err != nil {
		return "", err
	}
	for _, w := range got.Data {
		if w.ID == id {
			return w.Phase, nil
		}
	}
	return "unknown", nil
}
