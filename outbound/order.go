package outbound

import (
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Sizes of what orders a lane.
const (
	// awayFor is how long a delivery stays in the durable queue, at least, that memory has no room for.
	awayFor = 100 * time.Millisecond
	// longestAway is how long one stays there, at most, each time that there is no room for its key.
	longestAway = time.Minute
)

// order makes a lane deliver the events of one ordering key one at a time, in the order in which they were accepted.
// The lane's mu guards it.
//
// The durable queue is in the order of due times, which is that of acceptance until something is put back: a failed
// delivery for its retry, and what follows it, so that it does not overtake. What is put back of a key is due at last, or
// was and is due before. Invariant, on which all else rests:
//
//	the deliveries of a key that wait in the queue, each taken to be due at last if that is later, are in the order of
//	acceptance, by due time and then id.
//
// Claim gives deliveries by due time and id. So whoever is claimed and due before last comes too early: it is moved to
// last, and with it, or back to where it was, goes everything of its key that is in the ring behind it. The one that was
// tried and waits for its retry is the first of all, whenever it is due. What remains is in order and takes turns. A turn
// ends when the result is durable, so that no crash brings back what somebody has overtaken; and while something is being
// put back, nothing is claimed.
//
// Manual retries of what has ended are put into the queue as if they had just come, and are not in this order.
type order struct {
	keys   map[uint64]*keyed
	most   int           // keys that the map has room for
	parked int           // jobs in all keyed.parked
	read   bool          // what was put back by an earlier run is known
	floor  int64         // the last of keys that are not in the map: until when those were put off that had no room
	away   time.Duration // how long what had no room in the map was put off last; 0 when something had room since
	sweep  int           // size of the map at which it is looked through next
	// service is about how long a turn takes.
	service time.Duration
}

// keyed is what is known of one ordering key. Times are Unix nanoseconds.
type keyed struct {
	// turn is the delivery whose turn it is: being attempted, attempted and not durable yet, or in the ring, before all
	// whose turn it is not.
	turn *job
	// parked deliveries are claimed and wait for their turn; none while it is nobody's.
	parked []*job
	inRing int // of its jobs, turn included
	// waiting is the delivery that was tried last and not done with: while it waits for its retry it goes first whenever
	// it is due.
	waiting sidehook.DeliveryID
	// last is the latest time at which something of it was put back: see order. It never falls.
	last int64
	// away is when the next that memory has no room for is to come back.
	away int64
	// movedIn is the load during which, or after which, something of it was put back last.
	movedIn uint64
}

func newOrder(most int) *order {
	o := &order{keys: make(map[uint64]*keyed), most: most}
	o.sweepNext()
	return o
}

// sweepNext says when the map is looked through again: when it is full, or much larger than it is now.
func (o *order) sweepNext() { o.sweep = min(o.most, max(1024, 2*len(o.keys))) }

var keySeed = maphash.MakeSeed()

// keyOf is a hash, never 0: keys that share one are delivered as one.
func keyOf(orderingKey string) uint64 { return max(1, maphash.String(keySeed, orderingKey)) }

// ordered makes a job take its turn, if its event has an ordering key; false: there is no room to remember the key.
func (o *order) ordered(j *job, c *storage.Claimed) bool {
	if c.Event.OrderingKey == "" {
		return true
	}
	key := keyOf(c.Event.OrderingKey)
	k := o.keys[key]
	if k == nil {
		if len(o.keys) >= o.most {
			return false
		}
		k = &keyed{last: o.floor}
		o.keys[key], o.away = k, 0
	}
	k.inRing++
	j.order, j.key = o, key
	j.due = c.DueAt.UnixNano()
	return true
}

// tooEarly reports whether a claimed job would overtake one that waits in the queue.
func (k *keyed) tooEarly(j *job) bool {
	return j.id != k.waiting && j.due < k.last
}

// putOff says when something of the key is to be due again that is to come back at a time: no earlier than the rest.
func (k *keyed) putOff(until int64) time.Time {
	k.last = max(k.last, until)
	return time.Unix(0, k.last)
}

// keyedOf is the state of a job's key, nil when the job is in no order.
func (l *lane) keyedOf(j *job) *keyed {
	if j.order == nil || j.order != l.order {
		return nil
	}
	return j.order.keys[j.key]
}

// takeTurn decides on a job that was taken from the ring: it is attempted now, or was parked or put back; mu is held,
// and released meanwhile.
func (l *lane) takeTurn(j *job) bool {
	k := l.keyedOf(j)
	if k == nil {
		return true
	}
	k.inRing--
	switch {
	case k.turn == j:
		j.began = l.e.now().UnixNano()
		return true
	case k.tooEarly(j):
		l.putAway(l.behind(k, j))
	case k.turn == nil:
		k.turn, j.began = j, l.e.now().UnixNano()
		return true
	case l.order.parked < l.ringCap():
		k.parked = append(k.parked, j)
		l.order.parked++
	default:
		l.putAway(l.spread(k, j))
	}
	return false
}

// spread moves a job that memory has no room for, and what is behind it in the ring, to about when there will be room, so
// that other keys do not wait for this one; mu is held.
func (l *lane) spread(k *keyed, j *job) []storage.Unclaimed {
	k.putOff(max(k.away, l.e.now().Add(awayFor).UnixNano()))
	back := l.behind(k, j)
	k.away = k.last + int64(len(back))*int64(l.order.service)
	return back
}

// behind takes what is behind a job of a key out of the ring and says where it goes, the job first; mu is held.
func (l *lane) behind(k *keyed, j *job) []storage.Unclaimed {
	jobs := append([]*job{j}, l.ring.extract(func(o *job) bool { return o.order == j.order && o.key == j.key })...)
	k.inRing -= len(jobs) - 1
	back := make([]storage.Unclaimed, len(jobs))
	for i, j := range jobs {
		back[i] = storage.Unclaimed{ID: j.id, Webhook: l.key}
		if k.tooEarly(j) {
			back[i].DueAt = time.Unix(0, k.last)
		}
		l.notePutBack(j, back[i].DueAt)
	}
	k.movedIn = l.loads
	return back
}

// notePutBack notes that a job is about to be due again at a time, or as it was; mu is held.
func (l *lane) notePutBack(j *job, due time.Time) {
	if due.IsZero() {
		due = time.Unix(0, j.due)
	}
	l.nextDue = earliest(l.nextDue, due)
	if l.loading {
		l.noted = earliest(l.noted, due)
	}
}

// putAway puts deliveries back into the durable queue; mu is held, and released meanwhile. Until it is done nothing is
// claimed.
func (l *lane) putAway(back []storage.Unclaimed) {
	if len(back) == 0 {
		return
	}
	l.moving++
	l.mu.Unlock()
	l.toQueue(back)
	l.mu.Lock()
	l.moving--
	l.settle()
}

// block says that the delivery whose turn it is will be tried again at a time. It returns those parked behind it, which
// putBehind is to be given. It must be called before the result is submitted. Those are not noted as due: the delivery
// itself is, when its result is durable, and it is due no later than they are.
func (l *lane) block(j *job, due time.Time) []storage.Unclaimed {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keyedOf(j)
	if k == nil {
		return nil
	}
	k.waiting = j.id
	to := k.putOff(due.UnixNano())
	back := make([]storage.Unclaimed, len(k.parked))
	for i, p := range k.parked {
		back[i] = storage.Unclaimed{ID: p.id, Webhook: l.key, DueAt: to}
	}
	l.order.parked -= len(k.parked)
	k.parked, k.movedIn = nil, l.loads
	if len(back) > 0 {
		l.moving++ // until putBehind
	}
	return back
}

// putBehind puts back what block returned; mu is held, and released meanwhile.
func (l *lane) putBehind(back []storage.Unclaimed) {
	if len(back) > 0 {
		l.moving--
		l.putAway(back)
	}
}

// endTurn gives the turn to the next delivery of the key; the result of the one before is durable.
func (l *lane) endTurn(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keyedOf(j)
	if k == nil || k.turn != j {
		return
	}
	k.turn = nil
	l.order.service += (time.Duration(l.e.now().UnixNano()-j.began) - l.order.service) / 8
	if len(k.parked) > 0 {
		k.turn, k.parked[0] = k.parked[0], nil
		if k.parked = k.parked[1:]; len(k.parked) == 0 {
			k.parked = nil
		}
		l.order.parked--
		l.ring.pushFront(k.turn)
		k.inRing++
	}
	l.settle()
}

// forgettable reports whether nothing of a key is in memory, and nothing in the queue stands where it was put back: that
// was claimed, once everything due until then has been; mu is held.
func (l *lane) forgettable(k *keyed) bool {
	return k.turn == nil && k.inRing == 0 &&
		(k.last == 0 || l.moving == 0 && (l.nextDue.IsZero() || l.nextDue.UnixNano() > k.last))
}

// forget lets go of keys, when there are many, but not of those of what was just claimed; mu is held.
func (l *lane) forget(claimed []storage.Claimed) {
	o := l.order
	if len(o.keys) < o.sweep {
		return
	}
	needed := make(map[uint64]bool, len(claimed))
	for i := range claimed {
		needed[keyOf(claimed[i].Event.OrderingKey)] = true
	}
	maps.DeleteFunc(o.keys, func(key uint64, k *keyed) bool { return !needed[key] && l.forgettable(k) })
	o.sweepNext()
}

// turnAway says until when deliveries are put off whose keys there is no room for: all until the same moment, and when there
// is room for none of them then either, for twice as long; mu is held.
func (l *lane) turnAway() time.Time {
	o, now := l.order, l.e.now()
	if o.floor <= now.UnixNano() {
		o.away = min(max(awayFor, 2*o.away), longestAway)
		o.floor = now.Add(o.away).UnixNano()
	}
	return time.Unix(0, o.floor)
}

// take puts claimed deliveries into the ring. It returns those that have to go back: those whose key there is no room
// for, and those of keys of which something was put back while they were being claimed; mu is held.
func (l *lane) take(claimed []storage.Claimed) (back []storage.Unclaimed) {
	if l.order != nil {
		l.forget(claimed)
	}
	var away time.Time
	for i := range claimed {
		c := &claimed[i]
		j := &job{id: c.ID, shared: &sharedEvent{event: c.Event}, attempts: c.Attempts, saved: c.Saved, test: isTest(c.Event)}
		if l.order == nil {
			l.ring.pushBack(j)
			continue
		}
		if !l.order.ordered(j, c) {
			if away.IsZero() {
				away = l.turnAway()
			}
			j.due = c.DueAt.UnixNano()
			back = append(back, storage.Unclaimed{ID: c.ID, Webhook: l.key, DueAt: away})
			l.notePutBack(j, away)
			continue
		}
		if k := l.keyedOf(j); k != nil && k.movedIn == l.loads {
			k.inRing--
			back = append(back, storage.Unclaimed{ID: c.ID, Webhook: l.key})
			l.notePutBack(j, time.Time{})
			continue
		}
		l.ring.pushBack(j)
	}
	return back
}

// readPutBacks finds out which keys are blocked since an earlier run: mu is held on entry and return and released
// meanwhile.
func (l *lane) readPutBacks() error {
	o := l.order
	l.mu.Unlock()
	keys, rest := make(map[uint64]*keyed), int64(0)
	var failed error
	for p, err := range l.e.store.PutBacks(l.e.work, l.key) {
		if err != nil {
			failed = err
			break
		}
		if p.OrderingKey == "" {
			continue
		}
		key, due := keyOf(p.OrderingKey), p.DueAt.UnixNano()
		k := keys[key]
		if k == nil {
			if len(keys) >= 2*o.most {
				rest = max(rest, dropEarliest(keys, o.most))
			}
			k = &keyed{}
			keys[key] = k
		}
		if p.Attempts > 0 && (k.waiting == (sidehook.DeliveryID{}) || p.ID.Before(k.waiting)) {
			k.waiting = p.ID // whose turn it was comes before what was put back because of it
		}
		k.putOff(due)
	}
	l.mu.Lock()
	if failed != nil || l.order != o {
		return failed
	}
	if len(keys) > o.most {
		rest = max(rest, dropEarliest(keys, o.most))
	}
	o.keys, o.floor, o.read = keys, rest, true
	o.sweepNext()
	return nil
}

// dropEarliest lets go of all but most keys, of those that wait longest not, and says until when the others wait: that is
// what all keys wait for that are not known.
func dropEarliest(keys map[uint64]*keyed, most int) int64 {
	lasts := make([]int64, 0, len(keys))
	for _, k := range keys {
		lasts = append(lasts, k.last)
	}
	slices.Sort(lasts)
	until := lasts[len(lasts)-most-1]
	maps.DeleteFunc(keys, func(_ uint64, k *keyed) bool { return k.last <= until })
	return until
}

// setOrder starts or ends keeping an order; mu is held.
func (l *lane) setOrder(ordered bool) {
	switch {
	case ordered && l.order == nil:
		l.order = newOrder(l.e.opts.MaxKeys)
	case !ordered && l.order != nil:
		for _, k := range l.order.keys {
			for _, j := range k.parked {
				l.ring.pushBack(j)
			}
		}
		l.order = nil
	}
}

// takeAll empties the memory of the lane, but for what is being attempted; mu is held.
func (l *lane) takeAll() []*job {
	jobs := l.ring.takeAll()
	if l.order == nil {
		return jobs
	}
	for _, j := range jobs {
		if k := l.keyedOf(j); k != nil {
			k.inRing--
			k.movedIn = l.loads
			if k.turn == j {
				k.turn = nil
			}
		}
	}
	for _, k := range l.order.keys {
		if len(k.parked) > 0 {
			jobs = append(jobs, k.parked...)
			k.parked = nil
			k.movedIn = l.loads
		}
	}
	l.order.parked = 0
	return jobs
}

// takeBack takes what is over the ring's room off its end, as far as that disturbs no order; mu is held. It is to be put
// back before anything more is loaded.
func (l *lane) takeBack() (jobs []*job) {
	if l.order != nil && l.loading {
		return nil // what is being claimed stands behind it
	}
	for l.ring.len() > l.ringCap() {
		j := l.ring.popBack()
		if k := l.keyedOf(j); k != nil {
			if k.turn == j {
				l.ring.pushBack(j)
				break
			}
			k.inRing--
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// held is how many deliveries are in the lane's memory and not being attempted; mu is held.
func (l *lane) held() int {
	if l.order == nil {
		return l.ring.len()
	}
	return l.ring.len() + l.order.parked
}

// extract takes the jobs out of the ring for which is holds, in order.
func (r *ring) extract(is func(*job) bool) (out []*job) {
	for range r.n {
		j := r.popFront()
		if is(j) {
			out = append(out, j)
		} else {
			r.pushBack(j)
		}
	}
	return slices.Clip(out)
}
