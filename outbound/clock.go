package outbound

import (
	"sync/atomic"
	"time"

	"github.com/sidehook/sidehook"
)

// Clock is the engine's time: the wall clock's at the start, and from there on what the monotonic clock counts. Queues,
// waits and limits follow it, so that a wall clock that is set does not stop retries or bring them all at once; it differs
// from the wall clock by what that was set since the start. What others read (Attempt.At and the signature's timestamp)
// is the wall clock's.
//
// The store must be on the same clock (storage.Options.Now): it is what says when a delivery that was not attempted is due.
type Clock struct {
	wall  func() time.Time
	began time.Time    // with its monotonic reading
	first atomic.Int64 // nanoseconds that the start was ahead of the wall clock
}

// longestWait is the longest time that a delivery can be put off: a wait of a schedule or of Retry-After, with jitter.
const longestWait = sidehook.MaxRetryWait + sidehook.MaxRetryWait/10

// NewClock makes a clock that starts at what wall, which may be set at any time, tells now. nil is for time.Now.
func NewClock(wall func() time.Time) *Clock {
	if wall == nil {
		wall = time.Now
	}
	c := &Clock{wall: wall, began: time.Now()}
	c.first.Store(int64(wall().Sub(c.began.Round(0))))
	return c
}

// Now is the engine's time. It has no monotonic reading, as the times that come back from the store have none.
func (c *Clock) Now() time.Time {
	return c.began.Round(0).Add(time.Duration(c.first.Load()) + time.Since(c.began))
}

// ahead is by how much the engine's time is later than the wall clock.
func (c *Clock) ahead() time.Duration { return c.Now().Sub(c.wall()) }

// notBefore puts the clock on when due, from an earlier run, is further ahead than anything can be put off: then the wall
// clock has been set back since. It is called before the engine works.
func (c *Clock) notBefore(due time.Time) {
	if late := due.Sub(c.Now().Add(longestWait)); !due.IsZero() && late > 0 {
		c.first.Add(int64(late))
	}
}
