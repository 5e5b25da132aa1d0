package badgerstore

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// op is a change to one key. Its val is filled when the record is sealed, if it is a batch's or refers to a blob.
type op struct {
	key, val []byte
	del      bool

	batch   *batch // whose value it is
	hasBlob bool   // the value is ref, and head
	ref     blobRef
	head    []byte
}

// roomForMoves is kept free of appended batches in a transaction, in bytes.
const roomForMoves = 256 << 10

// group is what one commit is made of. There is one, reused; only the committer touches it.
type group struct {
	s    *Store
	most txnCost // that fits a commit
	seq  uint64
	now  int64
	cost txnCost
	base segPos // where its record goes

	// rec is the record: room for its head, the blobs of the appended batches up to batchEnd, those of the moves up to
	// blobsEnd, and the ops.
	rec                []byte
	batchEnd, blobsEnd int
	freed              map[uint32]int64 // bytes of blobs that nothing refers to any more, by segment
	trimmed            bool             // blobs were freed by trimming or thinning

	// Of the appended batches.
	subs     []*submission
	batchOps []op
	batch    *batch // nil when nothing was appended that has deliveries
	held     int64
	ids      []idHash
	fresh    hashSet // ids
	writer   blockWriter
	runs     map[runRef][]uint32

	// Of the moves.
	moves     []move
	moveOps   []op
	touched   map[uint64]*batch // batches to write again
	edits     map[runRef]*runEdit
	history   historyWriter
	finished  []uint64 // batches without unfinished deliveries
	thin      []uint64 // batches to thin
	savedNow  map[string]bool
	cleaned   map[string]bool // entries whose blob was copied
	gone      map[uint64]bool // batches that were removed
	again     uint64          // the first batch that was finished and is not any more
	after     []afterMove
	unwritten error
}

// afterMove is what a move means for a queue once it is durable.
type afterMove struct {
	queue  *queue
	ref    deliveryRef
	settle bool // a claim ends
	insert bool // a delivery comes to at
	at     pos
}

// runEdit is a run that moves have changed.
type runEdit struct {
	queue   *queue
	members []uint32 // as stored
	exists  bool
	joining []uint32
	batch   *batch
}

func (g *group) begin(s *Store) {
	g.s = s
	g.seq = s.marks.seq + 1
	g.now = nanos(s.opts.Now())
	s.idsUpTo = max(s.idsUpTo, s.dedupe.forget(g.now))
	g.cost = txnCost{bytes: 512, entries: 4} // marks, h/ and Badger's own
	g.subs, g.batch, g.held, g.ids = nil, nil, 0, g.ids[:0]
	g.batchOps = reuse(g.batchOps)
	g.moveOps = reuse(g.moveOps)
	g.after = reuse(g.after)
	g.fresh.reset()
	g.writer.reset()
	g.history.reset(g.now)
	g.moves, g.unwritten, g.trimmed, g.again = nil, nil, false, math.MaxUint64
	s.segs.roll()
	g.base = s.segs.end()
	g.rec = append(g.rec[:0], make([]byte, recordHead)...)
	g.batchEnd, g.blobsEnd = recordHead, recordHead
	g.finished = g.finished[:0]
	g.thin = g.thin[:0]
	if g.runs == nil {
		g.runs = make(map[runRef][]uint32)
		g.touched = make(map[uint64]*batch)
		g.edits = make(map[runRef]*runEdit)
		g.savedNow = make(map[string]bool)
		g.cleaned = make(map[string]bool)
		g.gone = make(map[uint64]bool)
		g.freed = make(map[uint32]int64)
	}
	clear(g.runs)
	clear(g.touched)
	clear(g.edits)
	clear(g.savedNow)
	clear(g.cleaned)
	clear(g.gone)
	clear(g.freed)
}

func reuse[T any](list []T) []T {
	clear(list)
	return list[:0]
}

func (g *group) charge(bytes, entries int) {
	g.cost.bytes += bytes + entries*entryOverhead
	g.cost.entries += entries
}

func (g *group) putBatch(key, val []byte) {
	g.charge(len(key)+len(val), 1)
	g.batchOps = append(g.batchOps, op{key: key, val: val})
}

func (g *group) put(key, val []byte) {
	g.charge(len(key)+len(val), 1)
	g.moveOps = append(g.moveOps, op{key: key, val: val})
}

func (g *group) del(key []byte) {
	g.charge(len(key), 1)
	g.moveOps = append(g.moveOps, op{key: key, del: true})
}

// append adds a batch: answers duplicates, gives ids, and writes events, plan and runs.
func (g *group) append(sub *submission) {
	for i := range sub.batch.Entries {
		e := &sub.batch.Entries[i]
		if g.s.dedupe.enabled() && !g.remember(e, sub.ids[i]) {
			e.Duplicate = true
			continue
		}
		if len(e.Deliveries) > 0 {
			g.addEvent(e, sub.record(i))
		}
	}
}

// remember notes an event's id; false when it was there. An id of this very group is answered as a duplicate, too:
// both are told when the group is durable, or that it failed.
func (g *group) remember(e *storage.Entry, h idHash) bool {
	if g.fresh.has(h) || g.s.dedupe.has(h) {
		return e.SkipDedupe
	}
	g.fresh.add(h)
	g.ids = append(g.ids, h)
	return true
}

func (g *group) addEvent(e *storage.Entry, record []byte) {
	if g.batch == nil {
		g.batch = &batch{seq: g.seq, accepted: g.now}
	}
	b := g.batch
	first := uint32(len(b.places))
	for i := range e.Deliveries {
		p := &e.Deliveries[i]
		index := first + uint32(i)
		p.ID = sidehook.DeliveryID{Origin: g.s.origin, Batch: g.seq, Index: index}
		at := placeTaken
		if p.Queued {
			at = placeRun
			id := runID{due: g.now, seq: g.seq}
			if !p.DueAt.IsZero() {
				id.due = nanos(p.DueAt)
			}
			ref := runRef{p.Webhook, id}
			g.runs[ref] = append(g.runs[ref], index)
		}
		if p.Webhook == storage.HoldQueue {
			g.held++
		}
		b.places = append(b.places, at)
		b.count(at, 1)
	}
	g.writer.add(first, e.Deliveries, record)
	if g.writer.full() {
		g.closeBlock()
	}
}

func (g *group) closeBlock() {
	if g.writer.count == 0 {
		return
	}
	b := g.batch
	last := g.writer.next - 1
	start := g.beginBlob()
	g.rec = g.writer.close(g.rec, b.accepted)
	ref := g.endBlob(start)
	b.blocks = append(b.blocks, blockAt{last, ref})
	b.bytes += ref.stored()
}

// beginBlob makes room for the sum of a blob, which is appended to rec then.
func (g *group) beginBlob() int {
	start := len(g.rec)
	g.rec = append(g.rec, make([]byte, blobHead)...)
	return start
}

func (g *group) endBlob(start int) blobRef {
	data := g.rec[start+blobHead:]
	binary.BigEndian.PutUint32(g.rec[start:], checksum(data))
	g.blobsEnd = len(g.rec)
	g.charge(blobHead+len(data), 0)
	return blobRef{g.base.seg, uint32(g.base.off) + uint32(start), uint32(len(data))}
}

// addBlob adds a blob of a move.
func (g *group) addBlob(data []byte) blobRef {
	start := g.beginBlob()
	g.rec = append(g.rec, data...)
	return g.endBlob(start)
}

// putBlob puts a value that is a reference to a new blob, and head. It returns what the blob takes.
func (g *group) putBlob(key, head, data []byte) int64 {
	ref := g.addBlob(data)
	g.charge(len(key)+16+len(head), 1)
	g.moveOps = append(g.moveOps, op{key: key, hasBlob: true, ref: ref, head: head})
	return ref.stored()
}

// free notes that nothing refers to a blob any more once the commit is durable.
func (g *group) free(ref blobRef) {
	if ref.seg != 0 {
		g.freed[ref.seg] += ref.stored()
	}
}

// closeBatch writes what belongs to the batch as a whole.
func (g *group) closeBatch() {
	if len(g.ids) > 0 {
		g.putBatch(seqKey(spaceIDs, g.seq), encodeIDs(nil, g.now, g.ids))
	}
	if g.batch == nil {
		return
	}
	g.closeBlock()
	for ref, members := range g.runs {
		g.putBatch(runKey(ref.webhook, ref.id.due, ref.id.seq), appendRun(nil, members))
	}
	g.batchEnd = len(g.rec)
	g.charge(9+g.batch.encodedAbout(), 1)
	g.batchOps = append(g.batchOps, op{key: seqKey(spaceBatch, g.seq), batch: g.batch})
}

// countBatch adds the appended batch to the marks.
func (g *group) countBatch(m *marks) {
	if g.batch == nil {
		return
	}
	m.pending += int64(g.batch.unfinished)
	m.held += g.held
	m.queueSize += g.batch.bytes
}

// settleBatches makes memory agree with how the appended batches fared.
func (g *group) settleBatches(err error) {
	s := g.s
	if err != nil {
		return
	}
	s.dedupe.add(g.seq, g.now, g.ids)
	if g.batch == nil {
		return
	}
	s.mu.Lock()
	s.batches[g.seq] = g.batch
	s.mu.Unlock()
	if g.batch.taken > 0 {
		s.open = append(s.open, g.seq)
	}
	for ref, members := range g.runs {
		q := s.makeQueue(ref.webhook)
		q.mu.Lock()
		q.arriveLocked(pos{ref.id.due, ref.id.seq, members[0]})
		q.mu.Unlock()
	}
}

// arriveLocked keeps the cursor right when a delivery has come to p. A claim may have been quicker.
func (q *queue) arriveLocked(p pos) {
	if q.claimed[deliveryRef{p.seq, p.index}] == nil {
		q.insertLocked(p)
	}
}

// settleMoves makes the queues agree with the moves that are durable.
func (g *group) settleMoves() {
	for i := range g.after {
		a := &g.after[i]
		a.queue.mu.Lock()
		if a.settle {
			a.queue.settleLocked(a.ref)
		}
		if a.insert {
			a.queue.arriveLocked(a.at)
		}
		a.queue.mu.Unlock()
	}
	g.s.show()
	g.s.forgetBatches()
}

// announce tells the submitters, batches first.
func (g *group) announce(err error) {
	bytes := int64(0)
	if err != nil {
		err = commitFailed(err)
	}
	for _, sub := range g.subs {
		bytes += sub.weight
		sub.release()
		sub.batch.Finish(err)
	}
	for i := range g.moves {
		m := &g.moves[i]
		if m.result.OnCommit != nil && g.unwritten == nil {
			m.result.OnCommit()
		}
		if w := m.waiter; w != nil {
			w.err = errors.Join(w.err, g.unwritten)
			if w.left--; w.left == 0 {
				close(w.done)
			}
		}
	}
	g.s.in.finished(len(g.subs), len(g.moves), bytes)
}

// maxBatchMemory bounds what finished and queued batches take in memory, in bytes. Those with taken deliveries stay.
const maxBatchMemory = 4 << 20

// forgetBatches drops batches from memory that can be read again.
func (s *Store) forgetBatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.open) > 0 {
		if b := s.batches[s.open[0]]; b != nil && b.taken > 0 {
			break
		}
		s.open = s.open[1:]
	}
	if s.marks.seq%64 != 0 { // counting them is not free
		return
	}
	sum := 0
	for _, b := range s.batches {
		sum += b.memory()
	}
	for seq, b := range s.batches {
		if sum <= maxBatchMemory {
			return
		}
		if b.taken == 0 {
			sum -= b.memory()
			delete(s.batches, seq)
		}
	}
}

// lowOpen is the first batch that may have taken deliveries.
func (s *Store) lowOpen(next uint64) uint64 {
	if len(s.open) > 0 {
		return s.open[0]
	}
	return next
}

// closeMoves writes what the moves changed as a whole: runs, batches, and the commit's part of the history.
func (g *group) closeMoves() {
	s := g.s
	for ref, e := range g.edits {
		g.closeRun(ref, e)
	}
	g.finished = slices.DeleteFunc(g.finished, func(seq uint64) bool {
		b := g.touched[seq]
		return b == nil || b.finishedAt != g.seq
	})
	slices.Sort(g.finished)
	g.finished = slices.Compact(g.finished)
	if g.history.count > 0 || len(g.finished) > 0 {
		s.marks.histSize += g.putHistory(seqKey(spaceHistory, g.seq), g.finished)
	}
	for _, b := range g.touched {
		g.putTouched(b)
	}
	next := g.seq + 1
	if g.batch != nil && g.batch.taken > 0 {
		next = g.seq
	}
	s.marks.lowOpen = s.lowOpen(next)
}

// putHistory writes what the commit recorded, and returns what that takes.
func (g *group) putHistory(key []byte, finished []uint64) int64 {
	val := g.history.encode(nil, finished)
	head := g.history.encodeHead(nil, finished)
	if g.history.count == 0 {
		val = blobRef{}.encode(nil)
		val = append(val, head...)
		g.put(key, val)
		return int64(len(key) + len(val))
	}
	return int64(len(key)+len(head)) + g.putBlob(key, head, val)
}

// putTouched writes a batch that changed.
func (g *group) putTouched(b *batch) {
	g.moveOps = append(g.moveOps, op{key: seqKey(spaceBatch, b.seq), batch: b})
}

// closeRun writes a run with those that joined it, or deletes it when nobody is left.
func (g *group) closeRun(ref runRef, e *runEdit) {
	left := slices.DeleteFunc(mergeRun(e.members, e.joining), func(i uint32) bool {
		return !e.batch.has(i) || e.batch.places[i] != placeRun
	})
	key := runKey(ref.webhook, ref.id.due, ref.id.seq)
	switch {
	case len(left) == 0 && e.exists:
		g.del(key)
	case len(e.joining) > 0 && len(left) > 0:
		g.put(key, appendRun(nil, left))
	}
	e.queue.mu.Lock()
	defer e.queue.mu.Unlock()
	if r := e.queue.runs[ref.id]; r != nil {
		r.left = len(left)
	}
}
