package outbound

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
)

// health is what a lane counts for WebhookHealth; the lane's mu guards it.
type health struct {
	changes                 uint64 // grows with every change
	delivered, dead, failed int64
	lastSuccess             time.Time
	lastFailure             time.Time
	lastError               string // of lastFailure

	filterErrors    int64
	lastFilterError string
	filterErrorAt   time.Time
}

// eventful are the lanes whose health ever changed, so that who tells of it every second does not go through a hundred
// thousand webhooks of which ten get anything.
type eventful struct {
	mu    sync.Mutex
	lanes []*lane // only ever appended to
}

func (e *eventful) add(l *lane) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lanes = append(e.lanes, l)
}

func (e *eventful) all() []*lane {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lanes
}

// healthChanges notes a change of what WebhookHealth tells; mu is held.
func (l *lane) healthChanges() {
	if l.health.changes == 0 {
		l.e.eventful.add(l)
	}
	l.health.changes++
}

// countFilterError notes an event that the webhook's filter had no answer for.
func (h *health) countFilterError(text string, at time.Time) {
	h.filterErrors++
	h.lastFilterError, h.filterErrorAt = text, at
}

// count notes an attempt, unless it is that of a test event.
func (h *health) count(j *job, a *sidehook.Attempt) {
	if j.test {
		return
	}
	switch a.Outcome.Kind {
	case sidehook.OutcomeDelivered:
		h.delivered++
		h.lastSuccess = a.At.Add(a.Latency)
		return
	case sidehook.OutcomeDropped:
		return
	case sidehook.OutcomeDead, sidehook.OutcomeGone:
		h.dead++
	case sidehook.OutcomeRetry:
	}
	h.failed++
	h.lastFailure, h.lastError = a.At.Add(a.Latency), a.Error
}

// WebhookHealth is how a webhook fares since the start, test events left out.
type WebhookHealth struct {
	Key                             sidehook.WebhookKey
	Delivered, Dead, FailedAttempts int64
	// LastSuccess and LastFailure are when an attempt last ended so; zero for never.
	LastSuccess, LastFailure time.Time
	// LastError is why that one failed.
	LastError string
	// Paused is why deliveries wait although they are due; empty when they do not.
	Paused string
	// FilterErrors counts events that the webhook's filter had no answer for; LastFilterError is what it said to the last
	// of them, without values of the event's data, and FilterErrorAt when.
	FilterErrors    int64
	LastFilterError string
	FilterErrorAt   time.Time
}

// HealthChanges tells a reader how webhooks fare, each time only those that changed. One goroutine uses it.
type HealthChanges struct {
	e     *Engine
	round uint64
	told  map[*lane]told
}

// told is what a reader knows of a lane.
type told struct {
	changes uint64
	round   uint64 // in which it was told
}

// HealthChanges makes a reader; it is told first of every webhook that was attempted or paused since the start, or
// whose filter failed.
func (e *Engine) HealthChanges() *HealthChanges {
	return &HealthChanges{e: e, told: make(map[*lane]told)}
}

// Next gives webhooks whose health changed since they were last told, at most limit of them: those first that were not
// told for longest, so that none is left out for good. more says that others are left.
func (h *HealthChanges) Next(limit int) (changed []WebhookHealth, more bool) {
	type candidate struct {
		lane  *lane
		round uint64
	}
	var all []candidate
	for _, l := range h.e.eventful.all() {
		l.mu.Lock()
		changes, configured := l.health.changes, l.route != nil
		l.mu.Unlock()
		if !configured {
			delete(h.told, l) // it is told anew if it comes back
			continue
		}
		if t := h.told[l]; changes != t.changes {
			all = append(all, candidate{l, t.round})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.round, b.round), compareKeys(a.lane.key, b.lane.key))
	})
	if more = len(all) > limit; more {
		all = all[:limit]
	}
	h.round++
	now := h.e.now()
	for _, c := range all {
		state, changes := c.lane.healthNow(now)
		h.told[c.lane] = told{changes, h.round}
		changed = append(changed, state)
	}
	return changed, more
}

// healthNow tells of the lane, and how many changes that has in it.
func (l *lane) healthNow(now time.Time) (WebhookHealth, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := &l.health
	w := WebhookHealth{
		Key: l.key, Delivered: h.delivered, Dead: h.dead, FailedAttempts: h.failed,
		LastSuccess: h.lastSuccess, LastFailure: h.lastFailure, LastError: h.lastError,
		FilterErrors: h.filterErrors, LastFilterError: h.lastFilterError, FilterErrorAt: h.filterErrorAt,
	}
	if l.held() > 0 || l.isDue(now) {
		w.Paused = l.whyWaiting()
	}
	return w, h.changes
}

func compareKeys(a, b sidehook.WebhookKey) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.ID, b.ID))
}
