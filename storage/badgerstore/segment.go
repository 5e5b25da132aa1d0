package badgerstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
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
	p = append(p, make([]byte, segmentHead-4-len(p))...)
	return binary.BigEndian.AppendUint32(p, checksum(p))
}

// begin makes a spare file the segment id. The head is synced with the first record.
func (g *segment) begin(id, prevEnd uint32) error {
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // documented never to fail
	g.id, g.prevEnd, g.salt = id, prevEnd, binary.BigEndian.Uint64(salt[:])
	g.end, g.live, g.deadAt, g.uncleanable = segmentHead, 0, 0, false
	if _, err := g.file.WriteAt(g.head(), 0); err != nil {
		g.id = 0
		return fmt.Errorf("begin segment %d: %w", id, err)
	}
	return nil
}

// readHead finds which segment a file is; a spare if its head is not one.
func (g *segment) readHead() error {
	p := make([]byte, segmentHead)
	if n, err := g.file.ReadAt(p, 0); n < len(p) {
		if n > 0 || err == nil {
			return nil
		}
		if info, statErr := g.file.Stat(); statErr == nil && info.Size() < segmentHead {
			return nil // cut short while it was made
		}
		return err
	}
	if binary.BigEndian.Uint32(p) != segmentMagic || checksum(p[:segmentHead-4]) != binary.BigEndian.Uint32(p[segmentHead-4:]) {
		return nil
	}
	if v := binary.BigEndian.Uint32(p[4:]); v != segmentVersion {
		return fmt.Errorf("segment file %s has version %d, this program knows %d", g.path, v, segmentVersion)
	}
	g.id, g.prevEnd = binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint32(p[12:])
	g.salt, g.end = binary.BigEndian.Uint64(p[16:]), segmentHead
	return nil
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
	err := unix.Fallocate(int(g.file.Fd()), 0, 0, size)
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

// openSegmentFiles opens every segment file of the folder.
func openSegmentFiles(dir string, size int64) (files []*segment, slots int, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), segmentSuffix) {
			continue
		}
		var slot int
		if _, err := fmt.Sscanf(name.Name(), "%d"+segmentSuffix, &slot); err != nil {
			continue
		}
		slots = max(slots, slot+1)
		path := filepath.Join(dir, name.Name())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, slots, fmt.Errorf("open a segment: %w", err)
		}
		g := &segment{file: f, path: path, size: size}
		files = append(files, g)
		if err := g.readHead(); err != nil {
			return files, slots, fmt.Errorf("read the head of a segment: %w", err)
		}
	}
	return files, slots, nil
}
