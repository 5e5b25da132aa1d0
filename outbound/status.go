package outbound

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/sidehook/sidehook"
)

// counters count since the start.
type counters struct {
	accepted, duplicates, unmatched, held atomic.Int64
	unknownTaken, unknownRefused          atomic.Int64
	invalidTaken, invalidRefused          atomic.Int64
	delivered, dead, dropped              atomic.Int64
	attempts, failed                      atomic.Int64
	filtered, filterErrors                atomic.Int64
}

func (c *counters) count(a *sidehook.Attempt) {
	c.attempts.Add(1)
	if k := a.Outcome.Kind; k != sidehook.OutcomeDelivered && k != sidehook.OutcomeDropped {
		c.failed.Add(1)
	}
	switch a.Outcome.Kind.State() {
	case sidehook.Delivered:
		c.delivered.Add(1)
	case sidehook.Dead:
		c.dead.Add(1)
	case sidehook.Dropped:
		c.dropped.Add(1)
	case sidehook.Pending:
	}
}

// Counts are numbers since the start. Events: Accepted, Duplicates, Unmatched, Held; of unknown type, UnknownTaken are
// among those and UnknownRefused, all events of batches that were refused for it, are not; InvalidTaken and
// InvalidRefused likewise, of events whose data does not fit the schema of their type. Deliveries that ended: Delivered,
// Dead, Dropped. Attempts, of which Failed. InMemory and InFlight are of this moment.
type Counts struct {
	Accepted, Duplicates, Unmatched, Held int64
	UnknownTaken, UnknownRefused          int64
	InvalidTaken, InvalidRefused          int64
	Delivered, Dead, Dropped              int64
	Attempts, Failed                      int64
	InMemory                              int64
	// Filtered counts events that a webhook's patterns matched and its filter did not; FilterErrors those of them for which
	// the filter had no answer.
	Filtered, FilterErrors int64
}

// Counts returns the engine's counters.
func (e *Engine) Counts() Counts {
	c := &e.counters
	return Counts{
		Accepted: c.accepted.Load(), Duplicates: c.duplicates.Load(), Unmatched: c.unmatched.Load(), Held: c.held.Load(),
		UnknownTaken: c.unknownTaken.Load(), UnknownRefused: c.unknownRefused.Load(),
		InvalidTaken: c.invalidTaken.Load(), InvalidRefused: c.invalidRefused.Load(),
		Delivered: c.delivered.Load(), Dead: c.dead.Load(), Dropped: c.dropped.Load(),
		Attempts: c.attempts.Load(), Failed: c.failed.Load(), InMemory: e.inMemory.Load(),
		Filtered: c.filtered.Load(), FilterErrors: c.filterErrors.Load(),
	}
}

// WebhookState is how deliveries to one webhook go at this moment.
type WebhookState struct {
	Key sidehook.WebhookKey
	// Phase is "delivering", "idle", "retrying" (waits for a due time), "paused", "disabled", "gone", "removed" or
	// "unconfigured".
	Phase string
	// Reason says why it is paused or disabled.
	Reason string
	// InFlight requests, of Limit that the endpoint bears now.
	InFlight, Limit int
	// InMemory deliveries wait in memory; more may wait on disk.
	InMemory int
	// NextDue is when the earliest delivery on disk is due; zero when there is none.
	NextDue time.Time
	// Trouble counts the failed attempts in a row that were the endpoint's fault.
	Trouble int
	// LastStatus and LastError of the latest attempt.
	LastStatus int
	LastError  string
	// GoneAt is when the endpoint answered 410; zero when it did not.
	GoneAt time.Time
}

// Webhooks lists the state of every webhook that is configured or has deliveries, by key.
func (e *Engine) Webhooks() []WebhookState {
	var all []WebhookState
	e.eachLane(func(l *lane) { all = append(all, l.state()) })
	sortStates(all)
	return all
}

func (l *lane) state() WebhookState {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := WebhookState{
		Key: l.key, InFlight: l.active, Limit: l.limit, InMemory: l.held(), NextDue: l.nextDue, Trouble: l.trouble,
		LastStatus: l.lastStatus, LastError: l.lastError, GoneAt: l.goneAt,
	}
	if !s.NextDue.IsZero() {
		s.NextDue = s.NextDue.Add(-l.e.clock.ahead()) // as people's clocks have it
	}
	now := l.e.now()
	switch {
	case !l.retireAt.IsZero():
		s.Phase, s.Reason = "removed", "what it has is dropped at "+l.retireAt.UTC().Format(time.RFC3339)
	case l.route == nil:
		s.Phase, s.Reason = "unconfigured", "its deliveries wait for a configuration that names it"
	case l.route.webhook.Status == sidehook.WebhookDisabled:
		s.Phase, s.Reason = "disabled", l.route.webhook.DisabledReason
	case !l.goneAt.IsZero():
		s.Phase, s.Reason = "gone", "the endpoint answered 410 Gone"
	case now.Before(l.pausedUntil):
		s.Phase, s.Reason = "paused", l.pauseReason
	case l.active > 0:
		s.Phase = "delivering"
	case l.rate.waiting && (l.held() > 0 || l.isDue(now)):
		s.Phase, s.Reason = "paused", l.whyWaiting()
	case !l.nextDue.IsZero():
		s.Phase = "retrying"
	default:
		s.Phase = "idle"
	}
	return s
}

// Gone lists the webhooks whose endpoint answered 410 and that have not changed since.
func (e *Engine) Gone() []WebhookState {
	var all []WebhookState
	for _, l := range e.eventful.all() { // an attempt was answered so
		if !l.isGone() {
			continue
		}
		if s := l.state(); s.Phase == "gone" {
			all = append(all, s)
		}
	}
	sortStates(all)
	return all
}

func sortStates(all []WebhookState) {
	slices.SortFunc(all, func(a, b WebhookState) int { return compareKeys(a.Key, b.Key) })
}
