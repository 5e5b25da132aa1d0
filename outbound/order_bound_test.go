package outbound_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
)

// upTo are the numbers below n.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestOrderOfMoreKeysThanAreKnown: when the keys that wait are as many as the lane can know, others wait until one of them
// has ended, a minute longer at most, with or without a restart; all are delivered, in order, and none is read and put
// back over and over again.
func TestOrderOfMoreKeysThanAreKnown(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", restarted), func(t *testing.T) {
			stepped(t, func(k *kit, s *steps) { moreKeysThanAreKnown(k, s, restarted) },
				func(o *outbound.Options) { o.MaxKeys = 4 })
		})
	}
}

func moreKeysThanAreKnown(k *kit, s *steps, restarted bool) {
	got := newArrivals()
	failing := map[string]string{"k0-000000": "3600", "k1-000000": "3600", "k2-000000": "3600", "k3-000000": "60"}
	k.recv.answer = func(_ int, s sent) (int, string, error) {
		k.recv.mu.Lock()
		defer k.recv.mu.Unlock()
		id := s.headers["webhook-id"]
		if after, ok := failing[id]; ok {
			delete(failing, id)
			return 404, after, nil
		}
		got.take(id)
		return 200, "", nil
	}
	w := webhook("w", inOrder, waits(time.Second, time.Second))
	k.apply(w)
	next := make(map[string]int)
	publish := func(key string) {
		k.publish(keyedEvent(key, next[key]))
		next[key]++
		synctest.Wait()
	}
	names := strings.Fields("k0 k1 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11 k12 k13")
	blocked, others := names[:3], names[4:]
	for _, key := range names {
		publish(key)
	}
	k.wait(10 * time.Second)
	k.want("requests while there is no room", len(k.recv.all()), 4)
	if restarted {
		k.restart()
		k.apply(w)
	}
	for n := range 240 {
		publish(others[n%len(others)])
		publish(names[n%4])
		k.wait(time.Second)
	}
	k.wait(time.Minute)
	for _, key := range blocked {
		k.want(key+", which waits for an hour,", len(got.get(key)), 0)
	}
	for _, key := range names[3:] {
		k.want(key+", once there is room,", got.get(key), upTo(next[key]))
	}
	s.mu.Lock()
	if s.moved > 5000 {
		k.t.Errorf("%d events were put back %d times", 14+2*240, s.moved)
	}
	s.mu.Unlock()
	k.wait(2 * time.Hour)
	for _, key := range names {
		k.want(key+" in the end", got.get(key), upTo(next[key]))
	}

	// What is full for a moment later is looked at again after a moment.
	for _, key := range names[:4] {
		failing[keyedEvent(key, next[key]).ID] = "1"
		publish(key)
	}
	publish("k4")
	k.want("k4 while there is no room", len(got.get("k4")), next["k4"]-1)
	k.wait(5 * time.Second)
	k.want("k4 a moment later", len(got.get("k4")), next["k4"])
	k.want("pending", k.store.Stats().Pending, 0)
}

// TestOrderOfKeysThatWaitForHours: while all known keys wait, others are looked at each minute.
func TestOrderOfKeysThatWaitForHours(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		k.refuse("a0", "b0")
		k.apply(webhook("w", inOrder, waits(3*time.Hour)))
		k.publish(keyedEvent("a", 0), keyedEvent("b", 0))
		synctest.Wait()
		k.publish(keyedEvent("c", 0), keyedEvent("c", 1))
		k.wait(3*time.Hour + 18*time.Minute + 2*time.Minute) // with the jitter
		if got := k.asked(); !strings.Contains(got, "c0 c1") {
			t.Errorf("asked %s", got)
		}
	}, func(o *outbound.Options) { o.MaxKeys = 2 })
}

// TestOrderOfMoreKeysThanAreKnownAtTheStart: what an earlier run put back for more keys than the lane can know is not passed
// by what came later.
func TestOrderOfMoreKeysThanAreKnownAtTheStart(t *testing.T) {
	stepped(t, func(k *kit, _ *steps) {
		got := newArrivals()
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			got.take(s.headers["webhook-id"])
			return 200, "", nil
		}
		names := strings.Fields("k0 k1 k2 k3 k4 k5 k6 k7 k8 k9 k10 k11")
		due := time.Now().Add(time.Minute)
		for n := range 2 {
			for _, key := range names {
				k.put(due, keyedEvent(key, n))
			}
		}
		k.restart()
		k.apply(webhook("w", inOrder))
		for _, key := range names {
			k.publish(keyedEvent(key, 2))
		}
		k.wait(10 * time.Minute)
		for _, key := range names {
			k.want(key, got.get(key), upTo(3))
		}
	}, func(o *outbound.Options) { o.MaxKeys = 4 })
}

// TestOrderOfAsManyKeysAsAreKnown: 65,536 keys that wait take little memory, and others go as soon as there is room.
func TestOrderOfAsManyKeysAsAreKnown(t *testing.T) {
	const most, soon, others = 1 << 16, 100, 150
	stepped(t, func(k *kit, _ *steps) {
		got := newArrivals()
		k.recv.answer = func(_ int, s sent) (int, string, error) {
			got.take(s.headers["webhook-id"])
			return 200, "", nil
		}
		for at := 0; at < most; {
			due, n := time.Now().Add(48*time.Hour), min(1000, most-at)
			if at == 0 {
				due, n = time.Now().Add(3*time.Second), soon
			}
			var events []*sidehook.Event
			for i := range n {
				events = append(events, keyedEvent(fmt.Sprint("k", at+i), 0))
			}
			k.put(due, events...)
			at += n
		}
		k.restart()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("x", 0)) // has the lane find out what waits
		synctest.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("%d keys take %.1f MB", most, float64(took)/1e6)
		if took > 16<<20 {
			t.Errorf("%d keys take %d bytes", most, took)
		}
		var events []*sidehook.Event
		for n := range 2 {
			for key := range others {
				events = append(events, keyedEvent(fmt.Sprint("o", key), n))
			}
		}
		k.publish(events...)
		k.wait(2 * time.Second)
		k.want("requests while there is no room", len(k.recv.all()), 0)
		k.wait(1050 * time.Millisecond)
		k.want("requests of those that are known", len(k.recv.all()), soon)
		k.wait(7 * time.Second)
		k.want("requests once there is", len(k.recv.all()), 1+soon+2*others)
		for key := range others {
			k.want(fmt.Sprint("o", key), got.get(fmt.Sprint("o", key)), upTo(2))
		}
	})
}

// TestOrderKnowsWhatIsInMemory: a key that has something in memory, waiting or being attempted, is not forgotten to make
// room for another.
func TestOrderKnowsWhatIsInMemory(t *testing.T) {
	stepped(t, func(k *kit, s *steps) {
		answers := k.hanging()
		s.most = 1
		k.apply(webhook("w", inOrder))
		k.publish(keyedEvent("a", 0), keyedEvent("b", 0)) // a is read, then b, then a is attempted
		synctest.Wait()
		k.want("asked at once", k.asked(), "a0")
		k.wait(time.Second)
		k.want("asked when there is room", k.asked(), "a0 b0")
		k.publish(keyedEvent("z", 0))
		k.wait(time.Second)
		k.publish(keyedEvent("a", 1))
		k.wait(time.Minute)
		k.want("asked while z is attempted", k.asked(), "a0 b0 z0")
		answers <- 200
		k.wait(2 * time.Minute)
		k.want("asked in the end", k.asked(), "a0 b0 z0 a1")
	}, func(o *outbound.Options) { o.PerWebhook, o.MaxKeys = 2, 1 })
}
