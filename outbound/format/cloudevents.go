package format

import (
	"time"

	"github.com/sidehook/sidehook"
)

// cloudEvents is the structured mode of CloudEvents 1.0 in JSON (CloudEvents, JSON event format, section 3). JSON data
// stands in data exactly as published, byte for byte; any other data in data_base64; no data in neither. Extension
// attributes are strings, sorted by name. App and ordering key are Sidehook's own and left out.
type cloudEvents struct{}

func (cloudEvents) Name() string   { return sidehook.FormatCloudEvents }
func (cloudEvents) PerEvent() bool { return true }

func (cloudEvents) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	if err := checkTime(e.Time); err != nil {
		return Shaped{}, err
	}
	kind := kindOf(e)
	if kind == dataText {
		kind = dataBinary
	}
	b := make([]byte, 0, 256+len(e.Source)+len(e.Subject)+kind.room(e.Data))
	b = append(b, `{"specversion":"1.0"`...)
	b = appendMember(b, "id", e.ID)
	b = appendMember(b, "source", e.Source)
	b = appendMember(b, "type", e.Type)
	b = appendOptional(b, "subject", e.Subject)
	b = append(b, `,"time":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	if kind != dataNone {
		b = appendOptional(b, "datacontenttype", e.DataContentType)
	}
	b = appendOptional(b, "dataschema", e.DataSchema)
	b, err := appendExtensions(b, e.Extensions)
	if err != nil {
		return Shaped{}, err
	}
	if kind != dataNone {
		b = append(b, ',')
		b = appendData(b, kind, e.Data)
	}
	b = append(b, '}')
	return Shaped{Body: b, ContentType: "application/cloudevents+json"}, nil
}

// attributes are the members that an extension cannot be named after.
var attributes = map[string]bool{
	"specversion": true, "id": true, "source": true, "type": true, "subject": true, "time": true,
	"datacontenttype": true, "dataschema": true, "data": true,
}

func appendExtensions(b []byte, extensions map[string]string) ([]byte, error) {
	names, err := extensionNames(extensions)
	if err != nil {
		return b, err
	}
	for _, name := range names {
		b = appendMember(b, name, extensions[name])
	}
	return b, nil
}

func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

func appendOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendMember(b, name, value)
}
