package send

import (
	"bytes"
	"io"
)

const (
	firstBuffer = 4 << 10
	// maxLine bounds one line; maxHead bounds all of them, so no line can be longer.
	maxLine = maxHead
)

// reader buffers what a connection brings. Slices that it returns hold until its next call.
type reader struct {
	src  io.Reader
	buf  []byte
	r, w int
	got  bool  // at least one byte has come
	err  error // came instead of bytes, for the next fill
}

func (b *reader) reset(src io.Reader) {
	b.src, b.r, b.w, b.got, b.err = src, 0, 0, false, nil
	if b.buf == nil {
		b.buf = make([]byte, firstBuffer)
	}
}

func (b *reader) release() {
	b.src, b.err = nil, nil
	if len(b.buf) > keepBuffer {
		b.buf = nil
	}
}

func (b *reader) buffered() int { return b.w - b.r }

// brought notes what has been read into buf, or why nothing was.
func (b *reader) brought(n int, err error) {
	b.w, b.got, b.err = n, n > 0, err
}

// fill brings in at least one more byte. It makes room by moving what is unread to the front, and then by growing up
// to maxLine.
func (b *reader) fill() error {
	if b.err != nil {
		return b.err
	}
	switch {
	case b.r == b.w:
		b.r, b.w = 0, 0
	case b.w == len(b.buf) && b.r > 0:
		copy(b.buf, b.buf[b.r:b.w])
		b.r, b.w = 0, b.w-b.r
	case b.w == len(b.buf) && len(b.buf) >= maxLine:
		return protocolError("a line is longer than 32 KiB")
	case b.w == len(b.buf):
		grown := make([]byte, 2*len(b.buf))
		copy(grown, b.buf[:b.w])
		b.buf = grown
	}
	for range 100 {
		n, err := b.src.Read(b.buf[b.w:])
		if n > 0 { // an error that came along comes again with the next read
			b.w += n
			b.got = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// more is fill in the middle of something, where the end of the connection is not expected.
func (b *reader) more() error {
	err := b.fill()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line returns the next line with its line feed, which is at most limit bytes.
func (b *reader) line(limit int) ([]byte, error) {
	scanned := 0
	for {
		if i := bytes.IndexByte(b.buf[b.r+scanned:b.w], '\n'); i >= 0 {
			if scanned+i+1 > limit {
				return nil, errLineTooLong
			}
			line := b.buf[b.r : b.r+scanned+i+1]
			b.r += len(line)
			return line, nil
		}
		if scanned = b.buffered(); scanned >= limit {
			return nil, errLineTooLong
		}
		if err := b.more(); err != nil {
			return nil, err
		}
	}
}

const errLineTooLong = protocolError("a line is over its limit")

// chunk returns between 1 and n of the next bytes.
func (b *reader) chunk(n int64) ([]byte, error) {
	if b.r == b.w {
		if err := b.fill(); err != nil {
			return nil, err
		}
	}
	p := b.buf[b.r:b.w]
	if int64(len(p)) > n {
		p = p[:n]
	}
	b.r += len(p)
	return p, nil
}
