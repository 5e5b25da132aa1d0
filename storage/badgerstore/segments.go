package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sidehook/sidehook"
)

// blobRef is where a blob is: a value too large for Badger, in a record of the log.
type blobRef struct {
	seg, off, size uint32 // size without its sum
}

const blobHead = 4 // the blob's sum stands before it

func (r blobRef) stored() int64 { return int64(r.size) + blobHead }

func (r blobRef) encode(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.seg))
	dst = binary.AppendUvarint(dst, uint64(r.off))
	return binary.AppendUvarint(dst, uint64(r.size))
}

func (r *reader) ref() blobRef {
	return blobRef{uint32(r.index(1 << 32)), uint32(r.index(1 << 32)), uint32(r.index(1 << 31))}
}

// segPos is a place in the log.
type segPos struct {
	seg uint32
	off int64
}

// maxSpares is how many segment files are kept to be used again.
const maxSpares = 2

// segments are the files of the log. Only the committer rolls and writes; whoever reads a moment that refers to a blob
// finds it, for a file is not used again before that moment is over.
type segments struct {
	dir    string
	size   int64 // of a segment
	sync   bool
	log    *slog.Logger
	origin uint32 // for the heads of new ones

	mu     sync.RWMutex
	byID   map[uint32]*segment
	spares []*segment
	cur    *segment
	lastID uint32
	slots  int // the next file's number

	damaged atomic.Int64 // records and blobs that could not be read
	failed  error        // why a new segment could not be made; then the current one grows
	usual   int          // size of recent records, about
	held    bool         // what is live is not known yet, so that nothing is given up
}

func newSegments(dir string, opts *Options) *segments {
	return &segments{
		dir: dir, size: opts.segmentSize, sync: opts.Durability == DurabilityDisk, log: opts.Logger,
		byID: make(map[uint32]*segment),
	}
}

// adopt takes over what is in the folder.
func (ss *segments) adopt(files []*segment, slots int) {
	ss.slots = slots
	for _, g := range files {
		if g.id == 0 || ss.byID[g.id] != nil {
			g.id = 0
			ss.spares = append(ss.spares, g)
			continue
		}
		ss.byID[g.id] = g
	}
}

// restore tells the segments what the last checkpoint knew of them. Those that it had given up are spares.
func (ss *segments) restore(from segPos, rows []segmentRow) {
	known := make(map[uint32]bool)
	ss.lastID = from.seg
	for _, r := range rows {
		known[r.id] = true
		ss.lastID = max(ss.lastID, r.id)
		g := ss.byID[r.id]
		if g == nil {
			g = &segment{id: r.id} // given up since, or lost: replay tells
			ss.byID[r.id] = g
		}
		g.live, g.end, g.written = r.live, r.end, r.end
	}
	for id, g := range ss.byID {
		ss.lastID = max(ss.lastID, id)
		if id < from.seg && !known[id] {
			delete(ss.byID, id)
			ss.retire(g)
		}
	}
}

// replayed finds out, when it is known what is live, whether a segment is missing.
func (ss *segments) replayed() (missing bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for id, g := range ss.byID {
		if g.file != nil {
			continue
		}
		if g.live > 0 {
			missing = true
			ss.damaged.Add(1)
			ss.log.Error("a segment is missing; what it holds is lost", "segment", id, "bytes", g.live)
		}
		delete(ss.byID, id)
	}
	return missing
}

// roll begins the next segment when the current one has reached its end. When there is no room for another file the
// current one goes on, so that results can still be written where the disk allows.
func (ss *segments) roll() {
	if ss.cur != nil && ss.cur.end < ss.cur.size {
		return
	}
	err := ss.next()
	switch {
	case err != nil && ss.failed == nil:
		ss.log.Warn("a new segment cannot be made; the current one grows", "error", err)
	case err == nil && ss.failed != nil:
		ss.log.Info("new segments can be made again")
	}
	ss.failed = err
}

// next begins a segment.
func (ss *segments) next() error {
	g := ss.takeSpare()
	if g == nil {
		var err error
		ss.mu.Lock()
		slot, size := ss.slots, ss.size
		ss.slots++
		if len(ss.byID) >= manySegments {
			size *= largeFactor
		}
		ss.mu.Unlock()
		if g, err = makeSegmentFile(ss.dir, slot, size, ss.sync); err != nil {
			return err
		}
	}
	id, end := ss.lastID+1, uint32(0)
	if ss.cur != nil {
		end = uint32(ss.cur.end)
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	g.origin = ss.origin
	if err := g.begin(id, end, ss.sync); err != nil {
		ss.spares = append(ss.spares, g)
		return err
	}
	ss.byID[id] = g
	ss.cur, ss.lastID = g, id
	return nil
}

func (ss *segments) takeSpare() *segment {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	n := len(ss.spares)
	if n == 0 {
		return nil
	}
	g := ss.spares[n-1]
	ss.spares = ss.spares[:n-1]
	return g
}

// write writes a record at the end of the current segment and syncs it. When that fails, the next one goes to the same
// place: all of it is written again, so an earlier failure to sync cannot matter to it.
func (ss *segments) write(rec []byte) error {
	g := ss.cur
	if g == nil {
		return errors.New("there is no segment to write to")
	}
	if g.end+int64(len(rec)) > math.MaxInt32 {
		return fmt.Errorf("segment %d cannot grow any more: %w", g.id, ss.failed)
	}
	_, err := g.file.WriteAt(rec, g.end)
	if err == nil && ss.sync {
		ss.usual += (len(rec) - ss.usual) / 8
		g.writeAhead(g.end+int64(len(rec)), ss.usual)
		err = syncData(g.file)
	}
	if err != nil {
		// What may be there must not be found after a crash.
		_, _ = g.file.WriteAt(make([]byte, recordHead), g.end)
		return fmt.Errorf("write to segment %d: %w", g.id, err)
	}
	return nil
}

// What is written ahead of small records, in bytes. To sync the first write to a block costs the file system an entry
// in its journal, about 12 kB; to sync a later one does not. Beyond smallRecord the zeros weigh as much as that, and where
// large ones come between, the zeros are written over before they have served.
const (
	smallRecord = 8 << 10
	aheadBytes  = 512 << 10
)

var zeros [4 << 10]byte

// writeAhead writes zeros behind a record that reached blocks never written before, so that the next ones do not, when
// records are usually small. Large ones gain too little for what it costs.
func (g *segment) writeAhead(end int64, usual int) {
	if end <= g.written {
		return
	}
	g.written = end
	room := min(g.size-end, aheadBytes)
	if usual > smallRecord || room <= 0 {
		return
	}
	// In small steps, for a later write dirties, and has written, the whole of what one write has brought to memory.
	for ; room > 0; room -= int64(len(zeros)) {
		n, err := g.file.WriteAt(zeros[:min(room, int64(len(zeros)))], g.written)
		g.written += int64(n)
		if err != nil {
			return // the record is there, which is what counts
		}
	}
}

// reached tells how far replay has come.
func (ss *segments) reached(g *segment, end int64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	g.end = end
	ss.cur = g
}

// wrote moves the end past a record.
func (ss *segments) wrote(n int) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.cur.end = alignUp(ss.cur.end + int64(n))
}

// account adds to the live bytes of segments, as of a commit.
func (ss *segments) account(deltas []liveDelta, seq uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, d := range deltas {
		g := ss.byID[d.seg]
		if g == nil {
			continue
		}
		g.live += d.bytes
		g.deadAt = seq
	}
}

// read gives a blob. A segment that is not there, and a blob whose sum is wrong, are counted as damage.
func (ss *segments) read(ref blobRef) ([]byte, error) {
	ss.mu.RLock()
	g := ss.byID[ref.seg]
	ss.mu.RUnlock()
	if g == nil {
		ss.damaged.Add(1)
		return nil, fmt.Errorf("segment %d is missing: %w", ref.seg, sidehook.ErrNotFound)
	}
	if ref.size > maxBlob {
		ss.damaged.Add(1)
		return nil, fmt.Errorf("%w: blob of %d bytes", errCorrupt, ref.size)
	}
	p := make([]byte, ref.stored())
	if _, err := g.file.ReadAt(p, int64(ref.off)); err != nil {
		if errors.Is(err, io.EOF) {
			ss.damaged.Add(1)
			err = fmt.Errorf("%w: the file ends early", errCorrupt)
		}
		return nil, fmt.Errorf("segment %d at %d: %w", ref.seg, ref.off, err)
	}
	if checksum(p[blobHead:]) != binary.BigEndian.Uint32(p) {
		ss.damaged.Add(1)
		return nil, fmt.Errorf("segment %d at %d: %w: its sum is wrong", ref.seg, ref.off, errCorrupt)
	}
	return p[blobHead:], nil
}

// maxBlob bounds a blob, in bytes.
const maxBlob = 8 << 20

// hold keeps every segment while what is live is not known, that is until the log was replayed and what was damaged is
// mended: what it counts meanwhile may leave out what damaged records said.
func (ss *segments) hold(held bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.held = held
}

func (ss *segments) isHeld() bool {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	return ss.held
}

// knownOrigin is what the newest segment says that the log's origin is, 0 when none does.
func (ss *segments) knownOrigin() (origin uint32) {
	newest := uint32(0)
	for id, g := range ss.byID {
		if id > newest && g.origin != 0 {
			newest, origin = id, g.origin
		}
	}
	return origin
}

// has reports whether a segment is there.
func (ss *segments) has(id uint32) bool {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	g := ss.byID[id]
	return g != nil && g.file != nil
}

// release gives up the segments before a place in the log that nothing refers to any more and no reader may.
func (ss *segments) release(before uint32, oldestReader uint64) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for id, g := range ss.byID {
		if id >= before || g == ss.cur || g.file == nil || g.live > 0 || g.deadAt > oldestReader {
			continue
		}
		delete(ss.byID, id)
		ss.retire(g)
	}
}

// retire keeps a file as a spare, or removes it.
func (ss *segments) retire(g *segment) {
	g.id = 0
	if len(ss.spares) < maxSpares && g.size == ss.size {
		if err := g.wipe(); err == nil {
			ss.spares = append(ss.spares, g)
			return
		}
	}
	if err := g.remove(); err != nil {
		ss.log.Warn("a segment cannot be removed", "error", err)
	}
}

// dropSpares removes the spare files.
func (ss *segments) dropSpares() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, g := range ss.spares {
		if err := g.remove(); err != nil {
			ss.log.Warn("a spare segment cannot be removed", "error", err)
		}
	}
	ss.spares = nil
}

// end is where the next record goes.
func (ss *segments) end() segPos {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	return segPos{ss.cur.id, ss.cur.end}
}

// usage is the size of all segments that hold something, and of what is live in them.
func (ss *segments) usage() (size, live int64) {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	for _, g := range ss.byID {
		size += max(g.end, g.size)
		live += g.live
	}
	return size, live
}

// table lists the segments in order with their live bytes and ends.
func (ss *segments) table() []segmentRow {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	rows := make([]segmentRow, 0, len(ss.byID))
	for _, id := range slices.Sorted(maps.Keys(ss.byID)) {
		g := ss.byID[id]
		rows = append(rows, segmentRow{id, g.live, g.end})
	}
	return rows
}

// close closes all files.
func (ss *segments) close() error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	var all []error
	for _, g := range ss.byID {
		all = append(all, g.file.Close())
	}
	for _, g := range ss.spares {
		all = append(all, g.file.Close())
	}
	ss.spares = nil
	clear(ss.byID)
	return errors.Join(all...)
}

// segmentRow is a segment as a checkpoint knows it.
type segmentRow struct {
	id   uint32
	live int64
	end  int64
}

const segmentsVersion = 1

// encodeLog gives the value of m/log: where replay starts, and the segments.
func encodeLog(from segPos, rows []segmentRow) []byte {
	p := []byte{segmentsVersion}
	p = binary.AppendUvarint(p, uint64(from.seg))
	p = binary.AppendUvarint(p, uint64(from.off))
	p = binary.AppendUvarint(p, uint64(len(rows)))
	for _, r := range rows {
		p = binary.AppendUvarint(p, uint64(r.id))
		p = binary.AppendVarint(p, r.live)
		p = binary.AppendUvarint(p, uint64(r.end))
	}
	return p
}

func decodeLog(p []byte) (from segPos, rows []segmentRow, err error) {
	r := reader{b: p}
	if v := r.byte(); r.err == nil && v != segmentsVersion {
		r.fail(fmt.Sprintf("list of segments has version %d, not %d", v, segmentsVersion))
	}
	from = segPos{uint32(r.index(1 << 32)), int64(r.index(1 << 32))}
	n := r.count(3)
	for range n {
		rows = append(rows, segmentRow{uint32(r.index(1 << 32)), r.varint(), int64(r.index(1 << 32))})
	}
	return from, rows, r.done()
}
