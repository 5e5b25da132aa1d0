package badgerstore

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Record submits results.
func (s *Store) Record(ctx context.Context, results []storage.Result) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(results) == 1 { // nearly always, and then without a slice that outlives the call
		one := [1]move{{kind: moveRecord, result: results[0]}}
		return s.in.move(ctx, one[:])
	}
	moves := make([]move, len(results))
	for i := range results {
		moves[i] = move{kind: moveRecord, result: results[i]}
	}
	return s.in.move(ctx, moves)
}

// Unclaim puts deliveries back. Claimed ones that keep their due time only have to be forgotten; the others are
// written.
func (s *Store) Unclaim(ctx context.Context, back []storage.Unclaimed) error {
	if err := s.use(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	w := &waiter{done: make(chan struct{})}
	var moves []move
	for _, u := range back {
		if u.DueAt.IsZero() {
			if q := s.findQueue(u.Webhook); q != nil && u.ID.Origin == s.origin && q.unclaim(refOf(u.ID)) {
				continue
			}
		}
		moves = append(moves, move{
			kind: moveUnclaim, waiter: w,
			result: storage.Result{ID: u.ID, Webhook: u.Webhook, DueAt: u.DueAt},
		})
	}
	return s.moveAndWait(ctx, w, moves)
}

func (s *Store) moveAndWait(ctx context.Context, w *waiter, moves []move) error {
	if len(moves) == 0 {
		return nil
	}
	w.left = len(moves)
	if err := s.in.move(ctx, moves); err != nil {
		return err
	}
	if err := wait(ctx, w.done); err != nil {
		return err
	}
	return w.err
}

// applyMoves applies moves in order as long as they fit the transaction, and returns how many.
func (g *group) applyMoves(moves []move) int {
	for i := range moves {
		m := &moves[i]
		if need := g.costOf(m); i > 0 || len(g.subs) > 0 {
			need.add(g.cost)
			need.bytes += g.history.size()
			if need.exceeds(g.most) {
				return i
			}
		}
		g.apply(m)
	}
	return len(moves)
}

// costOf is at least what a move takes in the transaction.
func (g *group) costOf(m *move) txnCost {
	r := &m.result
	c := txnCost{bytes: 600 + 4*(len(r.Webhook.App)+len(r.Webhook.ID)), entries: 7}
	if b := g.touched[r.ID.Batch]; b == nil {
		c.bytes += g.s.encodedSize(r.ID.Batch)
	}
	if a := r.Attempt; a != nil {
		c.bytes += len(a.URL) + len(a.Error) + min(len(a.Response), sidehook.MaxRecordedResponse)
		for _, h := range a.RequestHeaders {
			c.bytes += len(h.Key) + len(h.Value) + 6
		}
	}
	if r.Save != nil {
		c.bytes += savedSize(r.Save)
	}
	return c
}

// encodedSize is how large a batch in memory was when it was written; one that is not is taken for a small one.
func (s *Store) encodedSize(seq uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.batches[seq]; b != nil {
		return b.encoded + 64
	}
	return 1024
}

func savedSize(r *storage.SavedRequest) int {
	n := len(r.Body) + len(r.ContentType) + 64
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 6
	}
	return n
}

func (g *group) apply(m *move) {
	r := &m.result
	if r.ID.Origin != g.s.origin {
		return
	}
	b := g.load(r.ID.Batch)
	if b == nil || !b.has(r.ID.Index) {
		return
	}
	if m.kind == moveRequeue {
		g.requeue(b, m)
		return
	}
	h, ok := g.inHand(b, r)
	if !ok {
		return
	}
	switch m.kind {
	case moveUnclaim:
		g.putBack(b, r, h)
	default:
		g.record(b, r, h)
	}
}

// load gives a batch from memory or disk, nil when there is none. One that this commit has removed is still on disk.
func (g *group) load(seq uint64) *batch {
	s := g.s
	if g.gone[seq] {
		return nil
	}
	s.mu.Lock()
	b := s.batches[seq]
	s.mu.Unlock()
	if b != nil {
		return b
	}
	err := s.latest(func(mo *moment) (err error) {
		b, err = readBatch(mo, seq)
		return err
	})
	if err != nil {
		if !errors.Is(err, sidehook.ErrNotFound) {
			s.log.Error("a batch cannot be read", "batch", seq, "error", err)
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches[seq] = b
	return b
}

// hand is how a caller has a delivery.
type hand struct {
	queue  *queue // nil when it was taken
	pos    pos
	single single
	run    *run
}

// inHand finds how a caller has a delivery, and marks its claim so that nothing else is done with it. It is false for
// deliveries that nobody has.
func (g *group) inHand(b *batch, r *storage.Result) (hand, bool) {
	switch at := b.places[r.ID.Index]; {
	case at == placeTaken:
		return hand{}, true
	case at.final():
		return hand{}, false
	}
	q := g.s.findQueue(r.Webhook)
	if q == nil {
		return hand{}, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.claimed[refOf(r.ID)]
	if c == nil || c.recorded {
		return hand{}, false
	}
	c.recorded = true
	return hand{queue: q, pos: c.pos, single: c.single, run: c.run}, true
}

// leave takes a delivery off its queue's entries on its way to another place.
func (g *group) leave(b *batch, r *storage.Result, h hand, to place) {
	if h.queue == nil {
		return
	}
	g.after = append(g.after, afterMove{queue: h.queue, ref: refOf(r.ID), settle: true})
	if h.run == nil {
		g.del(singleKey(r.Webhook, h.pos))
		if to != placeSingle {
			g.del(indexKey(spaceSingle, r.ID.Batch, r.ID.Index))
		}
		return
	}
	h.queue.mu.Lock()
	h.run.left--
	count := h.run.left <= 0
	h.queue.mu.Unlock()
	if count {
		g.editRun(b, runRef{r.Webhook, h.run.id})
	}
}

// editRun begins to change a run.
func (g *group) editRun(b *batch, ref runRef) *runEdit {
	if e := g.edits[ref]; e != nil {
		return e
	}
	e := &runEdit{batch: b, queue: g.s.makeQueue(ref.webhook)}
	key := runKey(ref.webhook, ref.id.due, ref.id.seq)
	err := g.s.latest(func(mo *moment) error {
		val, err := value(mo, key)
		if err != nil {
			return err
		}
		e.exists = true
		g.charge(len(key)+len(val), 1)
		e.members, err = decodeRun(val)
		return err
	})
	if err != nil && !errors.Is(err, errNoKey) {
		g.s.log.Error("a run cannot be read and is written anew", "webhook", ref.webhook, "error", err)
	}
	g.edits[ref] = e
	return e
}

// moveTo changes a delivery's place, and what is counted by it.
func (g *group) moveTo(b *batch, webhook sidehook.WebhookKey, index uint32, to place) {
	s := g.s
	from := b.places[index]
	before := b.unfinished
	s.mu.Lock()
	b.move(index, to)
	s.mu.Unlock()
	g.touch(b)
	if from.final() == to.final() {
		return
	}
	step := int64(b.unfinished - before)
	s.marks.pending += step
	if webhook == storage.HoldQueue {
		s.marks.held += step
	}
	switch {
	case b.unfinished == 0:
		b.finishedAt = g.seq
		g.finished = append(g.finished, b.seq)
		s.marks.queueSize -= b.bytes
		s.marks.histSize += b.bytes
	case before == 0:
		b.finishedAt = 0
		s.marks.queueSize += b.bytes
		s.marks.histSize -= b.bytes
		g.again = min(g.again, b.seq)
	case b.thinnedAt > 0 && 2*b.unfinished <= b.thinnedAt:
		g.thin = append(g.thin, b.seq)
	}
}

// touch has a batch written with this commit.
func (g *group) touch(b *batch) {
	if g.touched[b.seq] == nil {
		g.touched[b.seq] = b
		g.charge(9+b.encoded, 1)
	}
	g.charge(4, 0)
}

// record applies a result.
func (g *group) record(b *batch, r *storage.Result, h hand) {
	left := h.single
	if a := r.Attempt; a != nil {
		left.attempts++
		if left.firstAt == 0 {
			left.firstAt = nanos(a.At)
		}
	}
	to := placeSingle
	if r.State.Final() {
		to = placeOf(r.State)
	}
	g.leave(b, r, h, to)
	if to == placeSingle {
		if r.Save != nil && left.saved == (savedID{}) {
			left.saved = g.save(b, r)
		}
		g.putSingle(r, left)
	}
	g.moveTo(b, r.Webhook, r.ID.Index, to)
	if r.Webhook != storage.HoldQueue && (r.Attempt != nil || to.final()) {
		g.history.add(&result{
			id: r.ID, place: to, attempts: left.attempts, firstAt: left.firstAt, saved: left.saved, attempt: r.Attempt,
		})
	}
}

// putSingle queues a delivery by itself.
func (g *group) putSingle(r *storage.Result, left single) {
	at := pos{g.now, r.ID.Batch, r.ID.Index}
	if !r.DueAt.IsZero() {
		at.due = nanos(r.DueAt)
	}
	g.put(singleKey(r.Webhook, at), left.encode(nil))
	due := appendQueueTail(nil, at, kindSingle)[:8]
	g.put(indexKey(spaceSingle, r.ID.Batch, r.ID.Index), due)
	g.arrive(r, at)
}

func (g *group) arrive(r *storage.Result, at pos) {
	g.after = append(g.after, afterMove{queue: g.s.makeQueue(r.Webhook), ref: refOf(r.ID), insert: true, at: at})
}

// maxSaved bounds a saved request as stored, in bytes, so that it fits a transaction.
const maxSaved = 900 << 10

// save keeps a request, unless the batch has the same one.
func (g *group) save(b *batch, r *storage.Result) savedID {
	val := encodeSaved(r.Save)
	if len(val) > maxSaved {
		g.s.log.Warn("a request is too large to keep; its retries are made anew", "delivery", r.ID, "bytes", len(val))
		return savedID{}
	}
	sum := sha256.Sum256(val)
	id := savedID(sum[:16])
	key := savedKey(b.seq, id)
	if g.savedNow[string(key)] || g.s.exists(key) {
		return id
	}
	g.savedNow[string(key)] = true
	size := int64(len(key)) + g.putBlob(key, nil, val)
	b.saved++
	b.bytes += size
	g.s.marks.queueSize += size
	return id
}

func (s *Store) exists(key []byte) bool {
	return s.latest(func(mo *moment) error {
		_, err := mo.get(key)
		return err
	}) == nil
}

// putBack applies an Unclaimed that has to be written.
func (g *group) putBack(b *batch, r *storage.Result, h hand) {
	switch {
	case !r.DueAt.IsZero():
		g.leave(b, r, h, placeSingle)
		g.putSingle(r, h.single)
		g.moveTo(b, r.Webhook, r.ID.Index, placeSingle)
	case h.queue == nil:
		ref := runRef{r.Webhook, runID{b.accepted, b.seq}}
		e := g.editRun(b, ref)
		e.joining = append(e.joining, r.ID.Index)
		g.charge(hookCost, 0)
		g.arrive(r, pos{b.accepted, b.seq, r.ID.Index})
		g.moveTo(b, r.Webhook, r.ID.Index, placeRun)
	default: // claimed meanwhile
		g.after = append(g.after,
			afterMove{queue: h.queue, ref: refOf(r.ID), settle: true, insert: true, at: h.pos})
	}
}

// requeue applies an operator's retry of a finished delivery.
func (g *group) requeue(b *batch, m *move) {
	r := &m.result
	if !b.places[r.ID.Index].final() {
		return
	}
	left := single{attempts: m.again.attempts, firstAt: m.again.firstAt, saved: m.again.saved}
	if left.saved != (savedID{}) && !g.s.exists(savedKey(b.seq, left.saved)) {
		left.saved = savedID{}
	}
	g.putSingle(r, left)
	g.moveTo(b, r.Webhook, r.ID.Index, placeSingle)
	m.waiter.moved++
}
