package ingest

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// batch is a PublishRequest or PublishStreamRequest as read from the wire, straight into sidehook.Events: the generated
// types would cost a second set of objects for each event, and decoding is the larger part of what ingest does.
//
// What decoding makes is bounded whatever the bytes say: it stops making events once there are too many of them, and
// extensions likewise; check refuses both.
//
// Texts are not checked for UTF-8 here, as the generated decoder would, because Event.Validate does and can name the
// field.
type batch struct {
	layout   *layout
	sequence uint64
	events   []*sidehook.Event
	// badTime is the index of the first event with a time that is no time, -1 for none.
	badTime int
}

// layout tells the two requests apart: the numbers of their fields.
type layout struct {
	message  protoreflect.ProtoMessage
	sequence protowire.Number // 0 for none
	events   protowire.Number
}

var (
	publishLayout = &layout{message: (*eventsv1.PublishRequest)(nil), events: 1}
	streamLayout  = &layout{message: (*eventsv1.PublishStreamRequest)(nil), sequence: 1, events: 2}
)

func newBatch(l *layout) *batch { return &batch{layout: l, badTime: -1} }

// Reset makes the batch empty; package proto calls it before decoding.
func (b *batch) Reset() { *b = *newBatch(b.layout) }

// ProtoReflect lets the stock gRPC codec decode a batch: package proto asks the message for methods of its own before
// it falls back to reflection.
func (b *batch) ProtoReflect() protoreflect.Message {
	return &batchReflection{Message: b.layout.message.ProtoReflect(), batch: b}
}

type batchReflection struct {
	protoreflect.Message // of a nil message: its descriptor is all that is asked for
	batch                *batch
}

// Interface gives the batch back to package proto, which resets it.
func (r *batchReflection) Interface() protoreflect.ProtoMessage { return r.batch }

// ProtoMethods offers decoding only; a batch is never sent.
func (r *batchReflection) ProtoMethods() *protoiface.Methods {
	return &protoiface.Methods{
		Flags: protoiface.SupportUnmarshalDiscardUnknown,
		Unmarshal: func(in protoiface.UnmarshalInput) (protoiface.UnmarshalOutput, error) {
			return protoiface.UnmarshalOutput{Flags: protoiface.UnmarshalInitialized}, r.batch.unmarshal(in.Buf)
		},
	}
}

// unmarshal decodes b, of which nothing is kept: the transport uses it again.
func (b *batch) unmarshal(buf []byte) error {
	var d eventDecoder
	for len(buf) > 0 {
		num, typ, value, n := consumeField(buf)
		if n < 0 {
			return fmt.Errorf("batch: %w", protowire.ParseError(n))
		}
		buf = buf[n:]
		switch {
		case num == b.layout.events && typ == protowire.BytesType:
			if len(b.events) > MaxEvents {
				continue
			}
			e, err := d.decode(value.bytes)
			if err != nil {
				return fmt.Errorf("events[%d]: %w", len(b.events), err)
			}
			if d.badTime && b.badTime < 0 {
				b.badTime = len(b.events)
			}
			b.events = append(b.events, e)
		case num == b.layout.sequence && typ == protowire.VarintType:
			b.sequence = value.varint
		}
	}
	return nil
}

// timeError is the error for an event whose time is no time; nil when all are good.
func (b *batch) timeError() error {
	if b.badTime < 0 {
		return nil
	}
	return under(b.badTime, sidehook.Fieldf("time", "must be a google.protobuf.Timestamp of the years 1 to 9999"))
}

// fieldValue is the value of a field of one of the two wire types that these messages use.
type fieldValue struct {
	bytes  []byte
	varint uint64
}

// errFieldNumber is what protowire.ParseError takes for a field number out of range, which ConsumeTag lets through when
// it is too large.
const errFieldNumber = -2

// consumeField reads one field; n < 0 is a protowire error code.
func consumeField(buf []byte) (num protowire.Number, typ protowire.Type, v fieldValue, n int) {
	num, typ, n = protowire.ConsumeTag(buf)
	if n < 0 {
		return 0, 0, v, n
	}
	if num > protowire.MaxValidNumber {
		return 0, 0, v, errFieldNumber
	}
	var m int
	switch typ {
	case protowire.BytesType:
		v.bytes, m = protowire.ConsumeBytes(buf[n:])
	case protowire.VarintType:
		v.varint, m = protowire.ConsumeVarint(buf[n:])
	default:
		m = protowire.ConsumeFieldValue(num, typ, buf[n:])
	}
	if m < 0 {
		return 0, 0, v, m
	}
	return num, typ, v, n + m
}

// The fields of an Event on the wire.
const (
	fieldApp protowire.Number = iota + 1
	fieldID
	fieldSource
	fieldType
	fieldSubject
	fieldTime
	fieldDataContentType
	fieldDataSchema
	fieldData
	fieldOrderingKey
	fieldExtensions
)

// eventDecoder decodes the events of one batch. It remembers the texts of the event before: services send runs of
// events of one app, source and type, and those can share their strings.
type eventDecoder struct {
	prev sidehook.Event
	// badTime tells that the event decoded last has a time that is no time.
	badTime bool
}

// decode makes an event of its wire form and keeps nothing of buf.
func (d *eventDecoder) decode(buf []byte) (*sidehook.Event, error) {
	var (
		e       = new(sidehook.Event)
		texts   [fieldOrderingKey + 1][]byte
		data    []byte
		seconds int64
		nanos   int32
		hasTime bool
	)
	for len(buf) > 0 {
		num, typ, value, n := consumeField(buf)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		buf = buf[n:]
		if typ != protowire.BytesType {
			continue
		}
		switch num {
		case fieldTime:
			hasTime = true
			if err := decodeTimestamp(value.bytes, &seconds, &nanos); err != nil {
				return nil, fmt.Errorf("time: %w", err)
			}
		case fieldData:
			data = value.bytes
		case fieldExtensions:
			if err := decodeExtension(value.bytes, e); err != nil {
				return nil, fmt.Errorf("extensions: %w", err)
			}
		default:
			if num <= fieldOrderingKey {
				texts[num] = value.bytes
			}
		}
	}
	d.setTexts(e, &texts)
	if len(data) > 0 {
		e.Data = append(make([]byte, 0, len(data)), data...)
	}
	d.setTime(e, hasTime, seconds, nanos)
	d.prev = *e
	return e, nil
}

func (d *eventDecoder) setTexts(e *sidehook.Event, texts *[fieldOrderingKey + 1][]byte) {
	e.App = again(texts[fieldApp], d.prev.App)
	e.ID = string(texts[fieldID])
	e.Source = again(texts[fieldSource], d.prev.Source)
	e.Type = again(texts[fieldType], d.prev.Type)
	e.Subject = again(texts[fieldSubject], d.prev.Subject)
	e.DataContentType = again(texts[fieldDataContentType], sidehook.DefaultContentType)
	e.DataSchema = again(texts[fieldDataSchema], d.prev.DataSchema)
	e.OrderingKey = again(texts[fieldOrderingKey], d.prev.OrderingKey)
}

// again is string(b), without making one when b says what s says.
func again(b []byte, s string) string {
	if string(b) == s { // compiles to a comparison
		return s
	}
	return string(b)
}

// The seconds of the years 1 to 9999, the range of google.protobuf.Timestamp.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

func (d *eventDecoder) setTime(e *sidehook.Event, has bool, seconds int64, nanos int32) {
	d.badTime = false
	if !has {
		return
	}
	if seconds < minSeconds || seconds > maxSeconds || nanos < 0 || nanos >= 1e9 {
		d.badTime = true
		return
	}
	e.Time = time.Unix(seconds, int64(nanos)).UTC()
}

// decodeTimestamp merges a google.protobuf.Timestamp into seconds and nanos, as repeats of the field do.
func decodeTimestamp(buf []byte, seconds *int64, nanos *int32) error {
	for len(buf) > 0 {
		num, typ, value, n := consumeField(buf)
		if n < 0 {
			return protowire.ParseError(n)
		}
		buf = buf[n:]
		if typ != protowire.VarintType {
			continue
		}
		switch num {
		case 1:
			*seconds = int64(value.varint)
		case 2:
			*nanos = int32(value.varint)
		}
	}
	return nil
}

// decodeExtension reads an entry of the map of extensions. One more than allowed is kept, for check to refuse.
func decodeExtension(buf []byte, e *sidehook.Event) error {
	var name, text []byte
	for len(buf) > 0 {
		num, typ, value, n := consumeField(buf)
		if n < 0 {
			return protowire.ParseError(n)
		}
		buf = buf[n:]
		if typ != protowire.BytesType {
			continue
		}
		switch num {
		case 1:
			name = value.bytes
		case 2:
			text = value.bytes
		}
	}
	if _, known := e.Extensions[string(name)]; !known && len(e.Extensions) > sidehook.MaxExtensions {
		return nil
	}
	if e.Extensions == nil {
		e.Extensions = make(map[string]string, 2)
	}
	e.Extensions[string(name)] = string(text)
	return nil
}
