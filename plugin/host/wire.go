package host

import (
	"bytes"
	"fmt"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/wire"
	"github.com/sidehook/sidehook/plugin"
	"google.golang.org/protobuf/encoding/protowire"
)

// question is a TransformRequest that writes itself: one item for each call.
type question []*call

// WireSize implements wire.Encoder.
func (q question) WireSize() int {
	n := 0
	for _, c := range q {
		n += wire.SizeMessage(1, c.wireSize())
	}
	return n
}

// AppendWire implements wire.Encoder.
func (q question) AppendWire(b []byte) []byte {
	for _, c := range q {
		b = c.appendWire(wire.AppendHead(b, 1, c.wireSize()))
	}
	return b
}

// measure takes note of the sizes of the call's parts on the wire.
func (c *call) measure() {
	c.eventSize, c.webhookSize = sizeEvent(c.event), sizeWebhook(c.webhook)
}

// wireSize is the size of the TransformItem that c is.
func (c *call) wireSize() int {
	return wire.SizeMessage(1, c.eventSize) + wire.SizeMessage(2, c.webhookSize)
}

func (c *call) appendWire(b []byte) []byte {
	b = appendEvent(wire.AppendHead(b, 1, c.eventSize), c.event)
	return appendWebhook(wire.AppendHead(b, 2, c.webhookSize), c.webhook)
}

func sizeEvent(e *sidehook.Event) int {
	n := wire.SizeText(1, e.App) + wire.SizeText(2, e.ID) + wire.SizeText(3, e.Source) + wire.SizeText(4, e.Type) +
		wire.SizeText(5, e.Subject) + wire.SizeMessage(6, sizeTime(e)) + wire.SizeText(7, e.DataContentType) +
		wire.SizeText(8, e.Data) + wire.SizeText(9, e.OrderingKey)
	for key, value := range e.Extensions {
		n += wire.SizeEntry(10, key, value)
	}
	return n
}

func appendEvent(b []byte, e *sidehook.Event) []byte {
	b = wire.AppendText(b, 1, e.App)
	b = wire.AppendText(b, 2, e.ID)
	b = wire.AppendText(b, 3, e.Source)
	b = wire.AppendText(b, 4, e.Type)
	b = wire.AppendText(b, 5, e.Subject)
	b = appendTime(wire.AppendHead(b, 6, sizeTime(e)), e)
	b = wire.AppendText(b, 7, e.DataContentType)
	b = wire.AppendText(b, 8, e.Data)
	b = wire.AppendText(b, 9, e.OrderingKey)
	for key, value := range e.Extensions {
		b = wire.AppendEntry(b, 10, key, value)
	}
	return b
}

// sizeTime is the size of the event's time as a google.protobuf.Timestamp.
func sizeTime(e *sidehook.Event) int {
	n := 0
	if s := e.Time.Unix(); s != 0 {
		n += protowire.SizeTag(1) + protowire.SizeVarint(uint64(s))
	}
	if ns := e.Time.Nanosecond(); ns != 0 {
		n += protowire.SizeTag(2) + protowire.SizeVarint(uint64(ns))
	}
	return n
}

func appendTime(b []byte, e *sidehook.Event) []byte {
	if s := e.Time.Unix(); s != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 1, protowire.VarintType), uint64(s))
	}
	if ns := e.Time.Nanosecond(); ns != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(ns))
	}
	return b
}

func sizeWebhook(w *sidehook.Webhook) int {
	return wire.SizeText(1, w.App) + wire.SizeText(2, w.ID) + wire.SizeText(3, w.Name) + wire.SizeText(4, w.URL) +
		wire.SizeText(5, w.Format)
}

func appendWebhook(b []byte, w *sidehook.Webhook) []byte {
	b = wire.AppendText(b, 1, w.App)
	b = wire.AppendText(b, 2, w.ID)
	b = wire.AppendText(b, 3, w.Name)
	b = wire.AppendText(b, 4, w.URL)
	return wire.AppendText(b, 5, w.Format)
}

// answer is a TransformResponse as read from the wire, in the face of whatever a process may send. results[i] is for
// asked[i].
//
// What reading makes is bounded whatever the bytes say: it stops making results once there are too many of them, and
// headers likewise; both are refused for their number.
type answer struct {
	asked   question
	results []result
	count   int             // of the results that came, also of those not made
	last    sidehook.Header // the one read last: results mostly have theirs in common, and then share the strings
}

// result is a TransformResult, unchecked.
type result struct {
	kind        resultKind
	eventType   string
	contentType string
	data        []byte
	same        bool // data is the event's own
	headers     []sidehook.Header
	tooMany     bool // headers, of which some are left out
	reason      string
}

type resultKind uint8

const (
	unset resultKind = iota
	rewritten
	dropped
	refused
)

// DecodeWire implements wire.Decoder.
func (a *answer) DecodeWire(b []byte) error {
	a.results = make([]result, 0, len(a.asked))
	f := wire.Read(b)
	for f.Next() {
		if f.Number != 1 || f.Kind != protowire.BytesType {
			continue
		}
		if a.count++; a.count > len(a.asked) {
			continue
		}
		a.results = a.results[:a.count]
		if err := a.readResult(f.Bytes, a.asked[a.count-1].event, &a.results[a.count-1]); err != nil {
			return fmt.Errorf("results[%d]: %w", a.count-1, err)
		}
	}
	return f.Err()
}

// readResult reads one result; of several answers in it the last one counts.
func (a *answer) readResult(b []byte, e *sidehook.Event, r *result) error {
	f := wire.Read(b)
	for f.Next() {
		if f.Kind != protowire.BytesType || f.Number > 3 {
			continue
		}
		if kind := resultKind(f.Number); r.kind != kind {
			*r = result{kind: kind}
		}
		var err error
		if r.kind == rewritten {
			err = a.readRewritten(f.Bytes, e, r)
		} else {
			err = r.readReason(f.Bytes)
		}
		if err != nil {
			return err
		}
	}
	return f.Err()
}

func (r *result) readReason(b []byte) error {
	f := wire.Read(b)
	for f.Next() {
		if f.Kind == protowire.BytesType && f.Number == 1 {
			r.reason = clip(string(f.Bytes[:min(len(f.Bytes), 2*plugin.MaxReason)]))
		}
	}
	return f.Err()
}

func (a *answer) readRewritten(b []byte, e *sidehook.Event, r *result) error {
	f := wire.Read(b)
	for f.Next() {
		if f.Kind != protowire.BytesType {
			continue
		}
		var err error
		switch f.Number {
		case 1:
			r.eventType = wire.Again(f.Bytes, e.Type)
		case 2:
			if r.same = bytes.Equal(f.Bytes, e.Data); r.same {
				r.data = e.Data
			} else {
				r.data = bytes.Clone(f.Bytes)
			}
		case 3:
			r.contentType = wire.Again(f.Bytes, e.DataContentType)
		case 4:
			err = a.readHeader(f.Bytes, r)
		}
		if err != nil {
			return err
		}
	}
	return f.Err()
}

// readHeader reads an entry of the map of headers. Of two with one name the last one counts.
func (a *answer) readHeader(b []byte, r *result) error {
	name, value, err := wire.Entry(b)
	if err != nil {
		return err
	}
	for i := range r.headers {
		if r.headers[i].Key == string(name) {
			r.headers[i].Value = string(value)
			return nil
		}
	}
	if len(r.headers) == maxHeaders {
		r.tooMany = true
		return nil
	}
	a.last = sidehook.Header{Key: wire.Again(name, a.last.Key), Value: wire.Again(value, a.last.Value)}
	r.headers = append(r.headers, a.last)
	return nil
}
