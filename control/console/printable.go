package console

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds a body that a page shows, in bytes, so that pages stay small.
const maxShown = 16 << 10

// printable makes a body readable: JSON is indented, what is no text is made visible, and the end of a long one is cut.
func printable(b []byte) string {
	cut := len(b) > maxShown
	if cut {
		b = b[:maxShown]
	}
	var pretty bytes.Buffer
	if nesting(b) <= maxNesting && json.Indent(&pretty, b, "", "  ") == nil {
		b = pretty.Bytes()
	}
	text := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(string(b), string(utf8.RuneError)))
	if cut {
		text += "…"
	}
	return text
}

// maxNesting bounds what is indented: every level widens every line within it.
const maxNesting = 40

// nesting is how deep JSON is.
func nesting(b []byte) int {
	depth, deepest := 0, 0
	inText, escaped := false, false
	for _, c := range b {
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}
