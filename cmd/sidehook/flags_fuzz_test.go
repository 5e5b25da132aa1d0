package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// FuzzFlagValues: whatever is typed as a rate, a schedule, a time, headers or texts is read or refused in words that
// name the flag, and is never taken for what cannot be sent.
func FuzzFlagValues(f *testing.F) {
	for _, s := range []string{
		"10", "10:20", "none", "NaN", "Inf:1", "-1:-1", "1e400", "10:", ":", "5s,5m,30m", "default", "5s,,", "1h1h", "9999999h", "24h", "-1h",
		"2026-01-31 15:04", "2026-01-31T15:04:05Z", "2026-13-31", "X=1", "=", "X", "vi=Đơn hàng", "vi=", "\x00=\x1b[31m", "\xff",
	} {
		f.Add(s)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		cmd := &cobra.Command{Use: "test"}
		refusal := func(flag string, err error) {
			if err != nil && !strings.Contains(err.Error(), "--"+flag) {
				t.Fatalf("%q: the error does not name --%s: %v", s, flag, err)
			}
		}
		limit, err := parseRate(cmd, s)
		refusal("rate-limit", err)
		if err == nil && limit != nil {
			if _, err := json.Marshal(limit); err != nil {
				t.Fatalf("%q is taken for the rate %v, which cannot be sent: %v", s, limit, err)
			}
		}
		policy, err := parseSchedule(cmd, s)
		refusal("retry-schedule", err)
		if err == nil && policy != nil && len(policy.Schedule) == 0 {
			t.Fatalf("%q is taken for a schedule without waits", s)
		}
		when, err := readWhen(cmd, "since", s, now)
		refusal("since", err)
		if err == nil && !when.IsZero() && s == "" {
			t.Fatalf("nothing is taken for %s", when)
		}
		headers, err := parseHeaders(cmd, []string{s})
		refusal("header", err)
		if err == nil && s != "" && (len(headers) != 1 || headers[0].Key+"="+headers[0].Value != s) {
			t.Fatalf("%q is taken for %+v", s, headers)
		}
		if texts, err := setTexts(cmd, "name", nil, []string{s}); err != nil {
			refusal("name", err)
		} else if len(texts) > 1 {
			t.Fatalf("%q is taken for %v", s, texts)
		}
		if all, err := readEventTypes("-", strings.NewReader(s)); err == nil && all == nil {
			t.Fatalf("%q is taken for no list", s)
		}
	})
}
