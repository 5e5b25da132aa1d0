package host

import (
	"context"
	"slices"
	"time"
)

// State is what a transformer's process is doing.
type State string

// The states of a transformer. Starting and Backoff lead to Running and back; Stopping and Stopped are the end.
const (
	Starting State = "starting" // the process is being started
	Running  State = "running"  // it answers
	Backoff  State = "backoff"  // it ended or could not be started; another start comes at NextStart
	Stopping State = "stopping" // the host is stopping; calls under way may finish
	Stopped  State = "stopped"  // not started yet, or stopped for good
)

// Status tells how a transformer does.
type Status struct {
	Name  string
	State State
	// Since is when State began.
	Since time.Time
	// PID of the process; 0 when none runs.
	PID int
	// ReportedName, Version and Description are what the transformer says of itself.
	ReportedName, Version, Description string
	// Restarts counts the starts after the first.
	Restarts int64
	// Failures in a row: starts that came to nothing, and processes that ended soon.
	Failures int
	// CrashLooping: so many failures in a row that it is started at the longest interval only.
	CrashLooping bool
	// NextStart is set in Backoff.
	NextStart time.Time
	// LastError says why the last process ended or did not start; empty when none did.
	LastError   string
	LastErrorAt time.Time
	// RSS is the resident memory of the process in bytes; 0 when unknown.
	RSS int64
	// Calls counts items that were asked; of them Transformed, Dropped and Failed were answered, and Unavailable were
	// not. Timeouts counts calls of the process (batches) without an answer in time, Batches all that were answered.
	Calls, Transformed, Dropped, Failed, Unavailable, Timeouts, Batches int64
	// Waiting items, and items under way.
	Waiting, UnderWay int
}

// update changes the status and tells those who await it.
func (u *unit) update(change func(s *Status)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.updateLocked(change)
}

func (u *unit) updateLocked(change func(s *Status)) {
	before := u.stat.State
	change(&u.stat)
	if u.stat.State != before {
		u.stat.Since = time.Now()
	}
	close(u.changed)
	u.changed = make(chan struct{})
}

// await returns when the condition holds of the status, or the context ends.
func (u *unit) await(ctx context.Context, holds func(s Status) bool) error {
	for {
		u.mu.Lock()
		changed, s := u.changed, u.stat
		u.mu.Unlock()
		if holds(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unavailable(s.Name, stateError(&s, context.Cause(ctx)))
		}
	}
}

func (u *unit) status() Status {
	u.mu.Lock()
	s := u.stat
	s.Waiting, s.UnderWay = len(u.queue), u.underWay
	current := u.current
	u.mu.Unlock()
	s.Calls, s.Unavailable = u.count.calls.Load(), u.count.unavailable.Load()
	s.Transformed, s.Dropped, s.Failed = u.count.transformed.Load(), u.count.dropped.Load(), u.count.failed.Load()
	s.Timeouts, s.Batches = u.count.timeouts.Load(), u.count.batches.Load()
	if current != nil {
		s.RSS = current.proc.RSS()
	}
	return s
}

// StatusOf tells how one transformer does; false when it is not installed.
func (h *Host) StatusOf(name string) (Status, bool) {
	i := slices.IndexFunc(h.order, func(u *unit) bool { return u.spec.Name == name })
	if i < 0 {
		return Status{}, false
	}
	return h.order[i].status(), true
}
