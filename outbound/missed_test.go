package outbound_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

func disabledBy(cause sidehook.DisabledCause) func(*sidehook.Webhook) {
	return func(w *sidehook.Webhook) { w.Status, w.DisabledCause = sidehook.WebhookDisabled, cause }
}

// TestMissedEventsCanBeReplayed: what matches while the control plane has disabled a webhook is in the history as dropped,
// and can be delivered once it is enabled; what waited before waits, and goes then by itself.
func TestMissedEventsCanBeReplayed(t *testing.T) {
	for _, cause := range []sidehook.DisabledCause{sidehook.DisabledByFailing, sidehook.DisabledByGone} {
		t.Run(string(cause), func(t *testing.T) {
			bubble(t, func(k *kit) {
				down := func(int, sent) (int, string, error) { return 404, "", nil }
				k.recv.answer = down
				k.apply(webhook("w", slowRetry))
				k.publish(many("before", 3)...)
				synctest.Wait()
				k.apply(webhook("w", slowRetry, disabledBy(cause)))
				k.publish(many("missed", 1500)...)
				k.publish(many("more", 500)...)
				synctest.Wait()
				k.want("while it is disabled", k.states(), map[sidehook.DeliveryState]int{sidehook.Dropped: storage.MaxLimit})
				k.restart()
				k.recv.mu.Lock()
				k.recv.answer = nil
				k.recv.mu.Unlock()
				k.apply(webhook("w", slowRetry))
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				k.want("requests after it is enabled", len(k.recv.all()), 3+3)
				dropped := sidehook.Dropped
				var ids []sidehook.DeliveryID
				for q := (storage.Query{State: &dropped, Limit: storage.MaxLimit}); ; {
					page, err := k.store.Deliveries(k.t.Context(), q)
					if err != nil {
						k.t.Fatal(err)
					}
					for _, d := range page.Deliveries {
						ids = append(ids, d.ID)
					}
					if q.Cursor = page.Next; q.Cursor == "" {
						break
					}
				}
				k.want("dropped", len(ids), 2000)
				if n, err := k.engine.Requeue(k.t.Context(), key("w"), ids); err != nil || n != 2000 {
					k.t.Fatalf("replayed %d, %v", n, err)
				}
				synctest.Wait()
				k.want("requests after the replay", len(k.recv.all()), 6+2000)
			})
		})
	}
}

// TestNothingIsMissedOfWhatAPersonDisabled: it is not matched, as before.
func TestNothingIsMissedOfWhatAPersonDisabled(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("w", disabledBy(sidehook.DisabledByPerson)))
		got := k.publish(many("e", 3)...)
		synctest.Wait()
		k.want("deliveries", got[0].Deliveries, 0)
		k.want("states", len(k.states()), 0)
	})
}
