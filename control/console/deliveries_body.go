package console

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sidehook/sidehook/xds/schema"
)

// allowance is how many bytes of markup a page may still have, so that it stays small whatever it shows.
type allowance int

// shownBody is a body as a page shows it.
type shownBody struct {
	Text string
	// Size of the body, in bytes.
	Size int
	// Binary: it is no text; Text is its beginning in hex.
	Binary bool
	// Cut: Text is the beginning alone.
	Cut bool
}

// String is Text, with … where it was cut.
func (s *shownBody) String() string {
	if s.Cut {
		return s.Text + "…"
	}
	return s.Text
}

// Bounds of what is made readable.
const (
	maxIndented = 256 << 10 // bytes of JSON
	maxDepth    = 40        // of JSON: with each level the lines grow longer
	maxHex      = 512       // bytes
)

// show makes a body readable within most and what the page has left: JSON is indented, what is no text is shown in hex.
func (a *allowance) show(b []byte, most int) *shownBody {
	s := &shownBody{Size: len(b)}
	if s.Binary = !isText(b); s.Binary {
		s.Cut = len(b) > maxHex
		s.Text = a.text(hex.Dump(b[:min(maxHex, len(b))]), most)
		return s
	}
	text := string(indented(b))
	s.Text = a.text(text, most)
	s.Cut = len(s.Text) < len(text)
	return s
}

// isText reports whether bytes are UTF-8 and hold, apart from the end of lines and tabs, no control characters.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	return !bytes.ContainsFunc(b, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) })
}

// indented is JSON on lines of their own; what is none, or nested too deeply for it, is as it was.
func indented(b []byte) []byte {
	if len(b) > maxIndented || schema.Deeper(b, maxDepth) {
		return b
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, b, "", "  ") != nil {
		return b
	}
	return pretty.Bytes()
}

// text cuts a text so that its markup stays within most and what the page has left, and takes that from it. Characters
// that cannot be seen become U+FFFD.
func (a *allowance) text(s string, most int) string {
	left := min(most, max(0, int(*a)))
	used := 0
	var shown strings.Builder
	for _, r := range s {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != ' ' {
			if r == '\r' {
				continue
			}
			r = utf8.RuneError
		}
		cost := utf8.RuneLen(r)
		if strings.ContainsRune(`<>&"'+`, r) {
			cost = len("&#34;")
		}
		if used+cost > left {
			break
		}
		used += cost
		shown.WriteRune(r)
	}
	*a -= allowance(used)
	return shown.String()
}
