package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
)

// errCorrupt: a stored value does not decode. Badger checks its own sums, so this is a bug or a meddled-with file.
var errCorrupt = errors.New("stored value is corrupt")

// maxDecoded bounds what a compressed value may claim to hold, in bytes. A transaction holds less than a third of it.
const maxDecoded = 4 << 20

// reader takes a value apart. The first fault sticks; later reads give zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errCorrupt, what)
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("ends early")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("bad number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("bad number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of things that take at least min bytes each, so that a bad one cannot make a huge allocation.
func (r *reader) count(min int) int {
	v := r.uvarint()
	if v > uint64(len(r.b)/min) {
		r.fail("count is larger than the value")
		return 0
	}
	return int(v)
}

// index reads a number below limit.
func (r *reader) index(limit int) int {
	v := r.uvarint()
	if v >= uint64(limit) {
		r.fail("index out of range")
		return 0
	}
	return int(v)
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("ends early")
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// bytes reads a length and that many bytes; the result shares the value.
func (r *reader) bytes() []byte { return r.take(r.count(1)) }

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) uint64() uint64 {
	p := r.take(8)
	if p == nil {
		return 0
	}
	return binary.BigEndian.Uint64(p)
}

// done checks that nothing is left.
func (r *reader) done() error {
	if r.err == nil && len(r.b) != 0 {
		r.fail("has extra bytes")
	}
	return r.err
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendBytes(b, p []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	return append(b, p...)
}

// The codecs of a packed value.
const (
	codecPlain = 0
	codecS2    = 1
)

// packWorth is the size from which compression is tried.
const packWorth = 192

// packBuffers hold compressed values until their size is known.
var packBuffers = sync.Pool{New: func() any { return new([]byte) }}

// pack appends body to dst behind a codec byte, compressed when that is smaller.
func pack(dst, body []byte) []byte {
	if len(body) >= packWorth {
		buf := packBuffers.Get().(*[]byte)
		defer packBuffers.Put(buf)
		if n := s2.MaxEncodedLen(len(body)); cap(*buf) < n {
			*buf = make([]byte, n)
		}
		out := s2.Encode((*buf)[:cap(*buf)], body)
		if len(out) < len(body)-len(body)/16 {
			dst = append(grow(dst, 1+len(out)), codecS2)
			return append(dst, out...)
		}
	}
	dst = append(grow(dst, 1+len(body)), codecPlain)
	return append(dst, body...)
}

// unpack undoes pack. The result may share p.
func unpack(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, fmt.Errorf("%w: is empty", errCorrupt)
	}
	switch p[0] {
	case codecPlain:
		return p[1:], nil
	case codecS2:
		n, err := s2.DecodedLen(p[1:])
		if err != nil || n > maxDecoded {
			return nil, fmt.Errorf("%w: bad compressed length", errCorrupt)
		}
		out, err := s2.Decode(nil, p[1:])
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errCorrupt, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%w: unknown codec %d", errCorrupt, p[0])
}

// grow makes room for n more bytes.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	out := make([]byte, len(b), len(b)+n)
	copy(out, b)
	return out
}
