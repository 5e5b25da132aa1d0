package badgerstore

import (
	"slices"
)

// How much housekeeping one commit does at most, so that it never holds up what was submitted.
const (
	tidyHistory = 16 // h/ entries
	tidyIDs     = 32 // i/ entries
	tidyThin    = 8  // batches looked at for thinning
)

// tidy lets the oldest history go, forgets ids outside the dedupe window, and thins batches that history has left
// behind.
func (g *group) tidy() {
	g.trimIDs()
	for range tidyHistory {
		if !g.hasRoom(1) || !g.historyIsOver() || !g.trimHistory() {
			break
		}
	}
	g.lookForThinning()
	for _, seq := range g.thin {
		if b := g.load(seq); b != nil && b.unfinished > 0 && !b.changed && g.hasRoom(2*len(b.blocks)) {
			g.thinBatch(b)
		}
	}
	if !g.trimmed {
		g.clean()
	}
}

// hasRoom reports whether that many deletions, and what was recorded so far, still fit the transaction.
func (g *group) hasRoom(entries int) bool {
	need := g.cost
	need.bytes += g.history.size() + 4096 + entries*64
	need.entries += entries + 16 + len(g.edits) + len(g.touched)
	return !need.exceeds(g.most)
}

func (g *group) historyIsOver() bool {
	s := g.s
	if s.marks.histSize > s.opts.HistoryBytes {
		return true
	}
	if s.marks.histSize <= 0 {
		s.oldestHistSeg.Store(0)
		return false
	}
	if s.oldestHist == 0 {
		_, head, err := s.firstHistory()
		if err != nil || head == nil {
			return false
		}
		s.oldestHist = head.at
	}
	return g.now-s.oldestHist > int64(s.opts.HistoryAge)
}

// storedHistory is an h/ entry with what it takes.
type storedHistory struct {
	historyEntry
	size int64
}

// firstHistory finds the oldest h/ entry, nil when there is none. One that does not decode has no batches to go with.
func (s *Store) firstHistory() (seq uint64, head *storedHistory, err error) {
	err = s.latest(func(m *moment) error {
		from := seqKey(spaceHistory, s.marks.lowHist)
		return scan(m, []byte{spaceHistory}, from, func(key, val []byte) (bool, error) {
			if seq, err = seqOf(key); err != nil {
				return false, err
			}
			h, err := decodeHistoryEntry(val)
			if err != nil {
				s.log.Error("an entry of the history cannot be read and is removed", "commit", seq, "error", err)
			}
			if h.ref.seg != 0 {
				s.oldestHistSeg.Store(h.ref.seg)
			}
			head = &storedHistory{h, h.size(key, val)}
			return false, nil
		})
	})
	return seq, head, err
}

// trimHistory removes the oldest h/ entry and the batches that it finished; false when there is no more to do now.
func (g *group) trimHistory() bool {
	s := g.s
	seq, head, err := s.firstHistory()
	if err != nil {
		s.log.Error("the history cannot be trimmed", "error", err)
		return false
	}
	if head == nil {
		return false
	}
	for _, n := range head.finished {
		b := g.load(n)
		if b == nil || b.finishedAt != seq {
			continue // queued again since, and finished later
		}
		if !g.dropBatch(b) {
			return false
		}
	}
	g.del(seqKey(spaceHistory, seq))
	g.free(head.ref)
	g.trimmed = true
	s.marks.histSize -= head.size
	s.marks.lowHist = seq + 1
	s.oldestHist = 0
	return true
}

// dropBatch removes a finished batch; false when this commit has no room for all of it.
func (g *group) dropBatch(b *batch) bool {
	s := g.s
	if !g.hasRoom(2) || !g.dropSaved(b) {
		return false
	}
	for _, at := range b.blocks {
		g.free(at.ref)
	}
	g.del(seqKey(spaceBatch, b.seq))
	g.trimmed = true
	s.marks.histSize -= b.bytes
	delete(g.touched, b.seq)
	g.gone[b.seq] = true
	s.mu.Lock()
	delete(s.batches, b.seq)
	s.mu.Unlock()
	return true
}

// dropSaved removes a batch's saved requests, as many as there is room for; true when none is left.
func (g *group) dropSaved(b *batch) bool {
	if b.saved == 0 {
		return true
	}
	prefix := seqKey(spaceSaved, b.seq)
	whole := true
	err := g.s.latest(func(m *moment) error {
		return scan(m, prefix, prefix, func(key, val []byte) (bool, error) {
			if !g.hasRoom(3) {
				whole = false
				return false, nil
			}
			ref, err := decodeRef(val)
			if err != nil {
				return false, err
			}
			g.del(slices.Clone(key))
			g.free(ref)
			g.trimmed = true
			size := int64(len(key)) + ref.stored()
			b.bytes -= size
			b.saved = max(b.saved-1, 0)
			g.s.marks.histSize -= size
			return true, nil
		})
	})
	if err != nil {
		g.s.log.Error("saved requests cannot be removed", "batch", b.seq, "error", err)
	}
	if !whole {
		g.touch(b)
	}
	return whole
}

// trimIDs removes i/ entries of ids that are forgotten.
func (g *group) trimIDs() {
	s := g.s
	if s.marks.lowIDs > s.idsUpTo {
		return
	}
	n := 0
	err := s.latest(func(m *moment) error {
		from := seqKey(spaceIDs, s.marks.lowIDs)
		return scan(m, []byte{spaceIDs}, from, func(key, val []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return false, err
			}
			if seq > s.idsUpTo || n == tidyIDs || !g.hasRoom(1) {
				s.marks.lowIDs = seq
				return false, nil
			}
			n++
			g.del(slices.Clone(key))
			s.marks.lowIDs = seq + 1
			return true, nil
		})
	})
	if err != nil {
		s.log.Error("old event ids cannot be removed", "error", err)
	}
}

// lookForThinning finds batches that are older than the history and mostly finished.
func (g *group) lookForThinning() {
	s := g.s
	if s.marks.lowThin >= s.marks.lowHist || !g.hasRoom(tidyThin) {
		return
	}
	n := 0
	err := s.latest(func(m *moment) error {
		from := seqKey(spaceBatch, s.marks.lowThin)
		return scan(m, []byte{spaceBatch}, from, func(key, _ []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return false, err
			}
			if seq >= s.marks.lowHist || n == tidyThin {
				s.marks.lowThin = min(seq, s.marks.lowHist)
				return false, nil
			}
			n++
			s.marks.lowThin = seq + 1
			if b := g.load(seq); b != nil && b.unfinished > 0 && b.thinnedAt == 0 {
				g.thin = append(g.thin, seq)
			}
			return true, nil
		})
	})
	if err != nil {
		s.log.Error("cannot look for batches to thin", "error", err)
	}
}

// thinBatch writes the blocks of a batch anew without the events that no unfinished delivery needs, where that makes
// them at most half as large. The finished deliveries of those events leave the history. It is looked at again when
// its unfinished deliveries have halved.
func (g *group) thinBatch(b *batch) {
	s := g.s
	b.thinnedAt = max(b.unfinished, 1)
	g.touch(b)
	if b.unfinished == len(b.places) {
		return // nothing to leave out, as in most of a backlog
	}
	g.trimmed = true
	var kept []blockAt
	for _, at := range b.blocks {
		thin, stays := g.thinBlock(b, at)
		if stays {
			kept = append(kept, thin)
		}
		freed := at.ref.stored()
		if stays {
			freed -= thin.ref.stored()
		}
		b.bytes -= freed
		s.marks.queueSize -= freed
	}
	b.next, b.changed = kept, true
}

// thinBlock gives the block as it is afterwards; false when it goes. A new one is where the commit under way puts it.
func (g *group) thinBlock(b *batch, at blockAt) (blockAt, bool) {
	val, err := g.s.segs.read(at.ref)
	var old *block
	if err == nil {
		old, err = decodeBlock(val)
	}
	if err != nil {
		g.s.log.Error("a block cannot be read", "batch", b.seq, "error", err)
		return at, true
	}
	g.writer.reset()
	for i := range old.entries {
		if e := &old.entries[i]; b.needs(e) {
			g.writer.add(e.first, e.placements(old.accepted), e.record)
		}
	}
	if g.writer.count == 0 {
		g.free(at.ref)
		return blockAt{}, false
	}
	thin := g.writer.close(nil, old.accepted)
	if 2*len(thin) > len(val) || !g.roomFor(len(thin)) {
		return at, true
	}
	g.free(at.ref)
	return blockAt{at.last, g.addBlob(thin)}, true
}

func (g *group) roomFor(bytes int) bool {
	need := g.cost
	need.bytes += g.history.size() + 4096 + bytes
	return !need.exceeds(g.most)
}

// needs reports whether any delivery of an event is unfinished.
func (b *batch) needs(e *blockEntry) bool {
	for i := e.first; i < e.end(); i++ {
		if b.has(i) && !b.places[i].final() {
			return true
		}
	}
	return false
}
