package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sidehook/sidehook"
)

// mending says what has to be done to the entries before the queue is used.
type mending byte

const (
	mendNothing mending = iota
	mendDamage          // records were damaged: what they said is lost, what others say of it is not
	mendRebuild         // the database was lost: entries are what the records of the surviving segments say
)

// Rebuilt tells what Open made of a queue whose database was lost. It is the zero value when that was not so.
type Rebuilt struct {
	// Segments and Records that were read.
	Segments, Records int
	// Pending deliveries that were found, those that had been on their way included.
	Pending int64
	// Requeued is how many of them have lost their place in the queue, and their attempts: they are due at once.
	Requeued int64
	// Unknown is how many deliveries were found without their event: most of them had ended, and their event was given
	// up; if a segment was lost, too, they are lost.
	Unknown int64
}

// Rebuilt tells whether, and of what, Open has rebuilt the queue.
func (s *Store) Rebuilt() (r Rebuilt, ok bool) { return s.rebuilt, s.mending == mendRebuild }

func readMending(m *moment) (mending, error) {
	val, err := value(m, keyMending)
	switch {
	case errors.Is(err, errNoKey):
		return mendNothing, nil
	case err != nil:
		return mendNothing, fmt.Errorf("what is to be mended: %w", err)
	case len(val) != 1:
		return mendNothing, fmt.Errorf("what is to be mended: %w", errCorrupt)
	}
	return mending(val[0]), nil
}

// noteMending has this start, and each until one has come through, mend the entries.
func (s *Store) noteMending(what mending) error {
	if s.mending >= what {
		return nil
	}
	s.mending = what
	return s.setMending([]byte{byte(what)})
}

// setMending writes what is to be mended, nil for nothing, past the log: it is about the database.
func (s *Store) setMending(val []byte) error {
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	var err error
	if val == nil {
		err = txn.Delete(keyMending)
	} else {
		err = txn.Set(keyMending, val)
	}
	if err == nil {
		err = txn.CommitAt(max(s.marks.seq, 1), nil)
	}
	if err != nil {
		return fmt.Errorf("note what is to be mended: %w", err)
	}
	return nil
}

// mendEntries makes the entries agree with each other after some of the records that made them were lost, and counts
// anew what is counted.
//
// Why what the surviving records say is enough: an event that a pending delivery needs is in a segment that was not
// given up, and the record that wrote it there, first or when it was moved, says where it is in d/. So the last
// surviving value of d/ has all blocks that are needed; and says "pending" of every delivery that is, for a delivery
// only leaves that state in a later record, and for good, but for one that is queued again: that alone may be lost, with a
// segment that was given up. What can be missing is where a delivery waits: its entry in the
// queue may have been in another record. It is made anew. What can be too much: entries whose deletion is lost.
//
// It can be done any number of times, and is not over before a checkpoint has what it did.
func (s *Store) mendEntries() error {
	if s.mending == mendNothing {
		s.rebuilt = Rebuilt{}
		return nil
	}
	// Entries from before these places may be there again.
	m := &s.marks
	m.lowOpen, m.lowHist, m.lowIDs, m.lowThin, m.lowOldest = 0, 0, 0, 0, 0
	s.oldest.set(0)
	c := reconciler{s: s, g: &s.group}
	c.g.begin(s)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"history", c.history},
		{"batches", c.batches},
		{"strays", c.strays},
		{"queues", c.queues},
		{"counts", s.recount},
		{"checkpoint", s.checkpointMended},
		{"end", func() error { return s.setMending(nil) }},
	} {
		err := step.do()
		if err == nil && s.opts.mendFault != nil {
			err = s.opts.mendFault(step.name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	s.strays = nil
	s.rebuilt.Pending, s.rebuilt.Requeued, s.rebuilt.Unknown = s.marks.pending, c.requeued, c.unknown
	args := []any{"pending", s.marks.pending, "due_at_once", c.requeued, "without_event", c.unknown, "unreadable", c.lost}
	if s.mending == mendRebuild {
		s.log.Error("the queue was rebuilt from its segments: what was recorded in segments that had been given up is not "+
			"known, so that some deliveries may be repeated, under the same webhook-id, and the order of some may not hold",
			append(args, "segments", s.rebuilt.Segments, "records", s.rebuilt.Records, "damaged", s.Damaged())...)
		return nil
	}
	s.rebuilt = Rebuilt{}
	s.log.Warn("the queue was mended after damage to its log; some deliveries may be repeated, under the same webhook-id, "+
		"and the order of some may not hold", append(args, "damaged", s.Damaged())...)
	return nil
}

// checkpointMended writes the checkpoint from which on nothing of the mending is needed.
func (s *Store) checkpointMended() error {
	s.durable = s.marks
	if err := s.checkpoints.freeze(0); err != nil {
		return err
	}
	return s.checkpoints.awaitFrozen()
}

// reconciler goes through the entries, one kind after the other, and writes what has to change in commits of its own.
type reconciler struct {
	s *Store
	g *group
	m *moment

	finished []uint64          // batches that this commit finds finished
	cache    map[uint64]*batch // nil for one that is not there
	cached   int               // bytes

	requeued, unknown, lost int64
}

// pass reads one moment and then writes what is left to write, so that the next pass sees it.
func (c *reconciler) pass(visits ...func() error) error {
	err := c.s.view(func(m *moment) error {
		c.m = m
		for _, visit := range visits {
			if err := visit(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.write()
}

func (c *reconciler) write() error {
	g := c.g
	if len(c.finished) > 0 {
		g.putHistory(seqKey(spaceHistory, g.seq), c.finished)
		c.finished = nil
	}
	if err := c.s.write(g, false); err != nil {
		return err
	}
	g.begin(c.s)
	return nil
}

func (c *reconciler) writeIfFull() error {
	if c.g.hasRoom(64 + len(c.finished)) {
		return nil
	}
	return c.write()
}

func (c *reconciler) remove(key []byte) error {
	c.g.del(slices.Clone(key))
	return c.writeIfFull()
}

// history removes results that are in segments that are gone.
func (c *reconciler) history() error {
	prefix := []byte{spaceHistory}
	return c.pass(func() error {
		return scan(c.m, prefix, prefix, func(key, val []byte) (bool, error) {
			h, err := decodeHistoryEntry(val)
			if err == nil && (h.ref.seg == 0 || c.s.segs.has(h.ref.seg)) {
				return true, nil
			}
			return true, c.remove(key)
		})
	})
}

// batches puts every batch right, with the places of its pending deliveries.
func (c *reconciler) batches() error {
	prefix := []byte{spaceBatch}
	return c.pass(func() error {
		return scan(c.m, prefix, prefix, func(key, val []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return true, c.remove(key)
			}
			b, err := decodeBatch(seq, val)
			if err != nil {
				c.s.segs.damaged.Add(1)
				c.s.log.Error("a batch cannot be read; its deliveries are lost", "batch", seq, "error", err)
				return true, c.remove(key)
			}
			if err := c.batch(b); err != nil {
				return false, err
			}
			return true, c.writeIfFull()
		})
	})
}

func (c *reconciler) batch(b *batch) error {
	was := *b
	was.blocks = slices.Clone(b.blocks)
	c.findStrays(b)
	if err := c.countSaved(b); err != nil {
		return err
	}
	if b.unfinished > 0 {
		if err := c.pending(b); err != nil {
			return err
		}
	}
	b.blocks = slices.DeleteFunc(b.blocks, func(at blockAt) bool { return !c.s.segs.has(at.ref.seg) })
	for _, at := range b.blocks {
		b.bytes += at.ref.stored()
	}
	switch {
	case len(b.blocks) == 0, was.unfinished == 0 && !c.inHistory(b):
		return c.remove(seqKey(spaceBatch, b.seq)) // with its saved requests, in the last pass
	case b.unfinished == 0 && was.unfinished > 0:
		b.finishedAt = c.g.seq
		c.finished = append(c.finished, b.seq)
	case b.unfinished == was.unfinished && slices.Equal(b.blocks, was.blocks) && b.bytes == was.bytes && b.saved == was.saved:
		return nil
	}
	c.g.charge(9+b.encodedAbout(), 1)
	c.g.putTouched(b)
	return nil
}

// findStrays puts strays where blocks are gone.
func (c *reconciler) findStrays(b *batch) {
	for i := range c.s.strays {
		t := &c.s.strays[i]
		first := uint32(0)
		for j := range b.blocks {
			at := &b.blocks[j]
			if t.isOf(b, first, at.last) {
				t.found = true
				if !c.s.segs.has(at.ref.seg) {
					at.ref = t.ref
				}
			}
			first = at.last + 1
		}
	}
}

// strays makes batches of those whose own are not there. Where only the log is damaged such a batch has ended.
func (c *reconciler) strays() error {
	for i := range c.s.strays {
		t := &c.s.strays[i]
		entries := t.block.entries
		if t.found || c.s.mending != mendRebuild || entries[len(entries)-1].end() > maxPlaces {
			continue
		}
		for j := i + 1; j < len(c.s.strays); j++ {
			u := &c.s.strays[j]
			u.found = u.found || u.block.accepted == t.block.accepted && u.block.entries[0].first == entries[0].first
		}
		b := &batch{seq: c.g.seq, accepted: t.block.accepted, bytes: t.ref.stored()}
		runs := make(map[runRef][]uint32)
		for k := range entries {
			e := &entries[k]
			for uint32(len(b.places)) < e.first {
				b.places = append(b.places, placeDropped) // it was in another block
			}
			for index := e.first; index < e.end(); index++ {
				b.places = append(b.places, placeRun)
				b.count(placeRun, 1)
				ref := runRef{e.hook(index), runID{e.runDue(index, b.accepted), b.seq}}
				runs[ref] = append(runs[ref], index)
			}
		}
		for ref, members := range runs {
			c.g.put(runKey(ref.webhook, ref.id.due, ref.id.seq), appendRun(nil, members))
		}
		b.blocks = []blockAt{{uint32(len(b.places)) - 1, t.ref}}
		c.requeued += int64(b.unfinished)
		c.g.charge(9+b.encodedAbout(), 1)
		c.g.putTouched(b)
		if err := c.write(); err != nil {
			return err
		}
	}
	return nil
}

// countSaved counts the saved requests of a batch. One that is gone is made anew.
func (c *reconciler) countSaved(b *batch) error {
	b.saved, b.bytes = 0, 0
	prefix := seqKey(spaceSaved, b.seq)
	return scan(c.m, prefix, prefix, func(key, val []byte) (bool, error) {
		ref, err := decodeRef(val)
		if err != nil || !c.s.segs.has(ref.seg) {
			c.g.del(slices.Clone(key))
			return true, nil
		}
		b.saved++
		b.bytes += int64(len(key)) + ref.stored()
		return true, nil
	})
}

// inHistory reports whether the entry that a finished batch leaves with is there.
func (c *reconciler) inHistory(b *batch) bool {
	val, err := value(c.m, seqKey(spaceHistory, b.finishedAt))
	if err != nil {
		return false
	}
	h, err := decodeHistoryEntry(val)
	return err == nil && slices.Contains(h.finished, b.seq)
}

// pending sees to it that every pending delivery of a batch is where it can be claimed, or dropped if its event cannot
// be read.
func (c *reconciler) pending(b *batch) error {
	runs := make(map[runRef]*runMembers)
	next := uint32(0)
	for _, at := range b.blocks {
		from, to := next, at.last+1
		next = to
		if !b.anyPending(from, to) {
			continue
		}
		var bl *block
		gone := !c.s.segs.has(at.ref.seg)
		if !gone {
			cb, err := c.s.cache.get(c.s.segs, b.seq, at)
			if err != nil {
				c.s.log.Error("events cannot be read; their deliveries are dropped", "batch", b.seq, "error", err)
			} else {
				bl = cb.block
			}
		}
		if err := c.pendingIn(b, bl, gone, from, to, runs); err != nil {
			return err
		}
	}
	c.dropAll(b, true, next, uint32(len(b.places)))
	for ref, r := range runs {
		if len(r.missing) > 0 {
			c.requeued += int64(len(r.missing))
			c.g.put(runKey(ref.webhook, ref.id.due, ref.id.seq), appendRun(nil, mergeRun(r.listed, r.missing)))
		}
	}
	return nil
}

// runMembers are those that a run lists, and those that it ought to.
type runMembers struct{ listed, missing []uint32 }

func (b *batch) anyPending(from, to uint32) bool {
	for i := from; i < to && b.has(i); i++ {
		if !b.places[i].final() {
			return true
		}
	}
	return false
}

// dropAll drops the pending deliveries from one index up to another. gone: their events are not there at all.
func (c *reconciler) dropAll(b *batch, gone bool, from, to uint32) {
	for i := from; i < to && b.has(i); i++ {
		if !b.places[i].final() {
			c.drop(b, gone, i)
		}
	}
}

func (c *reconciler) drop(b *batch, gone bool, index uint32) {
	b.move(index, placeDropped)
	if gone {
		c.unknown++
	} else {
		c.lost++
	}
}

// pendingIn does it for the deliveries of one block.
func (c *reconciler) pendingIn(b *batch, bl *block, gone bool, from, to uint32, runs map[runRef]*runMembers) error {
	if bl == nil {
		c.dropAll(b, gone, from, to)
		return nil
	}
	for i := from; i < to && b.has(i); i++ {
		if b.places[i].final() {
			continue
		}
		n := bl.find(i)
		if n < 0 {
			c.drop(b, true, i)
			continue
		}
		e := &bl.entries[n]
		switch b.places[i] {
		case placeRun:
			ref := runRef{e.hook(i), runID{e.runDue(i, bl.accepted), b.seq}}
			r, err := c.run(runs, ref)
			if err != nil {
				return err
			}
			if _, ok := slices.BinarySearch(r.listed, i); !ok {
				r.missing = append(r.missing, i)
			}
		case placeSingle:
			if err := c.single(e.hook(i), deliveryRef{b.seq, i}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *reconciler) run(runs map[runRef]*runMembers, ref runRef) (*runMembers, error) {
	if r := runs[ref]; r != nil {
		return r, nil
	}
	r := &runMembers{}
	runs[ref] = r
	val, err := value(c.m, runKey(ref.webhook, ref.id.due, ref.id.seq))
	if errors.Is(err, errNoKey) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if r.listed, err = decodeRun(val); err != nil {
		r.listed = nil
	}
	return r, nil
}

// single sees to it that a delivery that is in its queue by itself really is.
func (c *reconciler) single(webhook sidehook.WebhookKey, ref deliveryRef) error {
	_, _, err := readSingle(c.m, webhook, ref)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errNoKey) && !errors.Is(err, errCorrupt) {
		return err
	}
	c.requeued++
	at := pos{c.g.now, ref.seq, ref.index}
	c.g.put(singleKey(webhook, at), single{}.encode(nil))
	c.g.put(indexKey(spaceSingle, ref.seq, ref.index), appendQueueTail(nil, at, kindSingle)[:8])
	return c.writeIfFull()
}

// queues removes what refers to deliveries that are not there, or elsewhere.
func (c *reconciler) queues() error {
	c.cache = make(map[uint64]*batch)
	defer func() { c.cache = nil }()
	return c.pass(
		c.each(spaceQueue, c.queueEntry),
		c.each(spaceSingle, func(key, _ []byte) bool {
			seq, err := seqOf(key)
			return err == nil && len(key) == 13 && c.isAt(seq, binary.BigEndian.Uint32(key[9:]), placeSingle)
		}),
		c.each(spaceSaved, func(key, _ []byte) bool {
			seq, err := seqOf(key)
			return err == nil && c.load(seq) != nil
		}),
	)
}

// each removes the entries that are not good.
func (c *reconciler) each(space byte, good func(key, val []byte) bool) func() error {
	return func() error {
		prefix := []byte{space}
		return scan(c.m, prefix, prefix, func(key, val []byte) (bool, error) {
			if good(key, val) {
				return true, nil
			}
			return true, c.remove(key)
		})
	}
}

func (c *reconciler) queueEntry(key, val []byte) bool {
	_, p, kind, err := parseQueueKey(key)
	if err != nil {
		return false
	}
	if kind == kindSingle {
		due, err := value(c.m, indexKey(spaceSingle, p.seq, p.index))
		_, bad := decodeSingle(val)
		return err == nil && bad == nil && string(due) == string(appendQueueTail(nil, p, kind)[:8]) &&
			c.isAt(p.seq, p.index, placeSingle)
	}
	members, err := decodeRun(val)
	return err == nil && slices.ContainsFunc(members, func(i uint32) bool { return c.isAt(p.seq, i, placeRun) })
}

func (c *reconciler) isAt(seq uint64, index uint32, at place) bool {
	b := c.load(seq)
	return b != nil && b.has(index) && b.places[index] == at
}

// load reads a batch, and remembers some.
func (c *reconciler) load(seq uint64) *batch {
	if b, ok := c.cache[seq]; ok {
		return b
	}
	b, err := readBatch(c.m, seq)
	if err != nil {
		b = nil
	} else {
		c.cached += b.memory()
	}
	if c.cached > maxBatchMemory {
		clear(c.cache)
		c.cached = 0
	}
	c.cache[seq] = b
	return b
}
