package badgerstore

import (
	"encoding/binary"
	"hash/crc32"
)

// salvage makes the entries of a record whose own cannot be read from its blobs: of the batch that it appended, as if
// nothing had been recorded of it. What else the record said is lost. after is when the commits before it were: blocks
// that are not newer were only moved here from another segment, and are left to the reconciler, unless the clock was set
// back in between.
func (s *Store) salvage(g *segment, info *recordInfo, blobs []byte, after int64) (list recordOps, events int) {
	b := &batch{seq: info.seq}
	runs := make(map[runRef][]uint32)
	var ids []idHash
	for pos := 0; ; {
		data, next, ok := cutBlob(blobs, pos)
		if !ok {
			break
		}
		ref := blobRef{g.id, info.off + recordHead + uint32(pos), uint32(len(data))}
		pos = next
		bl, err := decodeBlock(data)
		if err != nil || len(bl.entries) == 0 {
			continue // a saved request, or results
		}
		events += len(bl.entries)
		if bl.accepted <= after && s.mayHaveMoved(bl) || !b.takes(bl, runs) {
			s.strays = append(s.strays, stray{ref: ref, block: bl})
			continue
		}
		b.blocks = append(b.blocks, blockAt{uint32(len(b.places)) - 1, ref})
		b.bytes += ref.stored()
		for i := range bl.entries {
			if e, err := decodeEvent(bl.entries[i].record); err == nil {
				ids = append(ids, hashID(e))
			}
		}
	}
	list.marks = s.marks
	list.marks.seq = info.seq
	if len(b.blocks) == 0 {
		return list, events
	}
	list.deltas = []liveDelta{{g.id, b.bytes}}
	if s.dedupe.enabled() {
		list.ops = append(list.ops, op{key: seqKey(spaceIDs, b.seq), val: encodeIDs(nil, b.accepted, ids)})
	}
	for ref, members := range runs {
		list.ops = append(list.ops, op{key: runKey(ref.webhook, ref.id.due, ref.id.seq), val: appendRun(nil, members)})
	}
	list.ops = append(list.ops, op{key: seqKey(spaceBatch, b.seq), val: b.encode(nil)})
	return list, events
}

// mayHaveMoved reports whether a block that seems to be older than the commits before its record can belong to a batch
// from before it. What is moved belongs to one that is there; when the database is lost, that may only show later.
func (s *Store) mayHaveMoved(bl *block) (may bool) {
	if s.mending == mendRebuild {
		return true
	}
	err := s.view(func(m *moment) error {
		return eachBatch(m, func(b *batch) { may = may || b.accepted == bl.accepted })
	})
	return may && err == nil // to repeat an event does less harm than to lose it
}

// stray is a block that was moved from another segment by a record whose entries cannot be read. It does not say which
// batch it belongs to, but when that was accepted, and for which of its deliveries the block is.
type stray struct {
	ref   blobRef
	block *block
	found bool // its batch was
}

// isOf reports whether a stray can stand for a block of a batch that reaches from an index to another.
func (t *stray) isOf(b *batch, first, last uint32) bool {
	e := t.block.entries
	return t.block.accepted == b.accepted && e[0].first >= first && e[len(e)-1].end() <= last+1
}

// takes adds the deliveries of a block to a batch that is made anew; false when it is not the batch's next block.
func (b *batch) takes(bl *block, runs map[runRef][]uint32) bool {
	if len(b.blocks) > 0 && bl.accepted != b.accepted {
		return false
	}
	next := uint32(len(b.places))
	for i := range bl.entries {
		if bl.entries[i].first != next || bl.entries[i].end() > maxPlaces {
			return false
		}
		next = bl.entries[i].end()
	}
	b.accepted = bl.accepted
	for i := range bl.entries {
		e := &bl.entries[i]
		for index := e.first; index < e.end(); index++ {
			at := placeTaken
			if e.queued != nil && e.queued[index-e.first] {
				at = placeRun
				ref := runRef{e.hook(index), runID{e.runDue(index, bl.accepted), b.seq}}
				runs[ref] = append(runs[ref], index)
			}
			b.places = append(b.places, at)
			b.count(at, 1)
		}
	}
	return true
}

// cutBlob finds the blob that begins at pos. Its size is in the entries only, so it is the first for which the sum is
// right. That it is not the right one all the same is a chance of one in four thousand millions for each byte.
func cutBlob(blobs []byte, pos int) (data []byte, next int, ok bool) {
	if len(blobs)-pos <= blobHead {
		return nil, 0, false
	}
	want, rest := binary.BigEndian.Uint32(blobs[pos:]), blobs[pos+blobHead:]
	sum := uint32(0)
	for n := range min(len(rest), maxBlob) {
		if sum = crc32.Update(sum, castagnoli, rest[n:n+1]); sum == want {
			return rest[:n+1], pos + blobHead + n + 1, true
		}
	}
	return nil, 0, false
}
