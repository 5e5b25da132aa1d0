package send

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// Limits of a response's head.
const (
	maxHead       = 32 << 10 // bytes of all status lines and headers, those of interim responses included
	maxFields     = 100      // headers, those of interim responses included
	maxInterim    = 5        // 1xx responses before the final one
	maxRetryAfter = 128      // bytes kept of Retry-After
)

// head is what matters of a response's status line and headers.
type head struct {
	status     int
	minor      int   // 0 for HTTP/1.0, else 1
	length     int64 // Content-Length; -1 for none
	chunked    bool
	close      bool
	keepAlive  bool
	idle       time.Duration // from Keep-Alive: timeout=; 0 for none
	retryAfter string
}

// persistent reports whether the connection stays open after the response (RFC 9112, section 9.3).
func (h *head) persistent() bool {
	return !h.close && (h.minor >= 1 || h.keepAlive)
}

// idleTime is for how long the connection may be idle: at most own, and a bit less than what the receiver says.
func (h *head) idleTime(own time.Duration) time.Duration {
	if h.idle == 0 {
		return own
	}
	return min(own, h.idle-min(time.Second, h.idle/2))
}

// readHead reads up to the end of the final response's head.
func (x *exchange) readHead() (head, error) {
	budget := headBudget{bytes: maxHead, fields: maxFields}
	for range maxInterim + 1 {
		h, err := x.readOneHead(&budget)
		if err != nil {
			return head{}, err
		}
		switch {
		case h.status >= 200:
			return h, h.check()
		case h.status == 101:
			return head{}, protocolError("101 Switching Protocols was not asked for")
		}
	}
	return head{}, protocolError("more than 5 interim (1xx) responses")
}

// headBudget is what is left of the limits.
type headBudget struct {
	bytes, fields int
}

func (x *exchange) readOneHead(budget *headBudget) (head, error) {
	h := head{length: -1}
	line, err := x.headLine(budget)
	if err != nil {
		return h, err
	}
	if err := h.parseStatusLine(line); err != nil {
		return h, err
	}
	x.phase = phaseHead
	framing := true // whether the line before is one that matters; the status line counts as one
	for {
		line, err := x.headLine(budget)
		if err != nil {
			return h, err
		}
		if len(line) == 0 {
			return h, nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			// The obsolete way to fold a long value (RFC 9112, section 5.2). In a header that nobody reads it is
			// harmless; in one that frames the message it is an attack.
			if framing {
				return h, protocolError("a header is folded over several lines")
			}
			continue
		}
		if budget.fields--; budget.fields < 0 {
			return h, protocolError("more than 100 headers")
		}
		if framing, err = h.parseField(line); err != nil {
			return h, err
		}
	}
}

// headLine returns the next line of a head without its end, which may be a bare line feed (RFC 9112, section 2.2).
func (x *exchange) headLine(budget *headBudget) ([]byte, error) {
	line, err := x.in.line(budget.bytes)
	if err == errLineTooLong {
		return nil, protocolError("headers of more than 32 KiB")
	}
	if err != nil {
		return nil, err
	}
	budget.bytes -= len(line)
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

// parseStatusLine reads "HTTP/1.1 200 OK"; the reason and the space before it may be missing.
func (h *head) parseStatusLine(line []byte) error {
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." || line[8] != ' ' ||
		!isDigit(line[7]) || !isDigit(line[9]) || !isDigit(line[10]) || !isDigit(line[11]) ||
		len(line) > 12 && line[12] != ' ' {
		return protocolError("it starts with " + quoteStart(line) + " and not with an HTTP/1.1 status line")
	}
	if !isFieldValue(line) {
		return protocolError("status line with control characters")
	}
	h.minor = min(int(line[7]-'0'), 1)
	h.status = int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	if h.status < 100 {
		return protocolError("status " + string(line[9:12]) + " is less than 100")
	}
	return nil
}

// parseField reads one header, and reports whether it is one that matters here.
func (h *head) parseField(line []byte) (matters bool, err error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 || !isToken(line[:colon]) {
		return false, protocolError("header line " + quoteStart(line) + " has no legal name")
	}
	name, value := line[:colon], line[colon+1:]
	if !isFieldValue(value) {
		return false, protocolError("header " + string(name) + " has control characters in it")
	}
	value = bytes.Trim(value, " \t")
	// The length tells most headers apart from the ones looked for.
	switch len(name) {
	case len("connection"): // also of keep-alive
		if isName(name, "connection") {
			h.parseConnection(value)
			return true, nil
		}
		if isName(name, "keep-alive") {
			h.parseKeepAlive(value)
			return true, nil
		}
	case len("retry-after"):
		if isName(name, "retry-after") {
			h.retryAfter = string(value[:min(len(value), maxRetryAfter)])
			return true, nil
		}
	case len("content-length"):
		if isName(name, "content-length") {
			return true, h.parseLength(value)
		}
	case len("transfer-encoding"):
		if isName(name, "transfer-encoding") {
			return true, h.parseEncoding(value)
		}
	}
	return false, nil
}

func (h *head) parseConnection(value []byte) {
	for option := range bytes.SplitSeq(value, []byte{','}) {
		switch option = bytes.Trim(option, " \t"); {
		case isName(option, "close"):
			h.close = true
		case isName(option, "keep-alive"):
			h.keepAlive = true
		}
	}
}

// parseKeepAlive reads "timeout=5, max=100". What it cannot read it ignores: the header is a hint.
func (h *head) parseKeepAlive(value []byte) {
	for param := range bytes.SplitSeq(value, []byte{','}) {
		key, val, _ := strings.Cut(string(bytes.Trim(param, " \t")), "=")
		n, err := strconv.ParseUint(val, 10, 31)
		if err != nil {
			continue
		}
		switch strings.ToLower(key) {
		case "timeout":
			if n == 0 {
				h.close = true
			}
			h.idle = time.Duration(n) * time.Second
		case "max":
			if n == 0 {
				h.close = true
			}
		}
	}
}

// parseLength reads Content-Length: digits only. It may come twice, but not with two values.
func (h *head) parseLength(value []byte) error {
	if len(value) == 0 || len(value) > 18 {
		return protocolError("Content-Length " + quoteStart(value) + " is not a length")
	}
	n := int64(0)
	for _, c := range value {
		if !isDigit(c) {
			return protocolError("Content-Length " + quoteStart(value) + " is not a length")
		}
		n = n*10 + int64(c-'0')
	}
	if h.length >= 0 && h.length != n {
		return protocolError("Content-Length is given twice, and differs")
	}
	h.length = n
	return nil
}

func (h *head) parseEncoding(value []byte) error {
	if h.chunked || !isName(value, "chunked") {
		return protocolError("Transfer-Encoding " + quoteStart(value) + " is not supported, only one chunked")
	}
	h.chunked = true
	return nil
}

// check refuses what different readers would frame differently (RFC 9112, section 6.1).
func (h *head) check() error {
	switch {
	case h.chunked && h.length >= 0:
		return protocolError("both Transfer-Encoding and Content-Length are given")
	case h.chunked && h.minor == 0:
		return protocolError("Transfer-Encoding in HTTP/1.0")
	}
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isName reports whether b is name, which is in lower case, in any case.
func isName(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != name[i] {
			return false
		}
	}
	return true
}

// tokenChars are the characters of a header name (RFC 9110, section 5.6.2).
var tokenChars = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenChars[c] {
			return false
		}
	}
	return len(b) > 0
}

// isFieldValue reports whether b has neither CR nor NUL; LF has ended the line.
func isFieldValue(b []byte) bool {
	return bytes.IndexByte(b, '\r') < 0 && bytes.IndexByte(b, 0) < 0
}

// quoteStart quotes the beginning of something that a receiver sent.
func quoteStart(b []byte) string {
	if len(b) > 40 {
		return strconv.QuoteToASCII(string(b[:40])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}
