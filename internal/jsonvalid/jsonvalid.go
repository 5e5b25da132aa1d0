// Package jsonvalid tells whether bytes are JSON, and nothing else: every payload of every event goes through it at the
// door, and every payload that a transformer makes. It decodes nothing.
package jsonvalid

import (
	"encoding/binary"
)

// maxDepth is the nesting that encoding/json allows.
const maxDepth = 10000

// Valid reports what json.Valid reports, several times faster. It uses no recursion and allocates only for nesting
// deeper than 64. Like json.Valid it does not look whether strings are UTF-8.
//
// It walks the text value by value. open holds the brackets that are open; at the top of the loop a value must start
// at b[i], and after it a comma leads to the next value, or brackets close.
func Valid(b []byte) bool {
	var room [64]byte
	open := room[:0]
	i := skipSpace(b, 0)
	for {
		next, opened := valueAt(b, i)
		if next < 0 {
			return false
		}
		i = next
		if opened != 0 {
			if len(open) == maxDepth {
				return false
			}
			open = append(open, opened)
			i = skipSpace(b, i)
			if i < len(b) && b[i] != closing(opened) {
				if i = memberStart(b, i, opened); i < 0 {
					return false
				}
				continue
			}
		}
		if i, open = afterValue(b, i, open); i < 0 {
			return false
		}
		if len(open) == 0 {
			return i == len(b)
		}
	}
}

// valueAt reads the scalar at b[i] and returns where it ends, or, for a bracket, what was opened. -1: no value.
func valueAt(b []byte, i int) (next int, opened byte) {
	if i >= len(b) {
		return -1, 0
	}
	switch c := b[i]; c {
	case '{', '[':
		return i + 1, c
	case '"':
		return stringEnd(b, i), 0
	case 't':
		return literalEnd(b, i, "true"), 0
	case 'f':
		return literalEnd(b, i, "false"), 0
	case 'n':
		return literalEnd(b, i, "null"), 0
	default:
		return numberEnd(b, i), 0
	}
}

// afterValue closes brackets after a value until a comma, and returns where the next value starts. With nothing open
// any more it returns the end of the white space.
func afterValue(b []byte, i int, open []byte) (int, []byte) {
	for {
		i = skipSpace(b, i)
		if len(open) == 0 {
			return i, open
		}
		if i >= len(b) {
			return -1, open
		}
		top := open[len(open)-1]
		switch b[i] {
		case ',':
			return memberStart(b, skipSpace(b, i+1), top), open
		case closing(top):
			open = open[:len(open)-1]
			i++
		default:
			return -1, open
		}
	}
}

// memberStart is called where an element of an array or a name of an object starts, and returns where its value does.
func memberStart(b []byte, i int, in byte) int {
	if in == '[' {
		return i
	}
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	if i = stringEnd(b, i); i < 0 {
		return -1
	}
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return -1
	}
	return skipSpace(b, i+1)
}

func closing(opened byte) byte { return opened + 2 } // '[' 0x5b ']' 0x5d, '{' 0x7b '}' 0x7d

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

func literalEnd(b []byte, i int, lit string) int {
	if len(b)-i < len(lit) || string(b[i:i+len(lit)]) != lit {
		return -1
	}
	return i + len(lit)
}

// stringEnd returns the index after the string that starts at b[i].
//
// Eight bytes at a time: a byte x of w is special when it is below 0x20, or a quote, or a backslash. With the high bit
// of x clear, x-0x20 borrows into the high bit exactly when x < 0x20, and for y = x^'"' or x^'\\', y-1 does exactly
// when y is 0. Bytes with the high bit set are never special. A borrow can mark the byte above a special one wrongly,
// which only sends us to the slow loop earlier.
func stringEnd(b []byte, i int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	i++
	for {
		for len(b)-i >= 8 {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, slash := w^(ones*'"'), w^(ones*'\\')
			if ((w-ones*0x20)|(quote-ones)|(slash-ones))&^w&highs != 0 {
				break
			}
			i += 8
		}
		for range 8 {
			if i >= len(b) || b[i] < 0x20 {
				return -1
			}
			switch b[i] {
			case '"':
				return i + 1
			case '\\':
				if i = escapeEnd(b, i); i < 0 {
					return -1
				}
			default:
				i++
			}
		}
	}
}

func escapeEnd(b []byte, i int) int {
	if i+1 >= len(b) {
		return -1
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(b) {
			return -1
		}
		for _, c := range b[i+2 : i+6] {
			if !isHex(c) {
				return -1
			}
		}
		return i + 6
	}
	return -1
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func numberEnd(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && isDigit(b[i]):
		i = digitsEnd(b, i)
	default:
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digitsEnd(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digitsEnd(b, i)
	}
	return i
}

// digitsEnd returns the end of the digits at b[i], -1 when there are none.
func digitsEnd(b []byte, i int) int {
	start := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == start {
		return -1
	}
	return i
}
