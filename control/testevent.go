package control

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sidehook/sidehook"
)

// TestEvent makes the event that tests a webhook of an app: of the type, with the sample of the app's catalogue and an id
// of its own. Where there is no sample the payload says that it is a test. A strict app must know the type. Nothing is
// sent.
func (s *Service) TestEvent(ctx context.Context, app, typ string) (*sidehook.Event, error) {
	policy, err := s.GetApp(ctx, app)
	if err != nil {
		return nil, err
	}
	if !sidehook.ValidEventType(typ) {
		return nil, sidehook.Fieldf("event_type", "must be 1 to %d of A-Z a-z 0-9 _ . : / -", sidehook.MaxEventTypeLen)
	}
	now := s.now()
	entry, err := s.GetEventType(ctx, app, typ)
	switch {
	case errors.Is(err, sidehook.ErrNotFound) && policy.Publish == sidehook.PublishStrict:
		return nil, sidehook.Fieldf("event_type", "%q is not among the event types of app %s, which takes no others", typ, app)
	case errors.Is(err, sidehook.ErrNotFound):
		entry = &sidehook.EventType{}
	case err != nil:
		return nil, err
	}
	event := &sidehook.Event{App: app, ID: newID(testIDPrefix), Source: sidehook.TestSource, Type: typ, Time: now, Data: entry.Sample}
	if len(event.Data) == 0 {
		if event.Data, err = plainTestData(now); err != nil {
			return nil, err
		}
	}
	event.Normalize(now)
	return event, event.Validate(0)
}

// plainTestData is what a test sends where the catalogue has nothing.
func plainTestData(now time.Time) ([]byte, error) {
	return json.Marshal(struct {
		Data string `json:"data"`
		Date string `json:"date"`
	}{"Test Data", now.Format(time.RFC3339Nano)})
}
