package outbound_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
)

func TestHealthIsToldByChange(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			if strings.Contains(s.url, "down") {
				return 0, "", errors.New("connection refused")
			}
			return 200, "", nil
		}
		k.apply(webhook("down", slowRetry), webhook("up"), webhook("idle", func(w *sidehook.Webhook) { w.Events = []string{"x.y"} }))
		changes := k.engine.HealthChanges()
		got, more := changes.Next(10)
		k.want("before any attempt", fmt.Sprint(got, more), "[] false")
		k.publish(event("e1", "a.b"))
		synctest.Wait()
		at := time.Now()
		got, _ = changes.Next(10)
		if len(got) != 2 || got[0].Key.ID != "down" || got[1].Key.ID != "up" {
			t.Fatalf("after an event: %+v", got)
		}
		if d := got[0]; d.FailedAttempts != 1 || d.Dead != 0 || d.LastError != "connection refused" || !d.LastFailure.Equal(at) ||
			!d.LastSuccess.IsZero() || d.Paused != "" {
			t.Errorf("down: %+v", d)
		}
		if u := got[1]; u.Delivered != 1 || u.FailedAttempts != 0 || !u.LastSuccess.Equal(at) {
			t.Errorf("up: %+v", u)
		}
		got, more = changes.Next(10)
		k.want("without a change", fmt.Sprint(got, more), "[] false")
		if all, _ := k.engine.HealthChanges().Next(10); len(all) != 2 {
			t.Errorf("another reader is told of %+v", all)
		}
		for i := range 50 {
			k.publish(event(fmt.Sprint("f", i), "a.b"))
		}
		synctest.Wait()
		got, _ = changes.Next(10)
		if len(got) != 2 || !strings.Contains(got[0].Paused, "circuit open") || got[1].Paused != "" {
			t.Errorf("with a circuit open: %+v", got)
		}
	})
}

func TestHealthLeavesNobodyOutForGood(t *testing.T) {
	bubble(t, func(k *kit) {
		var all []*sidehook.Webhook
		for i := range 5 {
			all = append(all, webhook(fmt.Sprint("w", i)))
		}
		k.apply(all...)
		changes := k.engine.HealthChanges()
		seen := map[string]int{}
		for i := range 9 {
			k.publish(event(fmt.Sprint("e", i), "a.b"))
			synctest.Wait()
			got, more := changes.Next(2)
			k.want("told", len(got), 2)
			k.want("more", more, true)
			for _, h := range got {
				seen[h.Key.ID]++
			}
		}
		for _, w := range all {
			if seen[w.ID] < 3 { // once in every three rounds
				t.Errorf("told of %s %d times: %v", w.ID, seen[w.ID], seen)
			}
		}
	})
}
