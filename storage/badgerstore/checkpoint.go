package badgerstore

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
)

// checkpointRoom is the free disk space below which no checkpoint is made, in bytes: Badger writes through memory maps,
// and a disk that is really full kills the process. The log goes on meanwhile, for as long as memory holds what is not
// in Badger.
const checkpointRoom = 24 << 20

// checkpoints brings overlays into Badger, one at a time. The committer freezes an overlay and goes on with a new one;
// it waits only when that is full, too, before the frozen one is done.
type checkpoints struct {
	s    *Store
	wake chan struct{} // has room for one
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond
	stopped bool
}

func newCheckpoints(s *Store) *checkpoints {
	c := &checkpoints{s: s, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	c.changed.L = &c.mu
	c.done.Add(1)
	go c.loop()
	return c
}

func (c *checkpoints) loop() {
	defer c.done.Done()
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
			c.flushFrozen()
		}
	}
}

// flushFrozen writes the frozen overlay until that succeeds or the store closes.
func (c *checkpoints) flushFrozen() {
	o := c.s.tiers.Load().frozen
	if o == nil {
		return
	}
	for wait := firstRetryWait; ; wait = min(2*wait, lastRetryWait) {
		err := c.s.flush(o)
		if err == nil {
			c.finish(o)
			return
		}
		c.s.log.Error("a checkpoint failed; trying again", "error", err)
		select {
		case <-c.s.stop:
			c.giveUp()
			return
		case <-time.After(wait):
		}
	}
}

// finish drops an overlay that Badger has.
func (c *checkpoints) finish(o *overlay) {
	c.mu.Lock()
	t := c.s.tiers.Load()
	c.s.tiers.Store(&tiers{active: t.active, flushed: o.marks.seq})
	c.changed.Broadcast()
	c.mu.Unlock()
	c.s.replayFrom.Store(o.end.seg)
	c.s.giveSegmentsBack()
}

// giveSegmentsBack gives up the segments that nobody needs any more, and chooses the next to rewrite.
func (s *Store) giveSegmentsBack() {
	if s.segs.isHeld() {
		return
	}
	before := s.replayFrom.Load()
	s.segs.release(before, s.readers.oldest(s.committed.Load()))
	s.pickVictim(before)
	if s.victim.Load() != 0 {
		s.in.wantTidy()
	}
}

// end stops the loop, and makes those who wait for it give up.
func (c *checkpoints) end() {
	close(c.stop)
	c.giveUp()
	c.done.Wait()
}

func (c *checkpoints) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.changed.Broadcast()
}

// errStopped: the store closes, and there is no room in memory for another commit.
var errStopped = errors.New("the store closes before its last checkpoint is written")

// freeze makes the active overlay the frozen one, once the one before is done. need is what the next commit takes.
func (c *checkpoints) freeze(need int64) error {
	s := c.s
	c.mu.Lock()
	defer c.mu.Unlock()
	for s.tiers.Load().frozen != nil {
		if c.stopped {
			return errStopped
		}
		c.changed.Wait()
	}
	t := s.tiers.Load()
	o := t.active
	o.marks, o.end, o.rows = s.durable, s.segs.end(), s.segs.table()
	next := newOverlay(o.marks.seq, o.end, need)
	next.whole = s.replaying
	s.tiers.Store(&tiers{active: next, frozen: o, flushed: t.flushed})
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return nil
}

// awaitFrozen waits until what is frozen is in Badger.
func (c *checkpoints) awaitFrozen() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.s.tiers.Load().frozen != nil {
		if c.stopped {
			return errStopped
		}
		c.changed.Wait()
	}
	return nil
}

// makeRoom freezes the active overlay if a commit that needs so much does not fit.
func (s *Store) makeRoom(need int64) error {
	if s.tiers.Load().active.fits(need) {
		return nil
	}
	return s.checkpoints.freeze(need)
}

// checkpointIfDue freezes the active overlay when it is worth writing, or asked for.
func (s *Store) checkpointIfDue() {
	t := s.tiers.Load()
	o := t.active
	if o.empty() || t.frozen != nil {
		return
	}
	end := s.segs.end()
	behind := int64(end.seg-o.from.seg)*s.segs.size + end.off - o.from.off
	if o.list.MemSize() < s.opts.overlayFull && behind < s.opts.overlayLog && !s.wantCheckpoint.Swap(false) {
		return
	}
	if err := s.checkpoints.freeze(0); err != nil {
		s.log.Error("no checkpoint is made", "error", err)
	}
}

// flush writes an overlay to Badger: first the entries, then, in a transaction of their own, the marks and where the
// log goes on. A crash in between leaves entries that replay writes again.
func (s *Store) flush(o *overlay) error {
	if err := s.opts.checkRoom(s.dir, min(checkpointRoom, s.opts.MinFreeBytes/2)); err != nil {
		return err
	}
	seq := o.marks.seq
	wb := s.db.NewWriteBatchAt(seq)
	defer wb.Cancel()
	garbage := int64(0)
	err := o.each(func(key, val []byte, deleted bool) error {
		if !deleted {
			garbage += int64(len(key)+len(val)) / 2 // most of it is written again or deleted some day
			return wb.Set(key, val)
		}
		if o.neverStored(key) {
			return nil
		}
		garbage += int64(len(key)) + 40
		return wb.Delete(key)
	})
	if err == nil {
		err = wb.Flush()
	}
	if err != nil {
		return fmt.Errorf("write entries: %w", err)
	}
	txn := s.db.NewTransactionAt(math.MaxUint64, true)
	defer txn.Discard()
	err = errors.Join(txn.Set(keyMarks, o.marks.encode(nil)), txn.Set(keyLog, encodeLog(o.end, o.rows)))
	if err == nil {
		err = txn.CommitAt(seq, nil)
	}
	if err != nil {
		return fmt.Errorf("write marks: %w", err)
	}
	s.db.SetDiscardTs(s.readers.oldest(seq))
	s.garbage.Add(garbage)
	return nil
}

// lastCheckpoint writes everything to Badger, so that the next start has nothing to replay. Only when nothing else
// runs.
func (s *Store) lastCheckpoint() error {
	t := s.tiers.Load()
	t.active.marks, t.active.end, t.active.rows = s.durable, s.segs.end(), s.segs.table()
	for _, o := range [...]*overlay{t.frozen, t.active} {
		if o == nil || o.empty() {
			continue
		}
		var full *sidehook.FullError
		if err := s.flush(o); errors.As(err, &full) {
			s.log.Warn("no last checkpoint; the next start replays the log", "reason", full.What)
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}
