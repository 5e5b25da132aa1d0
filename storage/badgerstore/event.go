package badgerstore

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/sidehook/sidehook"
)

// appendEvent appends the record of an event: its texts, time, extensions and data.
func appendEvent(b []byte, e *sidehook.Event) []byte {
	for _, s := range [...]string{
		e.App, e.ID, e.Source, e.Type, e.Subject, e.DataContentType, e.DataSchema, e.OrderingKey,
	} {
		b = appendText(b, s)
	}
	b = binary.AppendVarint(b, e.Time.Unix())
	b = binary.AppendUvarint(b, uint64(e.Time.Nanosecond()))
	b = binary.AppendUvarint(b, uint64(len(e.Extensions)))
	if len(e.Extensions) > 0 {
		names := make([]string, 0, len(e.Extensions))
		for name := range e.Extensions {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			b = appendText(b, name)
			b = appendText(b, e.Extensions[name])
		}
	}
	if e.Data == nil {
		return append(b, 0)
	}
	b = append(b, 1)
	return append(b, e.Data...)
}

// decodeEvent undoes appendEvent. The event shares nothing with p, so that holding one event does not hold a block.
func decodeEvent(p []byte) (*sidehook.Event, error) {
	r := reader{b: p}
	e := &sidehook.Event{
		App: r.text(), ID: r.text(), Source: r.text(), Type: r.text(), Subject: r.text(),
		DataContentType: r.text(), DataSchema: r.text(), OrderingKey: r.text(),
	}
	seconds := r.varint()
	e.Time = time.Unix(seconds, int64(r.index(int(time.Second)))).UTC()
	if n := r.count(2); n > 0 {
		e.Extensions = make(map[string]string, n)
		for range n {
			name := r.text()
			e.Extensions[name] = r.text()
		}
	}
	switch r.byte() {
	case 0:
	case 1:
		e.Data = append([]byte{}, r.b...)
		r.b = nil
	default:
		r.fail("bad data mark")
	}
	if err := r.done(); err != nil {
		return nil, err
	}
	return e, nil
}

// eventNames reads only the id and type of an event's record.
func eventNames(p []byte) (id, eventType string, err error) {
	r := reader{b: p}
	r.bytes()
	id = r.text()
	r.bytes()
	eventType = r.text()
	return id, eventType, r.err
}
