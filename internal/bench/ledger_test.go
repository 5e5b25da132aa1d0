package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestBodyIsJSONOfItsSizeAndKeepsItsStamp(t *testing.T) {
	at := time.Unix(1_800_000_000, 123_456_789)
	for _, n := range []int{0, 100, 1024, 3 << 20} {
		for _, seq := range []uint64{0, 1, 63, maxSeq - 1} {
			b := newBody(n)
			fillBody(b, seq, at)
			if !json.Valid(b) {
				t.Fatalf("%d bytes, event %d: not JSON: %.80q", n, seq, b)
			}
			if len(b) != n && n > padStart+minPad+2 {
				t.Errorf("newBody(%d) has %d bytes", n, len(b))
			}
			enveloped := append([]byte(`{"type":"x","data":`), b...)
			got, ns, ok := readStamp(enveloped)
			if !ok || got != seq || ns != at.UnixNano() {
				t.Errorf("event %d at %d came back as %d at %d (%t)", seq, at.UnixNano(), got, ns, ok)
			}
		}
	}
}

func TestReadStampRefusesWhatIsNone(t *testing.T) {
	good := newBody(0)
	fillBody(good, 7, time.Unix(1_800_000_000, 0))
	for _, bad := range []string{
		"", "{}", `{"seq":1`, string(good[:stampLen]), `{"seq":1000000000000000x00,"at":1800000000000000000}`,
		`{"seq":1999999999999999999,"at":1800000000000000000}`, // would make a bitmap of any size
	} {
		if _, _, ok := readStamp([]byte(bad)); ok {
			t.Errorf("%q was taken for a stamp", bad)
		}
	}
}

func TestLedgerTellsWhatIsMissingAndWhatIsRepeated(t *testing.T) {
	post := func(l *ledger, path string, seqs ...uint64) {
		for _, seq := range seqs {
			b := newBody(200)
			fillBody(b, seq, time.Now())
			l.arrived(path, b, time.Now())
		}
	}
	full := newLedger()
	post(full, "/a", 0, 1, 2, 1)
	post(full, "/b", 2, 0, 1)
	if err := balance(full.summary(), 3, 2); err != nil {
		t.Errorf("all is there, but: %v", err)
	}
	if s := full.summary(); s.Arrivals != 7 || s.Distinct != 6 {
		t.Errorf("%d arrivals, %d distinct, want 7 and 6", s.Arrivals, s.Distinct)
	}
	for name, fill := range map[string]func(l *ledger){
		"one is missing":               func(l *ledger) { post(l, "/a", 0, 2); post(l, "/b", 0, 1, 2) },
		"one is missing, one too many": func(l *ledger) { post(l, "/a", 0, 1, 3); post(l, "/b", 0, 1, 2) },
		"a webhook got nothing":        func(l *ledger) { post(l, "/a", 0, 1, 2) },
		"something else came": func(l *ledger) {
			post(l, "/a", 0, 1, 2)
			post(l, "/b", 0, 1, 2)
			l.arrived("/a", []byte("{}"), time.Now())
		},
	} {
		l := newLedger()
		fill(l)
		if balance(l.summary(), 3, 2) == nil {
			t.Errorf("%s: the ledger balances", name)
		}
	}
}

func TestLedgerTellsDisorder(t *testing.T) {
	var first, second uint64 // of one key
	for second = 1; orderingKey(second, orderingKeys) != orderingKey(first, orderingKeys); second++ {
	}
	for name, c := range map[string]struct {
		path string
		seqs []uint64
		want uint64
	}{
		"in order":                    {orderedPath, []uint64{first, second}, 0},
		"repeated":                    {orderedPath, []uint64{first, second, first}, 0},
		"overtaken":                   {orderedPath, []uint64{second, first}, 1},
		"another key":                 {orderedPath, []uint64{first + 1, first, second}, 0},
		"where nobody asks for order": {webhookPath(0), []uint64{second, first}, 0},
	} {
		l := newLedger()
		for _, seq := range c.seqs {
			b := newBody(200)
			fillBody(b, seq, time.Now())
			l.arrived(c.path, b, time.Now())
		}
		if got := l.summary().Disorder; got != c.want {
			t.Errorf("%s: %d out of order, want %d", name, got, c.want)
		}
		l.reset()
		if got := l.summary().Disorder; got != 0 {
			t.Errorf("%s: %d out of order after a reset", name, got)
		}
	}
}

func TestScheduleGivesEveryTimeOnceHoweverLate(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	s := newSchedule(start, 100)
	if due := s.take(start.Add(-time.Nanosecond), nil, 10); len(due) != 0 {
		t.Errorf("%d times before the first", len(due))
	}
	late := s.take(start.Add(45*time.Millisecond), nil, 3)
	late = append(late, s.take(start.Add(45*time.Millisecond), nil, 10)...)
	if len(late) != 5 || !late[4].Equal(start.Add(40*time.Millisecond)) {
		t.Errorf("after a stall of 45 ms came %v, want the five times from 0 to 40 ms", late)
	}
}

func TestEveryGoalBelongsToAFigureThatCanBeMissed(t *testing.T) {
	for key, g := range goals {
		if g.holds(g.value) != true || g.holds(g.value*0.99) == g.holds(g.value*1.01) {
			t.Errorf("%v: the goal %s does not tell values apart", key, g)
		}
	}
}
