package badgerstore

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sidehook/sidehook/storage"
)

// replay brings what the log holds beyond the last checkpoint into memory.
//
// A record that was torn while it was written can only be the last: the next is begun when it is synced. So a bad
// record with a good one after it was damaged later; it is counted and left out, and the rest is read.
func (s *Store) replay(from segPos) error {
	r := replayer{s: s}
	ids := slices.Sorted(maps.Keys(s.segs.byID))
	ids = slices.DeleteFunc(ids, func(id uint32) bool { return id < from.seg || s.segs.byID[id].file == nil })
	if from.seg == 0 && len(ids) > 0 && ids[0] != 1 {
		r.damage("a segment of the log is missing", "segment", 1)
	}
	if from.seg != 0 && (len(ids) == 0 || ids[0] != from.seg) {
		r.damage("a segment of the log is missing", "segment", from.seg)
	}
	for i, id := range ids {
		g := s.segs.byID[id]
		start := int64(segmentHead)
		if id == from.seg {
			start = from.off
		}
		end := int64(-1) // the last segment ends where its records do
		if i+1 < len(ids) {
			if next := s.segs.byID[ids[i+1]]; next.id == id+1 {
				end = int64(next.prevEnd)
			} else {
				r.damage("a segment of the log is missing", "segment", id+1)
			}
		}
		if err := r.segment(g, start, end); err != nil {
			return fmt.Errorf("segment %d: %w", id, err)
		}
		s.segs.reached(g, g.end)
	}
	defer s.segs.replayed()
	if !r.damaged {
		return nil
	}
	err := s.recount()
	s.durable = s.marks
	return err
}

type replayer struct {
	s       *Store
	damaged bool
}

func (r *replayer) damage(what string, args ...any) {
	r.damaged = true
	r.s.segs.damaged.Add(1)
	r.s.log.Error(what+"; what it holds is lost", args...)
}

// segment replays the records of one segment from start on. end is where the last of them ends, negative when that is
// not known.
func (r *replayer) segment(g *segment, start, end int64) error {
	for off := start; ; {
		info, at, err := findRecord(g, off)
		if err != nil {
			return err
		}
		if at < 0 {
			if end >= 0 && end > off {
				r.damage("records at the end of a segment cannot be read", "segment", g.id, "from", off, "to", end)
				off = end
			}
			g.end = off
			return nil
		}
		if at > off {
			r.damage("a record cannot be read", "segment", g.id, "from", off, "to", at)
		}
		next := alignUp(at + info.size())
		last := false
		if end < 0 {
			if _, after, err := findRecord(g, next); err != nil {
				return err
			} else if after < 0 {
				last = true
			}
		}
		ok, err := r.record(g, info, last)
		if err != nil {
			return err
		}
		if !ok && last {
			r.s.log.Info("the last write before the end was torn; it had not been acknowledged", "segment", g.id, "at", at)
			g.end = at
			return nil
		}
		off = next
	}
}

// record replays one; false when it is not whole.
func (r *replayer) record(g *segment, info recordInfo, last bool) (bool, error) {
	s := r.s
	body := make([]byte, int64(info.blobs)+int64(info.ops))
	if _, err := g.file.ReadAt(body, int64(info.off)+recordHead); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	blobs, ops := body[:info.blobs], body[info.blobs:]
	blobsGood, opsGood := checksum(blobs) == info.blobsSum, checksum(ops) == info.opsSum
	if last && !(blobsGood && opsGood) {
		return false, nil
	}
	if !blobsGood {
		r.damage("bodies in a record are damaged", "segment", g.id, "commit", info.seq)
	}
	var list recordOps
	err := errCorrupt
	if opsGood {
		list, err = decodeOps(ops)
	}
	if err != nil {
		r.damage("a record cannot be read", "segment", g.id, "commit", info.seq, "error", err)
		return false, nil
	}
	if info.seq <= s.marks.seq {
		return true, nil // from before the checkpoint
	}
	if err := s.makeRoom(overlayNeed(list.ops)); err != nil {
		return false, err
	}
	s.segs.reached(g, alignUp(int64(info.off)+info.size()))
	s.tiers.Load().active.apply(info.seq, list.ops)
	s.segs.account(list.deltas, info.seq)
	s.marks, s.durable = list.marks, list.marks
	s.committed.Store(info.seq)
	s.checkpointIfDue()
	return true, nil
}

// findRecord finds the head of the next record from off on; at is negative when there is none. It is at off unless
// something was damaged.
func findRecord(g *segment, off int64) (info recordInfo, at int64, err error) {
	info, ok, err := recordAt(g, off)
	if err != nil {
		return info, -1, err
	}
	if ok {
		return info, off, nil
	}
	buf := make([]byte, 128<<10)
	for at := off; ; {
		n, err := g.file.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return info, -1, err
		}
		for i := 0; i+recordHead <= n; i += recordAlign {
			if info, ok := parseRecordHead(buf[i:], g, at+int64(i)); ok {
				return info, at + int64(i), nil
			}
		}
		if n < len(buf) {
			return info, -1, nil
		}
		at += int64(n)
	}
}

// maxRecord is more than a record takes, in bytes.
const maxRecord = 64 << 20

// recordAt reads the head at off.
func recordAt(g *segment, off int64) (recordInfo, bool, error) {
	p := make([]byte, recordHead)
	n, err := g.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return recordInfo{}, false, err
	}
	info, ok := parseRecordHead(p[:n], g, off)
	return info, ok && info.size() <= maxRecord, nil
}

// recount counts anew what the marks and segments count, from the entries, when some of the log was lost.
func (s *Store) recount() error {
	m := &s.marks
	m.pending, m.held, m.queueSize, m.histSize = 0, 0, 0, 0
	err := s.view(func(mo *moment) error {
		if err := m.countBatches(mo); err != nil {
			return err
		}
		if err := m.countHistory(mo); err != nil {
			return err
		}
		held, err := s.countHeld(mo)
		m.held = held
		if err != nil {
			return err
		}
		live, err := liveBytes(mo)
		if err != nil {
			return err
		}
		s.segs.mu.Lock()
		defer s.segs.mu.Unlock()
		for id, g := range s.segs.byID {
			g.live, g.deadAt = live[id], m.seq
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count what is left of a damaged log: %w", err)
	}
	return nil
}

func (m *marks) countBatches(mo *moment) error {
	return eachBatch(mo, func(b *batch) {
		m.pending += int64(b.unfinished)
		if b.unfinished > 0 {
			m.queueSize += b.bytes
		} else {
			m.histSize += b.bytes
		}
	})
}

func (m *marks) countHistory(mo *moment) error {
	return scan(mo, []byte{spaceHistory}, []byte{spaceHistory}, func(key, val []byte) (bool, error) {
		h, err := decodeHistoryEntry(val)
		m.histSize += h.size(key, val)
		return true, err
	})
}

// countHeld counts the deliveries of the HoldQueue.
func (s *Store) countHeld(mo *moment) (n int64, err error) {
	prefix := queuePrefix(storage.HoldQueue)
	err = scan(mo, prefix, prefix, func(key, val []byte) (bool, error) {
		if key[len(key)-1] == kindSingle {
			n++
			return true, nil
		}
		p, _ := parseQueueTail(key[len(key)-queueTail:])
		members, err := decodeRun(val)
		if err == nil {
			members, err = s.inRun(mo, p.seq, members)
		}
		if errors.Is(err, errNoKey) { // its batch is lost
			return true, nil
		}
		n += int64(len(members))
		return true, err
	})
	return n, err
}

func eachBatch(mo *moment, visit func(b *batch)) error {
	return scan(mo, []byte{spaceBatch}, []byte{spaceBatch}, func(key, val []byte) (bool, error) {
		seq, err := seqOf(key)
		if err != nil {
			return false, err
		}
		b, err := decodeBatch(seq, val)
		if err != nil {
			return false, err
		}
		visit(b)
		return true, nil
	})
}

// liveBytes counts the bytes of blobs that entries refer to, by segment.
func liveBytes(mo *moment) (map[uint32]int64, error) {
	live := make(map[uint32]int64)
	err := eachBatch(mo, func(b *batch) {
		for _, at := range b.blocks {
			live[at.ref.seg] += at.ref.stored()
		}
	})
	if err != nil {
		return nil, err
	}
	err = scan(mo, []byte{spaceHistory}, []byte{spaceHistory}, func(_, val []byte) (bool, error) {
		h, err := decodeHistoryEntry(val)
		live[h.ref.seg] += h.stored() // segment 0 is none
		return true, err
	})
	if err != nil {
		return nil, err
	}
	err = scan(mo, []byte{spaceSaved}, []byte{spaceSaved}, func(_, val []byte) (bool, error) {
		ref, err := decodeRef(val)
		live[ref.seg] += ref.stored()
		return true, err
	})
	return live, err
}
