package retry_test

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/retry"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestWholeDefaultSchedule(t *testing.T) {
	waits := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
		20 * time.Hour, 24 * time.Hour,
	}
	at := now
	for i, wait := range waits {
		for _, c := range []struct {
			jitter float64
			want   time.Duration
		}{{0, wait}, {0.5, wait + wait/20}, {1, wait + wait/10}} {
			out := retry.Decide(retry.Input{Now: at, Attempt: i + 1, Status: 500, Automatic: true, Jitter: c.jitter})
			if out.Kind != sidehook.OutcomeRetry || out.RetryAt.Sub(at).Round(time.Millisecond) != c.want {
				t.Errorf("attempt %d, jitter %v: %v in %v, want retry in %v", i+1, c.jitter, out.Kind, out.RetryAt.Sub(at), c.want)
			}
		}
		at = at.Add(wait)
	}
	if got, want := at.Sub(now), 75*time.Hour+35*time.Minute+5*time.Second; got != want {
		t.Errorf("the schedule is %v long, want %v", got, want)
	}
	out := retry.Decide(retry.Input{Now: at, Attempt: len(waits) + 1, Status: 500, Automatic: true})
	if out.Kind != sidehook.OutcomeDead || !out.RetryAt.IsZero() {
		t.Errorf("after the last wait: %v at %v, want dead", out.Kind, out.RetryAt)
	}
}

func TestDefaultScheduleIsACopy(t *testing.T) {
	retry.DefaultSchedule()[0] = time.Hour
	if got := retry.DefaultSchedule()[0]; got != 5*time.Second {
		t.Errorf("a caller changed the default to %v", got)
	}
}

func TestKinds(t *testing.T) {
	const delivered, again, dead, gone = sidehook.OutcomeDelivered, sidehook.OutcomeRetry, sidehook.OutcomeDead, sidehook.OutcomeGone
	for _, c := range []struct {
		name string
		in   retry.Input
		want sidehook.OutcomeKind
	}{
		{"200", retry.Input{Attempt: 1, Status: 200}, delivered},
		{"204", retry.Input{Attempt: 1, Status: 204, Automatic: true}, delivered},
		{"299", retry.Input{Attempt: 1, Status: 299, Automatic: true}, delivered},
		{"2xx on the last attempt", retry.Input{Attempt: 10, Status: 200, Automatic: true}, delivered},
		{"2xx whose body was cut off", retry.Input{Attempt: 1, Status: 200, Err: true, Automatic: true}, again},
		{"199", retry.Input{Attempt: 1, Status: 199, Automatic: true}, again},
		{"300", retry.Input{Attempt: 1, Status: 300, Automatic: true}, again},
		{"redirect", retry.Input{Attempt: 1, Status: 308, Automatic: true}, again},
		{"400", retry.Input{Attempt: 1, Status: 400, Automatic: true}, again},
		{"404", retry.Input{Attempt: 3, Status: 404, Automatic: true}, again},
		{"503", retry.Input{Attempt: 9, Status: 503, Automatic: true}, again},
		{"no answer", retry.Input{Attempt: 1, Err: true, Automatic: true}, again},
		{"no status, no error", retry.Input{Attempt: 1, Automatic: true}, again},
		{"schedule used up", retry.Input{Attempt: 10, Status: 500, Automatic: true}, dead},
		{"far beyond the schedule", retry.Input{Attempt: math.MaxInt, Err: true, Automatic: true}, dead},
		{"automatic retry off", retry.Input{Attempt: 1, Status: 500}, dead},
		{"automatic retry off, no answer", retry.Input{Attempt: 1, Err: true}, dead},
		{"automatic retry off, Retry-After", retry.Input{Attempt: 1, Status: 429, RetryAfter: "5"}, dead},
		{"410", retry.Input{Attempt: 1, Status: 410, Automatic: true}, gone},
		{"410 with automatic retry off", retry.Input{Attempt: 1, Status: 410}, gone},
		{"410 on the last attempt", retry.Input{Attempt: 10, Status: 410, Automatic: true}, gone},
		{"attempt 0 counts as 1", retry.Input{Attempt: 0, Status: 500, Automatic: true}, again},
		{"attempt below 0 counts as 1", retry.Input{Attempt: math.MinInt, Status: 500, Automatic: true}, again},
		{"own schedule", retry.Input{Attempt: 2, Status: 500, Automatic: true, Schedule: []time.Duration{1, 2}}, again},
		{"own schedule used up", retry.Input{Attempt: 3, Status: 500, Automatic: true, Schedule: []time.Duration{1, 2}}, dead},
		{"empty schedule is the default", retry.Input{Attempt: 9, Status: 500, Automatic: true, Schedule: []time.Duration{}}, again},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.Now = now
			got := retry.Decide(c.in)
			if got.Kind != c.want {
				t.Errorf("got %v, want %v", got.Kind, c.want)
			}
			if (got.Kind == again) == got.RetryAt.IsZero() {
				t.Errorf("%v with RetryAt %v", got.Kind, got.RetryAt)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	const scheduled = 5 * time.Second
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"none", "", scheduled},
		{"seconds", "120", 2 * time.Minute},
		{"spaces around", " 120\t", 2 * time.Minute},
		{"leading zeros", "000120", 2 * time.Minute},
		{"sooner than the schedule", "1", scheduled},
		{"zero", "0", scheduled},
		{"exactly a day", "86400", 24 * time.Hour},
		{"more than a day", "86401", 24 * time.Hour},
		{"would overflow a duration", "9223372036854775807", 24 * time.Hour},
		{"over 64 bits", "99999999999999999999999", 24 * time.Hour},
		{"negative", "-5", scheduled},
		{"fraction", "7.5", scheduled},
		{"signed", "+120", scheduled},
		{"not ASCII digits", "١٢٠", scheduled},
		{"words", "soon", scheduled},
		{"too long to look at", strings.Repeat("9", 65), scheduled},
		{"only spaces", "   ", scheduled},
		{"date", date(10 * time.Minute), 10 * time.Minute},
		{"date of RFC 850", now.Add(time.Minute).Format("Monday, 02-Jan-06 15:04:05 GMT"), time.Minute},
		{"date of asctime", now.Add(time.Minute).Format(time.ANSIC), time.Minute},
		{"past date", date(-time.Hour), scheduled},
		{"date in a year", date(365 * 24 * time.Hour), 24 * time.Hour},
		{"date that saturates", "Fri, 31 Dec 9999 23:59:59 GMT", 24 * time.Hour},
		{"date long ago", "Mon, 01 Jan 0001 00:00:00 GMT", scheduled},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, status := range []int{429, 503, 500, 302} {
				in := retry.Input{Now: now, Attempt: 1, Status: status, RetryAfter: c.value, Automatic: true}
				if got := retry.Decide(in).RetryAt.Sub(now); got != c.want {
					t.Errorf("status %d: in %v, want %v", status, got, c.want)
				}
			}
		})
	}
}

func TestRetryAfterDoesNotShortenALongWait(t *testing.T) {
	week := 7 * 24 * time.Hour
	in := retry.Input{Now: now, Attempt: 1, Status: 429, RetryAfter: "86400", Automatic: true, Schedule: []time.Duration{week}}
	if got := retry.Decide(in).RetryAt.Sub(now); got != week {
		t.Errorf("in %v, want the schedule's %v", got, week)
	}
}

func TestRetryAfterIsJittered(t *testing.T) {
	in := retry.Input{Now: now, Attempt: 1, Status: 429, RetryAfter: "1000", Automatic: true, Jitter: 1}
	if got := retry.Decide(in).RetryAt.Sub(now); got != 1100*time.Second {
		t.Errorf("in %v, want 1000 s and a tenth", got)
	}
}

func TestRetryAtHasNoMonotonicClock(t *testing.T) {
	at := retry.Decide(retry.Input{Now: time.Now(), Attempt: 1, Status: 500, Automatic: true}).RetryAt
	if strings.Contains(at.String(), "m=") {
		t.Errorf("%s carries a monotonic clock", at)
	}
}

// checkBounds holds for whatever comes in: never before now, never later than the longest wait and its jitter.
func checkBounds(t *testing.T, in retry.Input) sidehook.Outcome {
	t.Helper()
	out := retry.Decide(in)
	if out.Kind != sidehook.OutcomeRetry {
		if !out.RetryAt.IsZero() {
			t.Errorf("%+v: %v with a RetryAt", in, out.Kind)
		}
		return out
	}
	limit := sidehook.MaxRetryWait + sidehook.MaxRetryWait/10
	if wait := out.RetryAt.Sub(in.Now); wait < 0 || wait > limit {
		t.Errorf("%+v: in %v, want 0 to %v", in, wait, limit)
	}
	return out
}

func TestProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50_000 {
		in := retry.Input{
			Now: now.Add(time.Duration(r.Int64())), Attempt: r.IntN(15), Status: 300 + r.IntN(300), Err: r.IntN(3) == 0,
			Automatic: true, Jitter: r.Float64(), RetryAfter: []string{"", "3", "90000", "x", now.Format(http.TimeFormat)}[r.IntN(5)],
		}
		for range r.IntN(4) {
			in.Schedule = append(in.Schedule, time.Duration(r.Uint64()))
		}
		out := checkBounds(t, in)
		if out.Kind != sidehook.OutcomeRetry {
			continue
		}
		less := in
		less.Jitter = in.Jitter * r.Float64()
		if retry.Decide(less).RetryAt.After(out.RetryAt) {
			t.Errorf("%+v: less jitter (%v) is later", in, less.Jitter)
		}
		less = in
		less.RetryAfter = ""
		if retry.Decide(less).RetryAt.After(out.RetryAt) {
			t.Errorf("%+v: without Retry-After it is later", in)
		}
		later := in
		later.Now = in.Now.Add(time.Minute)
		if retry.Decide(later).RetryAt.Before(out.RetryAt) {
			t.Errorf("%+v: a minute later the answer is earlier", in)
		}
	}
}

func TestJitterOutsideItsRange(t *testing.T) {
	for jitter, want := range map[float64]time.Duration{-1: 100, 2: 110, math.Inf(1): 110, math.Inf(-1): 100} {
		in := retry.Input{Now: now, Attempt: 1, Status: 500, Automatic: true, Schedule: []time.Duration{100 * time.Second}, Jitter: jitter}
		if got := retry.Decide(in).RetryAt.Sub(now); got != want*time.Second {
			t.Errorf("jitter %v: in %v, want %v", jitter, got, want*time.Second)
		}
	}
	in := retry.Input{Now: now, Attempt: 1, Status: 500, Automatic: true, Jitter: math.NaN()}
	if got := retry.Decide(in).RetryAt.Sub(now); got != 5*time.Second {
		t.Errorf("jitter NaN: in %v, want 5s", got)
	}
}

func FuzzDecide(f *testing.F) {
	f.Add(1, 500, false, "120", int64(5), 0.5)
	f.Add(-1, 410, true, "Fri, 31 Dec 9999 23:59:59 GMT", int64(math.MaxInt64), 1.0)
	f.Add(2, 0, true, "\x00", int64(math.MinInt64), math.Inf(-1))
	f.Fuzz(func(t *testing.T, attempt, status int, failed bool, after string, wait int64, jitter float64) {
		checkBounds(t, retry.Input{
			Now: now, Attempt: attempt, Status: status, Err: failed, RetryAfter: after, Automatic: true,
			Schedule: []time.Duration{time.Duration(wait), time.Duration(wait)}, Jitter: jitter,
		})
	})
}
