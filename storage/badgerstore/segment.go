package badgerstore

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Sizes of a segment file, in bytes.
const (
	// segmentSize is where a segment ends: the record that reaches it is its last.
	segmentSize = 8 << 20
	// A store of many segments makes further ones larger, for each takes a file descriptor.
	manySegments = 64
	largeFactor  = 4
	segmentHead  = 64
)

const (
	segmentSuffix  = ".seg"
	segmentMagic   = 0x53485347
	segmentVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// segment is one file of the log, and what it holds at present. A file outlives its segment: it is used again for a
// later one, because to overwrite is much cheaper to sync than to grow. So the head says which segment it is, not the
// name.
type segment struct {
	id      uint32 // grows by one with each segment; 0: a spare file
	prevEnd uint32 // where the segment before it ended
	salt    uint64 // in the sum of every record, so that neither an earlier use nor an event's data passes for one

	// reserved is how large the file was when the segment began, 0 when that is not known for sure: one that is smaller
	// now was cut short.
	reserved int64
	origin   uint32 // of the log, 0 when it is not known
	cut      bool   // it was

	file    *os.File
	path    string
	size    int64 // at which it ends
	end     int64 // of its last record, aligned
	written int64 // up to here the file's blocks have been written before

	live   int64  // bytes of blobs that something refers to
	deadAt uint64 // with live 0: the commit from which on nothing refers to it
	// uncleanable: its records could not be read when it was to be rewritten.
	uncleanable bool
}

func (g *segment) head() []byte {
	p := make([]byte, 0, segmentHead)
	p = binary.BigEndian.AppendUint32(p, segmentMagic)
	p = binary.BigEndian.AppendUint32(p, segmentVersion)
	p = binary.BigEndian.AppendUint32(p, g.id)
	p = binary.BigEndian.AppendUint32(p, g.prevEnd)
	p = binary.BigEndian.AppendUint64(p, g.salt)
	p = binary.BigEndian.AppendUint64(p, uint64(g.reserved))
	p = binary.BigEndian.AppendUint32(p, g.origin)
	p = append(p, make([]byte, segmentHead-4-len(p))...)
	return binary.BigEndian.AppendUint32(p, checksum(p))
}

// begin makes a spare file the segment id. The head is synced with the first record. durable says that what the file
// system says of the file survives a power loss.
func (g *segment) begin(id, prevEnd uint32, durable bool) error {
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // documented never to fail
	g.id, g.prevEnd, g.salt, g.reserved, g.cut = id, prevEnd, binary.BigEndian.Uint64(salt[:]), 0, false
	g.end, g.live, g.deadAt, g.uncleanable = segmentHead, 0, 0, false
	info, err := g.file.Stat()
	if err == nil {
		if durable {
			g.reserved = info.Size()
		}
		_, err = g.file.WriteAt(g.head(), 0)
	}
	if err != nil {
		g.id = 0
		return fmt.Errorf("begin segment %d: %w", id, err)
	}
	return nil
}

// wipe makes the file a spare for every later start, too: what it holds was given up, and is not to come back when the
// queue has to be rebuilt from its segments.
func (g *segment) wipe() error {
	g.id = 0
	_, err := g.file.WriteAt(make([]byte, segmentHead), 0)
	return err
}

// errHead: the head of a segment file is damaged.
var errHead = fmt.Errorf("%w: the head of a segment", errCorrupt)

// readHead finds which segment a file is; a spare if it has no head. A head with one bit flipped is put right, in the
// file, too; then mended is true. One that is damaged beyond that is errHead.
func (g *segment) readHead() (mended bool, err error) {
	p := make([]byte, segmentHead)
	n, err := g.file.ReadAt(p, 0)
	if n < len(p) {
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		return false, nil // cut short, perhaps while it was made
	}
	if bytes.Count(p, []byte{0}) == len(p) {
		return false, nil
	}
	if !soundHead(p) {
		if mended = correctBit(p, soundHead); !mended {
			return false, errHead
		}
		if _, err := g.file.WriteAt(p, 0); err != nil {
			return false, err
		}
	}
	if v := binary.BigEndian.Uint32(p[4:]); v != segmentVersion {
		return mended, fmt.Errorf("segment file %s has version %d, this program knows %d", g.path, v, segmentVersion)
	}
	g.id, g.prevEnd = binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	g.salt, g.reserved = binary.BigEndian.Uint64(p[16:]), int64(binary.BigEndian.Uint64(p[24:]))
	g.origin, g.end = binary.BigEndian.Uint32(p[32:]), segmentHead
	return mended, nil
}

func soundHead(p []byte) bool {
	return binary.BigEndian.Uint32(p) == segmentMagic &&
		checksum(p[:segmentHead-4]) == binary.BigEndian.Uint32(p[segmentHead-4:])
}

// correctBit looks for the one bit whose flip makes p good, and leaves it flipped.
//
// Only heads are corrected: among so few bits, and with what else is known of a head, a wrong correction would take
// more than luck. A body is never guessed.
func correctBit(p []byte, good func([]byte) bool) bool {
	for i := range p {
		for bit := range 8 {
			p[i] ^= 1 << bit
			if good(p) {
				return true
			}
			p[i] ^= 1 << bit
		}
	}
	return false
}

// makeSegmentFile makes a spare file with room for a segment.
func makeSegmentFile(dir string, slot int, size int64, sync bool) (*segment, error) {
	path := filepath.Join(dir, fmt.Sprintf("%06d%s", slot, segmentSuffix))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a segment: %w", err)
	}
	g := &segment{file: f, path: path, size: size}
	if err = g.reserve(size); err == nil && sync {
		err = errors.Join(f.Sync(), syncFolder(dir))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make segment %s: %w", path, err), g.remove())
	}
	return g, nil
}

// reserve takes the room for a segment, so that a full disk shows here and not in the middle of one.
func (g *segment) reserve(size int64) error {
	err := allocate(g.file, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil // it grows as it is written
	}
	return err
}

func (g *segment) remove() error { return errors.Join(g.file.Close(), os.Remove(g.path)) }

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// damagedSuffix is what the name of a file ends in that was set aside.
const damagedSuffix = ".damaged"

// openFiles opens every segment file of the folder, and says what is wrong with their heads and sizes.
func (ss *segments) openFiles() (files []*segment, slots int, err error) {
	names, err := os.ReadDir(ss.dir)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		var slot int
		plain := strings.TrimSuffix(name.Name(), damagedSuffix)
		if !strings.HasSuffix(plain, segmentSuffix) {
			continue
		}
		if _, err := fmt.Sscanf(plain, "%d"+segmentSuffix, &slot); err != nil {
			continue
		}
		slots = max(slots, slot+1)
		if plain != name.Name() {
			continue
		}
		path := filepath.Join(ss.dir, plain)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, slots, fmt.Errorf("open a segment: %w", err)
		}
		g := &segment{file: f, path: path, size: ss.size}
		switch err := ss.identify(g); {
		case errors.Is(err, errHead):
			if err := ss.setAside(g); err != nil {
				return files, slots, err
			}
		case err != nil:
			return append(files, g), slots, fmt.Errorf("read the head of a segment: %w", err)
		default:
			files = append(files, g)
		}
	}
	return files, slots, nil
}

// identify reads the head of a file, and compares its size.
func (ss *segments) identify(g *segment) error {
	mended, err := g.readHead()
	if err != nil {
		return err
	}
	if mended {
		ss.log.Warn("a bit was flipped in the head of a segment; it was put right and nothing is lost", "file", g.path)
	}
	info, err := g.file.Stat()
	if err != nil || g.id == 0 || info.Size() >= g.reserved {
		return err
	}
	ss.damaged.Add(1)
	ss.log.Error("a segment file was cut short; what stood behind is lost",
		"file", g.path, "segment", g.id, "bytes", info.Size(), "of", g.reserved)
	g.cut = true
	return nil
}

// lengthen makes files that were cut short as large again, so that the next start does not find the same. Replay comes
// first, for it tells a record that ends early from one that does not.
func (ss *segments) lengthen() {
	for _, g := range ss.byID {
		if !g.cut {
			continue
		}
		if err := g.reserve(g.reserved); err != nil {
			ss.log.Warn("a segment file that was cut short cannot be made as large again", "file", g.path, "error", err)
		}
	}
}

// setAside renames a file that cannot be read, so that nobody writes over what it holds.
func (ss *segments) setAside(g *segment) error {
	aside := g.path + damagedSuffix
	ss.damaged.Add(1)
	ss.log.Error("the head of a segment cannot be read; what the segment holds is lost, and its file was set aside",
		"file", g.path, "aside", aside)
	if err := errors.Join(g.file.Close(), os.Rename(g.path, aside)); err != nil {
		return fmt.Errorf("set a damaged segment aside: %w", err)
	}
	return nil
}
