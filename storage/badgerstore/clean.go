package badgerstore

import (
	"errors"
)

// cleanBytes is how much one commit copies of the segment that is rewritten.
const cleanBytes = 256 << 10

// cleaner rewrites a segment that is mostly dead, so that a few stuck deliveries do not hold its file: what is live in
// it is written again with later commits. The segment's own records say what to look for.
type cleaner struct {
	id  uint32
	off int64 // of the next record to look at
}

// pickVictim chooses the segment to rewrite, of those that replay does not need. Segments that the oldest of the
// history may be in are left alone while the store is busy: it leaves by itself.
func (s *Store) pickVictim(before uint32) {
	if s.victim.Load() != 0 {
		return
	}
	limit := before
	if !s.idle.Load() {
		if oldest := s.oldestHistSeg.Load(); oldest != 0 {
			limit = min(limit, oldest)
		}
	}
	s.victim.Store(s.segs.victim(limit, s.idle.Load()))
}

// victim is the deadest segment before a limit, 0 when none is dead enough: by three quarters, or by less when the
// store is idle and two segments' worth of it is dead.
func (ss *segments) victim(before uint32, idle bool) uint32 {
	size, live := ss.usage()
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	var best *segment
	for id, g := range ss.byID {
		if id >= before || g == ss.cur || g.live <= 0 || g.uncleanable {
			continue
		}
		dead := 4*g.live < g.end || idle && size-live > 2*ss.size && 8*g.live < 7*g.end
		if dead && (best == nil || g.live < best.live) {
			best = g
		}
	}
	if best == nil {
		return 0
	}
	return best.id
}

// clean copies some of what is live in the victim. It shares the commit with nothing that frees blobs.
func (g *group) clean() {
	s := g.s
	id := s.victim.Load()
	if id == 0 {
		return
	}
	c := &s.cleaner
	if c.id != id {
		*c = cleaner{id: id, off: segmentHead}
	}
	s.segs.mu.RLock()
	seg := s.segs.byID[id]
	s.segs.mu.RUnlock()
	for start := len(g.rec); ; {
		if seg == nil || seg.live <= 0 || c.off >= seg.end {
			if seg != nil && g.freed[id] < seg.live {
				s.segs.giveUp(seg)
			}
			s.victim.Store(0)
			return
		}
		if len(g.rec)-start > cleanBytes || !g.roomFor(cleanBytes) {
			s.in.wantTidy() // to go on
			return
		}
		if err := g.cleanRecord(seg, c); err != nil {
			s.log.Error("a segment cannot be rewritten and stays", "segment", id, "error", err)
			s.segs.giveUp(seg)
			s.victim.Store(0)
			return
		}
	}
}

func (ss *segments) giveUp(g *segment) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	g.uncleanable = true
}

// cleanRecord copies what is live of the next record.
func (g *group) cleanRecord(seg *segment, c *cleaner) error {
	info, at, err := findRecord(seg, c.off)
	if err != nil {
		return err
	}
	if at < 0 || at >= seg.end {
		c.off = seg.end
		return nil
	}
	c.off = alignUp(at + info.size())
	p := make([]byte, info.ops)
	if _, err := seg.file.ReadAt(p, info.opsAt()); err != nil {
		return err
	}
	if checksum(p) != info.opsSum {
		return nil // it was left out when it was replayed, or would be
	}
	list, err := decodeOps(p)
	if err != nil {
		return err
	}
	for i := range list.ops {
		o := &list.ops[i]
		if o.del {
			continue
		}
		switch o.key[0] {
		case spaceBatch:
			err = g.cleanBatch(seg, o.key)
		case spaceHistory, spaceSaved:
			err = g.cleanEntry(seg, o.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cleanBatch copies the blocks of a batch that are in the segment.
func (g *group) cleanBatch(seg *segment, key []byte) error {
	seq, err := seqOf(key)
	if err != nil {
		return err
	}
	b := g.load(seq)
	if b == nil {
		return nil
	}
	for i, at := range b.planned() {
		if at.ref.seg != seg.id {
			continue
		}
		data, err := g.s.segs.read(at.ref)
		if err != nil {
			return err
		}
		if !b.changed {
			b.next, b.changed = append([]blockAt(nil), b.blocks...), true
			if g.touched[seq] == nil {
				g.touch(b)
			}
		}
		g.free(at.ref)
		b.next[i].ref = g.addBlob(data)
	}
	return nil
}

// cleanEntry copies the blob of an entry that is in the segment.
func (g *group) cleanEntry(seg *segment, key []byte) error {
	var val []byte
	err := g.s.latest(func(m *moment) (err error) {
		val, err = value(m, key)
		return err
	})
	if errors.Is(err, errNoKey) {
		return nil
	}
	if err != nil {
		return err
	}
	r := reader{b: val}
	ref := r.ref()
	if r.err != nil || ref.seg != seg.id || g.cleaned[string(key)] {
		return r.err
	}
	data, err := g.s.segs.read(ref)
	if err != nil {
		return err
	}
	g.cleaned[string(key)] = true
	g.free(ref)
	g.putBlob(append([]byte(nil), key...), append([]byte(nil), r.b...), data)
	return nil
}
