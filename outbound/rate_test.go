package outbound_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

func limited(perSecond float64, burst int) func(*sidehook.Webhook) {
	return func(w *sidehook.Webhook) { w.RateLimit = sidehook.RateLimit{PerSecond: perSecond, Burst: burst} }
}

func many(prefix string, n int) []*sidehook.Event {
	all := make([]*sidehook.Event, n)
	for i := range all {
		all[i] = event(fmt.Sprint(prefix, i), "a.b")
	}
	return all
}

// TestRateLimit: a burst at once, and then one each time the rate allows it; no attempt is used up by waiting, another
// webhook does not wait, and health says why this one does.
func TestRateLimit(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("slow", limited(2, 3)), webhook("free"))
		health := k.engine.HealthChanges()
		start := time.Now()
		k.publish(many("e", 10)...)
		synctest.Wait()
		k.want("requests at once", len(k.recv.all()), 3+10)
		told, _ := health.Next(10)
		if len(told) != 2 || told[1].Key.ID != "slow" || told[1].Paused != "rate limit: 2 attempts per second, 3 at once" || told[0].Paused != "" {
			t.Errorf("health %+v", told)
		}
		for _, s := range k.engine.Webhooks() {
			if s.Key.ID == "slow" && s.Phase != "paused" {
				t.Errorf("state %+v", s)
			}
		}
		for n := 4; n <= 10; n++ {
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if all := k.recv.all(); len(all) != n+10 || !all[n+9].at.Equal(start.Add(time.Duration(n-3)*500*time.Millisecond)) {
				t.Fatalf("%d requests after %s", len(all), time.Since(start))
			}
		}
		told, _ = health.Next(10)
		if len(told) != 1 || told[0].Paused != "" || told[0].Delivered != 10 || told[0].FailedAttempts != 0 {
			t.Errorf("health in the end %+v", told)
		}
		time.Sleep(time.Minute)
		k.publish(many("f", 10)...)
		synctest.Wait()
		k.want("requests after a rest", len(k.recv.all()), 20+3+10)
		time.Sleep(time.Minute)
	})
}

// TestRateLimitOutlivesChanges: a change of something else gives no new burst; a higher limit is in force at once, and none
// lets everything go.
func TestRateLimitOutlivesChanges(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("w", limited(0.01, 1)))
		k.publish(many("e", 100)...)
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
		k.apply(webhook("w", limited(0.01, 1), func(w *sidehook.Webhook) { w.Name = "other" }))
		synctest.Wait()
		k.want("requests after a change of name", len(k.recv.all()), 1)
		k.apply(webhook("w", limited(10, 1)))
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(k.recv.all()); n < 10 || n > 12 {
			t.Errorf("%d requests in the first second of a higher limit", n)
		}
		k.apply(webhook("w"))
		synctest.Wait()
		k.want("requests without a limit", len(k.recv.all()), 100)
	})
}

// TestRateLimitCountsRetries: a retry is an attempt.
func TestRateLimitCountsRetries(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n <= 4 {
				return 404, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w", limited(0.1, 4), func(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{time.Second} }))
		k.publish(many("e", 4)...)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		k.want("requests before the rate allows more", len(k.recv.all()), 4)
		time.Sleep(time.Minute)
		synctest.Wait()
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Delivered: 4})
	})
}

// TestHistorySample: of the deliveries that succeed the share is in the history with its attempt, of those that fail each,
// and every state is known.
func TestHistorySample(t *testing.T) {
	bubble(t, func(k *kit) {
		share := func(s float64) func(*sidehook.Webhook) { return func(w *sidehook.Webhook) { w.HistorySample = &s } }
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			if s.headers["webhook-id"][0] == 'x' {
				return 404, "", nil
			}
			return 200, "", nil
		}
		once := func(w *sidehook.Webhook) { w.AutomaticRetry = false }
		k.apply(webhook("none", share(0), once), webhook("half", share(0.5), once), webhook("all", once))
		k.publish(many("e", 200)...)
		k.publish(many("x", 20)...)
		synctest.Wait()
		attempts := map[string]int{}
		for _, d := range k.deliveries(storage.Query{Limit: storage.MaxLimit}) {
			if d.State != sidehook.Delivered && d.State != sidehook.Dead {
				t.Errorf("%s is %s", d.EventID, d.State)
			}
			attempts[d.Webhook.ID+"/"+d.State.String()] += len(d.Attempts)
		}
		k.want("failures kept", fmt.Sprint(attempts["none/dead"], attempts["half/dead"], attempts["all/dead"]), "20 20 20")
		k.want("successes kept of none and all", fmt.Sprint(attempts["none/delivered"], attempts["all/delivered"]), "0 200")
		if n := attempts["half/delivered"]; n < 60 || n > 140 {
			t.Errorf("%d of 200 successes are kept at a half", n)
		}
		if c := k.engine.Counts(); c.Delivered != 600 || c.Attempts != 660 {
			t.Errorf("counts %+v", c)
		}
		sent, err := k.engine.SendTest(k.t.Context(), key("none"), testEvent("t1"), time.Time{})
		if err != nil || sent.Attempt.Status != 200 {
			t.Fatalf("test: %+v, %v", sent, err)
		}
		if d, err := k.store.Delivery(k.t.Context(), sent.Delivery); err != nil || len(d.Attempts) != 1 {
			t.Errorf("the test's attempt is not in the history: %+v, %v", d, err)
		}
	})
}

// TestRateLimitLikeThatOfAWastefulEndpoint: a limit that the webhook itself has is named as such.
func TestRateLimitLikeThatOfAWastefulEndpoint(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("w", limited(100, 8)))
		k.publish(many("e", 20)...)
		synctest.Wait()
		told, _ := k.engine.HealthChanges().Next(10)
		if len(told) != 1 || told[0].Paused != "rate limit: 100 attempts per second, 8 at once" {
			t.Errorf("health %+v", told)
		}
		time.Sleep(time.Minute)
	})
}
