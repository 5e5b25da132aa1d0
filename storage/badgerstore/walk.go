package badgerstore

import (
	"bytes"
	"fmt"
	"slices"
)

// candidate is a delivery met in a queue.
type candidate struct {
	pos    pos
	single single
	run    *walkedRun // nil for a single
}

// walkedRun is the run that a walk is in.
type walkedRun struct {
	id      runID
	members []uint32 // that have not left it, ascending
	next    int      // of members
}

// walk goes through the deliveries of a queue in order, from a place on. Singles of a run's commit and due time are
// merged in by their index. An entry that does not decode is logged and passed.
type walk struct {
	s      *Store
	m      *moment
	prefix []byte
	it     *iterator
	run    *walkedRun
}

func (s *Store) newWalk(m *moment, q *queue, from pos) *walk {
	w := &walk{s: s, m: m, prefix: q.prefix, it: m.iterate(q.prefix)}
	start := appendQueueTail(slices.Clone(q.prefix), pos{due: from.due, seq: from.seq}, kindRun)
	w.it.seek(start)
	if w.it.valid() && bytes.Equal(w.it.key(), start) {
		w.enterRun(pos{due: from.due, seq: from.seq})
		if w.run != nil {
			w.run.next, _ = slices.BinarySearch(w.run.members, from.index)
		}
	}
	if from.index > 0 {
		w.it.seek(appendQueueTail(slices.Clone(q.prefix), from, kindSingle))
	}
	return w
}

func (w *walk) close() { w.it.close() }

// next gives the next delivery; false at the end.
func (w *walk) next() (candidate, bool) {
	for {
		at, kind, ok := w.entry()
		if w.run != nil && w.run.next < len(w.run.members) {
			member := pos{w.run.id.due, w.run.id.seq, w.run.members[w.run.next]}
			if !ok || member.before(at) || kind == kindRun {
				w.run.next++
				return candidate{pos: member, run: w.run}, true
			}
		}
		if !ok {
			return candidate{}, false
		}
		if kind == kindRun {
			w.enterRun(at)
			continue
		}
		c := candidate{pos: at}
		val, err := w.it.value()
		if err == nil {
			c.single, err = decodeSingle(val)
		}
		if err != nil {
			w.passed(err)
		}
		w.it.next()
		if err == nil {
			return c, true
		}
	}
}

// entry is where the iterator stands.
func (w *walk) entry() (p pos, kind byte, ok bool) {
	for ; w.it.valid(); w.it.next() {
		if tail := w.it.key()[len(w.prefix):]; len(tail) == queueTail {
			p, kind = parseQueueTail(tail)
			return p, kind, true
		}
	}
	return pos{}, 0, false
}

// enterRun reads the run that the iterator stands at, and moves on.
func (w *walk) enterRun(at pos) {
	w.run = nil
	val, err := w.it.value()
	var members []uint32
	if err == nil {
		members, err = decodeRun(val)
	}
	if err == nil {
		members, err = w.s.inRun(w.m, at.seq, members)
	}
	if err != nil {
		w.passed(err)
	} else {
		w.run = &walkedRun{id: runID{at.due, at.seq}, members: members}
	}
	w.it.next()
}

func (w *walk) passed(err error) {
	w.s.log.Error("passed a queue entry that cannot be read", "key", fmt.Sprintf("%.80q", w.it.key()), "error", err)
}

// inRun keeps those members of a run that have not left it.
//
// The batch may be read from the moment that the walk sees although the committer has loaded and changed it since:
// what it changes is claimed or taken, and the walk passes that anyway.
func (s *Store) inRun(m *moment, seq uint64, members []uint32) ([]uint32, error) {
	in := func(b *batch) []uint32 {
		return slices.DeleteFunc(members, func(i uint32) bool { return !b.has(i) || b.places[i] != placeRun })
	}
	s.mu.Lock()
	if b := s.batches[seq]; b != nil {
		defer s.mu.Unlock()
		return in(b), nil
	}
	s.mu.Unlock()
	val, err := value(m, seqKey(spaceBatch, seq))
	if err != nil {
		return nil, err
	}
	b, err := decodeBatch(seq, val)
	if err != nil {
		return nil, err
	}
	return in(b), nil
}
