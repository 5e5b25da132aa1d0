package format

import (
	"strconv"
	"strings"

	"github.com/sidehook/sidehook"
)

// apiServer is the callback of Sigma's livestream API server: the channel with what happened to it at the same level.
//
//	{"event":"channel_live","eventTime":1476697473034,"id":"ch_42","name":…}
//
// eventTime is in milliseconds since 1970, an integer. event is the event's type; of one that ends in .channel_live,
// .channel_stop or .channel_ended, that last word. The members of the data follow as published, except members of their
// own called event or eventTime: the envelope's count, and a name given twice would make receivers disagree. Data that
// is no object becomes one first, as for the other flat formats.
type apiServer struct{}

func (apiServer) Name() string   { return sidehook.FormatAPIServer }
func (apiServer) PerEvent() bool { return true }

func (apiServer) Request(e *sidehook.Event, _ *sidehook.Webhook) (Shaped, error) {
	members, err := objectMembers(flat(e))
	if err != nil {
		return Shaped{}, sidehook.Fieldf("data", "%v", err)
	}
	b := make([]byte, 0, len(`{"event":"","eventTime":1476697473034}`)+len(e.Type)+kindOf(e).room(e.Data)+len(members))
	b = append(b, `{"event":`...)
	b = appendString(b, apiServerEvent(e.Type))
	b = append(b, `,"eventTime":`...)
	b = strconv.AppendInt(b, e.Time.UnixMilli(), 10)
	for _, m := range members {
		if m.name == "event" || m.name == "eventTime" {
			continue
		}
		b = append(b, ',')
		b = append(b, m.text...)
	}
	b = append(b, '}')
	return Shaped{Body: b, ContentType: contentTypeJSON}, nil
}

// apiServerEvent takes a product's name off the event types that the API server knows.
func apiServerEvent(eventType string) string {
	switch last := eventType[strings.LastIndexByte(eventType, '.')+1:]; last {
	case "channel_live", "channel_stop", "channel_ended":
		return last
	}
	return eventType
}
