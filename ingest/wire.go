package ingest

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	"github.com/sidehook/sidehook/internal/wire"
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
			return protoiface.UnmarshalOutput{Flags: protoiface.UnmarshalInitialized}, r.batch.DecodeWire(in.Buf)
		},
	}
}

// DecodeWire implements wire.Decoder: it keeps nothing of buf, and what was in the batch before is gone.
func (b *batch) DecodeWire(buf []byte) error {
	b.Reset()
	var d eventDecoder
	f := wire.Read(buf)
	for f.Next() {
		switch {
		case f.Number == b.layout.events && f.Kind == protowire.BytesType:
			if len(b.events) > MaxEvents {
				continue
			}
			e, err := d.decode(f.Bytes)
			if err != nil {
				return fmt.Errorf("events[%d]: %w", len(b.events), err)
			}
			if d.badTime && b.badTime < 0 {
				b.badTime = len(b.events)
			}
			b.events = append(b.events, e)
		case f.Number == b.layout.sequence && f.Kind == protowire.VarintType:
			b.sequence = f.Varint
		}
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("batch: %w", err)
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
	f := wire.Read(buf)
	for f.Next() {
		if f.Kind != protowire.BytesType {
			continue
		}
		switch f.Number {
		case fieldTime:
			hasTime = true
			if err := wire.Timestamp(f.Bytes, &seconds, &nanos); err != nil {
				return nil, fmt.Errorf("time: %w", err)
			}
		case fieldData:
			data = f.Bytes
		case fieldExtensions:
			if err := decodeExtension(f.Bytes, e); err != nil {
				return nil, fmt.Errorf("extensions: %w", err)
			}
		default:
			if f.Number <= fieldOrderingKey {
				texts[f.Number] = f.Bytes
			}
		}
	}
	if err := f.Err(); err != nil {
		return nil, err
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
	e.App = wire.Again(texts[fieldApp], d.prev.App)
	e.ID = string(texts[fieldID])
	e.Source = wire.Again(texts[fieldSource], d.prev.Source)
	e.Type = wire.Again(texts[fieldType], d.prev.Type)
	e.Subject = wire.Again(texts[fieldSubject], d.prev.Subject)
	e.DataContentType = wire.Again(texts[fieldDataContentType], sidehook.DefaultContentType)
	e.DataSchema = wire.Again(texts[fieldDataSchema], d.prev.DataSchema)
	e.OrderingKey = wire.Again(texts[fieldOrderingKey], d.prev.OrderingKey)
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

// decodeExtension reads an entry of the map of extensions. One more than allowed is kept, for check to refuse.
func decodeExtension(buf []byte, e *sidehook.Event) error {
	name, text, err := wire.Entry(buf)
	if err != nil {
		return err
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
