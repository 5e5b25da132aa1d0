package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// seedOf returns the seed of a test with chance in it: a new one, or SIDEHOOK_E2E_SEED to see a failure again.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SIDEHOOK_E2E_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SIDEHOOK_E2E_SEED: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	return seed
}

// crashScene is three webhooks that want different events: a healthy one, one that fails at random, and one through a
// transformer.
type crashScene struct {
	*place
	healthy, flaky, shaped *endpoint
}

var crashTypes = []string{"order.created", "order.paid", "person.created"}

// wants says which endpoints are to get events of a type.
func (c *crashScene) wants(typ string) []*endpoint {
	return map[string][]*endpoint{
		"order.created":  {c.healthy, c.flaky},
		"order.paid":     {c.healthy, c.flaky, c.shaped},
		"person.created": {c.flaky},
	}[typ]
}

func (c *crashScene) endpoints() []*endpoint { return []*endpoint{c.healthy, c.flaky, c.shaped} }

func newCrashScene(t *testing.T, seed uint64) *crashScene {
	t.Helper()
	c := &crashScene{
		place:   newPlace(t, "config_file: webhooks.yaml", allowLoopback),
		healthy: newEndpoint(t, "healthy"), flaky: newEndpoint(t, "flaky"), shaped: newEndpoint(t, "shaped"),
	}
	chance := rand.New(rand.NewPCG(seed, 1))
	c.flaky.answer = func(*http.Request) int {
		switch n := chance.IntN(100); {
		case n < 8:
			return http.StatusServiceUnavailable
		case n < 10:
			return 0
		}
		return http.StatusOK
	}
	c.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - {id: healthy, name: Healthy, url: %q, events: ["order.*"], secrets: [{id: s, key: %s}]}
      - id: flaky
        name: Flaky
        url: %q
        events: ["*"]
        retry_policy: {schedule: [1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s, 1s]}
        secrets: [{id: s, key: %s}]
      - {id: shaped, name: Shaped, url: %q, events: ["*.paid"], transformer: redact, secrets: [{id: s, key: %s}]}
    transformers: [{name: redact}]
`, c.healthy.url, c.healthy.secret.Reveal(), c.flaky.url, c.flaky.secret.Reveal(), c.shaped.url, c.shaped.secret.Reveal()))
	return c
}

// TestCrash kills the sidecar at random moments under load, and accounts for every acknowledged event.
func TestCrash(t *testing.T) {
	underLoad, whileStarting := 20, 5
	if testing.Short() {
		underLoad, whileStarting = 5, 1
	}
	seed := seedOf(t)
	chance := rand.New(rand.NewPCG(seed, 2))
	scene := newCrashScene(t, seed)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	crowd := startCrowd(ctx, 4, seed, crashTypes, func() *grpc.ClientConn { return dialEvents(t, scene.socket()) })

	for range underLoad {
		before := crowd.total.Load()
		p := scene.start()
		await(t, "the sidecar acknowledges events after its start", func() error {
			if !p.running() {
				t.Fatalf("the sidecar ended by itself: %v", p.err)
			}
			if crowd.total.Load() == before {
				return fmt.Errorf("%d so far, none of this process", before)
			}
			return nil
		})
		lived(p, time.Duration(chance.Int64N(int64(300*time.Millisecond))))
		p.kill()
	}
	for range whileStarting {
		p := scene.start()
		lived(p, time.Duration(chance.Int64N(int64(150*time.Millisecond))))
		p.kill()
	}

	last := scene.open()
	acked, repeated, given, failures := crowd.finish()
	for _, f := range failures {
		t.Error(f)
	}
	last.awaitIdle()
	t.Logf("%d events acknowledged, %d of them as repeats, %d given up by their publishers", len(acked), repeated, given)
	scene.settle(t, acked)
	scene.quietPhase(t, last)
	last.stop(os.Interrupt)
}

// lived lets a process live for a while.
func lived(p *process, d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.exited:
	}
}

// settle compares what was acknowledged with what arrived.
func (c *crashScene) settle(t *testing.T, acked map[string]string) {
	t.Helper()
	if len(acked) == 0 {
		t.Error("no event was acknowledged")
	}
	lost := 0
	for id, typ := range acked {
		for _, e := range c.wants(typ) {
			if e.of(id).accepted == 0 {
				if lost++; lost <= 10 {
					t.Errorf("LOST: %s (%s) was acknowledged and never arrived at %s", id, typ, e.name)
				}
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d deliveries of %d acknowledged events were lost", lost, len(acked))
	}
	for _, e := range c.endpoints() {
		e.check(t)
		events, repeats, refused, unacked := 0, 0, 0, 0
		e.mu.Lock()
		for id, a := range e.arrivals {
			events++
			repeats += max(0, a.accepted-1)
			refused += a.refused
			if _, ok := acked[id]; !ok {
				unacked++
			}
		}
		e.mu.Unlock()
		t.Logf("%s: %d events, %d repeats under the same webhook-id, %d refused attempts, %d events of batches given up",
			e.name, events, repeats, refused, unacked)
	}
	if body := c.shaped.captured().body; bytes.Contains(body, []byte("alice@")) {
		t.Errorf("the transformer did not see %s", body)
	}
}

// quietPhase shows that repeats come from crashes alone: without one, events arrive once.
func (c *crashScene) quietPhase(t *testing.T, s *sidecar) {
	t.Helper()
	var ids []string
	for i := range 200 {
		ids = append(ids, fmt.Sprintf("quiet_%d", i))
	}
	publish(t, s.grpc, "order.paid", ids...)
	s.awaitIdle()
	for _, id := range ids {
		for _, e := range c.wants("order.paid") {
			if n := e.of(id).accepted; n != 1 {
				t.Errorf("%s arrived %d times at %s", id, n, e.name)
			}
		}
	}
	for _, r := range publish(t, s.grpc, "order.paid", ids...) {
		if r.GetDisposition().String() != "DISPOSITION_DUPLICATE" {
			t.Errorf("the repeat of %s became %s", r.GetId(), r.GetDisposition())
		}
	}
}
