package badgerstore

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/sidehook/sidehook"
)

// idHash stands for an event id: the start of the SHA-256 of app, zero byte and id. Ids hold no zero bytes.
type idHash [16]byte

func hashID(e *sidehook.Event) idHash {
	var stack [sidehook.MaxNameLen + 1 + sidehook.MaxEventIDLen]byte
	b := append(append(append(stack[:0], e.App...), 0), e.ID...)
	sum := sha256.Sum256(b)
	return idHash(sum[:16])
}

// The dedupe set is divided into generations, and the oldest is forgotten as a whole. A window of spansPerWindow
// generations needs two more: the one being filled, and the one that the window's old end cuts through.
const (
	spansPerWindow = 8
	generations    = spansPerWindow + 2
)

// dedupe remembers the ids of recent events, oldest generation first. Only the committer uses it.
type dedupe struct {
	span int64 // of a generation, nanoseconds; 0: remembers nothing
	most int   // ids in a generation
	gens []*generation
}

type generation struct {
	set   hashSet
	start int64  // when its first commit was
	last  uint64 // its last commit
}

func newDedupe(window time.Duration, events int) *dedupe {
	if window < 0 {
		return &dedupe{}
	}
	return &dedupe{
		span: max(int64(window)/spansPerWindow, 1),
		most: max(events/generations, 1),
	}
}

func (d *dedupe) enabled() bool { return d.span != 0 }

func (d *dedupe) has(h idHash) bool {
	for i := len(d.gens) - 1; i >= 0; i-- {
		if d.gens[i].set.has(h) {
			return true
		}
	}
	return false
}

// add remembers the ids of a commit.
func (d *dedupe) add(seq uint64, at int64, ids []idHash) {
	if !d.enabled() || len(ids) == 0 {
		return
	}
	for _, h := range ids {
		g := d.current(at)
		g.last = seq
		g.set.add(h)
	}
}

func (d *dedupe) current(at int64) *generation {
	if n := len(d.gens); n > 0 {
		if g := d.gens[n-1]; at-g.start < d.span && g.set.n < d.most {
			return g
		}
	}
	g := &generation{start: at}
	d.gens = append(d.gens, g)
	return g
}

// forget drops the generations that are too old or too many at now. It returns the commit up to which i/ entries are
// of no use any more, 0 for none.
func (d *dedupe) forget(now int64) (upTo uint64) {
	for len(d.gens) > 0 {
		end := d.gens[0].start + d.span
		if len(d.gens) > 1 {
			end = d.gens[1].start
		}
		if len(d.gens) <= generations && now-end <= d.span*spansPerWindow {
			break
		}
		upTo = d.gens[0].last
		d.gens[0] = nil
		d.gens = d.gens[1:]
		if len(d.gens) > 0 && d.gens[0].last == upTo {
			upTo-- // the commit has ids in the next generation, too
		}
	}
	return upTo
}

// hashSet is an open-addressing set of hashes. Beside each slot stands a tag, zero when the slot is free: nearly every
// lookup is for a hash that is not there, and tags tell so within a line of the processor's cache.
type hashSet struct {
	slots []idHash
	tags  []byte
	n     int
}

// tagOf is a byte of the hash that its place does not follow from, and never zero.
func tagOf(h idHash) byte { return h[8] | 1 }

func (s *hashSet) slot(h idHash) int {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(h[:]), uint64(len(s.slots)))
	i, tag := int(hi), tagOf(h)
	for s.tags[i] != 0 && (s.tags[i] != tag || s.slots[i] != h) {
		if i++; i == len(s.tags) {
			i = 0
		}
	}
	return i
}

func (s *hashSet) has(h idHash) bool { return s.n > 0 && s.tags[s.slot(h)] != 0 }

func (s *hashSet) add(h idHash) {
	if 5*(s.n+1) > 4*len(s.slots) {
		s.grow()
	}
	if i := s.slot(h); s.tags[i] == 0 {
		s.slots[i], s.tags[i] = h, tagOf(h)
		s.n++
	}
}

func (s *hashSet) grow() {
	slots, tags := s.slots, s.tags
	size := max(64, len(slots)*3/2)
	s.slots, s.tags = make([]idHash, size), make([]byte, size)
	for i, h := range slots {
		if tags[i] != 0 {
			at := s.slot(h)
			s.slots[at], s.tags[at] = h, tags[i]
		}
	}
}

// reset empties the set and keeps its room.
func (s *hashSet) reset() {
	if s.n > 0 {
		clear(s.tags)
		s.n = 0
	}
}

func encodeIDs(dst []byte, at int64, ids []idHash) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(at))
	for i := range ids {
		dst = append(dst, ids[i][:]...)
	}
	return dst
}

func decodeIDs(p []byte) (at int64, ids []idHash, err error) {
	if len(p) < 8 || (len(p)-8)%16 != 0 {
		return 0, nil, fmt.Errorf("%w: list of ids has %d bytes", errCorrupt, len(p))
	}
	at = int64(binary.BigEndian.Uint64(p))
	ids = make([]idHash, 0, (len(p)-8)/16)
	for p = p[8:]; len(p) > 0; p = p[16:] {
		ids = append(ids, idHash(p))
	}
	return at, ids, nil
}
