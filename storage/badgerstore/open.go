package badgerstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidehook/sidehook"
)

// format is the version of the layout of the database.
const format = 1

// Open opens the queue in the folder dir, which it makes (for the owner alone) if need be. Deliveries that were claimed
// or taken when the store was last open are queued again. The error is a *sidehook.FullError when the disk has too
// little room, and says so when another process has the folder open.
func Open(dir string, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if err := opts.checkDisk(dir); err != nil {
		return nil, err
	}
	db, err := badger.OpenManaged(opts.badgerOptions(dir))
	if err != nil {
		return nil, fmt.Errorf("open the queue in %s (is another process using it?): %w", dir, err)
	}
	s := &Store{
		opts: opts, dir: dir, db: db, log: opts.Logger,
		in: newIntake(), stop: make(chan struct{}),
		queues: make(map[sidehook.WebhookKey]*queue), batches: make(map[uint64]*batch),
		dedupe: newDedupe(opts.DedupeWindow, opts.DedupeEvents),
	}
	s.group.most = txnCost{bytes: int(db.MaxBatchSize()) - 96<<10, entries: int(db.MaxBatchCount()) - 256}
	if err := s.restore(); err != nil {
		return nil, errors.Join(fmt.Errorf("read the queue in %s: %w", dir, err), db.Close())
	}
	s.show()
	s.committer.Add(1)
	go s.commitLoop()
	s.keeper.Add(1)
	go s.keep()
	return s, nil
}

// restore reads what memory holds from the database.
func (s *Store) restore() error {
	if err := s.readMeta(); err != nil {
		return err
	}
	s.committed.Store(s.marks.seq)
	s.oldestFrom.Store(s.marks.lowOldest)
	if err := s.readIDs(); err != nil {
		return fmt.Errorf("event ids: %w", err)
	}
	if err := s.requeueTaken(); err != nil {
		return fmt.Errorf("deliveries that were under way: %w", err)
	}
	if err := s.findHeads(); err != nil {
		return fmt.Errorf("queues: %w", err)
	}
	return nil
}

func (s *Store) readMeta() error {
	known := true
	err := s.latest(func(txn *badger.Txn) error {
		val, err := value(txn, keyFormat)
		if errors.Is(err, badger.ErrKeyNotFound) {
			known = false
			return nil
		}
		if err != nil {
			return err
		}
		if len(val) != 1 || val[0] != format {
			return fmt.Errorf("its format %x is not one that this version knows (%d)", val, format)
		}
		origin, err := value(txn, keyOrigin)
		if err != nil || len(origin) != 4 {
			return fmt.Errorf("its origin: %w", errors.Join(errCorrupt, err))
		}
		s.origin = binary.BigEndian.Uint32(origin)
		m, err := value(txn, keyMarks)
		if err != nil {
			return fmt.Errorf("its marks: %w", err)
		}
		s.marks, err = decodeMarks(m)
		return err
	})
	if err != nil || known {
		return err
	}
	return s.initialise()
}

// initialise writes the first commit of a new database.
func (s *Store) initialise() error {
	var origin [4]byte
	_, _ = rand.Read(origin[:]) // documented never to fail
	s.origin = binary.BigEndian.Uint32(origin[:])
	return s.writeNow([]op{{key: keyFormat, val: []byte{format}}, {key: keyOrigin, val: origin[:]}})
}

// writeNow commits ops before the committer runs.
func (s *Store) writeNow(ops []op) error {
	g := &group{s: s, seq: s.marks.seq + 1, moveOps: ops}
	return s.write(g, false)
}

// readIDs fills the dedupe set.
func (s *Store) readIDs() error {
	if !s.dedupe.enabled() {
		return nil
	}
	now := nanos(s.opts.Now())
	err := s.view(func(txn *badger.Txn) error {
		from := seqKey(spaceIDs, s.marks.lowIDs)
		return scan(txn, []byte{spaceIDs}, from, func(key, val []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return false, err
			}
			at, ids, err := decodeIDs(val)
			if err != nil {
				return false, err
			}
			s.dedupe.add(seq, at, ids)
			s.idsUpTo = max(s.idsUpTo, s.dedupe.forget(now))
			return true, nil
		})
	})
	return err
}

// requeueTaken queues the deliveries that were taken and not recorded.
func (s *Store) requeueTaken() error {
	var open []*batch
	err := s.view(func(txn *badger.Txn) error {
		from := seqKey(spaceBatch, s.marks.lowOpen)
		return scan(txn, []byte{spaceBatch}, from, func(key, val []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return false, err
			}
			b, err := decodeBatch(seq, val)
			if err != nil {
				return false, err
			}
			if b.taken > 0 {
				open = append(open, b)
			}
			return true, nil
		})
	})
	if err != nil {
		return err
	}
	for _, b := range open {
		if err := s.requeueBatch(b); err != nil {
			return fmt.Errorf("batch %d: %w", b.seq, err)
		}
	}
	s.marks.lowOpen = s.marks.seq + 1
	return nil
}

// requeueBatch moves the taken deliveries of one batch into runs, in as many commits as it takes.
func (s *Store) requeueBatch(b *batch) error {
	runs, err := s.takenByWebhook(b)
	if err != nil {
		return err
	}
	g := &s.group
	g.begin(s)
	for webhook, members := range runs {
		if len(g.moveOps) > 0 && !g.roomFor(4*len(members)+b.encoded+1024) {
			if err := s.writeRequeued(b); err != nil {
				return err
			}
		}
		ref := runRef{webhook, runID{b.accepted, b.seq}}
		e := g.editRun(b, ref)
		e.joining = members
		for _, i := range members {
			b.move(i, placeRun)
		}
		g.closeRun(ref, e)
		clear(g.edits)
	}
	return s.writeRequeued(b)
}

func (s *Store) writeRequeued(b *batch) error {
	g := &s.group
	if b.unfinished == 0 && b.finishedAt == 0 {
		g.finishLost(b)
	}
	g.put(seqKey(spaceBatch, b.seq), b.encode(nil))
	if err := s.write(g, false); err != nil {
		return err
	}
	g.begin(s)
	return nil
}

// finishLost finishes a batch all of whose deliveries were dropped on opening.
func (g *group) finishLost(b *batch) {
	b.finishedAt = g.seq
	val := g.history.encode(nil, []uint64{b.seq})
	g.put(seqKey(spaceHistory, g.seq), val)
	g.s.marks.queueSize -= b.bytes
	g.s.marks.histSize += b.bytes + int64(9+len(val))
}

// takenByWebhook groups the taken deliveries of a batch. Those whose event cannot be found are dropped.
func (s *Store) takenByWebhook(b *batch) (map[sidehook.WebhookKey][]uint32, error) {
	runs := make(map[sidehook.WebhookKey][]uint32)
	lost := 0
	err := s.view(func(txn *badger.Txn) error {
		l := eventLoader{s: s, txn: txn, seq: b.seq, blocks: b.blocks}
		for i, at := range b.places {
			if at != placeTaken {
				continue
			}
			index := uint32(i)
			cb, err := l.block(deliveryRef{b.seq, index})
			n := -1
			if err == nil {
				n = cb.block.find(index)
			}
			if n < 0 {
				s.log.Error("a delivery that was under way cannot be read and is dropped",
					"batch", b.seq, "index", index, "error", err)
				b.move(index, placeDropped)
				lost++
				continue
			}
			key := cb.block.entries[n].hook(index)
			runs[key] = append(runs[key], index)
		}
		return nil
	})
	s.marks.pending -= int64(lost)
	return runs, err
}

// findHeads finds the first delivery of every queue, jumping from queue to queue.
func (s *Store) findHeads() error {
	return s.view(func(txn *badger.Txn) error {
		from := []byte{spaceQueue}
		for {
			var key sidehook.WebhookKey
			found := false
			err := scan(txn, []byte{spaceQueue}, from, func(k, _ []byte) (bool, error) {
				var err error
				key, _, _, err = parseQueueKey(k)
				if err != nil {
					s.log.Error("passed a queue entry that cannot be read", "error", err)
					return true, nil
				}
				found = true
				return false, nil
			})
			if err != nil || !found {
				return err
			}
			q := s.makeQueue(key)
			s.findHead(txn, q)
			from = q.prefix[:len(q.prefix)-1]
			from = append(append([]byte(nil), from...), 1) // after every key of this queue
		}
	})
}

func (s *Store) findHead(txn *badger.Txn, q *queue) {
	w := s.newWalk(txn, q, pos{due: minDue})
	defer w.close()
	if c, ok := w.next(); ok {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.insertLocked(c.pos)
	}
}
