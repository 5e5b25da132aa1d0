package format

import (
	"github.com/sidehook/sidehook"
)

// standard is the envelope of Standard Webhooks:
//
//	{"type":"person.created","timestamp":"2026-03-01T12:00:00Z","data":{…}}
//
// timestamp is the event's time in UTC, with three digits of milliseconds when they are not zero; finer parts are cut
// off. data holds JSON exactly as published, byte for byte, and null when there is none. Text (text/*, XML) becomes a
// JSON string in data. All else, and text that is not UTF-8, becomes base64 in a member data_base64 instead of data.
type standard struct{}

func (standard) Name() string   { return sidehook.FormatStandard }
func (standard) PerEvent() bool { return true }

func (standard) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	if err := checkTime(e.Time); err != nil {
		return Shaped{}, err
	}
	kind := kindOf(e)
	b := make([]byte, 0, len(`{"type":"","timestamp":"2006-01-02T15:04:05.000Z","data_base64":""}`)+len(e.Type)+kind.room(e.Data))
	b = append(b, `{"type":`...)
	b = appendString(b, e.Type)
	b = append(b, `,"timestamp":"`...)
	b = appendMillis(b, e.Time)
	b = append(b, `",`...)
	b = appendNested(b, e)
	b = append(b, '}')
	return Shaped{Body: b, ContentType: contentTypeJSON}, nil
}
