package control

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/storage"
)

// What a sidecar answers is input like any other: ids are checked, what is of another app than the one asked about is
// refused with the whole answer, texts and lists are cut.

// Bounds of an answer.
const (
	maxAnsweredAttempts = 100 // the newest
	maxAnsweredHeaders  = 50
	maxHeaderText       = 4096
)

var deliveryStates = map[fleetv1.DeliveryState]sidehook.DeliveryState{
	fleetv1.DeliveryState_DELIVERY_STATE_PENDING:   sidehook.Pending,
	fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED: sidehook.Delivered,
	fleetv1.DeliveryState_DELIVERY_STATE_DEAD:      sidehook.Dead,
	fleetv1.DeliveryState_DELIVERY_STATE_DROPPED:   sidehook.Dropped,
}

// stateOf is the reverse of deliveryStates.
func stateOf(s sidehook.DeliveryState) fleetv1.DeliveryState {
	for sent, state := range deliveryStates {
		if state == s {
			return sent
		}
	}
	return fleetv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED
}

var outcomeKinds = map[fleetv1.OutcomeKind]sidehook.OutcomeKind{
	fleetv1.OutcomeKind_OUTCOME_KIND_DELIVERED: sidehook.OutcomeDelivered,
	fleetv1.OutcomeKind_OUTCOME_KIND_RETRY:     sidehook.OutcomeRetry,
	fleetv1.OutcomeKind_OUTCOME_KIND_DEAD:      sidehook.OutcomeDead,
	fleetv1.OutcomeKind_OUTCOME_KIND_GONE:      sidehook.OutcomeGone,
	fleetv1.OutcomeKind_OUTCOME_KIND_DROPPED:   sidehook.OutcomeDropped,
}

// failed turns a Failure into an error, and an error of asking into one that names the sidecar.
func (p *peer) failed(err error) *SidecarError {
	var already *SidecarError
	if errors.As(err, &already) {
		return already
	}
	return &SidecarError{Sidecar: p.key.id, Reason: err.Error(), Err: err}
}

func (p *peer) failure(f *fleetv1.Failure) *SidecarError {
	e := &SidecarError{Sidecar: p.key.id, Reason: cut(f.GetMessage(), maxLongText)}
	switch codes.Code(f.GetCode()) {
	case codes.DeadlineExceeded:
		e.Err = ErrSidecarSlow
	case codes.NotFound:
		e.Err = sidehook.ErrNotFound
	case codes.ResourceExhausted:
		e.Err = ErrBusy
	case codes.FailedPrecondition:
		e.Err = ErrSidecarRefused
	case codes.Unavailable:
		e.Err = ErrSidecarGone
	case codes.Unimplemented:
		e.Err = errTooOld
		e.Reason = "is of a version that does not know this command; update it"
	default: // its own trouble; the reason says what
	}
	if e.Reason == "" {
		e.Reason = "failed and does not say why"
	}
	return e
}

// errTooOld: the sidecar does not know the command.
var errTooOld = errors.New("sidecar is too old")

// deliveryList checks a page of deliveries against what was asked for.
func deliveryList(sidecar string, asked *fleetv1.ListDeliveries, answer *fleetv1.DeliveryList) ([]Delivery, error) {
	switch n := len(answer.GetDeliveries()); {
	case n > int(asked.GetLimit()):
		return nil, fmt.Errorf("%w: %d deliveries instead of %d", errOtherThanAsked, n, asked.GetLimit())
	case n == 0 && answer.GetMore():
		return nil, fmt.Errorf("%w: an empty page that is not the last", errOtherThanAsked)
	}
	list := make([]Delivery, 0, len(answer.GetDeliveries()))
	for _, x := range answer.GetDeliveries() {
		d, err := deliveryOf(sidecar, asked.GetApp(), x)
		if err != nil {
			return nil, err
		}
		switch {
		case asked.GetWebhook() != "" && d.Webhook.ID != asked.GetWebhook():
			return nil, fmt.Errorf("%w: a delivery of another webhook", errOtherThanAsked)
		case asked.GetEventType() != "" && d.EventType != asked.GetEventType():
			return nil, fmt.Errorf("%w: a delivery of another event type", errOtherThanAsked)
		}
		d.Attempts = d.Attempts[max(0, len(d.Attempts)-1):]
		d.Event, d.Request = nil, nil
		list = append(list, *d)
	}
	return list, nil
}

// deliveryOf checks a delivery that a sidecar tells of.
func deliveryOf(sidecar, app string, x *fleetv1.Delivery) (*Delivery, error) {
	id, err := sidehook.ParseDeliveryID(x.GetId())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOtherThanAsked, err)
	}
	state, known := deliveryStates[x.GetState()]
	accepted := timeOf(x.GetAcceptedAt())
	switch {
	case x.GetApp() != app:
		return nil, fmt.Errorf("%w: a delivery of another app", errOtherThanAsked)
	case !sidehook.ValidName(x.GetWebhook()):
		return nil, fmt.Errorf("%w: a delivery without a valid webhook", errOtherThanAsked)
	case !known:
		return nil, fmt.Errorf("%w: a delivery without a state that is known here", errOtherThanAsked)
	case accepted.Year() < 1970 || accepted.Year() > 2200: // a cursor has nanoseconds in 64 bits
		return nil, fmt.Errorf("%w: a delivery without a time that can be", errOtherThanAsked)
	}
	d := &Delivery{
		ID: id, Webhook: sidehook.WebhookKey{App: app, ID: x.GetWebhook()}, Sidecar: sidecar,
		EventID: cut(x.GetEventId(), sidehook.MaxEventIDLen), EventType: cut(x.GetEventType(), sidehook.MaxEventTypeLen),
		AcceptedAt: accepted, State: state, NextAttempt: timeOf(x.GetNextAttempt()),
		AttemptCount: int(min(x.GetAttemptCount(), math.MaxInt32)), Request: requestOf(x.GetRequest()),
	}
	attempts := x.GetAttempts()
	for _, a := range attempts[max(0, len(attempts)-maxAnsweredAttempts):] {
		d.Attempts = append(d.Attempts, attemptOf(a))
	}
	if e := x.GetEvent(); e != nil {
		if d.Event, err = eventOf(app, e); err != nil {
			return nil, fmt.Errorf("%w: %w", errOtherThanAsked, err)
		}
	}
	return d, nil
}

func attemptOf(x *fleetv1.Attempt) sidehook.Attempt {
	a := sidehook.Attempt{
		Number: int(min(x.GetNumber(), math.MaxInt32)), At: timeOf(x.GetAt()),
		URL: cut(x.GetUrl(), sidehook.MaxURLLen), Status: int(min(x.GetStatus(), 999)),
		Response: x.GetResponse()[:min(sidehook.MaxRecordedResponse, len(x.GetResponse()))],
		Error:    cut(x.GetError(), maxLongText), Outcome: sidehook.Outcome{Kind: outcomeKinds[x.GetOutcome()]},
	}
	if x.GetLatency().IsValid() {
		a.Latency = max(0, x.GetLatency().AsDuration())
	}
	if a.Outcome.Kind == sidehook.OutcomeRetry {
		a.Outcome.RetryAt = timeOf(x.GetRetryAt())
	}
	for _, h := range x.GetRequestHeaders()[:min(maxAnsweredHeaders, len(x.GetRequestHeaders()))] {
		a.RequestHeaders = append(a.RequestHeaders, sidehook.Header{
			Key: cut(h.GetKey(), maxShortText), Value: cut(h.GetValue(), maxHeaderText),
		})
	}
	return a
}

func requestOf(x *fleetv1.RequestBody) *RequestBody {
	if x == nil {
		return nil
	}
	return &RequestBody{Body: x.GetBody(), ContentType: cut(x.GetContentType(), maxShortText), MadeAgain: x.GetMadeAgain()}
}

func eventOf(app string, x *eventsv1.Event) (*sidehook.Event, error) {
	e := &sidehook.Event{
		App: x.GetApp(), ID: x.GetId(), Source: x.GetSource(), Type: x.GetType(), Subject: x.GetSubject(),
		Time: timeOf(x.GetTime()), DataContentType: x.GetDataContentType(), DataSchema: x.GetDataSchema(),
		OrderingKey: x.GetOrderingKey(), Data: x.GetData(),
	}
	if len(x.GetExtensions()) > 0 {
		e.Extensions = maps.Clone(x.GetExtensions())
	}
	if e.App != app {
		return nil, sidehook.Fieldf("event.app", "is another than %s", app)
	}
	return e, sidehook.Under("event", e.Validate(storage.MaxBatchBytes))
}

// wireEvent is an event as a command carries it.
func wireEvent(e *sidehook.Event) *eventsv1.Event {
	return &eventsv1.Event{
		App: e.App, Id: e.ID, Source: e.Source, Type: e.Type, Subject: e.Subject, Time: timestamp(e.Time),
		DataContentType: e.DataContentType, DataSchema: e.DataSchema, OrderingKey: e.OrderingKey, Data: e.Data,
		Extensions: e.Extensions,
	}
}

// timestamp is a time as commands carry it: unset for zero.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
