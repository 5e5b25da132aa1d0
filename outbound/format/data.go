package format

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
)

// dataKind is how an event's data can stand in a JSON object.
type dataKind uint8

const (
	dataNone   dataKind = iota // there is none
	dataJSON                   // as it is
	dataText                   // as a JSON string
	dataBinary                 // as base64
)

// kindOf decides by the declared media type, so that a receiver sees one shape per type of event. Bytes count only
// where the declaration cannot hold: text that is not UTF-8 is binary.
func kindOf(e *sidehook.Event) dataKind {
	switch {
	case len(e.Data) == 0:
		return dataNone
	case e.IsJSON():
		return dataJSON
	case isTextType(e.DataContentType) && utf8.Valid(e.Data):
		return dataText
	}
	return dataBinary
}

func isTextType(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return strings.HasPrefix(media, "text/") || media == "application/xml" || strings.HasSuffix(media, "+xml")
}

// room estimates how many bytes data takes; for text it may take more.
func (k dataKind) room(data []byte) int {
	if k == dataBinary {
		return base64.StdEncoding.EncodedLen(len(data))
	}
	return len(data) + len(data)/16 + len("null")
}

// appendData appends the member data or data_base64. What is declared as JSON was checked when it was accepted, so it
// is not parsed again here: that would cost more than all the rest of a delivery's shaping.
func appendData(b []byte, kind dataKind, data []byte) []byte {
	switch kind {
	case dataJSON:
		b = append(b, `"data":`...)
		return append(b, data...)
	case dataText:
		b = append(b, `"data":`...)
		return appendString(b, data)
	default:
		b = append(b, `"data_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, data)
		return append(b, '"')
	}
}
