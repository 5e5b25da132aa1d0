package send

import (
	"io"
	"math"
	"time"
)

// Limits of a response's body.
const (
	// maxDrain is how many bytes beyond the kept ones are read and thrown away so that the connection can be used
	// again. A new connection is cheaper than reading more.
	maxDrain = 64 << 10
	// drainTime is how long that may take.
	drainTime = 200 * time.Millisecond
	// maxChunkLine bounds the line before a chunk, its extensions included.
	maxChunkLine = 1 << 10
	// maxChunkOverhead bounds what a body has in bytes that are not content: chunk lines and trailers.
	maxChunkOverhead = 64 << 10
)

// errEnough stops reading a body of which everything that matters has been read.
const errEnough = protocolError("more body than is read")

// readBody fills resp.Body. Ended reports whether the response's end was reached. A failure after the part that is
// kept has been read is no error: it only costs the connection.
func (x *exchange) readBody(h *head) (ended bool, err error) {
	switch {
	case h.status == 204 || h.status == 304:
		return true, nil
	case h.chunked:
		err = x.readChunked()
	case h.length >= 0:
		err = x.readContent(h.length)
	default:
		// The end of the connection is the end of the body, so there is no use in reading more than is kept.
		err = x.readToEOF()
		h.close = true
	}
	if err == nil {
		return true, nil
	}
	if x.room() == 0 {
		x.resp.Truncated = true
		x.resp.Cut = h.chunked || h.length >= 0
		return false, nil
	}
	return false, err
}

// room is how many more bytes of the body are kept.
func (x *exchange) room() int { return x.maxBody - len(x.resp.Body) }

// readContent takes n bytes of content: as many as there is room for are kept, the rest is thrown away.
func (x *exchange) readContent(n int64) error {
	for n > 0 {
		if x.room() == 0 && x.in.buffered() == 0 {
			if err := x.startDrain(n); err != nil {
				return err
			}
		}
		p, err := x.in.chunk(n)
		if err == io.EOF {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		n -= int64(len(p))
		if err := x.take(p); err != nil {
			return err
		}
	}
	return nil
}

// take keeps or throws away a piece of content.
func (x *exchange) take(p []byte) error {
	keep := min(len(p), x.room())
	x.resp.Body = append(x.resp.Body, p[:keep]...)
	if dropped := len(p) - keep; dropped > 0 {
		x.resp.Truncated = true
		if x.dropped += dropped; x.dropped > maxDrain {
			return errEnough
		}
	}
	return nil
}

// startDrain is called before waiting for bytes that will be thrown away, n of which are known to come. It decides
// whether the connection is worth that, and shortens the time for it.
func (x *exchange) startDrain(n int64) error {
	if n > int64(maxDrain-x.dropped) {
		return errEnough
	}
	if x.draining {
		return nil
	}
	x.draining = true
	return x.cn.limit(earlier(x.deadline, time.Now().Add(drainTime)))
}

func (x *exchange) readToEOF() error {
	for {
		if x.room() == 0 {
			return errEnough
		}
		p, err := x.in.chunk(math.MaxInt64)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := x.take(p); err != nil {
			return err
		}
	}
}

// readChunked reads a chunked body (RFC 9112, section 7.1). It is strict: lines end with CRLF, nothing stands before
// the size, and the data ends where the size says.
func (x *exchange) readChunked() error {
	overhead := maxChunkOverhead
	for {
		line, err := x.chunkLine(&overhead, maxChunkLine)
		if err != nil {
			return err
		}
		n, err := parseChunkSize(line)
		if err != nil {
			return err
		}
		if n == 0 {
			return x.readTrailers(&overhead)
		}
		if err := x.readContent(n); err != nil {
			return err
		}
		if line, err = x.chunkLine(&overhead, 2); err != nil {
			return err
		}
		if len(line) != 0 {
			return protocolError("a chunk is longer than its size")
		}
	}
}

// chunkLine returns the next line without its CRLF, which it must have.
func (x *exchange) chunkLine(overhead *int, limit int) ([]byte, error) {
	if x.room() == 0 && x.in.buffered() == 0 {
		if err := x.startDrain(0); err != nil {
			return nil, err
		}
	}
	line, err := x.in.line(min(limit, *overhead))
	switch {
	case err == errLineTooLong && *overhead < limit:
		return nil, protocolError("more than 64 KiB of chunk lines and trailers")
	case err == errLineTooLong && limit == 2:
		return nil, protocolError("a chunk is longer than its size")
	case err == errLineTooLong:
		return nil, protocolError("a chunk line of more than 1 KiB")
	case err != nil:
		return nil, err
	}
	*overhead -= len(line)
	n := len(line)
	if n < 2 || line[n-2] != '\r' || !isFieldValue(line[:n-2]) {
		return nil, protocolError("a chunk line that does not end with CR LF")
	}
	return line[:n-2], nil
}

// parseChunkSize reads "1a2b" or "1a2b;extension=value".
func parseChunkSize(line []byte) (int64, error) {
	n, digits := int64(0), 0
	for digits < len(line) {
		d := hexValue(line[digits])
		if d < 0 {
			break
		}
		if digits++; digits > 15 {
			return 0, protocolError("a chunk size of more than 15 digits")
		}
		n = n<<4 | int64(d)
	}
	rest := line[digits:]
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		rest = rest[1:]
	}
	if digits == 0 || len(rest) > 0 && rest[0] != ';' {
		return 0, protocolError("chunk size " + quoteStart(line) + " is not a hexadecimal number")
	}
	return n, nil
}

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// readTrailers reads the headers behind the last chunk and forgets them.
func (x *exchange) readTrailers(overhead *int) error {
	for range maxFields + 1 {
		line, err := x.chunkLine(overhead, maxLine)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			return nil
		}
		var ignored head
		ignored.length = -1
		if _, err := ignored.parseField(line); err != nil {
			return err
		}
	}
	return protocolError("more than 100 trailers")
}
