package outbound_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

// TestOrderCountsFailuresAsTheyCome: an endpoint that fails every other time does not open the circuit, however long it
// takes to put back what stood behind the failed ones: an attempt is counted when it ends.
func TestOrderCountsFailuresAsTheyCome(t *testing.T) {
	const keys = 40
	slow := &slowUnclaims{}
	bubble(t, func(k *kit) {
		slow.gate = make(chan struct{})
		got := newArrivals()
		asked := make(chan chan int, 2*keys)
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			answer := make(chan int)
			asked <- answer
			status := <-answer
			if status == 200 {
				got.take(s.headers["webhook-id"])
			}
			return status, "", nil
		}
		k.apply(webhook("w", inOrder, func(w *sidehook.Webhook) { w.RetrySchedule = slices.Repeat([]time.Duration{time.Minute}, 3) }))
		var events []*sidehook.Event
		for key := range keys {
			events = append(events, keyedEvent(fmt.Sprint("k", key), 0), keyedEvent(fmt.Sprint("k", key), 1))
		}
		k.publish(events...)
		synctest.Wait()
		answered := 0
		answerAll := func(status func() int) {
			for len(asked) > 0 {
				(<-asked) <- status()
				answered++
				synctest.Wait()
			}
		}
		answerAll(func() int { return []int{200, 503}[answered%2] })
		if answered < 8 {
			t.Fatalf("%d requests", answered)
		}
		close(slow.gate)
		synctest.Wait()
		if s := k.engine.Webhooks()[0]; s.Trouble > 1 || s.Phase == "paused" {
			t.Errorf("after %d answers, every other one a failure: %d failures in a row, %s: %s", answered, s.Trouble, s.Phase, s.Reason)
		}
		for range 10 {
			answerAll(func() int { return 200 })
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		for key := range keys {
			k.want(fmt.Sprint("k", key), got.get(fmt.Sprint("k", key)), []int{0, 1})
		}
	}, func(o *outbound.Options) {
		slow.Store = o.Store
		o.Store = slow
	})
}

// slowUnclaims is a store that puts nothing back until the gate is open.
type slowUnclaims struct {
	storage.Store
	gate chan struct{}
}

func (s *slowUnclaims) Unclaim(ctx context.Context, back []storage.Unclaimed) error {
	<-s.gate
	return s.Store.Unclaim(ctx, back)
}
