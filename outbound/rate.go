package outbound

import (
	"strconv"
	"time"

	"github.com/sidehook/sidehook"
)

// rate keeps a lane to its webhook's rate limit, as a virtual schedule (GCRA): each attempt moves full on by the time that
// it costs, and one may be made while full is not further ahead than a burst takes. It outlives changes of the limit. The
// lane's mu guards it.
type rate struct {
	full    time.Time // until then the rate is used up
	waiting bool      // there is something to deliver, and the rate does not allow it
}

// at is when the next attempt may be made; not after now when it may be now.
func (r *rate) at(limit sidehook.RateLimit, now time.Time) time.Time {
	if limit.IsZero() {
		return time.Time{}
	}
	if most := now.Add(cost(limit, limit.Burst)); r.full.After(most) {
		r.full = most // left by a limit that was lower
	}
	return r.full.Add(-cost(limit, limit.Burst-1))
}

// take counts an attempt.
func (r *rate) take(limit sidehook.RateLimit, now time.Time) {
	r.waiting = false
	if limit.IsZero() {
		return
	}
	if r.full.Before(now) {
		r.full = now
	}
	r.full = r.full.Add(cost(limit, 1))
}

func cost(limit sidehook.RateLimit, attempts int) time.Duration {
	return time.Duration(float64(attempts) / limit.PerSecond * float64(time.Second))
}

// wastefulRate is the most that an endpoint gets whose answers have no end worth waiting for. Each of them costs a
// connection and, from a fast one, 80 kB that are read for nothing, as much as twenty deliveries: at this rate a few percent
// of a core. One that is slow, such as a page that answers whatever comes, hardly gets there.
var wastefulRate = sidehook.RateLimit{PerSecond: 100, Burst: initialLimit}

// rateLimit is the one in force for a webhook; mu is held.
func (l *lane) rateLimit(r *route) sidehook.RateLimit {
	limit := r.webhook.RateLimit
	if l.wasteful && (limit.IsZero() || limit.PerSecond > wastefulRate.PerSecond) {
		return wastefulRate
	}
	return limit
}

// awaitsRate reports whether the rate limit allows no attempt now, and has the lane woken when it does; mu is held.
func (l *lane) awaitsRate(now time.Time) bool {
	at := l.rate.at(l.rateLimit(l.route), now)
	if !at.After(now) {
		return false
	}
	if !l.rate.waiting && (l.held() > 0 || l.isDue(now)) {
		l.rate.waiting = true
		l.healthChanges()
	}
	l.arm(now, at)
	return true
}

// whyWaiting says why deliveries that are due are not attempted, empty when they are; mu is held.
func (l *lane) whyWaiting() string {
	if l.pauseReason == "" && l.rate.waiting && l.route != nil && !l.rateLimit(l.route).IsZero() {
		limit, why := l.rateLimit(l.route), "rate limit: "
		if limit != l.route.webhook.RateLimit {
			why = "answers that do not end cost a connection each: "
		}
		return why + strconv.FormatFloat(limit.PerSecond, 'g', -1, 64) + " attempts per second, " +
			strconv.Itoa(limit.Burst) + " at once"
	}
	return l.pauseReason
}
