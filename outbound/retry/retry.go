// Package retry says what an attempt means for its delivery: delivered, to be tried again and when, dead, or gone. It
// is a pure function of the clock and the history given to it; it neither waits nor remembers.
package retry

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// MaxRetryAfter bounds how far a response's Retry-After can put off the next attempt.
const MaxRetryAfter = 24 * time.Hour

// jitterShare is how much of a wait jitter can add at most.
const jitterShare = 0.10

// maxRetryAfterLen bounds the header value that is looked at; the longest legal date has 33 bytes.
const maxRetryAfterLen = 64

// DefaultSchedule returns the waits before the second, third, … attempt that Standard Webhooks suggests: nine waits
// of 75 h 35 min 5 s in all. The caller may change what it gets.
func DefaultSchedule() []time.Duration {
	s := defaultSchedule
	return s[:]
}

var defaultSchedule = [...]time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
	20 * time.Hour, 24 * time.Hour,
}

// Input is what is known when an attempt has ended.
type Input struct {
	// Now is when it ended; waits count from here.
	Now time.Time
	// Attempt is the number of the attempt just made, from 1; less counts as 1.
	Attempt int
	// Status is that of the response; not looked at when Err is set.
	Status int
	// Err is set when there was no complete answer: refused, timed out, cut off, or failed before it was sent.
	Err bool
	// RetryAfter is the response's Retry-After header as received: seconds or an HTTP date; empty for none. What
	// cannot be read counts as none.
	RetryAfter string
	// Automatic is the webhook's automatic retry; without it a failure is final.
	Automatic bool
	// Schedule holds the waits before the second, third, … attempt; empty for DefaultSchedule.
	Schedule []time.Duration
	// Jitter is a random number in [0, 1]; outside it the nearer end counts.
	Jitter float64
}

// Decide says what the attempt means.
//
//   - 2xx is delivered. Everything else is a failure, redirects included, since they are not followed.
//   - 410 is gone, whatever the schedule.
//   - A failure is dead when automatic retry is off or the schedule is used up.
//   - Otherwise it is retried after the schedule's wait, or after Retry-After when that is later. Retry-After counts on
//     every failure, not on 429 and 503 alone; it is bounded by MaxRetryAfter and never shortens a wait. Up to 10 % of
//     jitter is added to either, so that deliveries that failed together do not come back together.
//
// RetryAt is never before Now and carries no monotonic clock, so that it can be stored.
func Decide(in Input) sidehook.Outcome {
	switch {
	case !in.Err && in.Status >= 200 && in.Status <= 299:
		return sidehook.Outcome{Kind: sidehook.OutcomeDelivered}
	case !in.Err && in.Status == http.StatusGone:
		return sidehook.Outcome{Kind: sidehook.OutcomeGone}
	case !in.Automatic:
		return sidehook.Outcome{Kind: sidehook.OutcomeDead}
	}
	wait, ok := scheduled(in.Schedule, in.Attempt)
	if !ok {
		return sidehook.Outcome{Kind: sidehook.OutcomeDead}
	}
	wait = jittered(max(wait, retryAfter(in.RetryAfter, in.Now)), in.Jitter)
	return sidehook.Outcome{Kind: sidehook.OutcomeRetry, RetryAt: in.Now.Round(0).Add(wait)}
}

// scheduled returns the wait after an attempt, between 0 and sidehook.MaxRetryWait, and whether there is another.
func scheduled(schedule []time.Duration, attempt int) (time.Duration, bool) {
	if len(schedule) == 0 {
		schedule = defaultSchedule[:]
	}
	i := max(attempt, 1) - 1
	if i >= len(schedule) {
		return 0, false
	}
	return min(max(schedule[i], 0), sidehook.MaxRetryWait), true
}

// jittered adds its share to a wait that is short enough not to overflow.
func jittered(wait time.Duration, jitter float64) time.Duration {
	if !(jitter > 0) { // NaN too
		return wait
	}
	return wait + time.Duration(float64(wait)*jitterShare*min(jitter, 1))
}

// retryAfter reads a Retry-After header (RFC 9110, section 10.2.3) as a wait from now, between 0 and MaxRetryAfter.
func retryAfter(value string, now time.Time) time.Duration {
	if value == "" || len(value) > maxRetryAfterLen {
		return 0
	}
	value = strings.Trim(value, " \t")
	if isDigits(value) {
		seconds, err := strconv.ParseUint(value, 10, 64)
		if err != nil || seconds > uint64(MaxRetryAfter/time.Second) { // err: more than 64 bits
			return MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0 // not ours to complain about: the attempt failed, and the schedule stands
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter) // Sub saturates
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
