package badgerstore

import (
	"encoding/binary"
	"slices"

	"github.com/sidehook/sidehook/storage"
)

// single is the value of a delivery that is in its queue by itself: what its attempts left behind.
type single struct {
	attempts int
	firstAt  int64 // Unix nanoseconds; 0: none yet
	saved    savedID
}

// savedID names a saved request within its batch: the start of the SHA-256 of its value; zero for none.
type savedID [16]byte

const (
	singleHasFirst = 1 << 0
	singleHasSaved = 1 << 1
)

func (s single) encode(dst []byte) []byte {
	flags := byte(0)
	if s.firstAt != 0 {
		flags |= singleHasFirst
	}
	if s.saved != (savedID{}) {
		flags |= singleHasSaved
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(s.attempts))
	if s.firstAt != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(s.firstAt))
	}
	if flags&singleHasSaved != 0 {
		dst = append(dst, s.saved[:]...)
	}
	return dst
}

func (s *single) read(r *reader) {
	flags := r.byte()
	s.attempts = r.index(1 << 31)
	if flags&singleHasFirst != 0 {
		s.firstAt = int64(r.uint64())
	}
	if flags&singleHasSaved != 0 {
		copy(s.saved[:], r.take(len(s.saved)))
	}
}

func decodeSingle(p []byte) (single, error) {
	var s single
	r := reader{b: p}
	s.read(&r)
	return s, r.done()
}

// appendRun appends the value of a run: its members' indices, ascending, as stretches of equal steps (first, step,
// length), because the deliveries of one webhook stand at equal distances when events go to the same webhooks.
func appendRun(dst []byte, members []uint32) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(members)))
	last := uint32(0)
	for i := 0; i < len(members); {
		first, step, n := members[i], uint32(0), 1
		if i+1 < len(members) {
			step = members[i+1] - first
			for i+n < len(members) && members[i+n]-members[i+n-1] == step {
				n++
			}
		}
		dst = binary.AppendUvarint(dst, uint64(first-last))
		dst = binary.AppendUvarint(dst, uint64(n))
		if n > 1 {
			dst = binary.AppendUvarint(dst, uint64(step))
		}
		i += n
		last = members[i-1]
	}
	return dst
}

func decodeRun(p []byte) ([]uint32, error) {
	r := reader{b: p}
	count := r.index(maxPlaces + 1)
	members := make([]uint32, 0, min(count, 1024))
	last := uint64(0)
	for len(members) < count && r.err == nil {
		first := last + r.uvarint()
		n, step := r.index(count-len(members)+1), uint64(0)
		if n > 1 {
			step = r.uvarint()
		}
		if n == 0 || (n > 1 && step == 0) || first >= maxPlaces || step >= maxPlaces {
			r.fail("bad stretch of a run")
			break
		}
		if len(members) > 0 && first == last {
			r.fail("run repeats a member")
			break
		}
		for i := range uint64(n) {
			members = append(members, uint32(first+i*step))
		}
		last = first + uint64(n-1)*step
		if last >= maxPlaces {
			r.fail("member out of range")
		}
	}
	return members, r.done()
}

// mergeRun joins two ascending lists of members.
func mergeRun(a, b []uint32) []uint32 {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

const savedVersion = 1

// encodeSaved gives the value of a saved request; its hash is the request's id.
func encodeSaved(s *storage.SavedRequest) []byte {
	body := appendText(nil, s.ContentType)
	body = appendHeaders(body, s.Headers)
	if s.Body == nil {
		body = append(body, 0)
	} else {
		body = append(body, 1)
		body = append(body, s.Body...)
	}
	return pack([]byte{savedVersion}, body)
}

func decodeSaved(p []byte) (*storage.SavedRequest, error) {
	r := reader{b: p}
	if v := r.byte(); r.err == nil && v != savedVersion {
		r.fail("saved request has an unknown version")
	}
	if r.err != nil {
		return nil, r.err
	}
	body, err := unpack(r.b)
	if err != nil {
		return nil, err
	}
	r = reader{b: body}
	s := &storage.SavedRequest{ContentType: r.text(), Headers: readHeaders(&r)}
	if r.byte() == 1 {
		s.Body = append([]byte{}, r.b...)
		r.b = nil
	}
	return s, r.done()
}
