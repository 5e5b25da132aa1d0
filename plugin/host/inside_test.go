package host

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
)

func TestBackoff(t *testing.T) {
	b := backoff{min: 100 * time.Millisecond, max: 30 * time.Second}
	for n := range 100 {
		wait := b.next(0)
		mid := b.max
		if n < loopAfter {
			mid = b.min << n
		}
		if wait < mid*3/4 || wait > min(mid*5/4, b.max) {
			t.Errorf("failure %d: wait %s, want about %s", n+1, wait, mid)
		}
		if b.looping() != (n >= loopAfter) {
			t.Errorf("failure %d: looping is %t", n+1, b.looping())
		}
	}
	if wait := b.next(settled); b.failures != 1 || b.looping() || wait > 2*b.min {
		t.Errorf("after a long run: wait %s, %d failures", wait, b.failures)
	}
}

func TestSuspects(t *testing.T) {
	var s suspects
	k := suspectKey{"app", "event", "webhook"}
	if s.has(k) {
		t.Error("suspect without a cause")
	}
	s.add(k)
	if !s.has(k) || s.has(suspectKey{"app", "event", "other"}) {
		t.Error("add")
	}
	for range 3 {
		if s.strike(k, 5) {
			t.Error("guilty although nothing else was answered")
		}
	}
	for range 2 {
		if !s.strike(k, 6) {
			t.Error("not guilty although others were answered")
		}
	}
	s.acquit(k)
	if s.has(k) || s.known.Load() != 0 {
		t.Error("acquit")
	}
	for n := range 3 * maxSuspects {
		s.add(suspectKey{event: strconv.Itoa(n)})
	}
	if len(s.by) != maxSuspects || s.known.Load() != maxSuspects {
		t.Errorf("%d suspects", len(s.by))
	}
}

// FuzzRewrite: whatever a transformer answers, what passes is fit to be sent.
func FuzzRewrite(f *testing.F) {
	f.Add("", []byte(`{}`), "", "X-A", "1")
	f.Add("person.created", []byte(`{`), "text/plain", "X-A", "a\r\nb")
	f.Add("a b", []byte("\xff"), "application/json; charset=\x00", "Host", "")
	f.Add("", []byte(`1`), "application/problem+json", "webhook-id", " x")
	f.Fuzz(func(t *testing.T, typ string, data []byte, media, name, value string) {
		e := &sidehook.Event{App: "a", ID: "i", Source: "/s", Type: "t", DataContentType: "application/json", Data: []byte("1")}
		got, err := rewrite(e, &transformv1.Rewritten{
			Type: typ, Data: data, DataContentType: media, Headers: map[string]string{name: value},
		})
		if string(e.Data) != "1" || e.Type != "t" {
			t.Fatal("the original was changed")
		}
		if err != nil {
			return
		}
		if err := got.Event.Validate(1 << 20); err != nil {
			t.Errorf("invalid event passed: %v", err)
		}
		for _, h := range got.Headers {
			if err := sidehook.ValidateHeader(h); err != nil {
				t.Errorf("invalid header passed: %v", err)
			}
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("a\nb\x1b[31m")
	f.Add(strings.Repeat("\xff", 3000))
	f.Add(strings.Repeat("é", 400))
	f.Fuzz(func(t *testing.T, s string) {
		got := clip(s)
		if len(got) > 500 || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x1b\x00") {
			t.Errorf("%q", got)
		}
	})
}
