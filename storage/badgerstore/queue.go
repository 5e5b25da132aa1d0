package badgerstore

import (
	"sync"
	"time"

	"github.com/sidehook/sidehook"
)

// queue is what memory holds of one webhook's durable queue: a cursor, and what callers have claimed. It stays for the
// life of the process once its webhook had something queued.
//
// Invariant: cursor stands at the first delivery that is queued and not claimed; every queued delivery before it is
// claimed. When there is none, empty is set.
type queue struct {
	key    sidehook.WebhookKey
	prefix []byte

	mu      sync.Mutex
	cursor  pos
	empty   bool
	claimed map[deliveryRef]*claim
	runs    map[runID]*run // those with claimed members
}

// deliveryRef is a delivery's id within this store.
type deliveryRef struct {
	seq   uint64
	index uint32
}

func refOf(id sidehook.DeliveryID) deliveryRef { return deliveryRef{id.Batch, id.Index} }

// runID names a run within its queue.
type runID struct {
	due int64
	seq uint64
}

// runRef names a run.
type runRef struct {
	webhook sidehook.WebhookKey
	id      runID
}

// run is a run some of whose members are claimed.
type run struct {
	id      runID
	claimed int // members that are claimed
	// left is how many members had not left the run yet. It is never more than there really are, for members may
	// have joined since; when it comes to nothing the committer counts.
	left int
}

// claim is a delivery in the hands of a caller that took it with Claim.
type claim struct {
	pos    pos
	single single
	run    *run // nil for a single
	// recorded: its move is being committed, so that it can be neither put back nor recorded again.
	recorded bool
}

func (s *Store) findQueue(key sidehook.WebhookKey) *queue {
	s.queuesMu.RLock()
	defer s.queuesMu.RUnlock()
	return s.queues[key]
}

func (s *Store) makeQueue(key sidehook.WebhookKey) *queue {
	if q := s.findQueue(key); q != nil {
		return q
	}
	s.queuesMu.Lock()
	defer s.queuesMu.Unlock()
	q := s.queues[key]
	if q == nil {
		q = &queue{
			key: key, prefix: queuePrefix(key), empty: true,
			claimed: make(map[deliveryRef]*claim), runs: make(map[runID]*run),
		}
		s.queues[key] = q
	}
	return q
}

// next is when the first delivery is due, zero when there is none.
func (q *queue) next() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.nextLocked()
}

func (q *queue) nextLocked() time.Time {
	if q.empty {
		return time.Time{}
	}
	return timeOf(q.cursor.due)
}

// insertLocked keeps the invariant when a delivery comes to p.
func (q *queue) insertLocked(p pos) {
	if q.empty || p.before(q.cursor) {
		q.cursor, q.empty = p, false
	}
}

// settle ends a claim.
func (q *queue) settleLocked(ref deliveryRef) {
	c := q.claimed[ref]
	if c == nil {
		return
	}
	delete(q.claimed, ref)
	if c.run != nil {
		if c.run.claimed--; c.run.claimed == 0 {
			delete(q.runs, c.run.id)
		}
	}
}

// unclaim puts a claimed delivery back where it was; false when it is not claimed, or on its way elsewhere.
func (q *queue) unclaim(ref deliveryRef) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.claimed[ref]
	if c == nil || c.recorded {
		return false
	}
	q.settleLocked(ref)
	q.insertLocked(c.pos)
	return true
}

// isClaimed reports whether a caller has the delivery.
func (q *queue) isClaimed(ref deliveryRef) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.claimed[ref] != nil
}
