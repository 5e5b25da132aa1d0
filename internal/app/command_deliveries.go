package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/storage"
)

func (s *Sidecar) listDeliveries(ctx context.Context, ask *fleetv1.ListDeliveries) (*fleetv1.DeliveryList, error) {
	q, err := s.queryOf(ask)
	if err != nil {
		return nil, err
	}
	page, err := s.store.Deliveries(ctx, q)
	if err != nil {
		var fe *sidehook.FieldError
		if errors.As(err, &fe) && fe.Field == "cursor" {
			return nil, sidehook.Fieldf("after", "%s", fe.Reason)
		}
		return nil, err
	}
	list, bytes := &fleetv1.DeliveryList{More: page.Next != ""}, 0
	for i := range page.Deliveries {
		d := deliveryProto(&page.Deliveries[i])
		if bytes += proto.Size(d); bytes > maxListBytes && len(list.Deliveries) > 0 {
			list.More = true
			break
		}
		list.Deliveries = append(list.Deliveries, d)
	}
	return list, nil
}

// queryOf checks what is asked. The cursor of the store is the id of a delivery.
func (s *Sidecar) queryOf(ask *fleetv1.ListDeliveries) (storage.Query, error) {
	q := storage.Query{App: ask.GetApp(), Webhook: ask.GetWebhook(), Type: ask.GetEventType(), Limit: int(ask.GetLimit())}
	if err := s.checkApp(q.App); err != nil {
		return q, err
	}
	if q.Webhook != "" {
		if err := checkWebhook(q.Webhook); err != nil {
			return q, err
		}
	}
	if ask.GetState() != fleetv1.DeliveryState_DELIVERY_STATE_UNSPECIFIED {
		state, ok := stateOfProto(ask.GetState())
		if !ok {
			return q, sidehook.Fieldf("state", "%d is not known", ask.GetState())
		}
		q.State = &state
	}
	if ask.GetLimit() < 1 || ask.GetLimit() > maxDeliveriesAsked {
		return q, sidehook.Fieldf("limit", "must be 1 to %d", maxDeliveriesAsked)
	}
	if ask.GetAfter() != "" {
		id, err := parseDelivery("after", ask.GetAfter())
		if err != nil {
			return q, err
		}
		q.Cursor = id.String()
	}
	var err error
	q.Since, q.Until, err = boundsOf(ask.GetEventType(), ask.GetSince(), ask.GetUntil())
	return q, err
}

// boundsOf checks the other parts of a query.
func boundsOf(eventType string, since, until *timestamppb.Timestamp) (from, to time.Time, err error) {
	if eventType != "" && !sidehook.ValidEventType(eventType) {
		return from, to, sidehook.Fieldf("event_type", "must be 1 to %d of A-Z a-z 0-9 _ . : / -", sidehook.MaxEventTypeLen)
	}
	if from, err = timeOfProto("since", since); err != nil {
		return from, to, err
	}
	if to, err = timeOfProto("until", until); err != nil {
		return from, to, err
	}
	if !to.IsZero() && !to.After(from) {
		return from, to, sidehook.Fieldf("until", "must be after since")
	}
	return from, to, nil
}

func (s *Sidecar) getDelivery(ctx context.Context, ask *fleetv1.GetDelivery) (*fleetv1.Delivery, error) {
	if err := s.checkApp(ask.GetApp()); err != nil {
		return nil, err
	}
	id, err := parseDelivery("id", ask.GetId())
	if err != nil {
		return nil, err
	}
	info, err := s.store.Delivery(ctx, id)
	if err != nil {
		return nil, err
	}
	if info.Webhook.App != ask.GetApp() {
		return nil, storage.DeliveryNotFound(id)
	}
	d := deliveryProto(info)
	if info.Event != nil {
		d.Event = eventProto(info.Event)
	}
	switch {
	case info.Saved != nil:
		d.Request = requestProto(info.Saved, false)
	case info.Event != nil:
		if made, ok := s.engine.MakeRequest(info.Webhook, info.Event); ok {
			d.Request = requestProto(made, true)
		}
	}
	return d, nil
}

func (s *Sidecar) retryDelivery(ctx context.Context, ask *fleetv1.RetryDelivery) error {
	if err := s.checkApp(ask.GetApp()); err != nil {
		return err
	}
	id, err := parseDelivery("id", ask.GetId())
	if err != nil {
		return err
	}
	return s.engine.Retry(ctx, ask.GetApp(), id)
}

// replayStep is how many deliveries of each state a replay looks at before it queues what it found. Each step goes
// through a part of the history, so few and large ones are the least work.
const replayStep = storage.MaxLimit

func (s *Sidecar) replayDeliveries(ctx context.Context, ask *fleetv1.ReplayDeliveries) (*fleetv1.Replayed, error) {
	r, err := s.replayOf(ask)
	if err != nil {
		return nil, err
	}
	total := 0
	for more := true; more; {
		var n int
		n, more, err = r.step(ctx)
		total += n
		if err != nil {
			return nil, fmt.Errorf("%d were queued before it failed; a replay goes on with the rest: %w", total, err)
		}
	}
	return &fleetv1.Replayed{Deliveries: uint32(total)}, nil
}

// replay walks the finished deliveries of a webhook, newest first, in steps. A step covers the same part of the list for
// each of the states, so that a delivery which ends anew, in another of them, is not met again.
type replay struct {
	s      *Sidecar
	key    sidehook.WebhookKey
	query  storage.Query
	states []sidehook.DeliveryState
}

func (s *Sidecar) replayOf(ask *fleetv1.ReplayDeliveries) (*replay, error) {
	if err := s.checkApp(ask.GetApp()); err != nil {
		return nil, err
	}
	if err := checkWebhook(ask.GetWebhook()); err != nil {
		return nil, err
	}
	r := &replay{s: s, key: sidehook.WebhookKey{App: ask.GetApp(), ID: ask.GetWebhook()}}
	for i, p := range ask.GetStates() {
		state, ok := stateOfProto(p)
		if !ok || !state.Final() {
			return nil, sidehook.Fieldf(fmt.Sprintf("states[%d]", i), "must be delivered, dead or dropped")
		}
		if !slices.Contains(r.states, state) {
			r.states = append(r.states, state)
		}
	}
	if len(r.states) == 0 {
		r.states = []sidehook.DeliveryState{sidehook.Dead, sidehook.Dropped}
	}
	since, until, err := boundsOf(ask.GetEventType(), ask.GetSince(), ask.GetUntil())
	if err != nil {
		return nil, err
	}
	r.query = storage.Query{
		App: r.key.App, Webhook: r.key.ID, Type: ask.GetEventType(), Since: since, Until: until, Limit: replayStep,
	}
	// Refused as a whole where nothing could be queued, also when there is nothing to queue.
	return r, s.engine.TakesAttempts(r.key)
}

// step queues what it finds in the next part of the list; more says that the list goes on.
func (r *replay) step(ctx context.Context) (queued int, more bool, err error) {
	var ids []sidehook.DeliveryID
	var end sidehook.DeliveryID // newest of the pages' last ones: all pages cover the list down to there
	for _, state := range r.states {
		q := r.query
		q.State = &state
		page, err := r.s.store.Deliveries(ctx, q)
		if err != nil {
			return 0, false, err
		}
		for i := range page.Deliveries {
			ids = append(ids, page.Deliveries[i].ID)
		}
		if page.Next != "" {
			if last := ids[len(ids)-1]; !more || end.Before(last) {
				end, more = last, true
			}
		}
	}
	if more {
		ids = slices.DeleteFunc(ids, func(id sidehook.DeliveryID) bool { return id.Before(end) })
		r.query.Cursor = end.String()
	}
	if len(ids) > 0 {
		queued, err = r.s.engine.Requeue(ctx, r.key, ids)
	}
	return queued, more, err
}
