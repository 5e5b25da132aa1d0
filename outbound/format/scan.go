package format

import (
	"bytes"
	"encoding/json"
	"errors"
)

// The scanning here is of data that was accepted as JSON, so it looks for ends and does not validate. Where the text
// breaks off all the same it fails, and never reads or writes beyond it.

var errMalformed = errors.New("is not valid JSON")

const jsonSpace = " \t\r\n"

func trimSpace(data []byte) []byte { return bytes.Trim(data, jsonSpace) }

// isObject reports whether trimmed JSON is an object.
func isObject(data []byte) bool { return len(data) >= 2 && data[0] == '{' && data[len(data)-1] == '}' }

// member is a member of an object: its name as text, and all of it as published.
type member struct {
	name string
	text []byte
}

// objectMembers takes an object apart, on its own level.
func objectMembers(object []byte) ([]member, error) {
	if !isObject(object) {
		return nil, errMalformed
	}
	rest := trimSpace(object[1 : len(object)-1])
	var members []member
	for len(rest) > 0 {
		nameEnd := stringEnd(rest)
		if nameEnd < 0 {
			return nil, errMalformed
		}
		var name string
		if err := json.Unmarshal(rest[:nameEnd], &name); err != nil {
			return nil, errMalformed
		}
		end := valueEnd(rest[nameEnd:])
		if end < 0 {
			return nil, errMalformed
		}
		end += nameEnd
		members = append(members, member{name: name, text: bytes.TrimRight(rest[:end], jsonSpace)})
		if end == len(rest) {
			return members, nil
		}
		if rest = bytes.TrimLeft(rest[end+1:], jsonSpace); len(rest) == 0 { // a comma with nothing behind it
			return nil, errMalformed
		}
	}
	return members, nil
}

// stringEnd returns the length of the string that b begins with, quotes included, or -1.
func stringEnd(b []byte) int {
	if len(b) == 0 || b[0] != '"' {
		return -1
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// valueEnd returns where, in the rest of an object's inside, the comma after the value is, or the length of b when there
// is none; -1 when the text breaks off.
func valueEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := stringEnd(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	if depth > 0 {
		return -1
	}
	return len(b)
}
