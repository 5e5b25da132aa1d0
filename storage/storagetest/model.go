package storagetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/memstore"
)

// modelSeeds and modelSteps say how much the random test does.
const (
	modelSeeds = 8
	modelSteps = 400
)

// testModel does random operations on the store and on memstore, and compares every answer.
func testModel(t *testing.T, newHarness func(t testing.TB) Harness) {
	for seed := range uint64(modelSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			clock := NewClock()
			opts := storage.Options{Now: clock.Now, DedupeWindow: 10 * time.Hour}
			m := &modelRun{
				T: t, harness: newHarness(t), opts: opts, clock: clock,
				rand: rand.New(rand.NewPCG(seed, 7)), model: memstore.New(opts),
				toStore: make(map[sidehook.DeliveryID]sidehook.DeliveryID),
				toModel: make(map[sidehook.DeliveryID]sidehook.DeliveryID),
			}
			m.store = m.harness.Open(t, opts)
			t.Cleanup(func() { _ = m.store.Close() })
			m.run()
		})
	}
}

// modelRun is one run. Ids are those of the model unless said otherwise.
type modelRun struct {
	*testing.T
	harness Harness
	opts    storage.Options
	clock   *Clock
	rand    *rand.Rand
	store   storage.Store
	model   *memstore.Store

	toStore, toModel map[sidehook.DeliveryID]sidehook.DeliveryID
	inHand           []inHand
	all              []sidehook.DeliveryID
	events           []*sidehook.Event
	log              []string
}

// inHand is a delivery that the test has claimed or taken.
type inHand struct {
	id       sidehook.DeliveryID
	webhook  sidehook.WebhookKey
	attempts int
}

var modelQueues = []sidehook.WebhookKey{hook("a"), hook("b"), hook("bb"), {App: "cafe", ID: "a"}, storage.HoldQueue}

func (m *modelRun) run() {
	steps := []struct {
		weight int
		name   string
		do     func()
	}{
		{20, "append", m.append},
		{25, "claim", m.claim},
		{25, "record", m.record},
		{8, "unclaim", m.unclaim},
		{4, "requeue", m.requeue},
		{6, "hasten", m.hasten},
		{10, "advance", m.advance},
		{2, "reopen", m.reopen},
		{4, "list", m.list},
		{4, "get", m.get},
		{3, "stale", m.stale},
	}
	sum := 0
	for _, s := range steps {
		sum += s.weight
	}
	for range modelSteps {
		n := m.rand.IntN(sum)
		for _, s := range steps {
			if n -= s.weight; n < 0 {
				m.log = append(m.log, s.name)
				s.do()
				break
			}
		}
		m.compareState()
	}
	m.listAll()
}

func (m *modelRun) same(what string, got, want any) {
	m.Helper()
	if d := cmp.Diff(want, got); d != "" {
		tail := m.log[max(0, len(m.log)-12):]
		m.Fatalf("after %d steps, the last %v: %s differs (-model +store):\n%s", len(m.log), tail, what, d)
	}
}

func (m *modelRun) ok(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("after %d steps: %v", len(m.log), err)
	}
}

func (m *modelRun) append() {
	var entries []storage.Entry
	for range 1 + m.rand.IntN(4) {
		e := storage.Entry{Event: m.event(), SkipDedupe: m.rand.IntN(8) == 0}
		for _, key := range modelQueues {
			if m.rand.IntN(2) == 0 {
				continue
			}
			p := storage.Placement{Webhook: key, Queued: key == storage.HoldQueue || m.rand.IntN(2) == 0}
			if p.Queued && m.rand.IntN(3) == 0 {
				p.DueAt = m.clock.Now().Add(time.Duration(m.rand.IntN(5)-2) * time.Second)
			}
			e.Deliveries = append(e.Deliveries, p)
		}
		entries = append(entries, e)
	}
	copied := slices.Clone(entries)
	for i := range copied {
		copied[i].Deliveries = slices.Clone(copied[i].Deliveries)
	}
	mb, sb := storage.NewBatch(entries), storage.NewBatch(copied)
	m.ok(m.model.Append(bg, mb))
	m.ok(m.store.Append(bg, sb))
	m.ok(sb.Wait(bg))
	for i := range mb.Entries {
		m.same("duplicate", sb.Entries[i].Duplicate, mb.Entries[i].Duplicate)
		if mb.Entries[i].Duplicate {
			continue
		}
		for j, p := range mb.Entries[i].Deliveries {
			m.pair(p.ID, sb.Entries[i].Deliveries[j].ID)
			if !p.Queued {
				m.inHand = append(m.inHand, inHand{id: p.ID, webhook: p.Webhook})
			}
		}
	}
}

func (m *modelRun) pair(model, store sidehook.DeliveryID) {
	if old, ok := m.toModel[store]; ok {
		m.Fatalf("id %v was given twice, to %v and %v", store, old, model)
	}
	m.toStore[model], m.toModel[store] = store, model
	m.all = append(m.all, model)
}

// event makes an event, or gives an earlier one.
func (m *modelRun) event() *sidehook.Event {
	if len(m.events) > 0 && m.rand.IntN(6) == 0 {
		return m.events[m.rand.IntN(len(m.events))]
	}
	n := len(m.events)
	data := make([]byte, m.rand.IntN(300))
	for i := range data {
		data[i] = byte('a' + m.rand.IntN(6))
	}
	e := &sidehook.Event{
		App: "shop", ID: fmt.Sprintf("evt_%d", n), Source: "/m", Type: fmt.Sprintf("t.%d", n%3), Time: m.clock.Now(),
		DataContentType: "text/plain", Data: data,
	}
	m.events = append(m.events, e)
	return e
}

func (m *modelRun) claim() {
	key := modelQueues[m.rand.IntN(len(modelQueues))]
	limit := 1 + m.rand.IntN(6)
	want, wantNext, err := m.model.Claim(bg, key, m.clock.Now(), limit)
	m.ok(err)
	got, gotNext, err := m.store.Claim(bg, key, m.clock.Now(), limit)
	m.ok(err)
	for i := range got {
		got[i].ID = m.toModel[got[i].ID]
	}
	m.same("claimed", append([]storage.Claimed{}, got...), append([]storage.Claimed{}, want...))
	m.same("next", gotNext, wantNext)
	for _, c := range want {
		m.inHand = append(m.inHand, inHand{c.ID, key, c.Attempts})
	}
}

// takeSome removes a few from what is in hand.
func (m *modelRun) takeSome() []inHand {
	var out []inHand
	for n := m.rand.IntN(6); n > 0 && len(m.inHand) > 0; n-- {
		i := m.rand.IntN(len(m.inHand))
		out = append(out, m.inHand[i])
		m.inHand = slices.Delete(m.inHand, i, i+1)
	}
	return out
}

func (m *modelRun) record() {
	var results []storage.Result
	for _, h := range m.takeSome() {
		results = append(results, m.result(h))
	}
	m.recordBoth(results)
}

func (m *modelRun) result(h inHand) storage.Result {
	r := storage.Result{ID: h.id, Webhook: h.webhook, State: sidehook.DeliveryState(m.rand.IntN(4))}
	if m.rand.IntN(4) > 0 {
		r.Attempt = &sidehook.Attempt{
			Number: h.attempts + 1, At: m.clock.Now(), Latency: time.Duration(m.rand.IntN(1e9)), URL: "http://e/" + h.webhook.ID,
			Status: 200 + m.rand.IntN(400), Response: []byte("r"), Outcome: sidehook.Outcome{Kind: sidehook.OutcomeDead},
			RequestHeaders: []sidehook.Header{{Key: "k", Value: fmt.Sprint(m.rand.IntN(3))}},
		}
	}
	if r.State == sidehook.Pending {
		if m.rand.IntN(4) > 0 {
			r.DueAt = m.clock.Now().Add(time.Duration(m.rand.IntN(4)) * time.Second)
		}
		if m.rand.IntN(2) == 0 {
			r.Save = &storage.SavedRequest{Body: []byte{byte(m.rand.IntN(4))}, ContentType: "x/y"}
		}
	}
	return r
}

func (m *modelRun) recordBoth(results []storage.Result) {
	m.ok(m.model.Record(bg, results))
	for i := range results {
		results[i].ID = m.toStore[results[i].ID]
	}
	m.ok(m.store.Record(bg, results))
	m.ok(m.store.Flush(bg))
}

// stale records something for deliveries that nobody may have.
func (m *modelRun) stale() {
	if len(m.all) == 0 {
		return
	}
	id := m.all[m.rand.IntN(len(m.all))]
	if slices.ContainsFunc(m.inHand, func(h inHand) bool { return h.id == id }) {
		return
	}
	info, err := m.model.Delivery(bg, id)
	if err != nil {
		return
	}
	m.recordBoth([]storage.Result{m.result(inHand{id: id, webhook: info.Webhook})})
}

func (m *modelRun) unclaim() {
	var back, copied []storage.Unclaimed
	for _, h := range m.takeSome() {
		u := storage.Unclaimed{ID: h.id, Webhook: h.webhook}
		if m.rand.IntN(2) == 0 {
			u.DueAt = m.clock.Now().Add(time.Duration(m.rand.IntN(4)-1) * time.Second)
		}
		back = append(back, u)
		u.ID = m.toStore[u.ID]
		copied = append(copied, u)
	}
	m.ok(m.model.Unclaim(bg, back))
	m.ok(m.store.Unclaim(bg, copied))
}

func (m *modelRun) requeue() {
	if len(m.all) == 0 {
		return
	}
	var ids, copied []sidehook.DeliveryID
	for range m.rand.IntN(8) {
		id := m.all[m.rand.IntN(len(m.all))]
		ids, copied = append(ids, id), append(copied, m.toStore[id])
	}
	want, err := m.model.Requeue(bg, ids, m.clock.Now())
	m.ok(err)
	got, err := m.store.Requeue(bg, copied, m.clock.Now())
	m.ok(err)
	m.same("requeued", got, want)
}

func (m *modelRun) hasten() {
	if len(m.all) == 0 {
		return
	}
	id := m.all[m.rand.IntN(len(m.all))]
	want, err := m.model.Hasten(bg, id, m.clock.Now())
	m.ok(err)
	got, err := m.store.Hasten(bg, m.toStore[id], m.clock.Now())
	m.ok(err)
	m.same("whether it waited", got, want)
}

func (m *modelRun) advance() { m.clock.Advance(time.Duration(m.rand.IntN(3000)) * time.Millisecond) }

func (m *modelRun) reopen() {
	m.ok(m.store.Close())
	m.model.Reopen()
	m.inHand = nil
	m.store = m.harness.Open(m, m.opts)
}

func (m *modelRun) list() {
	q := storage.Query{Limit: 1 + m.rand.IntN(20)}
	if m.rand.IntN(2) == 0 {
		state := sidehook.DeliveryState(m.rand.IntN(4))
		q.State = &state
	}
	if m.rand.IntN(3) == 0 {
		q.App, q.Webhook = "shop", "a"
	}
	if m.rand.IntN(3) == 0 {
		q.Type = "t.1"
	}
	want, err := m.model.Deliveries(bg, q)
	m.ok(err)
	got, err := m.store.Deliveries(bg, q)
	m.ok(err)
	m.samePage(got, want)
}

func (m *modelRun) samePage(got, want storage.Page) {
	for i := range got.Deliveries {
		m.translate(&got.Deliveries[i])
	}
	for i := range want.Deliveries {
		emptyToNil(&want.Deliveries[i])
	}
	m.same("page", got.Deliveries, want.Deliveries)
	m.same("whether there is more", got.Next != "", want.Next != "")
}

func (m *modelRun) translate(info *storage.DeliveryInfo) {
	info.ID = m.toModel[info.ID]
	emptyToNil(info)
}

func emptyToNil(info *storage.DeliveryInfo) {
	if len(info.Attempts) == 0 {
		info.Attempts = nil
	}
}

// listAll walks every page of both.
func (m *modelRun) listAll() {
	var mq, sq storage.Query
	for {
		want, err := m.model.Deliveries(bg, mq)
		m.ok(err)
		got, err := m.store.Deliveries(bg, sq)
		m.ok(err)
		m.samePage(got, want)
		if want.Next == "" {
			return
		}
		mq.Cursor, sq.Cursor = want.Next, got.Next
	}
}

func (m *modelRun) get() {
	if len(m.all) == 0 {
		return
	}
	id := m.all[m.rand.IntN(len(m.all))]
	want, wantErr := m.model.Delivery(bg, id)
	got, gotErr := m.store.Delivery(bg, m.toStore[id])
	m.same("whether it is there", gotErr == nil, wantErr == nil)
	if wantErr != nil {
		return
	}
	m.translate(got)
	emptyToNil(want)
	m.same("delivery", got, want)
}

func (m *modelRun) compareState() {
	want, got := m.model.Stats(), m.store.Stats()
	m.same("pending", got.Pending, want.Pending)
	m.same("held", got.Held, want.Held)
	m.same("oldest pending", got.OldestPending, want.OldestPending)
	m.same("queues", m.headsOf(m.store), m.headsOf(m.model))
}

func (m *modelRun) headsOf(s storage.Store) map[sidehook.WebhookKey]time.Time {
	heads := make(map[sidehook.WebhookKey]time.Time)
	for h, err := range s.Queues(bg) {
		m.ok(err)
		heads[h.Webhook] = h.NextDue
	}
	return maps.Clone(heads)
}
