package outbound_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
)

// settable is a wall clock that can be set, on top of a bubble's time.
type settable struct{ off atomic.Int64 }

func (s *settable) now() time.Time { return time.Now().Add(time.Duration(s.off.Load())).Round(0) }

func (s *settable) set(by time.Duration) { s.off.Add(int64(by)) }

func onSettable(s *settable) func(*outbound.Options) {
	return func(o *outbound.Options) { o.Clock = outbound.NewClock(s.now) }
}

// gaps are the times between requests.
func (k *kit) gaps() (all []time.Duration) {
	got := k.recv.all()
	for i := 1; i < len(got); i++ {
		all = append(all, got[i].at.Sub(got[i-1].at).Round(time.Second))
	}
	return all
}

// A wall clock that is set, forward or back, by seconds or by years, changes no wait: a retry comes neither early nor late.
// The signature's timestamp follows the wall clock, because the receiver checks it against its own.
func TestAClockThatIsSetDoesNotMoveRetries(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{-20 * year, -10 * time.Hour, -time.Minute, time.Minute, 10 * time.Hour, 20 * year} {
		t.Run(jump.String(), func(t *testing.T) {
			wall := &settable{}
			bubble(t, func(k *kit) {
				k.recv.answer = func(int, sent) (int, string, error) { return 404, "", nil } // no trouble of the endpoint: no circuit opens
				k.apply(webhook("w", func(w *sidehook.Webhook) {
					w.RetrySchedule = []time.Duration{time.Minute, 10 * time.Minute, time.Hour}
				}))
				k.publish(event("evt_1", "a"))
				synctest.Wait()
				wall.set(jump) // while it waits for its first retry
				for i := range 50 {
					k.publish(event("evt_other_"+strconv.Itoa(i), "a")) // wakes the lane
				}
				time.Sleep(3 * time.Minute)
				wall.set(-2 * jump) // and for its second
				time.Sleep(5 * time.Hour)
				got := map[string]int{}
				var at []time.Time
				for _, s := range k.recv.all() {
					id := s.headers["webhook-id"]
					got[id]++
					if id != "evt_1" {
						continue
					}
					at = append(at, s.at)
					stamp, err := strconv.ParseInt(s.headers["webhook-timestamp"], 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					off := map[int]time.Duration{0: 0, 1: jump, 2: -jump, 3: -jump}[len(at)-1]
					if d := time.Unix(stamp, 0).Sub(s.at.Add(off)); d < -time.Second || d > time.Second {
						t.Errorf("request %d: its timestamp is %s off the wall clock", len(at), d)
					}
				}
				if len(at) != 4 {
					t.Fatalf("%d requests of the first event, want 4", len(at))
				}
				for i, want := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
					if gap := at[i+1].Sub(at[i]); gap < want || gap > want+want/9 {
						t.Errorf("retry %d comes after %s, want %s and up to a tenth more", i+1, gap, want)
					}
				}
			}, onSettable(wall))
		})
	}
}

// A forward jump does not bring all waiting retries at once.
func TestAClockThatIsSetForwardDoesNotFlood(t *testing.T) {
	wall := &settable{}
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) { return 404, "", nil } // no trouble of the endpoint
		k.apply(webhook("w", func(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{time.Hour} }))
		for i := range 300 {
			k.publish(event(fmt.Sprintf("evt_%d", i), "a"))
		}
		synctest.Wait()
		if n := len(k.recv.all()); n != 300 {
			t.Fatalf("%d first attempts", n)
		}
		wall.set(48 * time.Hour)
		k.publish(event("evt_after", "a"))
		time.Sleep(50 * time.Minute)
		if n := len(k.recv.all()); n != 301 {
			t.Errorf("%d requests before any retry is due, want 301", n)
		}
		time.Sleep(30 * time.Minute)
		if n := len(k.recv.all()); n != 602 {
			t.Errorf("%d requests after all were due, want 602", n)
		}
	}, onSettable(wall))
}

// Retry-After as a date is read on the wall clock, and waited for on the engine's.
func TestRetryAfterDateOnAClockThatWasSet(t *testing.T) {
	wall := &settable{}
	bubble(t, func(k *kit) {
		wall.set(-30 * time.Hour)
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return 503, wall.now().Add(2 * time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w", func(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{time.Second} }))
		k.publish(event("evt_1", "a"))
		time.Sleep(4 * time.Hour)
		if gaps := k.gaps(); len(gaps) != 1 || gaps[0] < 2*time.Hour-time.Second || gaps[0] > 2*time.Hour+13*time.Minute {
			t.Errorf("waits %v, want two hours", gaps)
		}
	}, onSettable(wall))
}

// A clock that was years ahead in an earlier run, and was set right before this one, leaves nothing for years.
func TestAClockThatWasSetBackBetweenRuns(t *testing.T) {
	wall := &settable{}
	wall.set(20 * 365 * 24 * time.Hour)
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return 503, "", nil
			}
			return 200, "", nil
		}
		k.apply(webhook("w"))
		k.publish(event("evt_1", "a"))
		synctest.Wait()
		wall.set(-20 * 365 * 24 * time.Hour)
		k.restart()
		k.apply(webhook("w"))
		time.Sleep(8 * 24 * time.Hour)
		if n := len(k.recv.all()); n != 2 {
			t.Errorf("%d requests, want the retry within the longest wait that there is", n)
		}
	}, onSettable(wall))
}
