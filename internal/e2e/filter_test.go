package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestFilterErrorsAreTold: whoever asks why a webhook gets nothing learns from the management API and the terminal that its
// filter has no answer, for how many events and what it said of the last.
func TestFilterErrorsAreTold(t *testing.T) {
	plane := newPlane(t)
	control := plane.start()
	s := plane.newSidecar().open()
	crm := newEndpoint(t, "crm")
	w := plane.webhook(crm, "*")
	filter := `data.amount > 10 || data.n == "evt_taken"`
	if _, err := plane.api.UpdateWebhook(t.Context(), "demo", w.ID, client.WebhookFields{Filter: &filter}); err != nil {
		t.Fatal(err)
	}
	s.awaitWebhooks(1)
	if said := plane.terminal("webhook", "get", "crm"); strings.Contains(said, "Filter errors") {
		t.Errorf("before any event: %s", said)
	}
	tries := 0
	await(t, "the filter is in use", func() error {
		tries++
		if r := publish(t, s.grpc, "person.created", fmt.Sprint("evt_", tries))[0]; r.GetDeliveries() != 0 {
			return fmt.Errorf("%s causes %d deliveries", r.GetId(), r.GetDeliveries())
		}
		return nil
	})
	publish(t, s.grpc, "person.left", "evt_last")
	publish(t, s.grpc, "person.created", "evt_taken")
	crm.awaitArrival(t, "evt_taken")
	const last = "no such key: amount (event evt_last of type person.left)"
	await(t, "the control plane knows", func() error {
		got, err := plane.api.Webhook(t.Context(), "demo", w.ID)
		if err != nil {
			return err
		}
		if h := got.Health; h.FilterErrors != 2 || h.LastFilterError != last || h.LastFilterErrorAt.IsZero() {
			return fmt.Errorf("health is %+v", h)
		}
		return nil
	})
	said := plane.terminal("webhook", "get", "crm")
	if !strings.Contains(said, "Filter errors:") || !strings.Contains(said, last) || !strings.Contains(said, "Filter failed:") {
		t.Errorf("the terminal says %s", said)
	}
	s.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)
	crm.check(t)
}
