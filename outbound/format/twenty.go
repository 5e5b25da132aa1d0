package format

import "github.com/sidehook/sidehook"

// twenty is the body of Twenty's webhooks, as its documentation has it:
//
//	{"event":"person.created","data":{…},"timestamp":"2025-02-10T15:30:50Z"}
//
// timestamp is the event's time in UTC, in whole seconds. The documented receiver parses the body and prints it again
// before it checks the signature, so JSON data is printed as JSON.stringify would: see appendJavaScript. Null stands
// for no data, text is a string, and all else is base64 in data_base64 instead.
type twenty struct{}

func (twenty) Name() string   { return sidehook.FormatTwenty }
func (twenty) PerEvent() bool { return true }

func (twenty) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	if err := checkTime(e.Time); err != nil {
		return Shaped{}, err
	}
	b := make([]byte, 0, len(`{"event":"","data_base64":"","timestamp":"2006-01-02T15:04:05Z"}`)+len(e.Type)+kindOf(e).room(e.Data))
	b = append(b, `{"event":`...)
	b = appendString(b, e.Type)
	b = append(b, ',')
	if kindOf(e) == dataJSON {
		var err error
		if b, err = appendJavaScript(append(b, `"data":`...), e.Data); err != nil {
			return Shaped{}, sidehook.Fieldf("data", "%v", err)
		}
	} else {
		b = appendNested(b, e)
	}
	b = append(b, `,"timestamp":"`...)
	b = e.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05Z")
	b = append(b, `"}`...)
	return Shaped{Body: b, ContentType: contentTypeJSON}, nil
}
