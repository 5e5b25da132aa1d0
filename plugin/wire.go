package plugin

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sidehook/sidehook/internal/wire"
	"google.golang.org/protobuf/encoding/protowire"
)

// request is a TransformRequest as read from the wire, straight into Items.
//
// Texts are not checked for UTF-8, as the generated decoder would: the sidecar did when the event came in.
type request struct{ items []Item }

// DecodeWire implements wire.Decoder. It makes one item more than a call may bring, at most, so that the number can be
// refused.
func (r *request) DecodeWire(b []byte) error {
	b = bytes.Clone(b) // the data of all items, which they share; the buffer itself is the transport's
	d := itemDecoder{}
	f := wire.Read(b)
	for f.Next() {
		if f.Number != 1 || f.Kind != protowire.BytesType || len(r.items) > maxItems {
			continue
		}
		if len(r.items) == cap(r.items) {
			r.items = append(make([]Item, 0, 4*cap(r.items)+16), r.items...)
		}
		r.items = r.items[:len(r.items)+1]
		if err := d.item(f.Bytes, &r.items[len(r.items)-1]); err != nil {
			return fmt.Errorf("items[%d]: %w", len(r.items)-1, err)
		}
	}
	return f.Err()
}

// itemDecoder remembers the item before: a call's items mostly have their webhook and most of their texts in common, and
// then share the strings.
type itemDecoder struct {
	event   Event
	webhook Webhook
	raw     []byte // the webhook on the wire

	seconds int64 // of the item's time
	nanos   int32
}

func (d *itemDecoder) item(b []byte, to *Item) error {
	d.seconds, d.nanos = 0, 0
	f := wire.Read(b)
	for f.Next() {
		var err error
		switch {
		case f.Kind != protowire.BytesType:
		case f.Number == 1:
			err = d.readEvent(f.Bytes, &to.Event)
		case f.Number != 2:
		case to.Webhook != Webhook{}: // in two parts, which no sidecar sends; the later part counts
			err = d.readWebhook(f.Bytes, &to.Webhook)
		case len(d.raw) > 0 && bytes.Equal(f.Bytes, d.raw):
			to.Webhook = d.webhook
		default:
			err = d.readWebhook(f.Bytes, &to.Webhook)
			d.raw, d.webhook = f.Bytes, to.Webhook
		}
		if err != nil {
			return err
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	to.Event.Time = time.Unix(d.seconds, int64(d.nanos)).UTC()
	d.event = to.Event
	return nil
}

func (d *itemDecoder) readEvent(b []byte, e *Event) error {
	f := wire.Read(b)
	for f.Next() {
		if f.Kind != protowire.BytesType {
			continue
		}
		var err error
		switch f.Number {
		case 1:
			e.App = wire.Again(f.Bytes, d.event.App)
		case 2:
			e.ID = string(f.Bytes)
		case 3:
			e.Source = wire.Again(f.Bytes, d.event.Source)
		case 4:
			e.Type = wire.Again(f.Bytes, d.event.Type)
		case 5:
			e.Subject = wire.Again(f.Bytes, d.event.Subject)
		case 6:
			err = wire.Timestamp(f.Bytes, &d.seconds, &d.nanos)
		case 7:
			e.DataContentType = wire.Again(f.Bytes, d.event.DataContentType)
		case 8:
			e.Data = f.Bytes[:len(f.Bytes):len(f.Bytes)]
		case 9:
			e.OrderingKey = wire.Again(f.Bytes, d.event.OrderingKey)
		case 10:
			err = readExtension(f.Bytes, e)
		}
		if err != nil {
			return err
		}
	}
	return f.Err()
}

func readExtension(b []byte, e *Event) error {
	key, value, err := wire.Entry(b)
	if err != nil {
		return err
	}
	if e.Extensions == nil {
		e.Extensions = make(map[string]string, 2)
	}
	e.Extensions[string(key)] = string(value)
	return nil
}

func (d *itemDecoder) readWebhook(b []byte, w *Webhook) error {
	f := wire.Read(b)
	for f.Next() {
		if f.Kind != protowire.BytesType {
			continue
		}
		switch f.Number {
		case 1:
			w.App = wire.Again(f.Bytes, d.event.App)
		case 2:
			w.ID = string(f.Bytes)
		case 3:
			w.Name = string(f.Bytes)
		case 4:
			w.URL = string(f.Bytes)
		case 5:
			w.Format = string(f.Bytes)
		}
	}
	return f.Err()
}

// response is a TransformResponse: results[i] answers items[i].
type response struct {
	items   []Item
	results []*Result
}

// The numbers of the fields of a TransformResult, and of a Rewritten.
const (
	fieldRewritten protowire.Number = 1
	fieldDrop      protowire.Number = 2
	fieldFailure   protowire.Number = 3

	fieldType        protowire.Number = 1
	fieldData        protowire.Number = 2
	fieldContentType protowire.Number = 3
	fieldHeaders     protowire.Number = 4
)

// WireSize implements wire.Encoder.
func (r *response) WireSize() int {
	n := 0
	for i, result := range r.results {
		n += wire.SizeMessage(1, wire.SizeMessage(1, result.wireSize(&r.items[i])))
	}
	return n
}

// AppendWire implements wire.Encoder.
func (r *response) AppendWire(b []byte) []byte {
	for i, result := range r.results {
		item := &r.items[i]
		size := result.wireSize(item)
		b = wire.AppendHead(b, 1, wire.SizeMessage(1, size)) // the number of what follows does not change its size
		switch result.kind {
		case kindDrop:
			b = wire.AppendText(wire.AppendHead(b, fieldDrop, size), 1, clip(result.reason))
		case kindFail:
			b = wire.AppendText(wire.AppendHead(b, fieldFailure, size), 1, clip(result.reason))
		default:
			b = result.appendRewritten(wire.AppendHead(b, fieldRewritten, size), item)
		}
	}
	return b
}

// wireSize is the size of the Rewritten, Drop or Failure that r is.
func (r *Result) wireSize(item *Item) int {
	if r.kind == kindDrop || r.kind == kindFail {
		return wire.SizeText(1, clip(r.reason))
	}
	n := wire.SizeText(fieldType, r.eventType) + wire.SizeText(fieldData, r.Data(item)) +
		wire.SizeText(fieldContentType, r.contentType)
	for _, h := range r.headers {
		n += wire.SizeEntry(fieldHeaders, h.name, h.value)
	}
	return n
}

func (r *Result) appendRewritten(b []byte, item *Item) []byte {
	b = wire.AppendText(b, fieldType, r.eventType)
	b = wire.AppendText(b, fieldData, r.Data(item))
	b = wire.AppendText(b, fieldContentType, r.contentType)
	for _, h := range r.headers {
		b = wire.AppendEntry(b, fieldHeaders, h.name, h.value)
	}
	return b
}
