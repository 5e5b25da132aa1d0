package main

import (
	"context"
	"runtime"
	"time"
)

// schedule is a row of times at equal distances.
type schedule struct {
	start time.Time
	every time.Duration
	n     int64 // of the next time
	spin  bool
}

// spinBelow is up to which rate the last moment before a time is spent spinning: above it that would cost the machine
// too much of what is measured, and many times pass while it sleeps.
const spinBelow = 1000

func newSchedule(start time.Time, perSecond float64) *schedule {
	return &schedule{start: start, every: time.Duration(float64(time.Second) / perSecond), spin: perSecond < spinBelow}
}

func (s *schedule) next() time.Time { return s.start.Add(time.Duration(s.n) * s.every) }

// await returns when the next time has come, or with ctx's cause.
func (s *schedule) await(ctx context.Context) error {
	next := s.next()
	early := time.Duration(0)
	if s.spin {
		early = spinBefore
	}
	if wait := time.Until(next) - early; wait > 0 {
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
	for time.Now().Before(next) {
		runtime.Gosched()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// take appends the times that have come, at most so many.
func (s *schedule) take(now time.Time, due []time.Time, most int) []time.Time {
	for len(due) < most {
		next := s.next()
		if next.After(now) {
			break
		}
		due = append(due, next)
		s.n++
	}
	return due
}
