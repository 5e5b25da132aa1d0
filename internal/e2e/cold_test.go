package e2e

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestColdStartWithoutControlPlane: a sidecar that was configured once delivers after a restart though the control
// plane is gone, says that it is stale, and catches up when the control plane is back.
func TestColdStartWithoutControlPlane(t *testing.T) {
	ctl := newPlane(t)
	control := ctl.start()
	place := ctl.newSidecar()
	e := newEndpoint(t, "crm")
	ctl.webhook(e, "person.*")

	first := place.open()
	first.awaitWebhooks(1)
	publish(t, first.grpc, "person.created", "evt_before")
	e.awaitArrival(t, "evt_before")
	if r := first.awaitReady(); r.Stale || !r.Connected {
		t.Errorf("with its control plane it is %+v", r)
	}
	first.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)

	alone := place.open()
	if r := alone.awaitReady(); !r.Stale || r.Connected || r.Status != http.StatusOK {
		t.Errorf("without its control plane it is %+v", r)
	}
	publish(t, alone.unix, "person.created", "evt_alone")
	e.awaitArrival(t, "evt_alone")
	if v := alone.metric("sidehook_config_stale"); v != "1" {
		t.Errorf("sidehook_config_stale is %s", v)
	}

	control = ctl.start()
	await(t, "the sidecar is not stale any more", func() error {
		r, err := alone.ready()
		if err == nil && (r.Stale || !r.Ready || !r.Connected) {
			err = errors.New("stale")
		}
		return err
	})
	ctl.awaitSidecar("the control plane knows", func(s client.Sidecar) bool { return s.Connected && s.Ready && !s.Stale })

	second := newEndpoint(t, "billing")
	ctl.webhook(second, "payment.*")
	alone.awaitWebhooks(2)
	publish(t, alone.grpc, "payment.received", "evt_after")
	second.awaitArrival(t, "evt_after")
	alone.stop(os.Interrupt)
	control.stop(os.Interrupt)
}

// TestNeverConfigured: a sidecar that never had configuration accepts and holds, survives a kill like that, says that
// it is not ready, and delivers what it held once it is configured.
func TestNeverConfigured(t *testing.T) {
	ctl := newPlane(t)
	control := ctl.start()
	place := ctl.newSidecar()
	control.stop(syscall.SIGTERM)

	s := place.open()
	results := publish(t, s.unix, "person.created", "evt_held_1", "evt_held_2")
	results = append(results, publish(t, s.unix, "nobody.cares", "evt_unwanted")...)
	for _, r := range results {
		if r.GetDisposition().String() != "DISPOSITION_HELD" || r.GetDeliveries() != 0 {
			t.Errorf("without configuration %s became %s", r.GetId(), r)
		}
	}
	expectHolding := func(s *sidecar, held string) {
		t.Helper()
		r, err := s.ready()
		if err != nil || r.Status != http.StatusServiceUnavailable || r.Ready || !strings.Contains(r.Reason, "configuration") {
			t.Errorf("it says %+v, %v", r, err)
		}
		if v := s.metric("sidehook_held_events"); v != held {
			t.Errorf("it holds %s events, want %s", v, held)
		}
	}
	expectHolding(s, "3")
	s.kill()
	s = place.open()
	expectHolding(s, "3")
	if r := publish(t, s.unix, "person.created", "evt_held_1")[0]; r.GetDisposition().String() != "DISPOSITION_DUPLICATE" {
		t.Errorf("the repeat of a held event became %s", r)
	}

	e := newEndpoint(t, "crm")
	ctl.prepare(func() { ctl.webhook(e, "person.*") })
	control = ctl.start()
	s.awaitReady()
	publish(t, s.unix, "person.created", "evt_later")
	e.awaitArrival(t, "evt_held_1", "evt_held_2", "evt_later")
	s.awaitIdle()
	for _, id := range []string{"evt_held_1", "evt_held_2", "evt_later"} {
		if n := e.of(id).accepted; n != 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
	if e.of("evt_unwanted").accepted != 0 {
		t.Error("an event that the webhook does not want arrived")
	}
	expectIdle(t, s)
	s.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)
}

func expectIdle(t *testing.T, s *sidecar) {
	t.Helper()
	if v := s.metric("sidehook_held_events"); v != "0" {
		t.Errorf("it still holds %s events", v)
	}
}
