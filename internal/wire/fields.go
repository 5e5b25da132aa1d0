package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// Fields goes through the fields of a message, one after the other:
//
//	m := wire.Read(b)
//	for m.Next() {
//		...
//	}
//	return m.Err()
//
// Number and Kind are of the field that Next read, and Kind says where its value is. Messages use two of the wire types; a
// field of any other is to be passed over.
type Fields struct {
	Number protowire.Number
	Kind   protowire.Type
	Bytes  []byte // when Kind is protowire.BytesType; part of the message
	Varint uint64 // when Kind is protowire.VarintType

	rest []byte
	err  error
}

// Read begins to read the message b.
func Read(b []byte) Fields { return Fields{rest: b} }

// Next reads the next field; false when there is none, or the message is malformed, which Err tells.
func (f *Fields) Next() bool {
	if len(f.rest) == 0 {
		return false
	}
	num, kind, n := protowire.ConsumeTag(f.rest)
	if n < 0 {
		return f.fail(n)
	}
	if num > protowire.MaxValidNumber { // ConsumeTag lets it through
		f.err = fmt.Errorf("field number %d is out of range", num)
		return false
	}
	b := f.rest[n:]
	f.Number, f.Kind = num, kind
	switch kind {
	case protowire.BytesType:
		f.Bytes, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		f.Varint, n = protowire.ConsumeVarint(b)
	default:
		n = protowire.ConsumeFieldValue(num, kind, b)
	}
	if n < 0 {
		return f.fail(n)
	}
	f.rest = b[n:]
	return true
}

func (f *Fields) fail(n int) bool {
	f.err = fmt.Errorf("malformed message: %w", protowire.ParseError(n))
	return false
}

// Err says why the message is malformed; nil when Next has read all of it.
func (f *Fields) Err() error { return f.err }

// Entry reads an entry of a map of strings.
func Entry(b []byte) (key, value []byte, err error) {
	m := Read(b)
	for m.Next() {
		switch {
		case m.Kind != protowire.BytesType:
		case m.Number == 1:
			key = m.Bytes
		case m.Number == 2:
			value = m.Bytes
		}
	}
	return key, value, m.Err()
}

// Timestamp reads a google.protobuf.Timestamp into seconds and nanos, and leaves alone what it does not say: the parts of a
// message add up.
func Timestamp(b []byte, seconds *int64, nanos *int32) error {
	m := Read(b)
	for m.Next() {
		switch {
		case m.Kind != protowire.VarintType:
		case m.Number == 1:
			*seconds = int64(m.Varint)
		case m.Number == 2:
			*nanos = int32(m.Varint)
		}
	}
	return m.Err()
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
