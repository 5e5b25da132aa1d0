package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxDepth bounds the nesting of JSON that is followed.
const maxDepth = 200

var (
	email = regexp.MustCompile(`[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+`)
	// phone is + or a leading zero, and 8 to 15 digits in groups; digits alone are more often an id.
	phone = regexp.MustCompile(`(?:\+[0-9]|\b0[0-9])(?:[ .\-()]{0,2}[0-9]){7,14}\b`)
)

// redactor masks; it is not changed once made, so that it may be used from many goroutines.
type redactor struct {
	keys           map[string]bool // in lower case
	mask           string
	emails, phones bool
}

// redact returns the data with its personal values masked and how many it masked. Order of keys and the exact text of
// numbers stay as they are, so that the receiver sees no other difference; white space between tokens goes.
func (r *redactor) redact(data []byte) ([]byte, int, error) {
	w := &walk{r: r, in: json.NewDecoder(bytes.NewReader(data))}
	w.in.UseNumber()
	if err := w.value(false, 0); err != nil {
		return nil, 0, fmt.Errorf("data is not JSON that can be redacted: %w", err)
	}
	if _, err := w.in.Token(); err != io.EOF {
		return nil, 0, fmt.Errorf("data is not JSON that can be redacted: there is more after the first value")
	}
	return w.out.Bytes(), w.masked, nil
}

// walk copies JSON token by token.
type walk struct {
	r      *redactor
	in     *json.Decoder
	out    bytes.Buffer
	masked int
}

// value copies the next value, or masks all of it.
func (w *walk) value(mask bool, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	if mask {
		var skipped json.RawMessage
		if err := w.in.Decode(&skipped); err != nil {
			return err
		}
		if string(skipped) == "null" {
			w.out.WriteString("null")
			return nil
		}
		w.masked++
		return w.put(w.r.mask)
	}
	token, err := w.in.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return w.object(depth)
		}
		return w.array(depth)
	case string:
		return w.put(w.text(t))
	default:
		return w.put(t)
	}
}

func (w *walk) object(depth int) error {
	w.out.WriteByte('{')
	for first := true; w.in.More(); first = false {
		if !first {
			w.out.WriteByte(',')
		}
		token, err := w.in.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v is not an object key", token)
		}
		if err := w.put(key); err != nil {
			return err
		}
		w.out.WriteByte(':')
		if err := w.value(w.r.keys[strings.ToLower(key)], depth+1); err != nil {
			return err
		}
	}
	return w.end('}')
}

func (w *walk) array(depth int) error {
	w.out.WriteByte('[')
	for first := true; w.in.More(); first = false {
		if !first {
			w.out.WriteByte(',')
		}
		if err := w.value(false, depth+1); err != nil {
			return err
		}
	}
	return w.end(']')
}

func (w *walk) end(delim byte) error {
	if _, err := w.in.Token(); err != nil {
		return err
	}
	w.out.WriteByte(delim)
	return nil
}

// put writes a scalar.
func (w *walk) put(v any) error {
	enc := json.NewEncoder(&w.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	w.out.Truncate(w.out.Len() - 1) // the line break that Encode adds
	return nil
}

// text masks what looks personal inside a string.
func (w *walk) text(s string) string {
	hide := func(string) string {
		w.masked++
		return w.r.mask
	}
	if w.r.emails && strings.Contains(s, "@") {
		s = email.ReplaceAllStringFunc(s, hide)
	}
	if w.r.phones {
		s = phone.ReplaceAllStringFunc(s, hide)
	}
	return s
}
