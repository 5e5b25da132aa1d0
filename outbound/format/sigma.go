package format

import (
	"time"

	"github.com/sidehook/sidehook"
)

// sigma is the body of Sigma's events:
//
//	{"event":"livestream.channel.live","data":{…},"date":"2026-03-01T12:30:45.120345Z"}
//
// Sigma publishes no payload of a real event. What is known is the body of its test: an object with data, and with date
// in UTC after RFC 3339 with as many digits of the second as there are. So these two stand here as in the test, and
// event is added, because one webhook gets several types and nothing else would tell them apart.
//
// States that one type stands for several of (mediaVOD.job.complete for complete and error, mediaVOD.job.created for
// created and queued) are a field of data, which holds what was published: JSON byte for byte, null when there is none,
// text as a string, all else as base64 in data_base64 instead.
type sigma struct{}

func (sigma) Name() string   { return sidehook.FormatSigma }
func (sigma) PerEvent() bool { return true }

func (sigma) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	if err := checkTime(e.Time); err != nil {
		return Shaped{}, err
	}
	b := make([]byte, 0, len(`{"event":"","data_base64":"","date":""}`)+len(time.RFC3339Nano)+len(e.Type)+kindOf(e).room(e.Data))
	b = append(b, `{"event":`...)
	b = appendString(b, e.Type)
	b = append(b, ',')
	b = appendNested(b, e)
	b = append(b, `,"date":"`...)
	b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `"}`...)
	return Shaped{Body: b, ContentType: contentTypeJSON}, nil
}
