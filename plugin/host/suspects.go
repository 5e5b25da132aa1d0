package host

import (
	"sync"
	"sync/atomic"
)

const (
	// maxStrikes is how often a suspect must have been alone with the process when it crashed, hung or erred for it to
	// be found guilty.
	maxStrikes = 2
	// maxSuspects bounds the memory of it.
	maxSuspects = 1024
)

// suspects finds the event that kills its transformer. Trouble of the transformer is not counted against a delivery, so
// without this such an event would be offered for ever, and stop everybody else's each time.
//
// Whatever was under way when the process crashed, hung or erred is a suspect and from then on sent alone, until it is
// answered. When there is trouble again it gets a strike. A transformer that is broken for all must not turn into
// failures of events, so a further strike counts only if the process answered something else since the last one. A
// guilty event keeps its strikes: it fails once at each of its attempts, until it is answered.
type suspects struct {
	known atomic.Int32 // len(by), so that the good case takes no lock
	mu    sync.Mutex
	by    map[suspectKey]*suspect
}

// suspectKey is an event on its way to a webhook.
type suspectKey struct{ app, event, webhook string }

type suspect struct {
	strikes  int
	answered int64 // what the unit had answered at the last strike
}

func keyOf(c *call) suspectKey {
	return suspectKey{c.event.App, c.event.ID, c.webhook.ID}
}

// has reports whether the event is a suspect.
func (s *suspects) has(k suspectKey) bool {
	if s.known.Load() == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[k] != nil
}

// add makes the event a suspect.
func (s *suspects) add(k suspectKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.getLocked(k)
}

func (s *suspects) getLocked(k suspectKey) *suspect {
	if s.by == nil {
		s.by = make(map[suspectKey]*suspect)
	}
	e := s.by[k]
	if e == nil {
		if len(s.by) >= maxSuspects {
			s.forgetOneLocked()
		}
		e = &suspect{}
		s.by[k] = e
		s.known.Store(int32(len(s.by)))
	}
	return e
}

// strike takes note that the event was alone with a process in trouble, and reports whether it is guilty. Answered is
// how many calls the unit has had an answer to.
func (s *suspects) strike(k suspectKey, answered int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.getLocked(k)
	if e.strikes == 0 || answered > e.answered {
		e.strikes, e.answered = min(e.strikes+1, maxStrikes), answered
	}
	return e.strikes >= maxStrikes
}

// forgetOneLocked makes room; which one it takes does not matter, it would only have to be found out again.
func (s *suspects) forgetOneLocked() {
	for k := range s.by {
		delete(s.by, k)
		return
	}
}

// acquit forgets an event that was answered.
func (s *suspects) acquit(k suspectKey) {
	if s.known.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, k)
	s.known.Store(int32(len(s.by)))
}
