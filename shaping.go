package sidehook

import (
	"math"
	"unicode/utf8"
)

// Ordering says in which order a webhook gets its events.
type Ordering string

// The orderings of a webhook.
const (
	// OrderingNone: as they come, retries whenever they are due.
	OrderingNone Ordering = "none"
	// OrderingKey: events of one ordering key one at a time, in the order in which they were accepted, an event only
	// after the one before has been delivered or is dead. Events without a key are not ordered.
	OrderingKey Ordering = "key"
)

// RateLimit bounds how many attempts a webhook gets from one sidecar. The zero value is no limit.
type RateLimit struct {
	// PerSecond is how many in the long run: 0.001 to 100,000.
	PerSecond float64
	// Burst is how many at once, after a rest: 1 to 100,000. Default: PerSecond, rounded up.
	Burst int
}

// Limits of what shapes the deliveries of a webhook.
const (
	MinRatePerSecond = 0.001
	MaxRatePerSecond = 100_000
	MaxRateBurst     = 100_000
	MaxFilter        = 2048 // bytes
)

// IsZero reports whether there is no limit.
func (r RateLimit) IsZero() bool { return r == RateLimit{} }

func (r *RateLimit) normalize() {
	if r.PerSecond > 0 && r.Burst == 0 {
		r.Burst = int(min(math.Ceil(r.PerSecond), MaxRateBurst))
	}
}

func (r RateLimit) validate() error {
	switch {
	case r.IsZero():
		return nil
	case !(r.PerSecond >= MinRatePerSecond && r.PerSecond <= MaxRatePerSecond): // NaN too
		return Fieldf("per_second", "must be %g to %d", MinRatePerSecond, MaxRatePerSecond)
	case r.Burst < 1 || r.Burst > MaxRateBurst:
		return Fieldf("burst", "must be 1 to %d", MaxRateBurst)
	}
	return nil
}

// DisabledCause says who or what disabled a webhook.
type DisabledCause string

// The causes. Those other than DisabledByPerson are decisions of the control plane: what the webhook would have got
// meanwhile is kept in the history as dropped.
const (
	DisabledByPerson  DisabledCause = ""
	DisabledByGone    DisabledCause = "gone"    // its endpoint answered 410
	DisabledByFailing DisabledCause = "failing" // nothing but failure for too long
)

// MissesEvents reports whether the events that the webhook would get now are to be kept as dropped: it was disabled,
// but not by a person.
func (w *Webhook) MissesEvents() bool {
	return w.Status == WebhookDisabled && w.DisabledCause != DisabledByPerson
}

// Sample is the share, 0 to 1, of successful deliveries whose attempt is kept in the history.
func (w *Webhook) Sample() float64 {
	if w.HistorySample == nil {
		return 1
	}
	return *w.HistorySample
}

// validateShaping checks what orders, bounds or leaves out deliveries. Whether the filter can be compiled is for xds/filter
// to say.
func (w *Webhook) validateShaping() error {
	switch {
	case w.Ordering != OrderingNone && w.Ordering != OrderingKey:
		return Fieldf("ordering", "must be %s or %s", OrderingNone, OrderingKey)
	case len(w.Filter) > MaxFilter:
		return Fieldf("filter", "must be at most %d bytes", MaxFilter)
	case !utf8.ValidString(w.Filter):
		return Fieldf("filter", "must be UTF-8")
	case !(w.Sample() >= 0 && w.Sample() <= 1): // NaN too
		return Fieldf("history_sample", "must be 0 to 1")
	case w.DisabledCause != DisabledByPerson && w.DisabledCause != DisabledByGone && w.DisabledCause != DisabledByFailing:
		return Fieldf("disabled_cause", "must be %s, %s or absent", DisabledByGone, DisabledByFailing)
	}
	return Under("rate_limit", w.RateLimit.validate())
}
