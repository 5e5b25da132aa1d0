package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ledger knows what became of every delivery of a torture: which events each endpoint has accepted, and in which order
// those of a key came. The other side of it is what publishers were told.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]*account // by endpoint
	accepted int64               // events, each counted once for an endpoint
}

// account is what one endpoint saw.
type account struct {
	ordered  bool
	accepted map[string]int    // how often, by event
	refused  int               // requests
	furthest map[string]uint64 // the last place of each key that was asked for
	wrong    []string
}

func newLedger() *ledger { return &ledger{accounts: make(map[string]*account)} }

// open makes the account of an endpoint. An ordered one is to get the events of a key one after the other.
func (l *ledger) open(endpoint string, ordered bool) {
	l.accounts[endpoint] = &account{ordered: ordered, accepted: make(map[string]int), furthest: make(map[string]uint64)}
}

// keyedID is the id of an event that says its ordering key, and its place among the events of its publisher.
func keyedID(publisher string, key int, place uint64) string {
	return fmt.Sprintf("%s.%d_%d", publisher, key, place)
}

// keyOf reads what keyedID wrote.
func keyOf(id string) (key string, place uint64) {
	key, text, _ := strings.Cut(id, "_")
	place, _ = strconv.ParseUint(text, 10, 64) // what is none is place 0, and so shows as out of order
	return key, place
}

// note enters a request.
//
// Invariant: when an event is accepted for the first time, none that comes after it in its key has been asked for. What
// comes again after a crash may do so behind later ones: it had been accepted before them.
func (l *ledger) note(endpoint, id string, accepted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[endpoint]
	key, place := keyOf(id)
	first := accepted && a.accepted[id] == 0
	if a.ordered && first && a.furthest[key] > place && len(a.wrong) < 10 {
		a.wrong = append(a.wrong, fmt.Sprintf("%s: %s was accepted after place %d of its key had been asked for", endpoint, id, a.furthest[key]))
	}
	a.furthest[key] = max(a.furthest[key], place)
	if !accepted {
		a.refused++
		return
	}
	a.accepted[id]++
	if first {
		l.accepted++
	}
}

// missing says how many deliveries of acknowledged events were never accepted, and names some.
func (l *ledger) missing(acked map[string]string) (n int, some []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for endpoint, a := range l.accounts {
		for id := range acked {
			if a.accepted[id] > 0 {
				continue
			}
			if n++; n <= 10 {
				some = append(some, fmt.Sprintf("LOST: %s was acknowledged and never accepted by %s", id, endpoint))
			}
		}
	}
	return n, some
}

// first is how many deliveries were accepted, repeats not counted.
func (l *ledger) first() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// settle fails the test for whatever does not add up, and returns how many deliveries were repeated and refused.
func (l *ledger) settle(t *testing.T, acked map[string]string) (repeats, refused int) {
	t.Helper()
	if len(acked) == 0 {
		t.Error("no event was acknowledged")
	}
	lost, some := l.missing(acked)
	for _, s := range some {
		t.Error(s)
	}
	if lost > 0 {
		t.Errorf("%d deliveries of %d acknowledged events were lost", lost, len(acked))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.accounts {
		for _, w := range a.wrong {
			t.Error(w)
		}
		for _, n := range a.accepted {
			repeats += n - 1
		}
		refused += a.refused
	}
	return repeats, refused
}

// TestLedgerTells: the ledger notices what the torture is there to notice.
func TestLedgerTells(t *testing.T) {
	id := func(key int, place uint64) string { return keyedID("pA", key, place) }
	post := func(l *ledger, accepted bool, ids ...string) {
		for _, id := range ids {
			l.note("crm", id, accepted)
		}
	}
	acked := map[string]string{id(1, 1): "", id(1, 2): "", id(2, 3): ""}
	for name, c := range map[string]struct {
		fill        func(l *ledger)
		lost, wrong int
	}{
		"all there":                     {func(l *ledger) { post(l, true, id(1, 1), id(2, 3), id(1, 2)) }, 0, 0},
		"repeats of two after a crash":  {func(l *ledger) { post(l, true, id(1, 1), id(1, 2), id(1, 1), id(1, 2), id(2, 3)) }, 0, 0},
		"a retry before the next":       {func(l *ledger) { post(l, false, id(1, 1)); post(l, true, id(1, 1), id(1, 2), id(2, 3)) }, 0, 0},
		"one is missing":                {func(l *ledger) { post(l, true, id(1, 1), id(2, 3)) }, 1, 0},
		"one was refused and forgotten": {func(l *ledger) { post(l, false, id(1, 1)); post(l, true, id(1, 2), id(2, 3)) }, 1, 0},
		"two swapped":                   {func(l *ledger) { post(l, true, id(1, 2), id(1, 1), id(2, 3)) }, 0, 1},
		"the next before a retry": {func(l *ledger) {
			post(l, false, id(1, 1))
			post(l, true, id(1, 2), id(1, 1), id(2, 3))
		}, 0, 1},
		"an attempt at the next before a retry": {func(l *ledger) {
			post(l, false, id(1, 1), id(1, 2))
			post(l, true, id(1, 1), id(1, 2), id(2, 3))
		}, 0, 1},
	} {
		l := newLedger()
		l.open("crm", true)
		c.fill(l)
		if lost, _ := l.missing(acked); lost != c.lost || len(l.accounts["crm"].wrong) != c.wrong {
			t.Errorf("%s: %d lost, %q, want %d and %d", name, lost, l.accounts["crm"].wrong, c.lost, c.wrong)
		}
	}
}
