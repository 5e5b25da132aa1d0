package host

import (
	"math/rand/v2"
	"time"
)

const (
	// settled is how long a process must have run for its end to count as the first failure again.
	settled = 30 * time.Second
	// loopAfter is how many failures in a row make a crash loop.
	loopAfter = 5
)

// backoff gives the waits before a process is started again: twice as long after each failure, with a jitter of a
// quarter either way, at most max; in a crash loop always about max.
type backoff struct {
	min, max time.Duration
	failures int
}

// next takes the end of a process that ran for lived and returns the wait.
func (b *backoff) next(lived time.Duration) time.Duration {
	if lived >= settled {
		b.failures = 0
	}
	b.failures++
	wait := b.max
	if shift := b.failures - 1; !b.looping() && shift < 32 {
		wait = min(b.min<<shift, b.max)
	}
	return min(time.Duration(float64(wait)*(0.75+rand.Float64()/2)), b.max)
}

// looping reports whether the process is in a crash loop.
func (b *backoff) looping() bool { return b.failures > loopAfter }
