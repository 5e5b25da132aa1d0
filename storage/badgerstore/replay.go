package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/sidehook/sidehook/storage"
)

// replay brings what the log holds beyond the last checkpoint into memory; all that it holds, when the database is new
// and the log is not.
//
// A record that was torn while it was written can only be the last: the next is begun when it is synced. So a bad
// record with a good one after it was damaged later; it is counted, what can be read of it is used, and so is the rest.
func (s *Store) replay(from segPos) error {
	r := replayer{s: s}
	ids := slices.Sorted(maps.Keys(s.segs.byID))
	ids = slices.DeleteFunc(ids, func(id uint32) bool { return id < from.seg || s.segs.byID[id].file == nil })
	// A log that is replayed as a whole has gaps, where segments had been given up.
	whole := s.mending == mendRebuild
	if from.seg == 0 && len(ids) > 0 && ids[0] != 1 && !whole {
		r.damage("a segment of the log is missing; what it holds is lost", "segment", 1)
	}
	if from.seg != 0 && (len(ids) == 0 || ids[0] != from.seg) {
		r.damage("a segment of the log is missing; what it holds is lost", "segment", from.seg)
	}
	for i, id := range ids {
		g := s.segs.byID[id]
		start := int64(segmentHead)
		if id == from.seg {
			start = from.off
		}
		end, newest := int64(-1), i+1 == len(ids) // the last segment ends where its records do
		if !newest {
			if next := s.segs.byID[ids[i+1]]; next.id == id+1 {
				end = int64(next.prevEnd)
			} else if !whole {
				r.damage("a segment of the log is missing; what it holds is lost", "segment", id+1)
			}
		}
		if err := r.segment(g, start, end, newest); err != nil {
			return fmt.Errorf("segment %d: %w", id, err)
		}
	}
	s.rebuilt.Segments, s.rebuilt.Records = len(ids), r.records
	if r.damaged {
		r.err = errors.Join(r.err, s.recount())
		s.durable = s.marks
	}
	if s.segs.replayed() {
		r.err = errors.Join(r.err, s.noteMending(mendDamage))
	}
	return r.err
}

type replayer struct {
	s       *Store
	damaged bool
	records int
	at      int64 // when the last commit with events was, Unix nanoseconds, as far as known
	err     error // why it cannot be noted that entries have to be mended
}

// damage counts something that cannot be read. What it means for the entries is put right after the replay, or by the
// next start, should this one not come so far: that is noted before anything of this replay gets into a checkpoint.
func (r *replayer) damage(what string, args ...any) {
	if !r.damaged {
		r.damaged = true
		r.err = r.s.noteMending(mendDamage)
	}
	r.s.segs.damaged.Add(1)
	r.s.log.Error(what, args...)
}

// segment replays the records of one segment from start on. end is where the last of them ends, negative when that is
// not known. Only the newest may end with a record that was never acknowledged.
func (r *replayer) segment(g *segment, start, end int64, newest bool) error {
	for off := start; ; {
		info, at, err := r.find(g, off)
		if err != nil {
			return err
		}
		if at < 0 {
			if end >= 0 && end > off {
				r.damage("records at the end of a segment cannot be read; what they hold is lost",
					"segment", g.id, "from", off, "to", end)
				off = end
			}
			r.s.segs.reached(g, off)
			return nil
		}
		if at > off {
			r.damage("a record cannot be read; what it holds is lost", "segment", g.id, "from", off, "to", at)
		}
		next := alignUp(at + info.size())
		last := false
		if newest {
			if _, after, err := findRecord(g, next); err != nil {
				return err
			} else if after < 0 {
				last = true
			}
		}
		torn, err := r.record(g, info, last)
		if err != nil {
			return err
		}
		if torn {
			r.s.log.Info("the last write before the end was torn; it had not been acknowledged", "segment", g.id, "at", at)
			r.s.segs.reached(g, at)
			return nil
		}
		off = next
	}
}

// find is findRecord, once a bit that was flipped in the head at off has been put right.
func (r *replayer) find(g *segment, off int64) (recordInfo, int64, error) {
	p := make([]byte, recordHead)
	n, err := g.file.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return recordInfo{}, -1, err
	}
	sound := func(p []byte) bool {
		info, ok := parseRecordHead(p, g, off)
		return ok && info.size() <= maxRecord
	}
	if n == len(p) && !sound(p) && correctBit(p, sound) {
		if _, err := g.file.WriteAt(p, off); err != nil {
			return recordInfo{}, -1, err
		}
		r.s.log.Warn("a bit was flipped in the head of a record; it was put right and nothing is lost", "segment", g.id, "at", off)
	}
	return findRecord(g, off)
}

// record replays one. torn says that it was never written whole, so that nobody was told of it; it is not replayed then.
func (r *replayer) record(g *segment, info recordInfo, last bool) (torn bool, err error) {
	s := r.s
	if info.seq <= s.marks.seq {
		return false, nil // from before the checkpoint
	}
	body := make([]byte, int64(info.blobs)+int64(info.ops))
	n, err := g.file.ReadAt(body, int64(info.off)+recordHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	blobs, ops := body[:info.blobs], body[info.blobs:]
	blobsGood, opsGood := checksum(blobs) == info.blobsSum, checksum(ops) == info.opsSum
	if last && !(blobsGood && opsGood) && isTorn(g, &info, body[:n]) {
		return true, nil
	}
	if !blobsGood {
		r.damage("bodies in a record are damaged; they are lost", "segment", g.id, "commit", info.seq)
	}
	var list recordOps
	err = errCorrupt
	if opsGood {
		list, err = decodeOps(ops)
	}
	if err != nil {
		var events int
		if r.at == 0 {
			r.at = s.lastAccepted()
		}
		list, events = s.salvage(g, &info, blobs, r.at)
		r.damage("the entries in a record cannot be read; its events were taken from their bodies, its results are lost",
			"segment", g.id, "commit", info.seq, "events", events, "error", err)
	}
	r.records++
	return false, r.apply(g, &info, &list)
}

// apply brings the entries of a record into memory.
func (r *replayer) apply(g *segment, info *recordInfo, list *recordOps) error {
	s := r.s
	if err := s.makeRoom(overlayNeed(list.ops)); err != nil {
		return err
	}
	s.segs.reached(g, alignUp(int64(info.off)+info.size()))
	s.tiers.Load().active.apply(info.seq, list.ops)
	s.segs.account(list.deltas, info.seq)
	s.marks, s.durable = list.marks, list.marks
	s.committed.Store(info.seq)
	r.at = max(r.at, commitTime(list.ops, info.seq))
	s.checkpointIfDue()
	return r.err
}

// lastAccepted is when the newest batch was accepted, 0 when there is none that can be read.
func (s *Store) lastAccepted() (at int64) {
	_ = s.view(func(m *moment) error {
		return scanBack(m, []byte{spaceBatch}, seqKey(spaceBatch, math.MaxUint64), func(key, val []byte) (bool, error) {
			seq, err := seqOf(key)
			if err != nil {
				return true, nil
			}
			b, err := decodeBatch(seq, val)
			if err != nil {
				return true, nil
			}
			at = b.accepted
			return false, nil
		})
	})
	return at
}

// commitTime is when a commit with events was, 0 when its entries do not tell.
func commitTime(ops []op, seq uint64) int64 {
	key := seqKey(spaceIDs, seq)
	for i := range ops {
		if !ops[i].del && bytes.Equal(ops[i].key, key) {
			at, _, err := decodeIDs(ops[i].val)
			if err == nil {
				return at
			}
		}
	}
	return 0
}

// sector is what disks write as a whole; sectorPart is how much of one, at the ends of a record, is enough to tell.
const (
	sector     = 512
	sectorPart = 16
)

// isTorn reports whether a bad record at the end of the log shows that a part of it was never written: the file ends
// before it does, or a sector of it is as it was when the file was made, or holds a record of the file's earlier use.
// Then its sync had not returned, and nobody was told of it.
//
// A bad record that shows nothing of the kind may be a torn one over the middle of an older record, or one that was
// acknowledged and damaged since. What can be read of it is used, and it is counted as damage: to repeat, or to store,
// what was not acknowledged does less harm than to lose what was.
func isTorn(g *segment, info *recordInfo, body []byte) bool {
	if int64(len(body)) < int64(info.blobs)+int64(info.ops) && !g.cut {
		return true
	}
	start := int64(info.off) + recordHead
	end := start + int64(len(body))
	for at := start; at < end; {
		next := min((at+sector)&^(sector-1), end)
		if p := body[at-start : next-start]; len(p) >= sectorPart && bytes.Count(p, []byte{0}) == len(p) {
			return true
		}
		at = next
	}
	for at := alignUp(start); at+8 <= end; at += recordAlign {
		p := body[at-start:]
		if binary.BigEndian.Uint32(p) == recordMagic && binary.BigEndian.Uint32(p[4:]) != g.id {
			return true
		}
	}
	return false
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
