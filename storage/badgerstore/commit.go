package badgerstore

import (
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// commitLoop is the committer: it makes commits until the intake is closed and empty.
func (s *Store) commitLoop() {
	defer s.committer.Done()
	for s.in.await() {
		s.commitOnce()
	}
}

// commitOnce makes one group commit of what was submitted.
//
// The appended batches and the moves go into one record, but fail apart: nothing refers to a batch before its
// submitter knows its ids, so a failed batch is forgotten, whereas moves are already applied to what memory holds and
// are written again until they are durable.
func (s *Store) commitOnce() {
	g := &s.group
	g.begin(s)
	room := g.most
	room.bytes -= roomForMoves
	if s.movesFirst {
		room = txnCost{}
	}
	if !s.movesFirst {
		g.subs = s.in.takeBatches(room)
	}
	for _, sub := range g.subs {
		g.append(sub)
	}
	g.closeBatch()
	moves := s.in.takeMoves()
	n := g.applyMoves(moves)
	s.in.giveBack(moves[n:])
	s.movesFirst = n < len(moves)
	g.moves = moves[:n]
	g.tidy()
	g.closeMoves()

	err := s.write(g, true)
	if err != nil {
		s.log.Error("a commit failed", "error", err, "events", len(g.ids), "results", n)
	}
	g.settleBatches(err)
	if err != nil {
		s.writeMovesAgain(g)
	}
	g.settleMoves()
	g.announce(err)
	if n == len(moves) {
		g.moves = nil
		s.in.reuse(moves)
	}
	s.checkpointIfDue()
}

// write commits what the group holds as one record, at the group's sequence number.
func (s *Store) write(g *group, withBatches bool) error {
	ops := g.moveOps
	if withBatches {
		ops = g.batchOps
	}
	if len(ops) == 0 && len(g.moveOps) == 0 {
		return nil
	}
	if s.fault != nil {
		if err := s.fault(); err != nil {
			return err
		}
	}
	m := s.marks
	m.seq = g.seq
	m.commits++
	m.lowOldest, _ = s.oldest.at()
	m.lowOldest = min(m.lowOldest, g.again)
	if withBatches {
		g.countBatch(&m)
	} else {
		g.withdrawBatches()
	}
	deltas := g.seal(&m)
	if err := s.makeRoom(overlayNeed(g.batchOps) + overlayNeed(g.moveOps)); err != nil {
		return err
	}
	if err := s.segs.write(g.rec); err != nil {
		return fmt.Errorf("commit %d: %w", g.seq, err)
	}
	// From here on the commit is durable. What it changes is shown all at once, by committed.
	o := s.tiers.Load().active
	o.apply(g.seq, g.batchOps)
	o.apply(g.seq, g.moveOps)
	s.segs.wrote(len(g.rec))
	s.segs.account(deltas, g.seq)
	g.moveBlocks()
	s.marks, s.durable = m, m
	s.committed.Store(g.seq)
	if g.again != math.MaxUint64 {
		s.oldest.lower(g.again)
	}
	return nil
}

// seal completes the record: it fills the values that were left open, and appends the ops.
func (g *group) seal(m *marks) []liveDelta {
	fill(g.batchOps)
	fill(g.moveOps)
	deltas := make([]liveDelta, 0, 1+len(g.freed))
	if n := g.blobsEnd - recordHead; n > 0 {
		deltas = append(deltas, liveDelta{g.base.seg, int64(n)})
	}
	for seg, n := range g.freed {
		deltas = append(deltas, liveDelta{seg, -n})
	}
	g.rec = appendOps(g.rec[:g.blobsEnd], m, deltas, g.batchOps, g.moveOps)
	sealRecord(g.rec, g.s.segs.cur, g.seq, g.blobsEnd)
	return deltas
}

func fill(ops []op) {
	for i := range ops {
		switch o := &ops[i]; {
		case o.batch != nil:
			o.val = o.batch.encode(nil)
		case o.hasBlob:
			o.val = append(o.ref.encode(make([]byte, 0, 16+len(o.head))), o.head...)
		}
	}
}

// withdrawBatches takes the appended batches out of the record, whose commit failed. The blobs of the moves move up.
func (g *group) withdrawBatches() {
	g.batchOps = reuse(g.batchOps)
	gone := g.batchEnd - recordHead
	if gone == 0 {
		return
	}
	moved := func(ref *blobRef) {
		if ref.seg == g.base.seg && int64(ref.off) >= g.base.off+int64(g.batchEnd) {
			ref.off -= uint32(gone)
		}
	}
	for i := range g.moveOps {
		if o := &g.moveOps[i]; o.hasBlob {
			moved(&o.ref)
		}
	}
	for _, b := range g.touched {
		for i := range b.next {
			moved(&b.next[i].ref)
		}
	}
	copy(g.rec[recordHead:], g.rec[g.batchEnd:g.blobsEnd])
	g.blobsEnd -= gone
	g.batchEnd = recordHead
}

// moveBlocks makes memory agree with where the commit has put the blocks of batches.
func (g *group) moveBlocks() {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	for _, b := range g.touched {
		if b.changed {
			b.blocks, b.next, b.changed = b.next, nil, false
		}
	}
}

// Waits between tries to write moves.
const (
	firstRetryWait = 20 * time.Millisecond
	lastRetryWait  = 2 * time.Second
)

// writeMovesAgain writes the moves of a failed commit, without its batches, until it succeeds or the store closes.
func (s *Store) writeMovesAgain(g *group) {
	for wait := firstRetryWait; ; wait = min(2*wait, lastRetryWait) {
		err := s.write(g, false)
		if err == nil {
			return
		}
		s.log.Error("results cannot be written; trying again", "error", err, "results", len(g.moves))
		select {
		case <-s.stop:
			g.unwritten = fmt.Errorf("results were not written before the store closed: %w", err)
			s.unwritten = errors.Join(g.unwritten)
			return
		case <-time.After(wait):
		}
	}
}

// commitFailed makes the error of a batch whose commit failed.
func commitFailed(err error) error {
	if errors.Is(err, errStopped) {
		return storage.ErrClosed
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &sidehook.FullError{What: "disk has no room for the event", RetryAfter: 5 * time.Second}
	}
	return fmt.Errorf("events could not be stored: %w", err)
}
