package badgerstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/dgraph-io/badger/v4"

	"github.com/sidehook/sidehook"
)

// format is the version of the layout of the database.
const format = 2

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
	s.segs = newSegments(dir, &opts)
	s.group.most = mostPerCommit
	s.checkpoints = newCheckpoints(s)
	letGo := func() error {
		s.checkpoints.end()
		return errors.Join(db.Close(), s.segs.close())
	}
	restored := false
	defer func() {
		if !restored { // it panicked: who recovers needs the folder
			_ = letGo()
		}
	}()
	err = s.restore()
	restored = true
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the queue in %s: %w", dir, err), letGo())
	}
	s.show()
	s.committer.Add(1)
	go s.commitLoop()
	s.keeper.Add(1)
	go s.keep()
	return s, nil
}

// mostPerCommit bounds a commit. It has room for any batch that storage.CheckBatch lets in, but for those whose plan is
// much larger than their events.
var mostPerCommit = txnCost{bytes: 2 << 20, entries: 32 << 10}

// restore reads what memory holds from the database and the log.
func (s *Store) restore() error {
	files, slots, err := s.segs.openFiles()
	s.segs.adopt(files, slots)
	if err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	from, rows, err := s.readMeta()
	if err != nil {
		return err
	}
	s.segs.origin = s.origin
	s.segs.hold(true)
	if err := s.openLog(from, rows); err != nil {
		return fmt.Errorf("the log: %w", err)
	}
	if err := s.mendEntries(); err != nil {
		return fmt.Errorf("mend what is damaged: %w", err)
	}
	s.segs.hold(false)
	s.oldest.set(s.marks.lowOldest)
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

// readMeta reads what the last checkpoint said, or makes the first.
func (s *Store) readMeta() (from segPos, rows []segmentRow, err error) {
	known := true
	s.tiers.Store(&tiers{flushed: math.MaxUint64})
	err = s.latest(func(m *moment) error {
		val, err := value(m, keyFormat)
		if errors.Is(err, errNoKey) {
			known = false
			return nil
		}
		if err != nil {
			return err
		}
		if len(val) != 1 || val[0] != format {
			return fmt.Errorf("its format %x is not one that this version knows (%d); let the version that wrote it "+
				"deliver what is queued, then remove the folder", val, format)
		}
		origin, err := value(m, keyOrigin)
		if err != nil || len(origin) != 4 {
			return fmt.Errorf("its origin: %w", errors.Join(errCorrupt, err))
		}
		s.origin = binary.BigEndian.Uint32(origin)
		if val, err = value(m, keyMarks); err != nil {
			return fmt.Errorf("its marks: %w", err)
		}
		if s.marks, err = decodeMarks(val); err != nil {
			return err
		}
		if val, err = value(m, keyLog); err != nil {
			return fmt.Errorf("its list of segments: %w", err)
		}
		if from, rows, err = decodeLog(val); err != nil {
			return err
		}
		s.mending, err = readMending(m)
		return err
	})
	if err != nil || known {
		return from, rows, err
	}
	return s.initialise()
}

// openLog opens the segments and replays what came after the last checkpoint.
func (s *Store) openLog(from segPos, rows []segmentRow) error {
	ss := s.segs
	ss.restore(from, rows)
	// Badger may be ahead of a log that a power loss cut short, when commits are not synced. Asked before replay, which
	// has checkpoints written.
	highest := s.db.MaxVersion()
	s.durable = s.marks
	o := newOverlay(s.marks.seq, from, 0)
	o.whole = true
	s.replayFrom.Store(from.seg)
	s.replaying = true
	s.committed.Store(s.marks.seq)
	s.tiers.Store(&tiers{active: o, flushed: s.marks.seq})
	if err := s.replay(from); err != nil {
		return err
	}
	s.replaying = false
	ss.lengthen()
	s.marks.seq = max(s.marks.seq, highest)
	if s.mending == mendRebuild {
		s.marks.seq += rebuildGap
	}
	s.durable = s.marks
	s.committed.Store(s.marks.seq)
	ss.roll()
	if ss.cur == nil {
		return ss.failed
	}
	if from.seg == 0 && s.mending == mendNothing {
		return s.beginLog()
	}
	return nil
}

// rebuildGap is how many numbers of commits a rebuild leaves out: should the newest segment be lost as well, deliveries in it
// had ids that must not come again.
const rebuildGap = 1 << 20

// beginLog notes where the log begins, so that its loss would show.
func (s *Store) beginLog() error {
	if err := s.segs.cur.file.Sync(); err != nil {
		return err
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	from := segPos{s.segs.cur.id, segmentHead}
	if err := txn.Set(keyLog, encodeLog(from, nil)); err != nil {
		return err
	}
	s.tiers.Load().active.from = from
	s.replayFrom.Store(from.seg)
	return txn.CommitAt(s.marks.seq, nil)
}

// initialise writes the first checkpoint of a new database: an empty log, or, where there are segments, one that is to be
// replayed from its beginning.
func (s *Store) initialise() (segPos, []segmentRow, error) {
	var origin [4]byte
	if known := s.segs.knownOrigin(); known != 0 {
		binary.BigEndian.PutUint32(origin[:], known)
	} else {
		_, _ = rand.Read(origin[:]) // documented never to fail
	}
	s.origin = binary.BigEndian.Uint32(origin[:])
	s.marks.seq = 1
	from := segPos{}
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	err := errors.Join(
		txn.Set(keyFormat, []byte{format}), txn.Set(keyOrigin, origin[:]),
		txn.Set(keyMarks, s.marks.encode(nil)), txn.Set(keyLog, encodeLog(from, nil)),
	)
	if len(s.segs.byID) > 0 {
		s.mending = mendRebuild
		err = errors.Join(err, txn.Set(keyMending, []byte{byte(s.mending)}))
	}
	if err == nil {
		err = txn.CommitAt(s.marks.seq, nil)
	}
	if err != nil {
		return from, nil, fmt.Errorf("write the first checkpoint: %w", err)
	}
	return from, nil, nil
}

// readIDs fills the dedupe set.
func (s *Store) readIDs() error {
	if !s.dedupe.enabled() {
		return nil
	}
	now := nanos(s.opts.Now())
	err := s.view(func(m *moment) error {
		from := seqKey(spaceIDs, s.marks.lowIDs)
		return scan(m, []byte{spaceIDs}, from, func(key, val []byte) (bool, error) {
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
	err := s.view(func(m *moment) error {
		from := seqKey(spaceBatch, s.marks.lowOpen)
		return scan(m, []byte{spaceBatch}, from, func(key, val []byte) (bool, error) {
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
	g.putTouched(b)
	if err := s.write(g, false); err != nil {
		return err
	}
	g.begin(s)
	return nil
}

// finishLost finishes a batch all of whose deliveries were dropped on opening.
func (g *group) finishLost(b *batch) {
	b.finishedAt = g.seq
	size := g.putHistory(seqKey(spaceHistory, g.seq), []uint64{b.seq})
	g.s.marks.queueSize -= b.bytes
	g.s.marks.histSize += b.bytes + size
}

// takenByWebhook groups the taken deliveries of a batch. Those whose event cannot be found are dropped.
func (s *Store) takenByWebhook(b *batch) (map[sidehook.WebhookKey][]uint32, error) {
	runs := make(map[sidehook.WebhookKey][]uint32)
	lost := 0
	err := s.view(func(m *moment) error {
		l := eventLoader{s: s, m: m, seq: b.seq, blocks: b.blocks}
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
	return s.view(func(m *moment) error {
		from := []byte{spaceQueue}
		for {
			var key sidehook.WebhookKey
			found := false
			err := scan(m, []byte{spaceQueue}, from, func(k, _ []byte) (bool, error) {
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
			s.findHead(m, q)
			from = q.prefix[:len(q.prefix)-1]
			from = append(append([]byte(nil), from...), 1) // after every key of this queue
		}
	})
}

func (s *Store) findHead(m *moment, q *queue) {
	w := s.newWalk(m, q, pos{due: minDue})
	defer w.close()
	if c, ok := w.next(); ok {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.insertLocked(c.pos)
	}
}
