package badgerstore

import (
	"encoding/binary"
	"fmt"

	"github.com/sidehook/sidehook"
)

// place is where one delivery is: the durable truth, kept in its batch.
type place byte

const (
	placeTaken     place = iota // handed to the caller of Append, not recorded yet
	placeRun                    // in a run of its queue, never attempted
	placeSingle                 // in its queue by itself
	placeDelivered              // ended
	placeDead
	placeDropped
	places
)

func (p place) final() bool { return p >= placeDelivered }

func (p place) state() sidehook.DeliveryState {
	switch p {
	case placeDelivered:
		return sidehook.Delivered
	case placeDead:
		return sidehook.Dead
	case placeDropped:
		return sidehook.Dropped
	}
	return sidehook.Pending
}

func placeOf(s sidehook.DeliveryState) place {
	switch s {
	case sidehook.Delivered:
		return placeDelivered
	case sidehook.Dead:
		return placeDead
	}
	return placeDropped
}

// blockAt is a block of a batch.
type blockAt struct {
	last uint32 // the last index in it
	ref  blobRef
}

// batch is what one commit appended, without the events themselves.
type batch struct {
	seq        uint64
	accepted   int64 // Unix nanoseconds
	places     []place
	taken      int
	unfinished int
	bytes      int64  // of its blocks and saved requests
	saved      int    // how many saved requests it has
	finishedAt uint64 // the commit that finished it; 0 while unfinished
	thinnedAt  int    // unfinished deliveries when its blocks were last thinned or considered; 0: never
	blocks     []blockAt

	encoded int       // size of its value when last written; not stored
	next    []blockAt // what blocks will be when the commit under way is durable; nil: the same
	changed bool      // next is set
}

const batchVersion = 2

// encode appends the value of d/.
func (b *batch) encode(dst []byte) []byte {
	body := make([]byte, 0, 64)
	body = binary.BigEndian.AppendUint64(body, uint64(b.accepted))
	for _, n := range [...]uint64{
		uint64(b.unfinished), uint64(b.bytes), uint64(b.saved), b.finishedAt, uint64(b.thinnedAt),
	} {
		body = binary.AppendUvarint(body, n)
	}
	blocks := b.planned()
	body = binary.AppendUvarint(body, uint64(len(blocks)))
	last := uint32(0)
	for _, at := range blocks {
		body = binary.AppendUvarint(body, uint64(at.last-last))
		body = at.ref.encode(body)
		last = at.last
	}
	body = binary.AppendUvarint(body, uint64(len(b.places)))
	body = appendPlaces(body, b.places)
	start := len(dst)
	dst = append(dst, batchVersion)
	dst = pack(dst, body)
	b.encoded = len(dst) - start
	return dst
}

// appendPlaces run-length codes: a byte of place and length up to 31, or length 0 and a number.
func appendPlaces(b []byte, ps []place) []byte {
	for i := 0; i < len(ps); {
		j := i + 1
		for j < len(ps) && ps[j] == ps[i] {
			j++
		}
		if n := j - i; n < 32 {
			b = append(b, byte(ps[i])<<5|byte(n))
		} else {
			b = append(b, byte(ps[i])<<5)
			b = binary.AppendUvarint(b, uint64(n))
		}
		i = j
	}
	return b
}

// maxPlaces bounds the deliveries of one batch: those of one commit.
const maxPlaces = 1 << 18

// decodeBatch undoes encode.
func decodeBatch(seq uint64, p []byte) (*batch, error) {
	if len(p) == 0 || p[0] != batchVersion {
		return nil, fmt.Errorf("batch %d: %w: unknown version", seq, errCorrupt)
	}
	body, err := unpack(p[1:])
	if err != nil {
		return nil, fmt.Errorf("batch %d: %w", seq, err)
	}
	r := reader{b: body}
	b := &batch{seq: seq, accepted: int64(r.uint64()), encoded: len(p)}
	unfinished := r.uvarint()
	b.bytes = int64(r.uvarint())
	b.saved = r.index(maxPlaces + 1)
	b.finishedAt = r.uvarint()
	b.thinnedAt = r.index(maxPlaces + 1)
	blocks := r.count(4)
	last := uint32(0)
	for range blocks {
		last += uint32(r.uvarint())
		b.blocks = append(b.blocks, blockAt{last, r.ref()})
	}
	b.readPlaces(&r)
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("batch %d: %w", seq, err)
	}
	if uint64(b.unfinished) != unfinished || b.bytes < 0 {
		return nil, fmt.Errorf("batch %d: %w: counts do not agree", seq, errCorrupt)
	}
	return b, nil
}

func (b *batch) readPlaces(r *reader) {
	n := r.index(maxPlaces + 1)
	b.places = make([]place, 0, n)
	for len(b.places) < n {
		c := r.byte()
		p, length := place(c>>5), int(c&31)
		if length == 0 {
			length = r.index(maxPlaces + 1)
		}
		if r.err == nil && (p >= places || length == 0 || length > n-len(b.places)) {
			r.fail("bad run of places")
		}
		if r.err != nil {
			return
		}
		for range length {
			b.places = append(b.places, p)
		}
		b.count(p, length)
	}
}

// count adds n deliveries at p to the counts.
func (b *batch) count(p place, n int) {
	if p == placeTaken {
		b.taken += n
	}
	if !p.final() {
		b.unfinished += n
	}
}

// move changes one delivery's place.
func (b *batch) move(index uint32, to place) {
	b.count(b.places[index], -1)
	b.places[index] = to
	b.count(to, 1)
}

func (b *batch) has(index uint32) bool { return uint64(index) < uint64(len(b.places)) }

// memory is about what the batch takes, in bytes.
func (b *batch) memory() int { return 192 + len(b.places) + 16*len(b.blocks) }

// planned are the blocks as the commit under way leaves them.
func (b *batch) planned() []blockAt {
	if b.changed {
		return b.next
	}
	return b.blocks
}

// encodedAbout is about how large the value of a new batch is.
func (b *batch) encodedAbout() int { return 64 + len(b.places)/16 + 12*len(b.blocks) }
