// Package storagetest is the suite that every storage.Store passes: a test for each rule of the contract, and random
// operations, restarts included, compared with memstore as the model. It is imported by tests only.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Harness is one place where a store can be.
type Harness struct {
	// Open opens the store that is there; called again, after Close, it opens the same one.
	Open func(t testing.TB, opts storage.Options) storage.Store
}

// Clock is a clock that tests move.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that stands at a fixed time.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

// Now is the time it shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves it.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Run runs the suite; newHarness makes an empty place.
func Run(t *testing.T, newHarness func(t testing.TB) Harness) {
	for _, test := range []struct {
		name string
		run  func(f *fixture)
	}{
		{"EventComesBackWhole", testRoundTrip},
		{"TakenIsNotInTheQueue", testTaken},
		{"ClaimTakesInOrderOfDueTimeThenID", testClaimOrder},
		{"ClaimKeepsToItsLimit", testClaimLimit},
		{"ClaimOfNothing", testClaimNothing},
		{"UnclaimPutsBackWhereItWas", testUnclaim},
		{"UnclaimWithDueTime", testUnclaimDue},
		{"UnclaimOfTaken", testUnclaimTaken},
		{"UnclaimIgnoresOthers", testUnclaimForeign},
		{"RecordEndsADelivery", testRecordFinal},
		{"RecordQueuesAgain", testRecordPending},
		{"RecordKeepsTheSavedRequest", testSavedRequest},
		{"RecordIgnoresWhatNobodyHas", testRecordIgnored},
		{"RecordWithoutAttempt", testRecordWithoutAttempt},
		{"DuplicatesAreAnswered", testDedupe},
		{"DuplicatesWithinABatch", testDedupeInBatch},
		{"DedupeEndsWithTheWindow", testDedupeWindow},
		{"DedupeSurvivesARestart", testDedupeReopen},
		{"DedupeOff", testDedupeOff},
		{"RestartQueuesTakenAndClaimed", testReopen},
		{"RestartKeepsTheQueueOfARetry", testReopenRetry},
		{"HeldEventsAreCountedNotListed", testHold},
		{"RequeueOfFinished", testRequeue},
		{"RequeueUsesTheSavedRequest", testRequeueSaved},
		{"HastenMakesWaitingDue", testHasten},
		{"PutBacksAreListed", testPutBacks},
		{"DeliveryHasItsEventAndRequest", testDeliveryWhole},
		{"DeliveriesAreFiltered", testDeliveriesFilter},
		{"DeliveriesComeInPages", testDeliveriesPages},
		{"DeliveryHasItsAttempts", testDelivery},
		{"StatsCount", testStats},
		{"QueuesListHeads", testQueues},
		{"CommitsKeepTheOrderOfCalls", testCommitOrder},
		{"LimitsOfABatch", testBatchLimits},
		{"FullQueueRefuses", testFull},
		{"ClosedStoreRefuses", testClosed},
		{"EndedContextsAreSaidWhy", testContext},
		{"ManyAtOnce", testConcurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fixture{T: t, harness: newHarness(t), clock: NewClock()}
			f.opts.Now = f.clock.Now
			t.Cleanup(func() {
				if f.store != nil {
					_ = f.store.Close()
				}
			})
			test.run(f)
		})
	}
	t.Run("Model", func(t *testing.T) { testModel(t, newHarness) })
}

// fixture is a store under test with its clock.
type fixture struct {
	*testing.T
	harness Harness
	opts    storage.Options
	clock   *Clock
	store   storage.Store
	events  int
}

var bg = context.Background()

func (f *fixture) open() storage.Store {
	f.Helper()
	if f.store == nil {
		f.store = f.harness.Open(f, f.opts)
	}
	return f.store
}

func (f *fixture) reopen() {
	f.Helper()
	if err := f.store.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
	f.store = nil
	f.open()
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if d := cmp.Diff(want, got); d != "" {
		f.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

// event makes a new event.
func (f *fixture) event() *sidehook.Event {
	f.events++
	return &sidehook.Event{
		App: "shop", ID: fmt.Sprintf("evt_%d", f.events), Source: "/test", Type: "order.paid", Time: f.clock.Now(),
		DataContentType: sidehook.DefaultContentType, Data: []byte(fmt.Sprintf(`{"n":%d}`, f.events)),
	}
}

// hook is a webhook of the app shop.
func hook(id string) sidehook.WebhookKey { return sidehook.WebhookKey{App: "shop", ID: id} }

func taken(id string) storage.Placement { return storage.Placement{Webhook: hook(id)} }

func queued(id string, due time.Time) storage.Placement {
	return storage.Placement{Webhook: hook(id), Queued: true, DueAt: due}
}

// append appends one batch and waits for it.
func (f *fixture) append(entries ...storage.Entry) *storage.Batch {
	f.Helper()
	b := storage.NewBatch(entries)
	f.ok(f.open().Append(bg, b))
	f.ok(b.Wait(bg))
	return b
}

// one appends one new event with its deliveries, and gives their ids.
func (f *fixture) one(ps ...storage.Placement) []sidehook.DeliveryID {
	f.Helper()
	b := f.append(storage.Entry{Event: f.event(), Deliveries: ps})
	ids := make([]sidehook.DeliveryID, len(ps))
	for i := range ids {
		ids[i] = b.Entries[0].Deliveries[i].ID
	}
	return ids
}

func (f *fixture) claim(id string, limit int) ([]storage.Claimed, time.Time) {
	f.Helper()
	got, next, err := f.store.Claim(bg, hook(id), f.clock.Now(), limit)
	f.ok(err)
	return got, next
}

// claimIDs claims and checks what was claimed.
func (f *fixture) claimIDs(id string, want ...sidehook.DeliveryID) []storage.Claimed {
	f.Helper()
	got, _ := f.claim(id, 1000)
	f.equal("claimed", idsOf(got), append([]sidehook.DeliveryID{}, want...))
	return got
}

func idsOf(claimed []storage.Claimed) []sidehook.DeliveryID {
	ids := make([]sidehook.DeliveryID, len(claimed))
	for i := range claimed {
		ids[i] = claimed[i].ID
	}
	return ids
}

func (f *fixture) record(results ...storage.Result) {
	f.Helper()
	f.ok(f.store.Record(bg, results))
	f.ok(f.store.Flush(bg))
}

// attempt makes an attempt that ended as kind.
func (f *fixture) attempt(number int, kind sidehook.OutcomeKind) *sidehook.Attempt {
	a := &sidehook.Attempt{
		Number: number, At: f.clock.Now(), Latency: 1234567, URL: "https://example.com/hook", Status: 200,
		RequestHeaders: []sidehook.Header{{Key: "webhook-id", Value: "evt"}, {Key: "Sidehook-Attempt", Value: "1"}},
		Response:       []byte("ok"), Outcome: sidehook.Outcome{Kind: kind},
	}
	if kind != sidehook.OutcomeDelivered {
		a.Status, a.Error = 503, "the endpoint answered 503"
	}
	if kind == sidehook.OutcomeRetry {
		a.Outcome.RetryAt = f.clock.Now().Add(5 * time.Second)
	}
	return a
}

// ended is a final result with an attempt.
func (f *fixture) ended(id sidehook.DeliveryID, webhook string, number int, kind sidehook.OutcomeKind) storage.Result {
	return storage.Result{ID: id, Webhook: hook(webhook), State: kind.State(), Attempt: f.attempt(number, kind)}
}

// retry is a result that queues the delivery again.
func (f *fixture) retry(id sidehook.DeliveryID, webhook string, number int, after time.Duration) storage.Result {
	return storage.Result{
		ID: id, Webhook: hook(webhook), DueAt: f.clock.Now().Add(after), Attempt: f.attempt(number, sidehook.OutcomeRetry),
	}
}

func (f *fixture) delivery(id sidehook.DeliveryID) *storage.DeliveryInfo {
	f.Helper()
	info, err := f.store.Delivery(bg, id)
	f.ok(err)
	return info
}

func (f *fixture) heads() map[sidehook.WebhookKey]time.Time {
	f.Helper()
	heads := make(map[sidehook.WebhookKey]time.Time)
	for h, err := range f.store.Queues(bg) {
		f.ok(err)
		heads[h.Webhook] = h.NextDue
	}
	return heads
}

func (f *fixture) fails(what string, err, want error) {
	f.Helper()
	if !errors.Is(err, want) {
		f.Fatalf("%s: error is %v, want %v", what, err, want)
	}
}
