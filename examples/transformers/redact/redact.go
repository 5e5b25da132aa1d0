package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds the nesting of JSON that is followed.
const maxDepth = 200

// redactor masks; it is not changed once made, so that it may be used from many goroutines.
type redactor struct {
	keys           map[string]bool // in lower case
	mask           string
	quoted         []byte // the mask as a JSON string
	emails, phones bool
}

// redact returns the data with its personal values masked and how many it masked. Everything else stays as it is, byte
// for byte, so that the receiver sees no other difference; when nothing was masked it is the data itself.
func (r *redactor) redact(data []byte) ([]byte, int, error) {
	w := &walk{r: r, in: data}
	if err := w.document(); err != nil {
		return nil, 0, fmt.Errorf("data is not JSON that can be redacted: %w", err)
	}
	if w.masked == 0 {
		return data, 0, nil
	}
	return append(w.out, data[w.copied:]...), w.masked, nil
}

// walk reads JSON once, from its first byte to its last, and writes only where it masks: a transformer sees every event
// on its way to every webhook, and decoding into Go values and encoding them again would cost many times as much.
//
// Invariant: out is the redacted form of in[:copied], and what in has from there to i needs no mask.
type walk struct {
	r      *redactor
	in     []byte
	i      int // where the next token is looked for
	out    []byte
	copied int
	masked int
}

// replace puts text in the place of in[from:to].
func (w *walk) replace(from, to int, text []byte) {
	if w.out == nil {
		w.out = make([]byte, 0, len(w.in)+len(text))
	}
	w.out = append(append(w.out, w.in[w.copied:from]...), text...)
	w.copied = to
}

func (w *walk) document() error {
	if !utf8.Valid(w.in) {
		return errors.New("it is not UTF-8")
	}
	if err := w.value(0); err != nil {
		return err
	}
	if w.space() < len(w.in) {
		return errors.New("there is more after the first value")
	}
	return nil
}

// space skips white space and returns where it ends.
func (w *walk) space() int {
	for w.i < len(w.in) && (w.in[w.i] == ' ' || w.in[w.i] == '\n' || w.in[w.i] == '\t' || w.in[w.i] == '\r') {
		w.i++
	}
	return w.i
}

// next skips white space and returns the byte after it without taking it; 0 at the end.
func (w *walk) next() byte {
	if i := w.space(); i < len(w.in) {
		return w.in[i]
	}
	return 0
}

// unexpected says what stands where something else should.
func (w *walk) unexpected() error {
	if w.i >= len(w.in) {
		return errors.New("it ends too early")
	}
	return fmt.Errorf("%q at byte %d is not expected there", w.in[w.i], w.i)
}

// value takes the next value.
func (w *walk) value(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	switch w.next() {
	case '{':
		return w.list('}', depth, w.member)
	case '[':
		return w.list(']', depth, w.value)
	case '"':
		return w.text()
	}
	return w.scalar()
}

// list takes an object or an array: what take takes, separated by commas, in brackets of which the closing one is end.
func (w *walk) list(end byte, depth int, take func(depth int) error) error {
	w.i++
	if w.next() == end {
		w.i++
		return nil
	}
	for {
		if err := take(depth + 1); err != nil {
			return err
		}
		switch w.next() {
		case ',':
			w.i++
		case end:
			w.i++
			return nil
		default:
			return w.unexpected()
		}
	}
}

// member takes a key and its value, which it masks if the key says so.
func (w *walk) member(depth int) error {
	if w.next() != '"' {
		return w.unexpected()
	}
	raw, _, err := w.quoted()
	if err != nil {
		return err
	}
	if w.next() != ':' {
		return w.unexpected()
	}
	w.i++
	w.space()
	if hidden, err := w.hides(raw); err != nil || !hidden {
		return errors.Join(err, w.value(depth))
	}
	// The value is walked all the same, to find its end; what was masked inside it is forgotten.
	from, before := w.i, *w
	if err := w.value(depth); err != nil {
		return err
	}
	to := w.i
	if string(w.in[from:to]) == "null" {
		return nil
	}
	*w = before
	w.i = to
	w.replace(from, to, w.r.quoted)
	w.masked++
	return nil
}

// hides reports whether values of that key are masked; raw is the key in its quotes. It reads the key also when no keys
// are to be masked, for one that cannot be read is not JSON.
func (w *walk) hides(raw []byte) (bool, error) {
	key, err := unquote(raw)
	if err != nil || len(w.r.keys) == 0 {
		return false, err
	}
	return w.r.keys[strings.ToLower(string(key))], nil
}

// text takes a string and masks what looks personal inside it.
func (w *walk) text() error {
	from := w.i
	raw, plain, err := w.quoted()
	if err != nil {
		return err
	}
	if plain {
		if masked, n := w.r.hide(raw, w.r.quoted[1:len(w.r.quoted)-1]); n > 0 {
			w.replace(from, w.i, masked)
			w.masked += n
		}
		return nil
	}
	s, err := unquote(raw)
	if err != nil {
		return err
	}
	if masked, n := w.r.hide(s, []byte(w.r.mask)); n > 0 {
		w.replace(from, w.i, quote(string(masked)))
		w.masked += n
	}
	return nil
}

// quoted takes a string and returns it with its quotes; plain when it has no escapes, and so stands for itself.
func (w *walk) quoted() (raw []byte, plain bool, err error) {
	from := w.i
	for plain = true; ; {
		end := bytes.IndexByte(w.in[w.i+1:], '"')
		if end < 0 {
			w.i = len(w.in)
			return nil, false, w.unexpected()
		}
		w.i += 1 + end
		slashes := 0
		for w.in[w.i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			break
		}
	}
	raw = w.in[from : w.i+1]
	w.i++
	for _, c := range raw {
		if c < ' ' {
			return nil, false, fmt.Errorf("a string has the control character %q", c)
		}
		plain = plain && c != '\\'
	}
	return raw, plain, nil
}

// scalar takes a number, true, false or null.
func (w *walk) scalar() error {
	from := w.i
	for w.i < len(w.in) && !bytes.ContainsRune([]byte(" \n\t\r,:]}{[\""), rune(w.in[w.i])) {
		w.i++
	}
	if token := w.in[from:w.i]; !json.Valid(token) {
		return fmt.Errorf("%.40q at byte %d is not a value", token, from)
	}
	return nil
}

// unquote is the text of a JSON string.
func unquote(raw []byte) ([]byte, error) {
	if !bytes.ContainsRune(raw, '\\') {
		return raw[1 : len(raw)-1], nil
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return []byte(s), err
}

// quote makes a JSON string of text, without the escapes that only HTML needs.
func quote(text string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a string can always be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
