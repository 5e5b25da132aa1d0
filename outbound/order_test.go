package outbound_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

func inOrder(w *sidehook.Webhook) { w.Ordering = sidehook.OrderingKey }

// keyedEvent is an event whose id says its key and number.
func keyedEvent(key string, n int) *sidehook.Event {
	e := event(fmt.Sprintf("%s-%06d", key, n), "a.b")
	e.OrderingKey = key
	return e
}

func keyAndNumber(id string) (key string, n int) {
	at := strings.LastIndexByte(id, '-')
	_, _ = fmt.Sscanf(id[at+1:], "%d", &n)
	return id[:at], n
}

// arrivals are the ids that the receiver took, by key, repetitions left out.
type arrivals struct {
	mu   sync.Mutex
	of   map[string][]int
	at   map[string]time.Time
	seen map[string]bool
}

func (a *arrivals) take(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen[id] {
		return
	}
	a.seen[id], a.at[id] = true, time.Now()
	key, n := keyAndNumber(id)
	a.of[key] = append(a.of[key], n)
}

// get gives the numbers of a key in the order of arrival.
func (a *arrivals) get(key string) []int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.of[key])
}

// when gives when an event arrived first.
func (a *arrivals) when(id string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at[id]
}

func newArrivals() *arrivals {
	return &arrivals{of: make(map[string][]int), at: make(map[string]time.Time), seen: make(map[string]bool)}
}

// TestOrderHoldsItsKeyAlone: while an event of a key waits for its retry, what follows it waits, in order, and other keys
// and events without a key do not.
func TestOrderHoldsItsKeyAlone(t *testing.T) {
	bubble(t, func(k *kit) {
		got := newArrivals()
		var down atomic.Bool
		down.Store(true)
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			id := s.headers["webhook-id"]
			if key, n := keyAndNumber(id); key == "a" && n == 1 && down.Load() {
				return 500, "", nil
			}
			got.take(id)
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder))
		start := time.Now()
		for n := range 5 {
			free := event(fmt.Sprintf("free-%06d", n), "a.b")
			k.publish(keyedEvent("a", n), keyedEvent("b", n), free)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		k.want("a, whose second event fails", got.get("a"), []int{0})
		k.want("b", got.get("b"), []int{0, 1, 2, 3, 4})
		k.want("without a key", len(got.get("free")), 5)
		down.Store(false)
		k.publish(keyedEvent("a", 5))
		synctest.Wait()
		k.want("a before the retry", got.get("a"), []int{0})
		time.Sleep(time.Minute)
		synctest.Wait()
		k.want("a", got.get("a"), []int{0, 1, 2, 3, 4, 5})
		if d := got.when("a-000005").Sub(start); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("the last of a came after %s, with the retry it should", d)
		}
	})
}

// TestOrderGoesOnAfterTheDead: an event that is given up lets the next go.
func TestOrderGoesOnAfterTheDead(t *testing.T) {
	bubble(t, func(k *kit) {
		got := newArrivals()
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			if _, n := keyAndNumber(s.headers["webhook-id"]); n == 0 {
				return 400, "", nil
			}
			got.take(s.headers["webhook-id"])
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder, func(w *sidehook.Webhook) { w.AutomaticRetry = false }))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1), keyedEvent("a", 2))
		synctest.Wait()
		k.want("a", got.get("a"), []int{1, 2})
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Dead: 1, sidehook.Delivered: 2})
	})
}

// TestOrderWaitsUntilItIsDurable: the next event of a key is not sent while the result of the one before could be lost.
func TestOrderWaitsUntilItIsDurable(t *testing.T) {
	held := &heldRecords{}
	bubble(t, func(k *kit) {
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1), keyedEvent("b", 0))
		synctest.Wait()
		k.want("requests before the commit", len(k.recv.all()), 2)
		held.release()
		synctest.Wait()
		k.want("requests after it", len(k.recv.all()), 3)
		held.release()
	}, func(o *outbound.Options) {
		held.Store = o.Store
		o.Store = held
	})
}

// TestManualRetryOfTheBlocked: a retry by hand of what blocks its key is made at once.
func TestManualRetryOfTheBlocked(t *testing.T) {
	bubble(t, func(k *kit) {
		var down atomic.Bool
		down.Store(true)
		k.recv.answer = func(int, sent) (int, string, error) {
			if down.Load() {
				return 500, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder, slowRetry))
		k.publish(keyedEvent("a", 0), keyedEvent("a", 1))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
		down.Store(false)
		list := k.deliveries(storage.Query{})
		if err := k.engine.Retry(k.t.Context(), "demo", list[len(list)-1].ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if all := k.recv.all(); len(all) < 2 || all[1].headers["webhook-id"] != "a-000000" {
			t.Errorf("after the retry: %d requests", len(all))
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		k.want("states", k.states(), map[sidehook.DeliveryState]int{sidehook.Delivered: 2})
	})
}

// TestOrderSurvivesSwitches: a webhook that is disabled, enabled, or whose order is switched off and on, loses nothing, and
// keeps the order of what comes after.
func TestOrderSurvivesSwitches(t *testing.T) {
	bubble(t, func(k *kit) {
		got := newArrivals()
		k.recv.answer = func(n int, s sent) (int, string, error) {
			if n%3 == 0 {
				return 503, "", nil
			}
			got.take(s.headers["webhook-id"])
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder))
		n := 0
		for round := range 12 {
			for range 20 {
				k.publish(keyedEvent("a", n), keyedEvent("b", n))
				n++
			}
			synctest.Wait()
			switch round % 3 {
			case 0:
				k.apply(webhook("w", inOrder, func(w *sidehook.Webhook) { w.Status = sidehook.WebhookDisabled }))
				synctest.Wait()
			case 1:
				k.restart()
			}
			k.apply(webhook("w", inOrder))
			time.Sleep(time.Duration(round) * time.Second)
		}
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		for _, key := range []string{"a", "b"} {
			if !slices.IsSorted(got.get(key)) || len(got.get(key)) != n {
				t.Errorf("%s: %d of %d arrived, sorted %v: %v", key, len(got.get(key)), n, slices.IsSorted(got.get(key)), got.get(key))
			}
		}
		k.apply(webhook("w"))
		k.publish(keyedEvent("a", n), keyedEvent("a", n+1))
		synctest.Wait()
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", n+2))
		time.Sleep(100 * time.Hour)
		synctest.Wait()
		k.want("after switching the order off and on", len(got.get("a")), n+3)
	})
}

// TestOrderProperty: whatever fails, hangs and restarts, the first arrivals of each key come in the order of acceptance,
// all of them, and a key of which nothing fails is not held up by others.
func TestOrderProperty(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { orderRun(t, seed) })
	}
}

func orderRun(t *testing.T, seed uint64) {
	bubble(t, func(k *kit) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		got := newArrivals()
		attempts := make(map[string]int)
		latency := time.Duration(seed%4) * 3 * time.Millisecond
		// A receiver in trouble gets less of everything; one that refuses some events does not.
		inTrouble := seed%2 == 0
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			id := s.headers["webhook-id"]
			key, _ := keyAndNumber(id)
			k.recv.mu.Lock()
			attempts[id]++
			n := attempts[id]
			k.recv.mu.Unlock()
			time.Sleep(latency)
			if h := chance(id, n); key != "calm" && h < 25 {
				switch {
				case inTrouble && h < 3:
					return 0, "", errHang
				case inTrouble:
					return 503, "", nil
				}
				return 404, "", nil
			}
			got.take(id)
			return 200, "", nil
		}
		w := webhook("w", inOrder, func(w *sidehook.Webhook) {
			w.RetrySchedule = slices.Repeat([]time.Duration{2 * time.Second, 7 * time.Second}, 10)
		})
		k.apply(w)
		keys := 1 + int(seed)*5
		next := make(map[string]int)
		published := make(map[string]time.Time)
		for range 60 {
			batch := []*sidehook.Event{}
			for range 1 + rnd.IntN(12) {
				key := fmt.Sprint("k", rnd.IntN(keys))
				batch = append(batch, keyedEvent(key, next[key]))
				next[key]++
			}
			batch = append(batch, keyedEvent("calm", next["calm"]))
			published[batch[len(batch)-1].ID] = time.Now()
			next["calm"]++
			k.publish(batch...)
			if rnd.IntN(3) > 0 {
				time.Sleep(time.Duration(rnd.IntN(1500)) * time.Millisecond)
			}
			if rnd.IntN(15) == 0 {
				k.crash()
				k.apply(w)
			}
		}
		for range 20 { // hanging requests end with a restart alone
			time.Sleep(5 * time.Minute)
			k.crash()
			k.apply(w)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for key, n := range next {
			want := make([]int, n)
			for i := range want {
				want[i] = i
			}
			if !slices.Equal(got.get(key), want) {
				t.Errorf("%s arrived as %v, of %d", key, got.get(key), n)
			}
		}
		for id, at := range published {
			if d := got.when(id).Sub(at); !inTrouble && d > time.Second {
				t.Errorf("%s, of a key that does not fail, took %s", id, d)
			}
		}
	}, func(o *outbound.Options) { o.PerWebhook = 16 })
}

// chance is 0 to 99, the same for an attempt in every run.
func chance(id string, n int) uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, id, "/", n)
	return h.Sum32() % 100
}

// TestOrderOfManyWhoseHeadsFail: what cannot be kept in memory waits on disk, in order, and another key passes it.
func TestOrderOfManyWhoseHeadsFail(t *testing.T) {
	bubble(t, func(k *kit) {
		got := newArrivals()
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			time.Sleep(10 * time.Millisecond)
			got.take(s.headers["webhook-id"])
			return 200, "", nil
		}
		k.apply(webhook("w", inOrder))
		const many = 5000
		for at := 0; at < many; at += 100 {
			var batch []*sidehook.Event
			for n := range 100 {
				batch = append(batch, keyedEvent("hot", at+n))
			}
			k.publish(batch...)
		}
		k.publish(keyedEvent("other", 0))
		published := time.Now()
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if len(got.get("hot")) != many || !slices.IsSorted(got.get("hot")) {
			t.Errorf("%d of the hot key arrived, in order: %v", len(got.get("hot")), slices.IsSorted(got.get("hot")))
		}
		if d := got.when("other-000000").Sub(published); d > 10*time.Second {
			t.Errorf("another key waited %s behind the hot one, which took %s", d, got.when("hot-004999").Sub(published))
		}
	})
}

// heldRecords is a store whose results become durable when the test says so.
type heldRecords struct {
	storage.Store
	mu   sync.Mutex
	held []func()
}

func (h *heldRecords) Record(ctx context.Context, results []storage.Result) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range results {
		if call := results[i].OnCommit; call != nil {
			h.held, results[i].OnCommit = append(h.held, call), nil
		}
	}
	return h.Store.Record(ctx, results)
}

func (h *heldRecords) release() {
	h.mu.Lock()
	held := h.held
	h.held = nil
	h.mu.Unlock()
	for _, call := range held {
		call()
	}
}
