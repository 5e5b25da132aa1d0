package outbound_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

// claims is a store that counts how often it is read.
type claims struct {
	storage.Store
	n atomic.Int64
}

func (c *claims) Claim(ctx context.Context, w sidehook.WebhookKey, now time.Time, limit int) ([]storage.Claimed, time.Time, error) {
	c.n.Add(1)
	return c.Store.Claim(ctx, w, now, limit)
}

// TestASteadyLoadLeavesTheDurableQueue: the first events come before the endpoint has shown that it works, so some wait
// in the durable queue, and the next behind them. Though there are always some hundreds of deliveries under way, all of
// them soon pass through memory alone.
func TestASteadyLoadLeavesTheDurableQueue(t *testing.T) {
	const (
		underWay = 700
		step     = 50
		settled  = 60 // steps
		steps    = 100
	)
	store := new(claims)
	bubble(t, func(k *kit) {
		k.recv.answer = func(int, sent) (int, string, error) {
			<-time.After(10 * time.Millisecond)
			return 200, "", nil
		}
		k.apply(webhook("w"))
		published := 0
		publish := func(n int) {
			events := make([]*sidehook.Event, n)
			for i := range events {
				events[i] = event(fmt.Sprintf("e%d", published), "a.b")
				published++
			}
			k.publish(events...)
		}
		publish(underWay)
		var before int64
		for i := range steps {
			for len(k.recv.all()) < published-underWay+step {
				<-time.After(time.Millisecond)
			}
			publish(step)
			if i == settled {
				before = store.n.Load()
			}
		}
		k.want("readings of the queue once the load is steady", store.n.Load()-before, int64(0))
		if before == 0 {
			t.Error("nothing came to wait in the queue, so this test shows nothing")
		}
		synctest.Wait()
		for len(k.recv.all()) < published {
			<-time.After(time.Millisecond)
		}
	}, func(o *outbound.Options) {
		store.Store = o.Store
		o.Store = store
	})
}
