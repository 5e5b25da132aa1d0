package format

import "github.com/sidehook/sidehook"

// appendNested appends the event's data as one member of an envelope: data, or data_base64 for what is neither JSON nor
// text. Without data it is null.
func appendNested(b []byte, e *sidehook.Event) []byte {
	kind := kindOf(e)
	if kind == dataNone {
		return append(b, `"data":null`...)
	}
	return appendData(b, kind, e.Data)
}

// flat returns the event's data as a JSON object that is a body by itself. An object is that body exactly as published,
// without the white space around it. Receivers of flat bodies look up fields, so all else is put into an object: other
// JSON and text as its member data, the rest as data_base64; no data is an object without members.
func flat(e *sidehook.Event) []byte {
	kind := kindOf(e)
	if kind == dataNone {
		return []byte("{}")
	}
	if kind == dataJSON {
		if data := trimSpace(e.Data); isObject(data) {
			return data
		}
	}
	b := make([]byte, 0, len(`{"data_base64":""}`)+kind.room(e.Data))
	b = append(b, '{')
	b = appendData(b, kind, e.Data)
	return append(b, '}')
}
