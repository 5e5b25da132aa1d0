package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// killsOf returns how often the torture kills: 10 times, or as often as SIDEHOOK_E2E_KILLS says (make torture).
func killsOf(t *testing.T) int {
	t.Helper()
	text := os.Getenv("SIDEHOOK_E2E_KILLS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("SIDEHOOK_E2E_KILLS: %q is not a number of kills", text)
	}
	return n
}

// rack is the scene of the torture: ten webhooks that all want every event. Some have endpoints that fail half the time,
// some ask for the order of keys.
type rack struct {
	*place
	ledger    *ledger
	endpoints []*endpoint
	healed    atomic.Bool // no endpoint fails any more
}

// mostFailures is how often an endpoint fails for the same event: fewer than there are attempts, so that none dies.
const mostFailures = 8

// retries are so many that no delivery dies; a second is the shortest wait there is.
var retries = "[" + strings.TrimSuffix(strings.Repeat("1s, ", 20), ", ") + "]"

func newRack(t *testing.T, seed uint64) *rack {
	t.Helper()
	r := &rack{place: newPlace(t, "config_file: webhooks.yaml", allowLoopback), ledger: newLedger()}
	var yaml strings.Builder
	yaml.WriteString("apps:\n  - id: demo\n    webhooks:\n")
	for i := range 10 {
		flaky, ordered := i >= 6, i%3 == 0 // 0, 3, 6 and 9; of them 6 and 9 are flaky
		e := newEndpoint(t, fmt.Sprintf("w%d", i))
		r.ledger.open(e.name, ordered)
		e.answer = r.answer(e, flaky, rand.New(rand.NewPCG(seed, uint64(i))))
		r.endpoints = append(r.endpoints, e)
		order := ""
		if ordered {
			order = ", ordering: key"
		}
		fmt.Fprintf(&yaml, "      - {id: %s, url: %q, events: [\"*\"], secrets: [{id: s, key: %s}], retry_policy: {schedule: %s}%s}\n",
			e.name, e.url, e.secret.Reveal(), retries, order)
	}
	r.write("webhooks.yaml", yaml.String())
	return r
}

// answer decides what an endpoint says, and enters it into the ledger. The endpoint calls it with its lock held.
func (r *rack) answer(e *endpoint, flaky bool, chance *rand.Rand) func(*http.Request) int {
	return func(req *http.Request) int {
		id := req.Header.Get("Webhook-Id")
		status := http.StatusNoContent
		if before := e.arrivals[id]; flaky && !r.healed.Load() && (before == nil || before.refused < mostFailures) {
			switch chance.IntN(10) {
			case 0, 1, 2, 3:
				status = http.StatusServiceUnavailable
			case 4:
				status = 0 // breaks the connection off
			}
		}
		accepted := status != 0 && status/100 == 2
		r.ledger.note(e.name, id, accepted)
		return status
	}
}

// mostOpen is how many deliveries may be under way before publishers emit a tenth of what they could: a slow machine would
// spend its time on a backlog. They never stop, or nothing would be acknowledged just before a kill.
const mostOpen = 5_000

// TestTorture kills the sidecar again and again under load with a fan-out of ten, with retries and in order, and accounts
// for every acknowledged event at every webhook.
func TestTorture(t *testing.T) {
	kills, seed := killsOf(t), seedOf(t)
	chance := rand.New(rand.NewPCG(seed, 99))
	r := newRack(t, seed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Duration(kills)*10*time.Second)
	defer cancel()
	crowd := newCrowd(4, seed, []string{"order.created"}, func() *grpc.ClientConn { return dialEvents(t, r.socket()) })
	for _, p := range crowd.all {
		p.keys, p.pace = 200, 10*time.Millisecond
		p.hold = func() bool {
			return crowd.fresh.Load()*int64(len(r.endpoints))-r.ledger.first() > mostOpen && p.random.IntN(10) > 0
		}
	}
	crowd.start(ctx)
	began := time.Now()

	for n := range kills {
		if n%5 == 4 { // while it starts, as often as not
			p := r.start()
			lived(p, time.Duration(chance.Int64N(int64(150*time.Millisecond))))
			p.kill()
			continue
		}
		s := r.open()
		before := crowd.total.Load()
		await(t, "the sidecar acknowledges events after its start", func() error {
			if !s.running() {
				t.Fatalf("the sidecar ended by itself: %v", s.err)
			}
			if crowd.total.Load() == before {
				return fmt.Errorf("%d so far, none of this process", before)
			}
			return nil
		})
		lived(s.process, time.Duration(chance.Int64N(int64(600*time.Millisecond))))
		r.expectAccounted(t, s, crowd)
		s.kill()
	}

	killed := time.Since(began)
	r.healed.Store(true)
	last := r.open()
	acked, repeated, given, failures := crowd.finish()
	for _, f := range failures {
		t.Error(f)
	}
	r.awaitEnd(t, last)
	repeats, refused := r.ledger.settle(t, acked)
	for _, e := range r.endpoints {
		e.check(t)
	}
	for _, state := range []string{"dead", "dropped"} {
		if bad := last.deliveries("state=" + state); len(bad) > 0 {
			t.Errorf("deliveries are %s, the first: %+v", state, bad[0])
		}
	}
	t.Logf("%d kills; %d events acknowledged (%d of them as repeats, %d given up by their publishers) to %d webhooks; "+
		"%d deliveries repeated, %.1f for each kill; %d attempts refused and tried again; %s of kills, %s until all was delivered",
		kills, len(acked), repeated, given, len(r.endpoints), repeats, float64(repeats)/float64(kills), refused,
		killed.Round(time.Second), (time.Since(began) - killed).Round(time.Second))
	last.stop(os.Interrupt)
}

// expectAccounted: every delivery of an event that was acknowledged until now has been accepted, or is pending.
//
// What is counted is read in this order, so that the right side can only be too large.
func (r *rack) expectAccounted(t *testing.T, s *sidecar, c *crowd) {
	t.Helper()
	acked := c.fresh.Load() * int64(len(r.endpoints))
	state, err := s.ready()
	if err != nil {
		t.Fatal(err)
	}
	if have := r.ledger.first() + int64(state.Pending); have < acked {
		t.Errorf("LOST: %d deliveries are due for what was acknowledged, %d were accepted or are pending", acked, have)
	}
}

// awaitEnd waits until every delivery has ended, for as long as some do. It leaves it to the ledger to say what is missing.
func (r *rack) awaitEnd(t *testing.T, s *sidecar) {
	t.Helper()
	for pending, before := -1, 0; pending != 0; {
		before = pending
		err := awaitErr(t.Context(), func() error {
			state, err := s.ready()
			if err == nil && before >= 0 && state.Pending >= before && state.Pending > 0 {
				return fmt.Errorf("%d are pending", state.Pending)
			}
			pending = state.Pending
			return err
		})
		if err != nil {
			t.Errorf("deliveries do not end: %v", err)
			return
		}
	}
}
