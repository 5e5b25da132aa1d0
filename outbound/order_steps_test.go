package outbound_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/memstore"
)

// steps is a store that a test takes step by step: what is claimed is handed over, what is put back is put back, and
// results are said to be durable, when the test says so. Without it, and outside of steps, at once.
type steps struct {
	*memstore.Store
	mu     sync.Mutex
	most   int // claimed at once; 0: as many as asked for
	claims int // so far, those that gave something
	hold   int // the number of the claim to be held
	gate   chan struct{}
	backs  chan struct{} // nothing is put back before it is closed
	moved  int
	behind bool // results are held, until durable
	held   []func()
	drops  chan struct{} // when set, deliveries are dropped one call at a time, as it says
}

func (s *steps) Claim(ctx context.Context, key sidehook.WebhookKey, now time.Time, limit int) ([]storage.Claimed, time.Time, error) {
	s.mu.Lock()
	if s.most > 0 {
		limit = min(limit, s.most)
	}
	s.mu.Unlock()
	claimed, next, err := s.Store.Claim(ctx, key, now, limit)
	s.mu.Lock()
	var gate chan struct{}
	if len(claimed) > 0 {
		if s.claims++; s.claims == s.hold {
			gate = s.gate
		}
	}
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return claimed, next, err
}

// holdClaim holds the nth claim from now on that gives something, after it has claimed, until release is called.
func (s *steps) holdClaim(n int) (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate, s.hold = gate, s.claims+n
	return func() { close(gate) }
}

// holdUnclaims has nothing put back until release is called.
func (s *steps) holdUnclaims() (release func()) {
	gate := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backs = gate
	return func() { close(gate) }
}

func (s *steps) Unclaim(ctx context.Context, back []storage.Unclaimed) error {
	s.mu.Lock()
	s.moved += len(back)
	gate := s.backs
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return s.Store.Unclaim(ctx, back)
}

func (s *steps) Record(ctx context.Context, results []storage.Result) error {
	s.mu.Lock()
	if drops := s.drops; drops != nil && results[0].State == sidehook.Dropped {
		s.mu.Unlock()
		<-drops
		s.mu.Lock()
	}
	if s.behind {
		for i := range results {
			if call := results[i].OnCommit; call != nil {
				s.held, results[i].OnCommit = append(s.held, call), nil
			}
		}
	}
	s.mu.Unlock()
	return s.Store.Record(ctx, results)
}

// durable lets the oldest result that is held be durable, and waits until nothing more happens.
func (s *steps) durable() {
	s.mu.Lock()
	call := s.held[0]
	s.held = s.held[1:]
	s.mu.Unlock()
	call()
	synctest.Wait()
}

// stepped is a bubble with a store that is taken step by step, and a receiver that answers 404 to the ids it is told, else
// 200.
func stepped(t *testing.T, test func(k *kit, s *steps), change ...func(*outbound.Options)) {
	t.Helper()
	s := new(steps)
	bubble(t, func(k *kit) { test(k, s) }, append(change, func(o *outbound.Options) {
		s.Store = o.Store.(*memstore.Store)
		o.Store = s
	})...)
}

// asked are the ids that were sent, in order, with their attempts.
func (k *kit) asked() string {
	var ids []string
	for _, s := range k.recv.all() {
		ids = append(ids, strings.Replace(s.headers["webhook-id"], "-00000", "", 1))
	}
	return strings.Join(ids, " ")
}

// refuse makes the receiver answer 404 to the first attempts at some events: as many as each is named.
func (k *kit) refuse(ids ...string) {
	var mu sync.Mutex
	k.recv.answer = func(_ int, s sent) (int, string, error) {
		mu.Lock()
		defer mu.Unlock()
		if at := slices.Index(ids, strings.Replace(s.headers["webhook-id"], "-00000", "", 1)); at >= 0 {
			ids = slices.Delete(ids, at, at+1)
			return 404, "", nil
		}
		return 200, "", nil
	}
}

// wait lets time pass.
func (k *kit) wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// put stores events as an earlier run left them in the queue of w: due when given, else when they were accepted.
func (k *kit) put(due time.Time, events ...*sidehook.Event) (ids []sidehook.DeliveryID) {
	k.t.Helper()
	entries := make([]storage.Entry, len(events))
	for i, e := range events {
		entries[i] = storage.Entry{Event: e, Deliveries: []storage.Placement{{Webhook: key("w"), Queued: true, DueAt: due}}}
	}
	b := storage.NewBatch(entries)
	if err := k.store.Append(k.t.Context(), b); err != nil {
		k.t.Fatal(err)
	}
	for _, e := range b.Entries {
		ids = append(ids, e.Deliveries[0].ID)
	}
	return ids
}

func (k *kit) retry(id sidehook.DeliveryID) {
	k.t.Helper()
	if err := k.engine.Retry(k.t.Context(), "demo", id); err != nil {
		k.t.Fatal(err)
	}
	synctest.Wait()
}

func waits(waits ...time.Duration) func(*sidehook.Webhook) {
	return func(w *sidehook.Webhook) { w.RetrySchedule = waits }
}

// TestOrderOfAHastenedOneThatWasNeverTried: a retry by hand of what was only put back does not let it pass those before it.
func TestOrderOfAHastenedOneThatWasNeverTried(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		k.put(time.Time{}, keyedEvent("a", 0))
		later := k.put(time.Now().Add(time.Hour), keyedEvent("a", 1))
		k.restart()
		k.apply(webhook("w", inOrder))
		k.wait(time.Minute)
		k.retry(later[0])
		k.want("before the others are due", k.asked(), "")
		k.wait(time.Hour)
		k.want("in the end", k.asked(), "a0 a1")
	})
}

// TestOrderSwitchedOnAmongRetries: of several that were tried before the order was asked for, the first goes first,
// whenever they are due.
func TestOrderSwitchedOnAmongRetries(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		k.refuse("a0", "a1")
		k.apply(webhook("w", waits(time.Hour)))
		k.publish(keyedEvent("a", 0))
		synctest.Wait()
		k.apply(webhook("w", waits(time.Minute)))
		k.publish(keyedEvent("a", 1))
		synctest.Wait()
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", 2))
		k.wait(2 * time.Hour)
		k.want("asked", k.asked(), "a0 a1 a0 a1 a2")
	})
}

// TestManualRetryOfTheBlockedAfterARestart: what blocks its key is known after a restart, too, and goes when it is told to.
func TestManualRetryOfTheBlockedAfterARestart(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		k.refuse("a0")
		k.apply(webhook("w", inOrder, slowRetry))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1))
		synctest.Wait()
		blocked := k.deliveries(storage.Query{})[1].ID
		k.restart()
		k.apply(webhook("w", inOrder, slowRetry))
		k.wait(time.Minute)
		k.retry(blocked)
		k.want("after the retry by hand", k.asked(), "a0 a0")
		k.wait(2 * time.Hour)
		k.want("in the end", k.asked(), "a0 a0 a1")
	})
}

// TestOrderAfterAShorterWait: what was put back behind a long wait is not passed by what comes behind a shorter one.
func TestOrderAfterAShorterWait(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		k.refuse("a0", "a0")
		w := webhook("w", inOrder, waits(time.Hour, time.Second))
		k.apply(w)
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1))
		synctest.Wait()
		k.retry(k.deliveries(storage.Query{})[1].ID)
		k.publish(keyedEvent("a", 2))
		k.wait(time.Minute)
		if got := k.asked(); !strings.HasPrefix(got, "a0 a0 a0") || strings.Contains(got, "a2") && !strings.Contains(got, "a1 a2") {
			t.Errorf("asked %s", got)
		}
		k.wait(2 * time.Hour)
		k.want("in the end", k.asked(), "a0 a0 a0 a1 a2")
		k.want("in memory", k.engine.Webhooks()[0].InMemory, 0)
	})
}

// TestOrderOfWhatIsClaimedMeanwhile: what a claim brings while what stands before it is being put back goes back behind it.
func TestOrderOfWhatIsClaimedMeanwhile(t *testing.T) {
	t.Run("one that comes too early is put back", func(t *testing.T) {
		stepped(t, func(k *kit, s *steps) {
			k.put(time.Now().Add(time.Minute), keyedEvent("a", 1), keyedEvent("a", 2))
			k.put(time.Time{}, keyedEvent("a", 3))
			<-time.After(2 * time.Minute)
			k.restart()
			s.most = 2
			release := s.holdClaim(2)
			k.apply(webhook("w", inOrder))
			synctest.Wait()
			release() // of 2; 3 came too early, and 1 went back with it
			synctest.Wait()
			k.publish(keyedEvent("b", 0)) // there is room for one key
			k.wait(time.Second)
			k.want("asked", k.asked(), "a1 a2 a3 b0")
		}, func(o *outbound.Options) { o.MaxKeys = 1 })
	})
	t.Run("another key does not have it forgotten", func(t *testing.T) {
		stepped(t, func(k *kit, s *steps) {
			k.put(time.Now().Add(time.Minute), keyedEvent("a", 1), keyedEvent("b", 0))
			k.put(time.Time{}, keyedEvent("a", 3))
			<-time.After(2 * time.Minute)
			k.restart()
			s.most = 2
			release := s.holdClaim(2)
			k.apply(webhook("w", inOrder))
			synctest.Wait()
			release() // of b0; both of a were put back meanwhile
			k.wait(time.Minute)
			k.want("asked", k.asked(), "b0 a1 a3")
		})
	})
	t.Run("the one before fails for long", func(t *testing.T) {
		stepped(t, func(k *kit, s *steps) {
			answer := make(chan int)
			k.recv.answer = func(n int, s sent) (int, string, error) {
				if n == 1 {
					return <-answer, "", nil
				}
				return 200, "", nil
			}
			s.most = 1
			release := s.holdClaim(3)
			k.apply(webhook("w", inOrder, slowRetry))
			k.publish(keyedEvent("a", 0), keyedEvent("a", 1), keyedEvent("a", 2))
			synctest.Wait()
			answer <- 404
			synctest.Wait()
			release() // of 2
			synctest.Wait()
			next := k.engine.Webhooks()[0].NextDue
			for _, d := range k.deliveries(storage.Query{}) {
				if d.NextAttempt.Before(next) {
					t.Errorf("%s is due at %s, and the lane wakes up at %s", d.EventID, d.NextAttempt, next)
				}
			}
			k.wait(2 * time.Hour)
			k.want("asked", k.asked(), "a0 a0 a1 a2")
		})
	})
	t.Run("the one before fails", func(t *testing.T) {
		stepped(t, func(k *kit, s *steps) {
			answer := make(chan int)
			k.recv.answer = func(n int, s sent) (int, string, error) {
				if n == 1 {
					return <-answer, "", nil
				}
				return 200, "", nil
			}
			s.most = 1
			release := s.holdClaim(3)
			k.apply(webhook("w", inOrder, waits(0)))
			k.publish(keyedEvent("a", 0), keyedEvent("a", 1), keyedEvent("a", 2))
			synctest.Wait()
			answer <- 404 // to be tried at once; 1, which waited behind it, goes back
			synctest.Wait()
			release() // of 2
			synctest.Wait()
			k.want("asked", k.asked(), "a0 a0 a1 a2")
		})
	})
	switches := func(t *testing.T, turnEnds bool) {
		stepped(t, func(k *kit, s *steps) {
			answer := make(chan int)
			k.recv.answer = func(n int, s sent) (int, string, error) {
				if n == 1 {
					return <-answer, "", nil
				}
				return 200, "", nil
			}
			s.most = 1
			release := s.holdClaim(3)
			k.apply(webhook("w", inOrder))
			k.publish(keyedEvent("a", 0), keyedEvent("a", 1), keyedEvent("a", 2))
			synctest.Wait()
			k.apply(webhook("w", inOrder, func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled }))
			synctest.Wait()
			if turnEnds {
				answer <- 200
				synctest.Wait()
			}
			k.apply(webhook("w", inOrder))
			release() // of 2, while 1 is back in the queue
			synctest.Wait()
			if !turnEnds {
				answer <- 200
				synctest.Wait()
			}
			k.want("asked", k.asked(), "a0 a1 a2")
		})
	}
	t.Run("the webhook is switched off and on", func(t *testing.T) { switches(t, false) })
	t.Run("the same, and the turn ends", func(t *testing.T) { switches(t, true) })
	t.Run("the same, before any has its turn", func(t *testing.T) {
		stepped(t, func(k *kit, s *steps) {
			s.most = 1
			release := s.holdClaim(2)
			k.apply(webhook("w", inOrder))
			k.publish(keyedEvent("a", 0), keyedEvent("a", 1))
			synctest.Wait()
			k.apply(webhook("w", inOrder, func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled }))
			synctest.Wait()
			k.apply(webhook("w", inOrder))
			release() // of 1, while 0 is back in the queue
			synctest.Wait()
			k.want("asked", k.asked(), "a0 a1")
		}, func(o *outbound.Options) { o.PerWebhook = 1 })
	})
}

// TestOrderOfTheRecalled: when memory is emptied and some in it were never moved while others were, all go on by the order
// in which they came. The lane has room for 16 that wait for their turn.
func TestOrderOfTheRecalled(t *testing.T) {
	stepped(t, func(k *kit, s *steps) {
		k.recv.answer = func(int, sent) (int, string, error) { return 404, "", nil }
		w := webhook("w", inOrder, func(w *sidehook.Webhook) { w.AutomaticRetry = false })
		s.behind = true
		k.apply(w)
		for n := range 18 { // 0 has its turn, 1 to 16 wait for theirs, 17 is put off for a moment
			k.publish(keyedEvent("a", n))
			synctest.Wait()
		}
		s.durable() // 0: 1 has its turn, and there is room for 17
		k.wait(time.Second)
		k.publish(keyedEvent("a", 18)) // put off
		synctest.Wait()
		off := webhook("w", inOrder, func(w *sidehook.Webhook) { w.AutomaticRetry, w.Status = false, sidehook.WebhookDisabled })
		k.apply(off)
		synctest.Wait()
		k.apply(w)
		synctest.Wait()
		for range 18 {
			s.durable()
			k.wait(time.Second)
		}
		want := make([]string, 19)
		for n := range want {
			want[n] = strings.Replace(keyedEvent("a", n).ID, "-00000", "", 1)
		}
		k.want("asked", k.asked(), strings.Join(want, " "))
	}, func(o *outbound.Options) { o.PerWebhook = 1 })
}

// TestOrderOfWhatWaitsForASecret: an event whose turn it is, but that cannot be sent, keeps nobody waiting once it can,
// though the webhook was switched off meanwhile, and its key makes room for another.
func TestOrderOfWhatWaitsForASecret(t *testing.T) {
	stepped(t, func(k *kit, s *steps) {
		w := webhook("w", inOrder)
		k.applySnapshot(snapshot([]*sidehook.Webhook{w}, nil))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1))
		k.wait(time.Second)
		off := webhook("w", inOrder, func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled })
		release := s.holdUnclaims()
		k.applySnapshot(snapshot([]*sidehook.Webhook{off}, nil))
		synctest.Wait()
		k.apply(w)
		synctest.Wait()
		release() // of both
		k.wait(time.Second)
		k.want("asked", k.asked(), "a0 a1")
		k.publish(keyedEvent("b", 0))
		k.wait(time.Second)
		k.want("asked when there is room", k.asked(), "a0 a1 b0")
	}, func(o *outbound.Options) { o.MaxKeys = 1 })
}

// TestOrderSwitchedOff: what waited for its turn goes at once when there is no order any more.
func TestOrderSwitchedOff(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		answer := make(chan int)
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return <-answer, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1), keyedEvent("a", 2))
		synctest.Wait()
		k.want("asked in order", k.asked(), "a0")
		k.apply(webhook("w"))
		synctest.Wait()
		k.want("asked without", len(k.recv.all()), 3)
		answer <- 200
	})
}

// TestOrderWaitsForWhatIsPutBack: nothing is claimed while what stands before it is on its way back to the queue.
func TestOrderWaitsForWhatIsPutBack(t *testing.T) {
	stepped(t, func(k *kit, s *steps) {
		answer := make(chan int)
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return <-answer, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1))
		synctest.Wait()
		release := s.holdUnclaims()
		k.apply(webhook("w", inOrder, func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled }))
		synctest.Wait()
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", 2))
		synctest.Wait()
		release() // of 1
		synctest.Wait()
		answer <- 200
		synctest.Wait()
		k.want("asked", k.asked(), "a0 a1 a2")
	})
}

// hanging makes requests for events of the keys z wait for their answers, and gives those.
func (k *kit) hanging() (answers chan int) {
	answers = make(chan int)
	k.recv.answer = func(_ int, s sent) (int, string, error) {
		if s.headers["webhook-id"][0] == 'z' {
			return <-answers, "", nil
		}
		return 200, "", nil
	}
	return answers
}

// TestOrderOfWhatIsSpilled: what an endpoint in trouble has memory emptied of is delivered later, and its keys make room for
// others then.
func TestOrderOfWhatIsSpilled(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		answers := k.hanging()
		k.apply(webhook("w", inOrder, slowRetry))
		publish := func(prefix string, n int) {
			var events []*sidehook.Event
			for i := range n {
				events = append(events, keyedEvent(fmt.Sprint(prefix, i), 0))
			}
			k.publish(events...)
			synctest.Wait()
		}
		publish("z", 8)
		publish("k", 100)
		k.want("requests while eight hang", len(k.recv.all()), 8)
		for n := range 8 {
			answers <- []int{503, 200}[n/3%2]
			synctest.Wait()
		}
		k.wait(time.Minute)
		k.want("requests once they do not", len(k.recv.all()), 8+100)
		close(answers) // of status 0
		publish("n", 60)
		k.wait(time.Second)
		k.want("requests for other keys", len(k.recv.all()), 8+100+60)
	}, func(o *outbound.Options) { o.PerWebhook, o.MaxKeys = 8, 110 })
}

// TestOrderOfTurnsAtAnEndpointInTrouble: what has its turn keeps it when memory is emptied.
func TestOrderOfTurnsAtAnEndpointInTrouble(t *testing.T) {
	stepped(t, func(k *kit, s *steps) {
		const keys = 24
		answers := k.hanging()
		s.behind = true
		k.apply(webhook("w", inOrder, slowRetry))
		for key := range keys {
			k.publish(keyedEvent(fmt.Sprint("k", key), 0), keyedEvent(fmt.Sprint("k", key), 1))
			synctest.Wait()
		}
		for key := range 8 {
			k.publish(keyedEvent(fmt.Sprint("z", key), 0))
			synctest.Wait()
		}
		k.want("requests", len(k.recv.all()), keys+8)
		for range keys {
			s.durable() // the second one of a key has its turn, but all workers wait
		}
		for n := range 8 {
			answers <- []int{503, 200}[n/3%2]
			synctest.Wait()
		}
		for len(s.held) > 0 {
			s.durable()
		}
		k.wait(time.Minute)
		k.want("requests in the end", len(k.recv.all()), 2*keys+8)
		for len(s.held) > 0 {
			s.durable()
		}
	}, func(o *outbound.Options) { o.PerWebhook = 8 })
}

// TestOrderWhileMissedEventsAreDropped: what leaves memory together with events that are dropped is back in the queue before
// the webhook, enabled at that moment, gets what came later.
func TestOrderWhileMissedEventsAreDropped(t *testing.T) {
	stepped(t, func(k *kit, s *steps) {
		k.apply(webhook("w", inOrder))
		release := s.holdClaim(1)
		k.publish(keyedEvent("a", 0))
		synctest.Wait()
		k.publish(keyedEvent("a", 1))
		s.mu.Lock()
		s.drops = make(chan struct{})
		s.mu.Unlock()
		k.apply(webhook("w", inOrder, disabledBy(sidehook.DisabledByFailing)))
		k.publish(keyedEvent("m", 0))
		synctest.Wait() // it is being dropped
		k.publish(keyedEvent("m", 1))
		release() // a0 comes into memory beside m1
		synctest.Wait()
		s.drops <- struct{}{} // m0 is dropped; m1 and a0 are next
		synctest.Wait()
		k.apply(webhook("w", inOrder))
		k.wait(time.Second)
		s.drops <- struct{}{}
		k.wait(time.Second)
		k.want("asked", k.asked(), "a0 a1")
	})
}
