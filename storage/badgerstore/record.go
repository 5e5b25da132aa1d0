package badgerstore

import (
	"encoding/binary"
	"fmt"
)

// A record is one commit in the log:
//
//	head   magic, segment, commit, sizes and sums of what follows, and its own sum, which takes in the segment's salt
//	blobs  each behind its sum
//	ops    the marks, the changes to the segments' live bytes, and the changes to keys
const (
	recordMagic = 0x53485243
	recordHead  = 40
	recordAlign = 64
)

func alignUp(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// recordInfo is the head of a record.
type recordInfo struct {
	off              uint32 // in the segment
	seq              uint64
	blobs, ops       uint32 // bytes
	blobsSum, opsSum uint32
}

func (h *recordInfo) size() int64 { return recordHead + int64(h.blobs) + int64(h.ops) }

// opsAt is where the ops are in the segment.
func (h *recordInfo) opsAt() int64 { return int64(h.off) + recordHead + int64(h.blobs) }

// sealRecord fills the head of rec, whose blobs end at blobsEnd.
func sealRecord(rec []byte, g *segment, seq uint64, blobsEnd int) {
	h := binary.BigEndian.AppendUint32(rec[:0], recordMagic)
	h = binary.BigEndian.AppendUint32(h, g.id)
	h = binary.BigEndian.AppendUint64(h, seq)
	h = binary.BigEndian.AppendUint32(h, uint32(blobsEnd-recordHead))
	h = binary.BigEndian.AppendUint32(h, uint32(len(rec)-blobsEnd))
	h = binary.BigEndian.AppendUint32(h, checksum(rec[recordHead:blobsEnd]))
	h = binary.BigEndian.AppendUint32(h, checksum(rec[blobsEnd:]))
	h = binary.BigEndian.AppendUint32(h, 0)
	binary.BigEndian.AppendUint32(h, headSum(rec, g.salt))
}

func headSum(head []byte, salt uint64) uint32 {
	var p [8 + recordHead - 4]byte
	binary.BigEndian.PutUint64(p[:], salt)
	copy(p[8:], head)
	return checksum(p[:])
}

// parseRecordHead reads a head; false when there is none of this segment.
func parseRecordHead(p []byte, g *segment, off int64) (recordInfo, bool) {
	if len(p) < recordHead || binary.BigEndian.Uint32(p) != recordMagic || binary.BigEndian.Uint32(p[4:]) != g.id {
		return recordInfo{}, false
	}
	if headSum(p[:recordHead-4], g.salt) != binary.BigEndian.Uint32(p[recordHead-4:]) {
		return recordInfo{}, false
	}
	return recordInfo{
		off: uint32(off), seq: binary.BigEndian.Uint64(p[8:]),
		blobs: binary.BigEndian.Uint32(p[16:]), ops: binary.BigEndian.Uint32(p[20:]),
		blobsSum: binary.BigEndian.Uint32(p[24:]), opsSum: binary.BigEndian.Uint32(p[28:]),
	}, true
}

// liveDelta is a change to the live bytes of a segment.
type liveDelta struct {
	seg   uint32
	bytes int64
}

// recordOps is what the ops of a record say.
type recordOps struct {
	marks  marks
	deltas []liveDelta
	ops    []op
}

const opDelete = 1

func appendOps(dst []byte, m *marks, deltas []liveDelta, lists ...[]op) []byte {
	dst = appendBytes(dst, m.encode(nil))
	dst = binary.AppendUvarint(dst, uint64(len(deltas)))
	for _, d := range deltas {
		dst = binary.AppendUvarint(dst, uint64(d.seg))
		dst = binary.AppendVarint(dst, d.bytes)
	}
	n := 0
	for _, l := range lists {
		n += len(l)
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, l := range lists {
		for i := range l {
			o := &l[i]
			if o.del {
				dst = append(dst, opDelete)
				dst = appendBytes(dst, o.key)
				continue
			}
			dst = append(dst, 0)
			dst = appendBytes(dst, o.key)
			dst = appendBytes(dst, o.val)
		}
	}
	return dst
}

// decodeOps undoes appendOps. The result shares p.
func decodeOps(p []byte) (recordOps, error) {
	var out recordOps
	r := reader{b: p}
	m, err := decodeMarks(r.bytes())
	if r.err == nil && err != nil {
		return out, err
	}
	out.marks = m
	n := r.count(2)
	for range n {
		out.deltas = append(out.deltas, liveDelta{uint32(r.index(1 << 32)), r.varint()})
	}
	n = r.count(2)
	for range n {
		o := op{}
		switch r.byte() {
		case 0:
			o.key, o.val = r.bytes(), r.bytes()
		case opDelete:
			o.del, o.key = true, r.bytes()
		default:
			r.fail("bad op")
		}
		if r.err != nil {
			break
		}
		if len(o.key) == 0 {
			return out, fmt.Errorf("%w: op without a key", errCorrupt)
		}
		out.ops = append(out.ops, o)
	}
	return out, r.done()
}
