package badgerstore

import (
	"encoding/binary"
	"fmt"
)

// marks are the counters and cursors that every commit rewrites, so that Open has nothing to count and no reader has
// to start where deleted entries pile up.
type marks struct {
	seq       uint64 // the last commit
	pending   int64  // unfinished deliveries
	held      int64  // those of them in the HoldQueue
	queueSize int64  // bytes of unfinished batches
	histSize  int64  // bytes of finished batches and h/ entries
	lowOpen   uint64 // no batch before it has taken deliveries
	lowHist   uint64 // no h/ entry before it
	lowIDs    uint64 // no i/ entry before it
	lowThin   uint64 // batches before it have been considered for thinning
	lowOldest uint64 // no unfinished batch before it
	commits   uint64
}

const marksVersion = 1

func (m *marks) fields() []*uint64 {
	return []*uint64{&m.seq, &m.lowOpen, &m.lowHist, &m.lowIDs, &m.lowThin, &m.lowOldest, &m.commits}
}

func (m *marks) counters() []*int64 {
	return []*int64{&m.pending, &m.held, &m.queueSize, &m.histSize}
}

func (m *marks) encode(dst []byte) []byte {
	dst = append(dst, marksVersion)
	for _, f := range m.fields() {
		dst = binary.AppendUvarint(dst, *f)
	}
	for _, c := range m.counters() {
		dst = binary.AppendVarint(dst, *c)
	}
	return dst
}

func decodeMarks(p []byte) (marks, error) {
	var m marks
	r := reader{b: p}
	if v := r.byte(); r.err == nil && v != marksVersion {
		r.fail(fmt.Sprintf("marks have version %d, not %d", v, marksVersion))
	}
	for _, f := range m.fields() {
		*f = r.uvarint()
	}
	for _, c := range m.counters() {
		*c = r.varint()
	}
	return m, r.done()
}
