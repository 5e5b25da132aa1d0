package control_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
)

// failures tells a service of a webhook's health as time goes on.
type failures struct {
	t   *testing.T
	kv  storage.KV
	svc *control.Service
	now *time.Time
	key sidehook.WebhookKey
}

const fiveDays = 5 * 24 * time.Hour

// failingStep is by how much restarts may postpone that a webhook is disabled.
const failingStep = 10 * time.Minute

func newFailures(t *testing.T) *failures {
	plain, kv, now := newService(t)
	f := &failures{t: t, kv: kv, now: now, key: create(t, plain, "CRM")}
	f.svc = f.process()
	return f
}

// process is a service of its own on the same store.
func (f *failures) process() *control.Service {
	f.t.Helper()
	svc, err := control.New(control.Options{KV: f.kv, AutoDisableAfter: fiveDays, Now: func() time.Time { return *f.now }})
	if err != nil {
		f.t.Fatal(err)
	}
	return svc
}

func (f *failures) fails(svc *control.Service, lastSuccess time.Time) {
	f.t.Helper()
	if err := svc.NoteHealth(f.t.Context(), f.key, lastSuccess, *f.now); err != nil {
		f.t.Fatal(err)
	}
}

func (f *failures) succeeds(svc *control.Service, at time.Time) {
	f.t.Helper()
	if err := svc.NoteHealth(f.t.Context(), f.key, at, at.Add(-time.Minute)); err != nil {
		f.t.Fatal(err)
	}
}

// failsFor fails every hour.
func (f *failures) failsFor(d time.Duration) {
	f.t.Helper()
	for range int(d / time.Hour) {
		*f.now = f.now.Add(time.Hour)
		f.fails(f.svc, time.Time{})
	}
}

func (f *failures) want(status sidehook.WebhookStatus) *sidehook.Webhook {
	f.t.Helper()
	w, err := f.svc.GetWebhook(f.t.Context(), f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	if w.Status != status {
		f.t.Fatalf("webhook is %s (%s) at %s, want %s", w.Status, w.DisabledReason, f.now, status)
	}
	return w
}

func TestAutoDisable(t *testing.T) {
	f := newFailures(t)
	f.failsFor(fiveDays)
	f.want(sidehook.WebhookEnabled) // the first failure was an hour after the beginning
	f.failsFor(time.Hour)
	w := f.want(sidehook.WebhookDisabled)
	if w.DisabledReason != "nothing but failures since 2030-01-02 04:04 UTC" || w.DisabledCause != sidehook.DisabledByFailing ||
		!w.DisabledAt.Equal(*f.now) || !w.UpdatedAt.Equal(*f.now) || !w.MissesEvents() {
		t.Errorf("disabled as %+v", w)
	}
	if pairs, _, err := f.kv.List(t.Context(), "failing/"); err != nil || len(pairs) != 0 {
		t.Errorf("left in the store: %v, %v", pairs, err)
	}
	f.failsFor(time.Hour)
	if again := f.want(sidehook.WebhookDisabled); !again.DisabledAt.Equal(w.DisabledAt) {
		t.Errorf("disabled once more, at %s", again.DisabledAt)
	}
	if _, err := f.svc.EnableWebhook(t.Context(), f.key); err != nil {
		t.Fatal(err)
	}
	f.failsFor(fiveDays - time.Hour)
	if w := f.want(sidehook.WebhookEnabled); w.DisabledCause != "" || !w.DisabledAt.IsZero() {
		t.Errorf("enabled as %+v", w)
	}
	f.failsFor(2 * time.Hour)
	f.want(sidehook.WebhookDisabled)
}

// TestAutoDisableIsDurable: a restart takes up where the process before was; so does another process.
func TestAutoDisableIsDurable(t *testing.T) {
	f := newFailures(t)
	f.failsFor(3 * 24 * time.Hour)
	f.svc = f.process()
	f.failsFor(2*24*time.Hour - time.Hour)
	f.want(sidehook.WebhookEnabled)
	f.failsFor(2 * time.Hour)
	f.want(sidehook.WebhookDisabled)
}

func TestSuccessBeginsAnew(t *testing.T) {
	for name, succeed := range map[string]func(f *failures){
		"of the same sidecar":       func(f *failures) { f.fails(f.svc, f.now.Add(-time.Minute)) },
		"of another sidecar":        func(f *failures) { f.succeeds(f.svc, f.now.Add(-time.Minute)) },
		"told to another process":   func(f *failures) { f.succeeds(f.process(), f.now.Add(-time.Minute)) },
		"before a restart":          func(f *failures) { f.succeeds(f.svc, *f.now); f.svc = f.process() },
		"a change of the webhook":   func(f *failures) { f.change() },
		"found after a restart too": func(f *failures) { f.svc = f.process(); f.succeeds(f.svc, *f.now) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFailures(t)
			f.failsFor(fiveDays - time.Hour)
			succeed(f)
			f.failsFor(fiveDays - time.Hour)
			f.want(sidehook.WebhookEnabled)
			f.failsFor(3 * time.Hour)
			f.want(sidehook.WebhookDisabled)
		})
	}
}

func (f *failures) change() {
	f.t.Helper()
	url := "https://example.com/mended"
	if _, err := f.svc.UpdateWebhook(f.t.Context(), f.key, control.WebhookPatch{URL: &url}); err != nil {
		f.t.Fatal(err)
	}
}

// TestOldSuccessChangesNothing: a sidecar that connects again tells of successes from before the failures.
func TestOldSuccessChangesNothing(t *testing.T) {
	f := newFailures(t)
	old := *f.now
	f.failsFor(fiveDays - time.Hour)
	f.succeeds(f.svc, old)
	f.svc = f.process()
	f.succeeds(f.svc, old)
	f.failsFor(2 * time.Hour)
	f.want(sidehook.WebhookDisabled)
}

// TestAutoDisableIgnores: what tells nothing, comes from the future, or is of no webhook.
func TestAutoDisableIgnores(t *testing.T) {
	f := newFailures(t)
	ctx := t.Context()
	for _, err := range []error{
		f.svc.NoteHealth(ctx, f.key, time.Time{}, time.Time{}),
		f.svc.NoteHealth(ctx, f.key, time.Time{}, f.now.Add(1000*time.Hour)),
		f.svc.NoteHealth(ctx, f.key, time.Time{}, f.now.Add(2000*time.Hour)),
		f.svc.NoteHealth(ctx, sidehook.WebhookKey{App: "demo", ID: "a/b"}, time.Time{}, *f.now),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	f.want(sidehook.WebhookEnabled)
	gone := sidehook.WebhookKey{App: "demo", ID: "wh_none"}
	for range 200 {
		*f.now = f.now.Add(time.Hour)
		if err := f.svc.NoteHealth(ctx, gone, time.Time{}, *f.now); err != nil {
			t.Fatal(err)
		}
	}
	f.failsFor(10 * time.Hour)
	if pairs, _, err := f.kv.List(ctx, "failing/"); err != nil || len(pairs) != 1 || !strings.HasSuffix(pairs[0].Key, f.key.ID) {
		t.Errorf("stored: %v, %v", pairs, err)
	}
	if err := f.svc.DeleteWebhook(ctx, f.key); err != nil {
		t.Fatal(err)
	}
	if pairs, _, err := f.kv.List(ctx, "failing/"); err != nil || len(pairs) != 0 {
		t.Errorf("after the webhook went: %v, %v", pairs, err)
	}
	never, _, now := newService(t)
	k := create(t, never, "never")
	for range 400 {
		*now = now.Add(time.Hour)
		if err := never.NoteHealth(ctx, k, time.Time{}, *now); err != nil {
			t.Fatal(err)
		}
	}
	if w, err := never.GetWebhook(ctx, k); err != nil || w.Status != sidehook.WebhookEnabled {
		t.Errorf("with auto-disable off: %+v, %v", w, err)
	}
}

// TestFailuresNowAndThenCostNoCommit: what fails for a moment is not written down, but for the first of it that a process
// hears.
func TestFailuresNowAndThenCostNoCommit(t *testing.T) {
	f := newFailures(t)
	failAndMend := func() {
		*f.now = f.now.Add(time.Minute)
		f.fails(f.svc, f.now.Add(-time.Minute))
		*f.now = f.now.Add(time.Minute)
		f.succeeds(f.svc, *f.now)
	}
	failAndMend()
	_, before, err := f.kv.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		failAndMend()
	}
	if _, after, err := f.kv.List(t.Context(), ""); err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("revision went from %d to %d, %v", before, after, err)
	}
}

// TestRestartsDoNotPostponeAutoDisable: a process that is restarted every few minutes, and hears of nothing that happened
// before it, disables ten minutes late at the most. The webhook had a success in its first process, which therefore writes
// nothing down at first.
func TestRestartsDoNotPostponeAutoDisable(t *testing.T) {
	for _, life := range []time.Duration{time.Minute, 4 * time.Minute, 9 * time.Minute, 11 * time.Minute} {
		t.Run(life.String(), func(t *testing.T) {
			f := newFailures(t)
			f.succeeds(f.svc, *f.now)
			success := *f.now
			const every = 30 * time.Second
			*f.now = f.now.Add(every)
			failing := *f.now
			for born := failing; f.now.Sub(failing) < fiveDays+failingStep; *f.now = f.now.Add(every) {
				if f.now.Sub(born) >= life {
					f.svc, born = f.process(), *f.now
				}
				f.fails(f.svc, success)
				w, err := f.svc.GetWebhook(t.Context(), f.key)
				if err != nil {
					t.Fatal(err)
				}
				if w.Status == sidehook.WebhookEnabled {
					continue
				}
				if after := f.now.Sub(failing); after < fiveDays {
					t.Errorf("disabled after %s", after)
				}
				return
			}
			t.Errorf("still enabled after %s of failures", f.now.Sub(failing))
		})
	}
}

// TestFailuresAreToldAndUndone: the fleet passes on what sidecars report of failures; the answer to enabling a webhook that
// the control plane disabled says how much it missed and since when.
func TestFailuresAreToldAndUndone(t *testing.T) {
	p, client, token := fleetOfA(t)
	webhook, _ := p.makeWebhook("a", "CRM")
	path := "/v1/apps/a/webhooks/" + webhook
	h := &history{}
	s := p.sidecar(client, token, "side-1", h.answer)
	fails := func(at time.Time) {
		s.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{
			{App: "a", Webhook: webhook, FailedAttempts: 1, LastFailure: timestamppb.New(at)},
			{App: "other", Webhook: webhook, LastFailure: timestamppb.New(at)},
		}})
	}
	k := sidehook.WebhookKey{App: "a", ID: webhook}
	failed := time.Now()
	fails(failed)
	if at, told := p.told.Load(k); !told || !at.(time.Time).Equal(failed) {
		t.Errorf("the fleet told of a failure at %v", at)
	}
	if _, told := p.told.Load(sidehook.WebhookKey{App: "other", ID: webhook}); told {
		t.Error("the fleet told of a webhook of an app that the token does not allow")
	}
	if w, err := p.svc.GetWebhook(t.Context(), k); err != nil || w.Status != sidehook.WebhookEnabled {
		t.Fatalf("after one failure: %+v, %v", w, err)
	}
	if err := p.svc.DisableGone(t.Context(), k, time.Now()); err != nil {
		t.Fatal(err)
	}
	off := p.do(p.admin, "GET", path, "").want(200)
	if off.str("disabled_cause") != "gone" || off.str("disabled_at") == "" {
		t.Errorf("disabled as %s", off.raw)
	}
	at := time.Now()
	for n := range 3 {
		d := someDelivery(sidehook.DeliveryID{Origin: 1, Batch: uint64(9 - n)}, webhook, at.Add(time.Second-time.Duration(n)*time.Millisecond))
		d.State = fleetv1.DeliveryState_DELIVERY_STATE_DROPPED
		h.deliveries = append(h.deliveries, d)
	}
	on := p.do(p.admin, "POST", path+"/enable", "").want(200)
	missed, _ := on.body["missed"].(map[string]any)
	if missed["deliveries"] != 3.0 || missed["since"] != off.body["disabled_at"] || missed["more"] != nil || on.body["disabled_cause"] != nil {
		t.Errorf("enable answered %s", on.raw)
	}
	if again := p.do(p.admin, "POST", path+"/enable", "").want(200); again.body["missed"] != nil {
		t.Errorf("enable of what is enabled answered %s", again.raw)
	}
	p.do(p.admin, "POST", path+"/disable", "").want(200)
	if by := p.do(p.admin, "POST", path+"/enable", "").want(200); by.body["missed"] != nil {
		t.Errorf("enable of what a person disabled answered %s", by.raw)
	}
}
