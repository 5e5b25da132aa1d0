package app

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/storage"
)

// What the fleet protocol says of deliveries and events. gRPC refuses messages of more than 4 MiB and texts that are not
// UTF-8; these functions keep to both.

// Bounds of what one message holds, in bytes: together less than what gRPC takes.
const (
	maxListBytes     = 2 << 20
	maxAttemptsBytes = 1 << 20
	maxBodyBytes     = 2 << 20
)

var (
	statesToProto = map[sidehook.DeliveryState]fleetv1.DeliveryState{
		sidehook.Pending:   fleetv1.DeliveryState_DELIVERY_STATE_PENDING,
		sidehook.Delivered: fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED,
		sidehook.Dead:      fleetv1.DeliveryState_DELIVERY_STATE_DEAD,
		sidehook.Dropped:   fleetv1.DeliveryState_DELIVERY_STATE_DROPPED,
	}
	outcomesToProto = map[sidehook.OutcomeKind]fleetv1.OutcomeKind{
		sidehook.OutcomeDelivered: fleetv1.OutcomeKind_OUTCOME_KIND_DELIVERED,
		sidehook.OutcomeRetry:     fleetv1.OutcomeKind_OUTCOME_KIND_RETRY,
		sidehook.OutcomeDead:      fleetv1.OutcomeKind_OUTCOME_KIND_DEAD,
		sidehook.OutcomeGone:      fleetv1.OutcomeKind_OUTCOME_KIND_GONE,
		sidehook.OutcomeDropped:   fleetv1.OutcomeKind_OUTCOME_KIND_DROPPED,
	}
)

// stateOfProto reads a state; false when there is none of that number, or it is unspecified.
func stateOfProto(p fleetv1.DeliveryState) (sidehook.DeliveryState, bool) {
	for state, q := range statesToProto {
		if p == q {
			return state, true
		}
	}
	return 0, false
}

// deliveryProto tells of a delivery without its event and request. Of its attempts the newest are kept that fit.
func deliveryProto(d *storage.DeliveryInfo) *fleetv1.Delivery {
	p := &fleetv1.Delivery{
		Id: d.ID.String(), App: d.Webhook.App, Webhook: d.Webhook.ID, EventId: plain(d.EventID), EventType: plain(d.EventType),
		AcceptedAt: timestamppb.New(d.AcceptedAt), State: statesToProto[d.State],
		NextAttempt: optionalTimestamp(d.NextAttempt), AttemptCount: uint32(d.AttemptCount),
	}
	attempts, bytes := make([]*fleetv1.Attempt, len(d.Attempts)), 0
	first := len(attempts)
	for first > 0 {
		a := attemptProto(&d.Attempts[first-1])
		if bytes += proto.Size(a); bytes > maxAttemptsBytes {
			break
		}
		first--
		attempts[first] = a
	}
	p.Attempts = attempts[first:]
	return p
}

func attemptProto(a *sidehook.Attempt) *fleetv1.Attempt {
	p := &fleetv1.Attempt{
		Number: uint32(max(0, a.Number)), At: optionalTimestamp(a.At), Latency: durationpb.New(a.Latency), Url: plain(a.URL),
		Status: uint32(max(0, a.Status)), Response: firstOf(a.Response, sidehook.MaxRecordedResponse), Error: plain(a.Error),
		Outcome: outcomesToProto[a.Outcome.Kind], RetryAt: optionalTimestamp(a.Outcome.RetryAt),
	}
	for _, h := range a.RequestHeaders {
		p.RequestHeaders = append(p.RequestHeaders, &fleetv1.Header{Key: plain(h.Key), Value: plain(h.Value)})
	}
	return p
}

// requestProto tells a request's body; nil when it is too large to tell, or there is none.
func requestProto(r *storage.SavedRequest, madeAgain bool) *fleetv1.RequestBody {
	if r == nil || len(r.Body) > maxBodyBytes {
		return nil
	}
	return &fleetv1.RequestBody{Body: r.Body, ContentType: plain(r.ContentType), MadeAgain: madeAgain}
}

func eventProto(e *sidehook.Event) *eventsv1.Event {
	p := &eventsv1.Event{
		App: e.App, Id: plain(e.ID), Source: plain(e.Source), Type: plain(e.Type), Subject: plain(e.Subject),
		Time: optionalTimestamp(e.Time), DataContentType: plain(e.DataContentType), DataSchema: plain(e.DataSchema),
		Data: e.Data, OrderingKey: plain(e.OrderingKey),
	}
	if len(e.Extensions) > 0 {
		p.Extensions = make(map[string]string, len(e.Extensions))
		for name, value := range e.Extensions {
			p.Extensions[plain(name)] = plain(value)
		}
	}
	return p
}

// eventOfProto reads an event that came in at now, of at most maxData bytes of data. It returns a *sidehook.FieldError,
// or an error that is sidehook.ErrTooLarge.
func eventOfProto(p *eventsv1.Event, now time.Time, maxData int) (*sidehook.Event, error) {
	if p == nil {
		return nil, sidehook.Fieldf("", "is required")
	}
	e := &sidehook.Event{
		App: p.GetApp(), ID: p.GetId(), Source: p.GetSource(), Type: p.GetType(), Subject: p.GetSubject(),
		DataContentType: p.GetDataContentType(), DataSchema: p.GetDataSchema(), OrderingKey: p.GetOrderingKey(),
		Data: p.GetData(), Extensions: p.GetExtensions(),
	}
	var err error
	if e.Time, err = timeOfProto("time", p.GetTime()); err != nil {
		return nil, err
	}
	e.Normalize(now)
	return e, e.Validate(maxData)
}

// timeOfProto reads a time, zero for unset.
func timeOfProto(field string, p *timestamppb.Timestamp) (time.Time, error) {
	if p == nil {
		return time.Time{}, nil
	}
	if err := p.CheckValid(); err != nil {
		return time.Time{}, sidehook.Fieldf(field, "is not a valid Timestamp")
	}
	return p.AsTime(), nil
}

// optionalTimestamp is unset for the zero time.
func optionalTimestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// plain makes a text UTF-8.
func plain(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// cutText is a text of at most so many bytes, in UTF-8.
func cutText(s string, limit int) string {
	s = plain(s)
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "")
}
