package outbound

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Sizes of a lane.
const (
	claimSize = 256 // deliveries claimed from the store at once
	lowWater  = 64  // ring length below which a lane with a due queue claims more, if half of its ring is empty
	// ringPerSlot bounds the deliveries a lane holds in memory, per request it may have in flight: an endpoint in
	// trouble, which may have few, holds little.
	ringPerSlot  = 16
	healthyRing  = 1024 // at least, once the endpoint works; Options.MaxInMemory bounds all lanes together
	initialLimit = 8
	removalGrace = 10 * time.Minute
)

// job is a delivery in a lane's memory.
type job struct {
	id       sidehook.DeliveryID
	shared   *sharedEvent
	attempts int
	saved    *storage.SavedRequest
	test     bool // of a test event
	missed   bool // came while the webhook was disabled, but not by a person: to be dropped

	// What the transformer was asked ahead, while it waits in the ring, and what for; nil when it was not: see ahead.go.
	answer  sidehook.Transforming
	askedBy *route

	// What follows is set when the event has an ordering key and the lane keeps to it; see order.
	order *order
	key   uint64
	due   int64 // when it was due, in Unix nanoseconds
	began int64 // when its turn began, likewise
}

// lane is one webhook's way out: a bounded ring of deliveries in memory, fed by new events while nothing older is due
// and by the webhook's durable queue otherwise, and worked off by as many workers as the endpoint bears.
//
// Invariants, under mu:
//   - A delivery is in exactly one place: ring, a worker's hands, or the store's queue.
//   - slots of Engine.inFlight held by the lane = max(0, active-1), so a lane can always have one request in flight,
//     however many others hang.
//   - nextDue is not after the due time of the earliest delivery in the store's queue, or that delivery was submitted
//     after the Claim in progress (loading) and its due time is in noted: no wake-up is lost. A nextDue that is too
//     early costs one Claim.
//   - settle has been called after every change: what can run runs, and what has to wait has a timer.
type lane struct {
	e   *Engine
	key sidehook.WebhookKey

	mu       sync.Mutex
	route    *route // nil: not in the configuration
	ring     ring
	reserved int  // promised to deliveries whose commit is under way
	active   int  // workers
	starting int  // of them, those that have not asked for their first delivery yet
	limit    int  // how many workers the endpoint bears: halved by trouble, one more for each success, at most initialLimit while it wastes
	trouble  int  // attempts in a row that failed by the endpoint's fault
	proven   bool // the latest attempt that said something of the endpoint was a success
	wasteful bool // that success was wasteful

	nextDue time.Time // earliest known in the store's queue; zero: nothing there
	noted   time.Time // as nextDue, of what came while loading
	loading bool
	loads   uint64 // begun so far
	moving  int    // calls under way that put deliveries of an order back; nothing is loaded meanwhile
	order   *order // nil: as they come
	rate    rate

	filterFailed *route // whose filter had no answer for some event

	pausedUntil time.Time // transformer away, no live secret: the lane waits, no attempt is counted
	pauseReason string
	pauses      int // in a row, for backoff

	goneAt     time.Time // endpoint answered 410; until the webhook changes
	retireAt   time.Time // webhook was removed: what it has is dropped from then on; zero: it was not
	clearing   bool      // spillOrDrop is running
	stopped    bool
	timer      *time.Timer
	timerAt    time.Time
	lastStatus int
	lastError  string
	health     health
}

func newLane(e *Engine, key sidehook.WebhookKey) *lane {
	return &lane{e: e, key: key, limit: min(initialLimit, e.opts.PerWebhook)}
}

// reserve promises a place in the ring to a delivery about to be committed; false: it belongs in the durable queue.
// Nothing may overtake what is due there.
//
// What has its place in an order always goes there: it is the queue that the order rests on.
func (l *lane) reserve(now time.Time, orderingKey string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.misses() {
		// Taken, to be dropped at once; where there is no room for that, it waits and is delivered in the end.
		if l.e.inMemory.Add(1) > int64(l.e.opts.MaxInMemory) {
			l.e.inMemory.Add(-1)
			return false
		}
		l.reserved++
		return true
	}
	if l.order != nil && orderingKey != "" || !l.open() || l.isDue(now) || l.ring.len()+l.reserved >= l.ringCap() {
		return false
	}
	if l.e.inMemory.Add(1) > int64(l.e.opts.MaxInMemory) {
		l.e.inMemory.Add(-1)
		return false
	}
	l.reserved++
	return true
}

// unreserve takes a promise back.
func (l *lane) unreserve() {
	l.mu.Lock()
	l.reserved--
	l.mu.Unlock()
	l.e.inMemory.Add(-1)
}

// push puts a delivery where reserve promised a place.
func (l *lane) push(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
	j.missed = l.misses()
	l.ring.pushBack(j)
	l.settle()
}

// misses reports whether the webhook is to get nothing now, and what it would get is to be kept as dropped; mu is held.
func (l *lane) misses() bool {
	return l.route != nil && l.retireAt.IsZero() && l.route.webhook.MissesEvents()
}

// noteQueued tells the lane of a delivery in its durable queue, due then (zero: at once).
func (l *lane) noteQueued(due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if due.IsZero() {
		due = l.e.now()
	}
	l.nextDue = earliest(l.nextDue, due)
	if l.loading {
		l.noted = earliest(l.noted, due)
	}
	l.settle()
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// open reports whether the webhook takes attempts at all; mu is held.
func (l *lane) open() bool {
	return !l.stopped && l.route != nil && l.retireAt.IsZero() && l.goneAt.IsZero() &&
		l.route.webhook.Status == sidehook.WebhookEnabled
}

func (l *lane) isDue(now time.Time) bool { return !l.nextDue.IsZero() && !l.nextDue.After(now) }

func (l *lane) ringCap() int {
	if l.proven {
		return max(healthyRing, l.limit*ringPerSlot)
	}
	return l.limit * ringPerSlot
}

// settle makes what can run run and arms the timer for what has to wait; mu is held.
func (l *lane) settle() {
	if l.stopped {
		return
	}
	now := l.e.now()
	switch {
	case now.Before(l.pausedUntil):
		l.arm(now, l.pausedUntil)
	case l.open():
		if !l.awaitsRate(now) {
			l.spawn(now)
		}
		if !l.nextDue.IsZero() && l.nextDue.After(now) {
			l.arm(now, l.nextDue)
		}
	case !l.retireAt.IsZero() && now.Before(l.retireAt):
		l.arm(now, l.retireAt)
		l.clear(l.held() > 0)
	case !l.retireAt.IsZero():
		l.clear(l.held() > 0 || !l.nextDue.IsZero())
	default: // disabled, gone or not configured (yet): wait in the store
		l.clear(l.held() > 0)
	}
}

// spawn starts as many workers as there is work for and the limits allow; mu is held.
func (l *lane) spawn(now time.Time) {
	want := l.ring.len() - l.starting
	if l.isDue(now) && l.mayLoad() {
		want++
	}
	for want = min(want, l.limit-l.active); want > 0; want-- {
		if l.active > 0 && !l.e.acquireSlot() {
			return
		}
		if !l.e.goRun(l.work) {
			if l.active > 0 {
				l.e.releaseSlot()
			}
			return
		}
		l.active++
		l.starting++
	}
}

// arm makes sure that settle is called at t; mu is held.
func (l *lane) arm(now, t time.Time) {
	if !l.timerAt.IsZero() && !t.Before(l.timerAt) && l.timerAt.After(now) {
		return // fires before, and arms again then
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.timerAt = t
	l.timer = time.AfterFunc(t.Sub(now), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.timerAt.Equal(t) {
			l.timerAt = time.Time{}
		}
		l.settle()
	})
}

// work is a worker: it delivers until there is nothing to do for it.
func (l *lane) work() {
	for first := true; ; first = false {
		j, r := l.next(first)
		if j == nil {
			return
		}
		l.e.deliver(l, r, j)
	}
}

// next gives a worker its next delivery, claiming from the durable queue when the ring runs low; nil ends the worker.
func (l *lane) next(first bool) (*job, *route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first {
		l.starting--
	}
	for {
		now := l.e.now()
		if !l.open() || now.Before(l.pausedUntil) || l.active > l.limit || l.awaitsRate(now) {
			break
		}
		if l.runsLow() && l.isDue(now) && l.mayLoad() {
			l.load(now, min(claimSize, l.ringCap()-l.ring.len()))
			continue
		}
		j := l.ring.popFront()
		if j == nil {
			break
		}
		if l.takeTurn(j) {
			l.rate.take(l.rateLimit(l.route), now)
			l.askAhead()
			return j, l.route
		}
	}
	l.leave()
	return nil, nil
}

// runsLow reports whether deliveries that are due should be claimed now; mu is held. While any are due new events go to
// the durable queue as well, which costs far more than memory, so a working endpoint's lane makes good use of its ring
// to get to the queue's end: a steady load that is somewhat more than the low water would keep it there for ever.
func (l *lane) runsLow() bool {
	n := l.ring.len()
	if n < min(lowWater, l.ringCap()/2) { // less would be a claim for each attempt
		return true
	}
	return l.order == nil && l.proven && n+l.reserved+claimSize <= l.ringCap() &&
		l.e.inMemory.Load()+claimSize <= int64(l.e.opts.MaxInMemory)
}

// mayLoad reports whether deliveries may be claimed; mu is held.
func (l *lane) mayLoad() bool { return !l.loading && l.moving == 0 }

// leave ends a worker; mu is held.
func (l *lane) leave() {
	if l.active > 1 {
		l.e.releaseSlot()
	}
	l.active--
	l.settle()
}

// load claims due deliveries from the store; mu is held on entry and return and released meanwhile.
func (l *lane) load(now time.Time, limit int) {
	l.loading, l.noted = true, time.Time{}
	l.loads++
	var claimed []storage.Claimed
	var next time.Time
	var err error
	for l.order != nil && !l.order.read && err == nil {
		err = l.readPutBacks()
	}
	if err == nil {
		l.mu.Unlock()
		claimed, next, err = l.e.store.Claim(l.e.work, l.key, now, max(1, limit))
		l.mu.Lock()
	}
	l.loading = false
	if err != nil {
		if l.e.work.Err() == nil {
			l.e.log.Error("queued deliveries could not be read; trying again", "webhook", l.key, "err", err)
		}
		l.pause(l.e.now(), "the queue could not be read: "+err.Error())
		return
	}
	l.nextDue = earliest(next, l.noted)
	l.e.inMemory.Add(int64(len(claimed)))
	l.putAway(l.take(claimed))
	l.settle()
}

// pause makes the lane wait, longer each time in a row; mu is held.
func (l *lane) pause(now time.Time, reason string) {
	if now.Before(l.pausedUntil) {
		return // another worker found the same trouble
	}
	wait := min(minPause<<min(l.pauses, 10), maxPause)
	l.pauses++
	l.pausedUntil, l.pauseReason = now.Add(wait), reason
	l.healthChanges()
	l.settle()
}

const (
	minPause = 50 * time.Millisecond
	maxPause = 5 * time.Second
)

// putBack returns a delivery that could not be attempted to the head of the ring and pauses the lane.
func (l *lane) putBack(j *job, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring.pushFront(j)
	if k := l.keyedOf(j); k != nil {
		k.inRing++ // it is still its turn
	}
	l.pause(l.e.now(), reason)
}

// finished tells the lane how an attempt went, after its result was submitted, and puts back what was behind it.
func (l *lane) finished(j *job, a *sidehook.Attempt, outcome verdict, behind []storage.Unclaimed) {
	l.e.inMemory.Add(-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.healthChanges() // of a test event too: it may end a pause, which is told
	l.health.count(j, a)
	l.pauses, l.pauseReason = 0, ""
	l.lastStatus, l.lastError = a.Status, a.Error
	var spill []*job
	switch outcome {
	case healthy, wasteful:
		l.trouble, l.proven, l.pausedUntil = 0, true, time.Time{}
		most := l.e.opts.PerWebhook
		if l.wasteful = outcome == wasteful; l.wasteful {
			most = min(most, initialLimit)
		}
		l.limit = min(l.limit+1, most)
	case troubled:
		l.trouble++
		l.proven = false
		l.limit = max(1, l.limit/2)
		l.breakCircuit()
		spill = l.takeBack()
	case gone:
		if l.route != nil && l.goneAt.IsZero() {
			l.goneAt = l.e.now()
		}
	}
	l.settle()
	// Only now, for these wait for a commit: attempts count in the order in which they end, and failures that waited for
	// one together would be so many in a row.
	l.putBehind(behind)
	if len(spill) > 0 {
		l.recall(spill)
	}
}

// breakCircuit makes a lane whose attempts fail in a row wait before it tries again with one (half open); mu is held.
// Deliveries wait meanwhile and none of their attempts is used up.
func (l *lane) breakCircuit() {
	if l.trouble < breakAfter {
		return
	}
	wait := min(minBreak<<min(l.trouble-breakAfter, 16), maxBreak)
	l.pausedUntil = l.e.now().Add(wait)
	l.pauseReason = "circuit open: " + strconv.Itoa(l.trouble) + " attempts in a row failed; " + l.lastError
}

const (
	breakAfter = 5
	minBreak   = 100 * time.Millisecond
	maxBreak   = 10 * time.Second
)

// setRoute gives the lane the webhook as now configured.
func (l *lane) setRoute(r *route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.route != nil && !reflect.DeepEqual(l.route.webhook.Webhook, r.webhook.Webhook) {
		l.goneAt = time.Time{}
	}
	l.route, l.retireAt = r, time.Time{}
	l.setOrder(r.webhook.Ordering == sidehook.OrderingKey)
	if l.pauseReason != "" {
		l.healthChanges()
	}
	l.pausedUntil, l.pauseReason, l.pauses = time.Time{}, "", 0
	l.settle()
}

// retire says that the webhook was removed. What it has is dropped after a grace, so that a removal by mistake can be
// taken back.
func (l *lane) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.route = nil
	if l.retireAt.IsZero() {
		l.retireAt = l.e.now().Add(removalGrace)
	}
	l.settle()
}

// stop ends the lane: workers finish the delivery in their hands, the rest stays in the store.
func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// clear starts moving the ring of a lane that may not deliver out of memory; mu is held.
func (l *lane) clear(needed bool) {
	if needed && !l.clearing && l.e.goRun(l.spillOrDrop) {
		l.clearing = true
	}
}

// spillOrDrop puts what is in memory back into the durable queue, or, for a webhook whose removal is final, drops both.
func (l *lane) spillOrDrop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.clearing = false }()
	for !l.stopped && !l.open() {
		now := l.e.now()
		drop := !l.retireAt.IsZero() && !now.Before(l.retireAt)
		if drop {
			l.setOrder(false)
		}
		jobs := l.takeAll()
		var dropped []*job
		kept := slices.DeleteFunc(jobs, func(j *job) bool {
			if drop || j.missed {
				dropped = append(dropped, j)
			}
			return drop || j.missed
		})
		if len(kept) > 0 {
			l.recall(kept) // first: until mu is released nothing is loaded that they come before
		}
		if len(dropped) > 0 {
			l.mu.Unlock()
			l.dropJobs(dropped)
			l.mu.Lock()
		}
		if len(dropped)+len(kept) > 0 {
			continue
		}
		if !drop || l.nextDue.IsZero() {
			return
		}
		l.load(endOfTime, claimSize) // becomes the ring, dropped in the next round
		if now.Before(l.pausedUntil) {
			return // the store is in trouble; the timer comes back here
		}
	}
}

// endOfTime is later than any due time.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// recall puts what was taken from memory back into the durable queue, due as it was, and returns when it is there; mu is
// held, and released meanwhile.
func (l *lane) recall(jobs []*job) {
	back := make([]storage.Unclaimed, len(jobs))
	for i, j := range jobs {
		l.e.forget(j)
		back[i] = storage.Unclaimed{ID: j.id, Webhook: l.key}
	}
	now := l.e.now()
	l.nextDue = earliest(l.nextDue, now)
	if l.loading {
		l.noted = earliest(l.noted, now)
	}
	l.putAway(back)
}

// toQueue puts deliveries back into the durable queue and returns when they are there.
func (l *lane) toQueue(back []storage.Unclaimed) {
	err := l.e.store.Unclaim(context.WithoutCancel(l.e.work), back)
	l.e.inMemory.Add(-int64(len(back)))
	if err != nil {
		l.e.log.Error("deliveries could not be put back; they come back at the next start", "webhook", l.key,
			"deliveries", len(back), "err", err)
	}
}

func (l *lane) dropJobs(jobs []*job) {
	results := make([]storage.Result, len(jobs))
	for i, j := range jobs {
		l.e.forget(j)
		results[i] = storage.Result{ID: j.id, Webhook: l.key, State: sidehook.Dropped}
	}
	l.e.record(l, results...)
	l.e.inMemory.Add(-int64(len(jobs)))
	l.e.counters.dropped.Add(int64(len(jobs)))
	l.e.opts.OnCount()
}

// acquireSlot takes one of the engine's shared requests in flight.
func (e *Engine) acquireSlot() bool {
	if e.inFlight.Add(1) > int64(e.opts.MaxInFlight) {
		e.inFlight.Add(-1)
		return false
	}
	return true
}

func (e *Engine) releaseSlot() { e.inFlight.Add(-1) }

func (e *Engine) now() time.Time { return e.clock.Now() }
