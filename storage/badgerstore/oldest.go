package badgerstore

import "sync"

// oldest is a place in d/ before which no batch is unfinished, so that who looks for the first that is passes each
// batch once.
//
// Invariant: it goes up only to what a look has found that saw every commit that queued a finished batch again. So the
// commit brings it down once it can be seen, and no look that began before brings it up after that.
type oldest struct {
	mu    sync.Mutex
	from  uint64
	downs uint64 // how often it was brought down
}

// at is where a look begins, and what raise wants to know of when that was.
func (o *oldest) at() (from, downs uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.from, o.downs
}

// raise brings it up to the batch that a look has found.
func (o *oldest) raise(seq, downs uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if downs == o.downs {
		o.from = max(o.from, seq)
	}
}

// lower brings it down to a batch that was queued again.
func (o *oldest) lower(seq uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.from = min(o.from, seq)
	o.downs++
}

// set is for Open.
func (o *oldest) set(from uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.from = from
}
