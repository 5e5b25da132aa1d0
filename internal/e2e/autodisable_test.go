package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sidehook/sidehook/internal/client"
)

// withAutoDisable has the control plane disable webhooks that do nothing but fail for so long.
func (c *plane) withAutoDisable(after string) *plane {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, "control.yaml"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = f.WriteString("auto_disable_after: " + after + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		c.t.Fatal(err)
	}
	return c
}

// terminal runs a command on the management API.
func (c *plane) terminal(args ...string) string {
	c.t.Helper()
	return command(c.t, []string{"SIDEHOOK_SERVER=http://" + c.rest, "SIDEHOOK_TOKEN=" + c.token(), "SIDEHOOK_APP=demo", "TZ=UTC"}, args...)
}

// TestAutoDisable: a webhook whose endpoint does nothing but fail is disabled, at once when the endpoint says that it is
// gone. The management API and the terminal tell why and since when; what it misses meanwhile is kept; enabled again it
// goes on, the answer says how much it missed, and the replay that it names delivers that.
func TestAutoDisable(t *testing.T) {
	for _, tc := range []struct {
		name, cause, reason string
		answer              int
		waits               bool // what failed goes on once the webhook is enabled
		missed              []string
		many                string
	}{
		{
			"nothing but failures", "failing", "nothing but failures since ", http.StatusServiceUnavailable, true,
			[]string{"evt_missed_1", "evt_missed_2", "evt_missed_3"},
			"3 deliveries",
		},
		{"gone", "gone", "endpoint answered 410 Gone", http.StatusGone, false, []string{"evt_missed"}, "1 delivery"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			plane := newPlane(t).withAutoDisable("3s")
			control := plane.start()
			s := plane.newSidecar().open()
			failing, healthy := newEndpoint(t, "failing"), newEndpoint(t, "healthy")
			var answer atomic.Int32
			answer.Store(int32(tc.answer))
			failing.answer = func(*http.Request) int { return int(answer.Load()) }
			w, began := plane.webhook(failing, "*"), time.Now()
			plane.webhook(healthy, "*")
			policy := &client.RetryPolicy{Schedule: strings.Fields(strings.Repeat("2s ", 20))}
			if _, err := plane.api.UpdateWebhook(t.Context(), "demo", w.ID, client.WebhookFields{RetryPolicy: &policy}); err != nil {
				t.Fatal(err)
			}
			s.awaitWebhooks(2)
			publish(t, s.grpc, "person.created", "evt_first")
			off := plane.awaitDisabled(w.ID, tc.cause)
			if !strings.HasPrefix(off.DisabledReason, tc.reason) || off.DisabledAt.Before(began) || off.DisabledAt.After(time.Now()) {
				t.Errorf("disabled because %q at %s, the webhook is of %s", off.DisabledReason, off.DisabledAt, began)
			}
			if after := off.DisabledAt.Sub(began); tc.waits && after < 3*time.Second {
				t.Errorf("disabled after %s", after)
			}
			told := plane.terminal("webhook", "get", "failing")
			if status := "disabled (" + off.DisabledReason + ") since " + off.DisabledAt.UTC().Format("2006-01-02 15:04"); !strings.Contains(told, status) {
				t.Errorf("the terminal does not tell %q:\n%s", status, told)
			}
			awaitPhase(t, s, w.ID, "disabled")
			for _, r := range publish(t, s.grpc, "person.created", tc.missed...) {
				if n := r.GetDeliveries(); n != 1 {
					t.Errorf("%s causes %d deliveries, want that of the healthy webhook", r.GetId(), n)
				}
			}
			dropped := client.DeliveryFilter{Webhook: w.ID, State: "dropped"}
			plane.listed("what it misses is kept", dropped, func(l *client.DeliveryList) bool { return len(l.Data) == len(tc.missed) })
			healthy.awaitArrival(t, append(tc.missed, "evt_first")...)

			answer.Store(http.StatusNoContent)
			said := plane.terminal("webhook", "enable", "failing")
			replay := "webhook replay " + w.ID + " --app demo --state dropped --since " + off.DisabledAt.UTC().Format(time.RFC3339)
			if want := "\n" + tc.many + " came while it was disabled. Deliver them with\n  sidehook " + replay + "\n"; !strings.HasSuffix(said, want) {
				t.Errorf("enable says %q, want %q", said, want)
			}
			awaitStatus(t, plane, w.ID, "enabled", func(w *client.Webhook) bool {
				return w.DisabledReason == "" && w.DisabledCause == "" && w.DisabledAt.IsZero()
			})
			if tc.waits {
				failing.awaitArrival(t, "evt_first")
			}
			await(t, "new events are for it", func() error {
				if phase, err := phaseOf(s, w.ID); err != nil || phase == "disabled" {
					return errors.Join(err, errors.New("the sidecar has it disabled"))
				}
				return nil
			})
			publish(t, s.grpc, "person.created", "evt_again")
			failing.awaitArrival(t, "evt_again")
			for _, id := range tc.missed {
				if a := failing.of(id); a.accepted+a.refused != 0 {
					t.Errorf("%s arrived without a replay: %+v", id, a)
				}
			}
			if said := plane.terminal(strings.Fields(replay)...); !strings.HasPrefix(said, tc.many) || !strings.HasSuffix(said, " queued once more.\n") {
				t.Errorf("the replay says %q", said)
			}
			failing.awaitArrival(t, tc.missed...)
			plane.listed("nothing is left to replay", dropped, func(l *client.DeliveryList) bool { return len(l.Data) == 0 })
			s.stop(syscall.SIGTERM)
			control.stop(syscall.SIGTERM)
			failing.check(t)
			healthy.check(t)
		})
	}
}

func (c *plane) awaitDisabled(id, cause string) *client.Webhook {
	c.t.Helper()
	var w *client.Webhook
	await(c.t, "the control plane disables the webhook", func() (err error) {
		if w, err = c.api.Webhook(c.t.Context(), "demo", id); err == nil && (w.Status != "disabled" || w.DisabledCause != cause) {
			err = fmt.Errorf("it is %s by %q", w.Status, w.DisabledCause)
		}
		return err
	})
	return w
}
