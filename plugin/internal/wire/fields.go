package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field is one field of a message: its number, and its value if it is of one of the two wire types that the messages
// use. Kind tells which value is set; for any other wire type none is, and the field is to be passed over.
type Field struct {
	Number protowire.Number
	Kind   protowire.Type
	Bytes  []byte // part of the message that was read
	Varint uint64
}

// Next reads the first field of b and returns what follows it.
func Next(b []byte) (f Field, rest []byte, err error) {
	var n int
	f.Number, f.Kind, n = protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, malformed(n)
	}
	if f.Number > protowire.MaxValidNumber { // ConsumeTag lets it through
		return f, nil, fmt.Errorf("field number %d is out of range", f.Number)
	}
	b = b[n:]
	switch f.Kind {
	case protowire.BytesType:
		f.Bytes, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		f.Varint, n = protowire.ConsumeVarint(b)
	default:
		n = protowire.ConsumeFieldValue(f.Number, f.Kind, b)
	}
	if n < 0 {
		return f, nil, malformed(n)
	}
	return f, b[n:], nil
}

func malformed(n int) error { return fmt.Errorf("malformed message: %w", protowire.ParseError(n)) }

// Entry reads an entry of a map of strings.
func Entry(b []byte) (key, value []byte, err error) {
	for len(b) > 0 {
		f, rest, err := Next(b)
		if err != nil {
			return nil, nil, err
		}
		b = rest
		switch {
		case f.Kind != protowire.BytesType:
		case f.Number == 1:
			key = f.Bytes
		case f.Number == 2:
			value = f.Bytes
		}
	}
	return key, value, nil
}

// Again is string(b), without making one when b says what s says: events come in runs that have most of their texts in
// common.
func Again(b []byte, s string) string {
	if string(b) == s { // compiles to a comparison
		return s
	}
	return string(b)
}

// SizeText is the size of a field with that text, which is left out when it is empty.
func SizeText[T string | []byte](num protowire.Number, text T) int {
	if len(text) == 0 {
		return 0
	}
	return SizeMessage(num, len(text))
}

// AppendText appends what SizeText is the size of.
func AppendText[T string | []byte](b []byte, num protowire.Number, text T) []byte {
	if len(text) == 0 {
		return b
	}
	return append(AppendHead(b, num, len(text)), text...)
}

// SizeMessage is the size of a field with a message, or bytes, of that size.
func SizeMessage(num protowire.Number, size int) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(size)
}

// AppendHead appends what stands before a message, or bytes, of that size.
func AppendHead(b []byte, num protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(size))
}

// SizeEntry is the size of an entry of a map of strings.
func SizeEntry(num protowire.Number, key, value string) int {
	return SizeMessage(num, SizeText(1, key)+SizeText(2, value))
}

// AppendEntry appends what SizeEntry is the size of.
func AppendEntry(b []byte, num protowire.Number, key, value string) []byte {
	b = AppendHead(b, num, SizeText(1, key)+SizeText(2, value))
	return AppendText(AppendText(b, 1, key), 2, value)
}
