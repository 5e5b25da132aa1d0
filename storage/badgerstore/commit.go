package badgerstore

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dgraph-io/badger/v4"

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
// The appended batches and the moves go into one transaction, but fail apart: nothing refers to a batch before its
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
}

// write commits what the group holds as one transaction, at the group's sequence number.
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
	m.lowOldest = s.oldestFrom.Load()
	if withBatches {
		g.countBatch(&m)
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	if withBatches {
		if err := stage(txn, g.batchOps); err != nil {
			return err
		}
	}
	if err := stage(txn, g.moveOps); err != nil {
		return err
	}
	if err := txn.Set(keyMarks, m.encode(nil)); err != nil {
		return fmt.Errorf("stage marks: %w", err)
	}
	if err := txn.CommitAt(g.seq, nil); err != nil {
		return fmt.Errorf("commit %d: %w", g.seq, err)
	}
	s.marks = m
	s.committed.Store(g.seq)
	s.db.SetDiscardTs(s.readers.oldest(g.seq))
	s.garbage.Add(g.dropped)
	return nil
}

func stage(txn *badger.Txn, ops []op) error {
	for i := range ops {
		var err error
		if o := &ops[i]; o.del {
			err = txn.Delete(o.key)
		} else {
			err = txn.Set(o.key, o.val)
		}
		if err != nil {
			return fmt.Errorf("stage key %.40q: %w", ops[i].key, err)
		}
	}
	return nil
}

// Waits between tries to write moves.
const (
	firstRetryWait = 20 * time.Millisecond
	lastRetryWait  = 2 * time.Second
)

// writeMovesAgain writes the moves of a failed commit until it succeeds or the store closes, and takes back whatever
// of its batches may have come to the disk.
func (s *Store) writeMovesAgain(g *group) {
	for i := range g.batchOps {
		g.moveOps = append(g.moveOps, op{key: g.batchOps[i].key, del: true})
	}
	for wait := firstRetryWait; ; wait = min(2*wait, lastRetryWait) {
		// A new number, for entries of the failed one may be there.
		g.seq++
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
	if errors.Is(err, badger.ErrBlockedWrites) || errors.Is(err, badger.ErrDBClosed) {
		return storage.ErrClosed
	}
	return fmt.Errorf("events could not be stored: %w", err)
}
