package retry_test

import (
	"testing"
	"time"

	"github.com/sidehook/sidehook/outbound/retry"
)

// BenchmarkDecide is what an attempt costs whose outcome is to be told: of those that succeed, which are most, of those
// that fail, and of those that say themselves when to come again. None may allocate.
func BenchmarkDecide(b *testing.B) {
	now := time.Unix(1_800_000_000, 0)
	for name, in := range map[string]retry.Input{
		"delivered":   {Now: now, Attempt: 1, Status: 200, Automatic: true, Jitter: .5},
		"failed":      {Now: now, Attempt: 3, Status: 503, Automatic: true, Jitter: .5},
		"retry-after": {Now: now, Attempt: 3, Status: 429, RetryAfter: "120", Automatic: true, Jitter: .5},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				retry.Decide(in)
			}
		})
	}
}

func TestDecideDoesNotAllocate(t *testing.T) {
	in := retry.Input{Now: time.Unix(1_800_000_000, 0), Attempt: 3, Status: 503, Automatic: true}
	if n := testing.AllocsPerRun(100, func() { retry.Decide(in) }); n > 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}
