package storagetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// testConcurrent has many publish, and workers claim and record at once: every delivery is claimed by one worker at a
// time, and ends once.
func testConcurrent(f *fixture) {
	const publishers, perPublisher, webhooks = 4, 60, 5
	f.opts.Now = time.Now
	s := f.open()
	c := &consumers{f: f, store: s, holding: make(map[sidehook.DeliveryID]bool), ended: make(map[sidehook.DeliveryID]int)}
	c.left = publishers * perPublisher * webhooks
	c.done = make(chan struct{})

	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range perPublisher {
				c.publish(fmt.Sprintf("p%d-%d", p, i), webhooks)
			}
		})
	}
	for w := range webhooks {
		for range 2 {
			all.Go(func() { c.consume(fmt.Sprintf("w%d", w)) })
		}
	}
	all.Wait()
	if c.err != nil {
		f.Fatal(c.err)
	}
	for id, n := range c.ended {
		if n != 1 {
			f.Fatalf("%v ended %d times", id, n)
		}
	}
	f.ok(s.Flush(bg))
	f.equal("pending", s.Stats().Pending, int64(0))
	f.equal("queues", len(f.heads()), 0)
	f.reopen()
	f.equal("pending after a restart", f.store.Stats().Pending, int64(0))
}

type consumers struct {
	f     *fixture
	store storage.Store

	mu      sync.Mutex
	err     error
	holding map[sidehook.DeliveryID]bool
	ended   map[sidehook.DeliveryID]int
	left    int
	done    chan struct{}
}

func (c *consumers) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && err != nil {
		c.err = err
		if c.left > 0 {
			c.left = 0
			close(c.done)
		}
	}
}

// publish appends an event for every webhook; half of the deliveries are taken, and recorded as failed or unclaimed.
func (c *consumers) publish(id string, webhooks int) {
	e := &sidehook.Event{App: "shop", ID: id, Source: "/", Type: "t", Time: time.Now(), DataContentType: "a/b"}
	entry := storage.Entry{Event: e}
	for w := range webhooks {
		p := storage.Placement{Webhook: hook(fmt.Sprintf("w%d", w)), Queued: w%2 == 0}
		entry.Deliveries = append(entry.Deliveries, p)
	}
	b := storage.NewBatch([]storage.Entry{entry})
	if err := errors.Join(c.store.Append(bg, b), b.Wait(bg)); err != nil {
		c.fail(err)
		return
	}
	for i, p := range b.Entries[0].Deliveries {
		if p.Queued {
			continue
		}
		if i == 1 {
			c.fail(c.store.Unclaim(bg, []storage.Unclaimed{{ID: p.ID, Webhook: p.Webhook}}))
			continue
		}
		c.fail(c.store.Record(bg, []storage.Result{{ID: p.ID, Webhook: p.Webhook, Attempt: &sidehook.Attempt{
			Number: 1, At: time.Now(), Outcome: sidehook.Outcome{Kind: sidehook.OutcomeRetry},
		}}}))
	}
}

// consume claims until everything has ended. A delivery is retried once, put back once, and then delivered.
func (c *consumers) consume(id string) {
	putBack := make(map[sidehook.DeliveryID]bool)
	for {
		select {
		case <-c.done:
			return
		default:
		}
		got, _, err := c.store.Claim(bg, hook(id), time.Now(), 7)
		if err != nil {
			c.fail(err)
			return
		}
		if len(got) == 0 {
			c.fail(c.store.Flush(bg))
			continue
		}
		for i := range got {
			c.handle(&got[i], putBack)
		}
	}
}

func (c *consumers) handle(d *storage.Claimed, putBack map[sidehook.DeliveryID]bool) {
	c.mu.Lock()
	if c.holding[d.ID] || c.ended[d.ID] > 0 {
		c.mu.Unlock()
		c.fail(fmt.Errorf("%v was claimed while somebody had it, or after it ended", d.ID))
		return
	}
	c.holding[d.ID] = true
	c.mu.Unlock()
	if !putBack[d.ID] {
		putBack[d.ID] = true
		c.release(d.ID)
		c.fail(c.store.Unclaim(bg, []storage.Unclaimed{{ID: d.ID, Webhook: d.Webhook}}))
		return
	}
	r := storage.Result{ID: d.ID, Webhook: d.Webhook, Attempt: &sidehook.Attempt{Number: d.Attempts + 1, At: time.Now()}}
	if d.Attempts < 2 {
		r.Attempt.Outcome.Kind = sidehook.OutcomeRetry
		c.release(d.ID)
	} else {
		r.State = sidehook.Delivered
		r.Attempt.Outcome.Kind = sidehook.OutcomeDelivered
		c.end(d.ID)
	}
	c.fail(c.store.Record(bg, []storage.Result{r}))
}

func (c *consumers) release(id sidehook.DeliveryID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.holding, id)
}

func (c *consumers) end(id sidehook.DeliveryID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[id]++
	if c.left--; c.left == 0 {
		close(c.done)
	}
}
