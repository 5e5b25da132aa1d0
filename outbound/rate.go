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

// awaitsRate reports whether the rate limit allows no attempt now, and has the lane woken when it does; mu is held.
func (l *lane) awaitsRate(now time.Time) bool {
	limit := l.route.webhook.RateLimit
	at := l.rate.at(limit, now)
	if !at.After(now) {
		return false
	}
	if !l.rate.waiting && (l.held() > 0 || l.isDue(now)) {
		l.rate.waiting = true
		l.health.changes++
	}
	l.arm(now, at)
	return true
}

// whyWaiting says why deliveries that are due are not attempted, empty when they are; mu is held.
func (l *lane) whyWaiting() string {
	if l.pauseReason == "" && l.rate.waiting && l.route != nil && !l.route.webhook.RateLimit.IsZero() {
		limit := l.route.webhook.RateLimit
		return "rate limit: " + strconv.FormatFloat(limit.PerSecond, 'g', -1, 64) + " attempts per second, " +
			strconv.Itoa(limit.Burst) + " at once"
	}
	return l.pauseReason
}
