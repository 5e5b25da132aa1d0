package client

import "time"

// Backoff says how long to wait between connections: Base, then Factor times longer each time up to Cap, each wait
// varied by ±Jitter (0.2: a fifth). It starts over once a response was applied.
type Backoff struct {
	Base   time.Duration
	Factor float64
	Jitter float64
	Cap    time.Duration
}

// DefaultBackoff is 1 s × 1.6 up to 30 s, ±20%.
var DefaultBackoff = Backoff{Base: time.Second, Factor: 1.6, Jitter: 0.2, Cap: 30 * time.Second}

// wait is the wait before jitter; zero to start over.
type wait time.Duration

// next moves on to the next wait and returns it with jitter. random gives numbers in [0, 1).
func (w *wait) next(b Backoff, random func() float64) time.Duration {
	if *w == 0 {
		*w = wait(b.Base)
	} else {
		*w = wait(float64(*w) * b.Factor)
	}
	*w = min(*w, wait(b.Cap))
	return time.Duration(float64(*w) * (1 + b.Jitter*(2*random()-1)))
}
