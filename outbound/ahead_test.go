package outbound_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
)

// counting is a sidehook.Transformers that counts, by event, how often it was asked and how often somebody waited for the
// answer, which is the name of the transformer.
type counting struct {
	mu            sync.Mutex
	asked, waited map[string]int
	away          bool
	busy          bool // not to be asked ahead
}

func newCounting() *counting {
	return &counting{asked: make(map[string]int), waited: make(map[string]int)}
}

func (c *counting) Installed(string) bool { return true }

func (c *counting) Begin(name string, e *sidehook.Event, _ *sidehook.Webhook) sidehook.Transforming {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[e.ID]++
	away := c.away
	return transforming(func() (*sidehook.Transformed, error) {
		if away {
			return nil, fmt.Errorf("crashed: %w", sidehook.ErrTransformerUnavailable)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waited[e.ID]++
		changed := *e
		changed.Data = []byte(`"` + name + `"`)
		return &sidehook.Transformed{Event: &changed}, nil
	})
}

func (c *counting) Ahead(name string, e *sidehook.Event, w *sidehook.Webhook) sidehook.Transforming {
	c.mu.Lock()
	busy := c.busy
	c.mu.Unlock()
	if busy {
		return nil
	}
	return c.Begin(name, e, w)
}

// sums are the events asked about, and the questions and the waits in all.
func (c *counting) sums() (events, questions, waits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.asked {
		questions += n
	}
	for _, n := range c.waited {
		waits += n
	}
	return len(c.asked), questions, waits
}

func (c *counting) setAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// heldUp is a kit whose endpoint answers so many requests when it is let, and all of them from when it is let go on.
func heldUp(t *testing.T, c *counting, test func(k *kit, let func(n int), goOn func())) {
	bubble(t, func(k *kit) {
		answer := make(chan struct{})
		k.recv.answer = func(int, sent) (int, string, error) {
			<-answer
			return 200, "", nil
		}
		goOn := sync.OnceFunc(func() { close(answer) })
		defer goOn()
		let := func(n int) {
			for range n {
				answer <- struct{}{}
			}
		}
		test(k, let, goOn)
	}, func(o *outbound.Options) {
		o.Transformers = c
		o.PerWebhook = 8
	})
}

func (k *kit) publishMany(n int) {
	batch := make([]*sidehook.Event, n)
	for i := range batch {
		batch[i] = event(fmt.Sprint("e", i), "a.b")
	}
	k.publish(batch...)
}

// shoutTwenty publishes 300 events to a webhook with a transformer and lets 20 deliveries be answered.
func (k *kit) shoutTwenty(let func(int)) {
	k.apply(webhook("w", shouting))
	k.publishMany(300)
	synctest.Wait()
	let(20)
	synctest.Wait()
}

func shouting(w *sidehook.Webhook) { w.Transformer = "shout" }

// TestAsksATransformerAhead: while all workers wait for their endpoint, the transformer is asked about what comes next, and
// not about more than that; every delivery is asked about once.
func TestAsksATransformerAhead(t *testing.T) {
	c := newCounting()
	heldUp(t, c, func(k *kit, let func(int), goOn func()) {
		k.shoutTwenty(let)
		events, questions, waits := c.sums()
		k.want("waited for", waits, 28)
		if events < 28+28 || events > 28+32 {
			t.Errorf("asked about %d, not the 20 done, the 8 under way and the next 28 to 32", events)
		}
		k.want("questions", questions, events)
		goOn()
		synctest.Wait()
		k.want("delivered", k.engine.Counts().Delivered, 300)
		events, questions, waits = c.sums()
		k.want("events asked about", events, 300)
		k.want("questions in all", questions, 300)
		k.want("waits in all", waits, 300)
		k.want("answers kept", outbound.Asked(k.engine), [2]int64{})
		for _, s := range k.recv.all() {
			if s.body != `{"type":"a.b","timestamp":"2000-01-01T00:00:00Z","data":"shout"}` {
				t.Fatalf("sent %s", s.body)
			}
		}
	})
}

// TestABusyTransformerIsNotAskedAhead, but about every delivery in its turn.
func TestABusyTransformerIsNotAskedAhead(t *testing.T) {
	c := newCounting()
	c.busy = true
	heldUp(t, c, func(k *kit, let func(int), goOn func()) {
		k.shoutTwenty(let)
		_, questions, _ := c.sums()
		k.want("questions", questions, 28)
		k.want("answers kept", outbound.Asked(k.engine), [2]int64{})
		goOn()
		synctest.Wait()
		k.want("delivered", k.engine.Counts().Delivered, 300)
	})
}

// TestAnswersOfAChangedWebhookAreForgotten: what was asked before the webhook changed is asked again.
func TestAnswersOfAChangedWebhookAreForgotten(t *testing.T) {
	c := newCounting()
	heldUp(t, c, func(k *kit, _ func(int), goOn func()) {
		k.apply(webhook("w", shouting))
		k.publishMany(100)
		synctest.Wait()
		k.apply(webhook("w", func(w *sidehook.Webhook) { w.Transformer = "whisper" }))
		goOn()
		synctest.Wait()
		bodies := make(map[string]int)
		for _, s := range k.recv.all() {
			bodies[s.body]++
		}
		k.want("kinds of bodies", len(bodies), 2)
		k.want("made before the change", bodies[`{"type":"a.b","timestamp":"2000-01-01T00:00:00Z","data":"shout"}`], 8)
		k.want("answers kept", outbound.Asked(k.engine), [2]int64{})
	})
}

// TestTroubleAheadIsAskedAgain: a transformer that was away when it was asked ahead is asked once more when a worker needs
// the answer, and only then does the lane wait.
func TestTroubleAheadIsAskedAgain(t *testing.T) {
	c := newCounting()
	heldUp(t, c, func(k *kit, _ func(int), goOn func()) {
		k.apply(webhook("w", shouting))
		k.publishMany(8)
		synctest.Wait()
		c.setAway(true)
		k.publishMany(40)
		synctest.Wait()
		c.setAway(false)
		before := time.Now()
		goOn()
		synctest.Wait()
		k.want("delivered", k.engine.Counts().Delivered, 40)
		k.want("time it took", time.Since(before), time.Duration(0))
		k.want("answers kept", outbound.Asked(k.engine), [2]int64{})
	})
}

// TestAnswersAreForgottenWithTheirDeliveries: those of a webhook that is disabled, and of one whose endpoint fails, make
// room for others.
func TestAnswersAreForgottenWithTheirDeliveries(t *testing.T) {
	c := newCounting()
	heldUp(t, c, func(k *kit, _ func(int), goOn func()) {
		k.apply(webhook("w", shouting))
		k.publishMany(100)
		synctest.Wait()
		if outbound.Asked(k.engine) == [2]int64{} {
			t.Error("nothing was asked ahead")
		}
		k.apply(webhook("w", shouting, func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled }))
		synctest.Wait()
		k.want("answers kept", outbound.Asked(k.engine), [2]int64{})
		goOn()
		k.apply(webhook("w", shouting))
		synctest.Wait()
		k.want("delivered", k.engine.Counts().Delivered, 100)
	})
}

// TestNothingIsAskedAheadOfARateOrAnOrder: answers would grow old.
func TestNothingIsAskedAheadOfARateOrAnOrder(t *testing.T) {
	for name, change := range map[string]func(*sidehook.Webhook){
		"rate":  func(w *sidehook.Webhook) { w.RateLimit = sidehook.RateLimit{PerSecond: 0.001, Burst: 8} },
		"order": func(w *sidehook.Webhook) { w.Ordering = sidehook.OrderingKey },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCounting()
			heldUp(t, c, func(k *kit, _ func(int), _ func()) {
				k.apply(webhook("w", shouting, change))
				k.publishMany(100)
				synctest.Wait()
				_, questions, waits := c.sums()
				k.want("questions", questions, 8)
				k.want("waits", waits, 8)
			})
		})
	}
}

// TestAnswersAheadAreBounded over all webhooks, in number and in bytes; what has no room is asked about in its turn.
func TestAnswersAheadAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		size int
		most int64
	}{"number": {2, 1024}, "bytes": {64 << 10, 64}} {
		t.Run(name, func(t *testing.T) {
			c := newCounting()
			heldUp(t, c, func(k *kit, let func(int), goOn func()) {
				many := make([]*sidehook.Webhook, 100)
				for i := range many {
					many[i] = webhook(fmt.Sprint("w", i), shouting)
				}
				k.apply(many...)
				for i := range 30 {
					e := event(fmt.Sprint("e", i), "a.b")
					e.Data = fmt.Appendf(nil, "%q", strings.Repeat("x", test.size-2))
					k.publish(e)
				}
				synctest.Wait()
				let(1000)
				synctest.Wait()
				kept := outbound.Asked(k.engine)
				if kept[0] < test.most/2 || kept[0] > test.most || kept[1] != kept[0]*int64(test.size) {
					t.Errorf("%d answers of %d bytes kept, want about %d and no more", kept[0], kept[1], test.most)
				}
				goOn()
				synctest.Wait()
				k.want("delivered", k.engine.Counts().Delivered, 3000)
				k.want("answers in the end", outbound.Asked(k.engine), [2]int64{})
			})
		})
	}
}
