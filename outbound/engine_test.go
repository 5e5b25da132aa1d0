package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/retry"
	"github.com/sidehook/sidehook/storage"
)

func TestDeliversSignedToEveryWebhookThatWantsIt(t *testing.T) {
	bubble(t, func(k *kit) {
		people := webhook("people", func(w *sidehook.Webhook) {
			w.Events = []string{"person.*"}
			w.Headers = []sidehook.Header{{Key: "X-Token", Value: "42"}}
		})
		k.apply(people, webhook("all"), webhook("other", func(w *sidehook.Webhook) { w.Events = []string{"company.created"} }))
		got := k.publish(event("e1", "person.created"))
		k.want("answer", got, []outbound.Accepting{{Disposition: outbound.Accepted, Deliveries: 2}})
		synctest.Wait()
		all := k.recv.all()
		k.want("requests", len(all), 2)
		for _, s := range all {
			verify(t, s)
			k.want("webhook-id", s.headers["webhook-id"], "e1")
			k.want("attempt", s.headers["sidehook-attempt"], "1")
			if strings.Contains(s.url, "people") {
				k.want("own header", s.headers["X-Token"], "42")
			}
			if !strings.Contains(s.body, `"type":"person.created"`) || !strings.Contains(s.body, `{"n":1}`) {
				t.Errorf("body %s", s.body)
			}
		}
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Delivered: 2})
	})
}

// verify checks a request with the published Standard Webhooks library.
func verify(t *testing.T, s sent) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhookRaw([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	h := map[string][]string{}
	for key, v := range s.headers {
		h[strings.ToUpper(key[:1])+key[1:]] = []string{v}
	}
	h["Webhook-Id"], h["Webhook-Timestamp"], h["Webhook-Signature"] = []string{s.headers["webhook-id"]},
		[]string{s.headers["webhook-timestamp"]}, []string{s.headers["webhook-signature"]}
	if err := wh.VerifyIgnoringTimestamp([]byte(s.body), h); err != nil {
		t.Errorf("signature: %v", err)
	}
}

func TestAnswersDuplicateUnmatchedAndUnknownApp(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("a", func(w *sidehook.Webhook) { w.Events = []string{"person.*"} }))
		k.publish(event("e1", "person.created"))
		got := k.publish(event("e1", "person.created"), event("e2", "company.created"), event("e3", "person.deleted"))
		k.want("dispositions", fmt.Sprint(got[0].Disposition, got[1].Disposition, got[2].Disposition),
			fmt.Sprint(outbound.Duplicate, outbound.Unmatched, outbound.Accepted))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 2)
		foreign := event("e4", "person.created")
		foreign.App = "elsewhere"
		if _, err := k.engine.Accept(t.Context(), []*sidehook.Event{foreign}); !errors.Is(err, sidehook.ErrUnknownApp) {
			t.Errorf("unknown app: %v", err)
		}
		c := k.engine.Counts()
		k.want("counts", []int64{c.Accepted, c.Duplicates, c.Unmatched, c.Delivered, c.InMemory}, []int64{2, 1, 1, 2, 0})
	})
}

func TestRetriesTheWholeScheduleWithTheSameBody(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(int, sent) (int, string, error) { return 500, "", nil }
		k.apply(webhook("down"))
		began := time.Now()
		k.publish(event("e1", "person.created"))
		time.Sleep(100 * time.Hour)
		all := k.recv.all()
		schedule := retry.DefaultSchedule()
		k.want("attempts", len(all), len(schedule)+1)
		due := began
		for i, s := range all {
			if i > 0 {
				wait := schedule[i-1]
				if got := s.at.Sub(due); got < wait || got > wait+wait/10+time.Second {
					t.Errorf("attempt %d came %s after the one before, want %s and at most 10%% more", i+1, got, wait)
				}
				if s.body != all[0].body || s.headers["webhook-id"] != "e1" {
					t.Errorf("attempt %d differs in body or id", i+1)
				}
				if s.headers["webhook-timestamp"] == all[i-1].headers["webhook-timestamp"] {
					t.Errorf("attempt %d has an old timestamp", i+1)
				}
			}
			verify(t, s)
			k.want("attempt header", s.headers["sidehook-attempt"], i+1)
			due = s.at
		}
		ds := k.deliveries(storage.Query{})
		k.want("state", ds[0].State, sidehook.Dead)
		k.want("attempt count", ds[0].AttemptCount, 10)
		d, err := k.store.Delivery(t.Context(), ds[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		k.want("recorded attempts", len(d.Attempts), 10)
		k.want("error", d.Attempts[0].Error, "500 Internal Server Error")
		if sig := d.Attempts[0].RequestHeaders[3]; sig.Key != "webhook-signature" || len(sig.Value) > 16 {
			t.Errorf("recorded signature is whole: %v", sig)
		}
	})
}

func TestOutcomes(t *testing.T) {
	off := func(w *sidehook.Webhook) { w.AutomaticRetry = false }
	short := func(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{2 * time.Second} }
	for _, c := range []struct {
		name     string
		change   func(*sidehook.Webhook)
		answer   func(n int, s sent) (int, string, error)
		attempts int
		state    sidehook.DeliveryState
	}{
		{"recovers", short, func(n int, _ sent) (int, string, error) { return map[bool]int{true: 503, false: 204}[n == 1], "", nil }, 2, sidehook.Delivered},
		{"own schedule used up", short, func(int, sent) (int, string, error) { return 500, "", nil }, 2, sidehook.Dead},
		{"automatic retry off", off, func(int, sent) (int, string, error) { return 500, "", nil }, 1, sidehook.Dead},
		{"redirect is a failure", off, func(int, sent) (int, string, error) { return 302, "", nil }, 1, sidehook.Dead},
		{"no answer", off, func(int, sent) (int, string, error) { return 0, "", errors.New("connection refused") }, 1, sidehook.Dead},
		{"gone", short, func(int, sent) (int, string, error) { return 410, "", nil }, 1, sidehook.Dead},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(k *kit) {
				k.recv.answer = c.answer
				k.apply(webhook("w", c.change))
				k.publish(event("e1", "person.created"))
				time.Sleep(time.Minute)
				k.want("attempts", len(k.recv.all()), c.attempts)
				k.want("states", k.states(), map[sidehook.DeliveryState]int{c.state: 1})
				k.want("in memory", k.engine.Counts().InMemory, 0)
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return 429, "3600", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w"))
		k.publish(event("e1", "a.b"))
		time.Sleep(2 * time.Hour)
		all := k.recv.all()
		k.want("attempts", len(all), 2)
		if wait := all[1].at.Sub(all[0].at); wait < time.Hour || wait > 70*time.Minute {
			t.Errorf("waited %s", wait)
		}
	})
}

func TestGoneWebhookGetsNothingUntilItChanges(t *testing.T) {
	var changed atomic.Int32
	bubble(t, func(k *kit) {
		k.recv.answer = func(int, sent) (int, string, error) { return 410, "", nil }
		w := webhook("w")
		k.apply(w)
		k.publish(event("e1", "a.b"))
		synctest.Wait()
		k.publish(event("e2", "a.b"))
		k.apply(w) // the same again forgives nothing
		time.Sleep(time.Hour)
		k.want("attempts", len(k.recv.all()), 1)
		k.want("gone", len(k.engine.Gone()), 1)
		k.want("told", changed.Load(), 1)
		k.recv.mu.Lock()
		k.recv.answer = nil
		k.recv.mu.Unlock()
		moved := *w
		moved.URL = "https://moved.example/in"
		k.apply(&moved)
		synctest.Wait()
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Dead: 1, sidehook.Delivered: 1})
		k.want("gone", len(k.engine.Gone()), 0)
	}, func(o *outbound.Options) { o.OnChange = func() { changed.Add(1) } })
}

func TestHoldsEventsUntilThereIsConfiguration(t *testing.T) {
	bubble(t, func(k *kit) {
		for i := range 600 {
			got := k.publish(event(fmt.Sprint("e", i), "a.b"))
			k.want("disposition", got[0].Disposition, outbound.Held)
		}
		k.want("ready", k.engine.Ready(), false)
		k.restart()
		time.Sleep(time.Hour)
		k.want("requests before", len(k.recv.all()), 0)
		k.apply(webhook("w"))
		synctest.Wait()
		k.want("requests after", len(k.recv.all()), 600)
		k.want("held", k.store.Stats().Held, 0)
		k.want("pending", k.store.Stats().Pending, 0)
		got := k.publish(event("e1", "a.b"))
		k.want("again", got[0].Disposition, outbound.Duplicate)
	})
}

func TestDisabledWebhookKeepsWhatItHas(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(int, sent) (int, string, error) { return 500, "", nil }
		w := webhook("w")
		k.apply(w)
		k.publish(event("e1", "a.b"))
		synctest.Wait()
		off := *w
		off.Status, off.DisabledReason = sidehook.WebhookDisabled, "for a test"
		k.apply(&off)
		got := k.publish(event("e2", "a.b"))
		k.want("new event", got[0].Disposition, outbound.Unmatched)
		time.Sleep(time.Hour)
		k.want("attempts while disabled", len(k.recv.all()), 1)
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Pending: 1})
		k.recv.mu.Lock()
		k.recv.answer = nil
		k.recv.mu.Unlock()
		k.apply(w)
		synctest.Wait()
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Delivered: 1})
	})
}

func TestRemovedWebhookIsDroppedAfterAGrace(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			if strings.Contains(s.url, "removed") {
				return 500, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("removed"), webhook("stays"))
		for i := range 270 {
			k.publish(event(fmt.Sprint("e", i), "a.b"))
		}
		synctest.Wait()
		k.apply(webhook("stays"))
		time.Sleep(5 * time.Minute)
		k.want("dropped within the grace", k.engine.Counts().Dropped, 0)
		time.Sleep(6 * time.Minute)
		k.want("dropped", k.engine.Counts().Dropped, 270)
		k.want("pending", k.store.Stats().Pending, 0)
	})
}

func TestRemovalTakenBackLosesNothing(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) { return 500, "", nil }
		k.apply(webhook("w"))
		k.publish(event("e1", "a.b"))
		synctest.Wait()
		k.apply()
		time.Sleep(5 * time.Minute)
		k.recv.mu.Lock()
		k.recv.answer = nil
		k.recv.mu.Unlock()
		k.apply(webhook("w"))
		time.Sleep(time.Minute)
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Delivered: 1})
	})
}

func TestStaleSnapshotRemovesNothing(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(int, sent) (int, string, error) { return 500, "", nil }
		k.apply(webhook("w"))
		k.publish(event("e1", "a.b"))
		synctest.Wait()
		stale := snapshot(nil, nil)
		stale.Stale = true
		k.restart()
		k.applySnapshot(stale)
		time.Sleep(24 * time.Hour)
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Pending: 1})
		k.want("phase", k.engine.Webhooks()[0].Phase, "unconfigured")
	})
}

func TestWaitsForASecret(t *testing.T) {
	bubble(t, func(k *kit) {
		w := webhook("w")
		k.applySnapshot(snapshot([]*sidehook.Webhook{w}, nil))
		k.publish(event("e1", "a.b"))
		time.Sleep(time.Minute)
		k.want("requests unsigned", len(k.recv.all()), 0)
		k.want("phase", k.engine.Webhooks()[0].Phase, "paused")
		k.apply(w)
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
		k.want("attempt", k.recv.all()[0].headers["sidehook-attempt"], "1")
	})
}

func TestEverySecretSignsWhileOneRotates(t *testing.T) {
	bubble(t, func(k *kit) {
		w := webhook("w")
		key := func(c string) sidehook.Key {
			kk, err := sidehook.KeyFromBytes([]byte(strings.Repeat(c, 32)))
			if err != nil {
				t.Fatal(err)
			}
			return kk
		}
		now := time.Now()
		k.applySnapshot(snapshot([]*sidehook.Webhook{w}, []*sidehook.Secret{
			{App: "demo", Webhook: "w", ID: "old", Key: key("a"), NotAfter: now.Add(time.Hour)},
			{App: "demo", Webhook: "w", ID: "new", Key: key("b")},
			{App: "demo", Webhook: "w", ID: "future", Key: key("c"), NotBefore: now.Add(2 * time.Hour)},
		}))
		k.publish(event("e1", "a.b"))
		synctest.Wait()
		time.Sleep(90 * time.Minute)
		k.publish(event("e2", "a.b"))
		synctest.Wait()
		all := k.recv.all()
		k.want("signatures during overlap", len(strings.Fields(all[0].headers["webhook-signature"])), 2)
		k.want("signatures after it", len(strings.Fields(all[1].headers["webhook-signature"])), 1)
	})
}

// transformers is a sidehook.Transformers by function.
type transformers func(e *sidehook.Event) (*sidehook.Transformed, error)

func (transformers) Installed(string) bool { return true }

func (f transformers) Begin(_ string, e *sidehook.Event, _ *sidehook.Webhook) sidehook.Transforming {
	return transforming(func() (*sidehook.Transformed, error) { return f(e) })
}

func (f transformers) Ahead(name string, e *sidehook.Event, w *sidehook.Webhook) sidehook.Transforming {
	return f.Begin(name, e, w)
}

// transforming is an answer that is made when somebody waits for it.
type transforming func() (*sidehook.Transformed, error)

func (t transforming) Wait(context.Context) (*sidehook.Transformed, error) { return t() }

func TestTransformers(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	var calls atomic.Int32
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return 500, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w", func(w *sidehook.Webhook) {
			w.Transformer = "shout"
			w.Headers = []sidehook.Header{{Key: "X-Mine", Value: "operator"}}
		}))
		k.publish(event("e1", "a.b"))
		time.Sleep(time.Minute)
		k.want("requests while it is away", len(k.recv.all()), 0)
		k.want("attempts counted", k.engine.Counts().Attempts, 0)
		away.Store(false)
		time.Sleep(time.Minute)
		all := k.recv.all()
		k.want("requests", len(all), 2)
		for _, s := range all {
			if !strings.Contains(s.body, `"LOUD"`) || s.headers["x-loud"] != "1" || s.headers["X-Mine"] != "operator" {
				t.Errorf("not transformed: %+v", s)
			}
			verify(t, s)
		}
		k.publish(event("drop-me", "a.b"), event("fail-me", "a.b"))
		synctest.Wait()
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Delivered: 1, sidehook.Dropped: 1, sidehook.Pending: 1})
	}, func(o *outbound.Options) {
		o.Transformers = transformers(func(e *sidehook.Event) (*sidehook.Transformed, error) {
			if away.Load() {
				return nil, fmt.Errorf("crashed: %w", sidehook.ErrTransformerUnavailable)
			}
			if n := calls.Add(1); e.ID == "e1" && n > 1 {
				return nil, errors.New("a retry must not transform again")
			}
			switch e.ID {
			case "drop-me":
				return &sidehook.Transformed{Drop: true, DropReason: "not wanted"}, nil
			case "fail-me":
				return nil, &sidehook.TransformFailure{Transformer: "shout", Reason: "cannot"}
			}
			changed := *e
			changed.Data = []byte(`"LOUD"`)
			return &sidehook.Transformed{Event: &changed, Headers: []sidehook.Header{
				{Key: "x-loud", Value: "1"}, {Key: "x-mine", Value: "plugin"},
			}}, nil
		})
	})
}

func TestAHangingEndpointDoesNotHoldOthers(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			if strings.Contains(s.url, "hang") {
				return 0, "", errHang
			}
			return 200, "", nil
		}
		k.apply(webhook("hang"), webhook("fine"))
		for i := range 2000 {
			k.publish(event(fmt.Sprint("e", i), "a.b"))
		}
		synctest.Wait()
		fine := 0
		for _, s := range k.recv.all() {
			if strings.Contains(s.url, "fine") {
				fine++
			}
		}
		k.want("delivered to the healthy one", fine, 2000)
		if n := k.engine.Counts().InMemory; n > 200 {
			t.Errorf("%d deliveries in memory for one hanging endpoint", n)
		}
		// Stop must not wait for the hanging ones beyond its deadline, and what was given up stays.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := k.engine.Stop(ctx); !errors.Is(err, outbound.ErrGivenUp) {
			t.Errorf("stop did not say that attempts were given up: %v", err)
		}
		k.want("attempts recorded for the hanging one", len(k.deliveries(storage.Query{App: "demo", Webhook: "hang", State: new(sidehook.Delivered), Limit: 10})), 0)
		k.want("pending", k.store.Stats().Pending, 2000)
		k.engine = outbound.New(k.opts)
	})
}

func TestABacklogIsDeliveredOnceAfterARestart(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(int, sent) (int, string, error) { return 0, "", errors.New("connection refused") }
		k.apply(webhook("a", slowRetry), webhook("b", slowRetry))
		for i := range 200 {
			k.publish(event(fmt.Sprint("e", i), "a.b"))
		}
		synctest.Wait()
		k.recv.mu.Lock()
		k.recv.answer, k.recv.got = nil, nil
		k.recv.mu.Unlock()
		k.restart()
		k.apply(webhook("a", slowRetry), webhook("b", slowRetry))
		time.Sleep(2 * time.Hour)
		seen := map[string]int{}
		for _, s := range k.recv.all() {
			seen[s.url+s.headers["webhook-id"]]++
		}
		k.want("distinct deliveries", len(seen), 400)
		k.want("requests", len(k.recv.all()), 400)
		k.want("pending", k.store.Stats().Pending, 0)
	})
}

func TestACircuitOpensAndIsProbedWithOne(t *testing.T) {
	bubble(t, func(k *kit) {
		var up atomic.Bool
		k.recv.answer = func(int, sent) (int, string, error) {
			if !up.Load() {
				return 0, "", errors.New("connection refused")
			}
			return 200, "", nil
		}
		k.apply(webhook("w", slowRetry))
		for i := range 2000 {
			k.publish(event(fmt.Sprint("e", i), "a.b"))
		}
		time.Sleep(10 * time.Minute)
		st := k.engine.Webhooks()[0]
		if st.Phase != "paused" || !strings.Contains(st.Reason, "circuit open") {
			t.Errorf("phase %s: %s", st.Phase, st.Reason)
		}
		if n := len(k.recv.all()); n > 100 {
			t.Errorf("%d attempts in ten minutes at an endpoint that refuses connections", n)
		}
		if n := k.engine.Counts().InMemory; n > 2*16 {
			t.Errorf("%d deliveries in memory", n)
		}
		up.Store(true)
		time.Sleep(maxProbeWait)
		delivered := k.states()[sidehook.Delivered]
		if attempted := k.engine.Counts().Failed; int64(delivered)+attempted < 1000 { // a page of the history
			t.Errorf("only %d delivered after it came back", delivered)
		}
		k.want("trouble", k.engine.Webhooks()[0].Trouble, 0)
		time.Sleep(2 * time.Hour)
		k.want("pending", k.store.Stats().Pending, 0)
	})
}

const maxProbeWait = 11 * time.Second

func slowRetry(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{time.Hour} }

func TestStoppedEngineTakesNothing(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("w"))
		k.stop()
		if _, err := k.engine.Accept(t.Context(), []*sidehook.Event{event("e1", "a.b")}); !errors.Is(err, sidehook.ErrStopping) {
			t.Errorf("got %v", err)
		}
		k.engine = outbound.New(k.opts)
	})
}

func TestTraceparentContinuesTheEventsTrace(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	bubble(t, func(k *kit) {
		k.apply(webhook("w"))
		traced, bad := event("e1", "a.b"), event("e2", "a.b")
		traced.Extensions = map[string]string{"traceparent": parent}
		bad.Extensions = map[string]string{"traceparent": "00-x"}
		k.publish(traced)
		synctest.Wait()
		k.publish(bad)
		synctest.Wait()
		got := k.recv.all()
		if tp := got[0].headers["traceparent"]; tp[:36] != parent[:36] || tp[36:52] == parent[36:52] || tp[52:] != "-01" {
			t.Errorf("traceparent %s", tp)
		}
		if tp := got[1].headers["traceparent"]; len(tp) != 55 || tp[:3] != "00-" {
			t.Errorf("traceparent %s", tp)
		}
	})
}
