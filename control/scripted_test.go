package control_test

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// script is what a scripted sidecar answers; nil for nothing. Its id is filled in.
type script func(*fleetv1.Command) *fleetv1.Answer

// scripted is a sidecar on a real stream that answers by a script.
type scripted struct {
	p      *plane
	id     string
	stream fleetStream
	asked  chan *fleetv1.Command // all that it got
	cancel chan uint64           // commands that were cancelled
	over   chan struct{}         // closed when its stream has ended

	mu sync.Mutex // of sending
}

// sidecar connects a sidecar that serves the token's apps.
func (p *plane) sidecar(c fleetv1.FleetServiceClient, token, id string, answer script) *scripted {
	p.t.Helper()
	s := &scripted{
		p: p, id: id, stream: p.connect(c, token), asked: make(chan *fleetv1.Command, 1000),
		cancel: make(chan uint64, 1000), over: make(chan struct{}),
	}
	p.greet(s.stream, id)
	go s.work(answer)
	return s
}

func (s *scripted) work(answer script) {
	defer close(s.over)
	for {
		response, err := s.stream.Recv()
		if err != nil {
			return
		}
		if c := response.GetCancel(); c != nil {
			s.cancel <- c.GetCommand()
			continue
		}
		command := response.GetCommand()
		s.asked <- command
		if a := answer(command); a != nil {
			s.answer(command, a)
		}
	}
}

// answer sends an answer to a command; the stream may have ended meanwhile.
func (s *scripted) answer(command *fleetv1.Command, a *fleetv1.Answer) {
	a.Command = command.GetId()
	s.send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Answer{Answer: a}})
}

func (s *scripted) send(r *fleetv1.ConnectRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.stream.Send(r) // a stream that has ended is seen by Recv
}

// report waits until the control plane has the report.
func (s *scripted) report(r *fleetv1.Report) {
	s.p.t.Helper()
	r.SnapshotVersion = time.Now().Format(time.RFC3339Nano)
	s.send(report(r))
	s.p.sidecars(func(list []map[string]any) bool {
		return slices.ContainsFunc(list, func(x map[string]any) bool {
			return x["id"] == s.id && x["snapshot_version"] == r.GetSnapshotVersion()
		})
	})
}

// leave ends the stream from the sidecar's side.
func (s *scripted) leave() {
	s.p.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p.check(s.stream.CloseSend())
	<-s.over
}

func silent(*fleetv1.Command) *fleetv1.Answer { return nil }

func failing(code int32, message string) script {
	return func(*fleetv1.Command) *fleetv1.Answer { return failure(code, message) }
}

func failure(code int32, message string) *fleetv1.Answer {
	return &fleetv1.Answer{Result: &fleetv1.Answer_Failure{Failure: &fleetv1.Failure{Code: code, Message: message}}}
}

func listAnswer(more bool, list ...*fleetv1.Delivery) *fleetv1.Answer {
	return &fleetv1.Answer{Result: &fleetv1.Answer_DeliveryList{DeliveryList: &fleetv1.DeliveryList{
		Deliveries: list, More: more,
	}}}
}

// history is a scripted sidecar's store, newest first; it answers as a sidecar does.
type history struct {
	mu         sync.Mutex
	deliveries []*fleetv1.Delivery
	retried    []string
	replays    []*fleetv1.ReplayDeliveries
}

// someDelivery is one of app a that was accepted at a time.
func someDelivery(id sidehook.DeliveryID, webhook string, at time.Time) *fleetv1.Delivery {
	return &fleetv1.Delivery{
		Id: id.String(), App: "a", Webhook: webhook, EventId: "evt_" + id.String(), EventType: "person.created",
		AcceptedAt: timestamppb.New(at), State: fleetv1.DeliveryState_DELIVERY_STATE_DEAD, AttemptCount: 2,
		Attempts: []*fleetv1.Attempt{
			{
				Number: 1, At: timestamppb.New(at), Latency: durationpb.New(1500 * time.Microsecond), Url: "https://example.com/in",
				Status: 500, Response: []byte("oops"), Error: "the endpoint answered 500",
				Outcome: fleetv1.OutcomeKind_OUTCOME_KIND_RETRY, RetryAt: timestamppb.New(at.Add(5 * time.Second)),
			},
			{
				Number: 2, At: timestamppb.New(at.Add(5 * time.Second)), Latency: durationpb.New(2 * time.Millisecond),
				Url: "https://example.com/in", RequestHeaders: []*fleetv1.Header{{Key: "X-A", Value: "b"}},
				Error: "connection refused", Outcome: fleetv1.OutcomeKind_OUTCOME_KIND_DEAD,
			},
		},
	}
}

func (h *history) answer(c *fleetv1.Command) *fleetv1.Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch ask := c.GetAsk().(type) {
	case *fleetv1.Command_ListDeliveries:
		return h.list(ask.ListDeliveries)
	case *fleetv1.Command_GetDelivery:
		if d := h.find(ask.GetDelivery.GetId()); d != nil {
			return &fleetv1.Answer{Result: &fleetv1.Answer_Delivery{Delivery: d}}
		}
		return failure(5, "no such delivery")
	case *fleetv1.Command_RetryDelivery:
		if h.find(ask.RetryDelivery.GetId()) == nil {
			return failure(5, "no such delivery")
		}
		h.retried = append(h.retried, ask.RetryDelivery.GetId())
		return &fleetv1.Answer{Result: &fleetv1.Answer_Retried{Retried: &fleetv1.Retried{}}}
	case *fleetv1.Command_ReplayDeliveries:
		h.replays = append(h.replays, ask.ReplayDeliveries)
		return &fleetv1.Answer{Result: &fleetv1.Answer_Replayed{Replayed: &fleetv1.Replayed{Deliveries: uint32(len(h.deliveries))}}}
	case *fleetv1.Command_Drain:
		return &fleetv1.Answer{Result: &fleetv1.Answer_Draining{Draining: &fleetv1.Draining{Pending: 7}}}
	}
	return failure(12, "unknown command")
}

func (h *history) find(id string) *fleetv1.Delivery {
	for _, d := range h.deliveries {
		if d.GetId() == id {
			return d
		}
	}
	return nil
}

func (h *history) list(q *fleetv1.ListDeliveries) *fleetv1.Answer {
	var picked []*fleetv1.Delivery
	passed := q.GetAfter() == ""
	for _, d := range h.deliveries {
		at := d.GetAcceptedAt().AsTime()
		switch {
		case !passed:
			passed = d.GetId() == q.GetAfter()
			continue
		case q.GetSince() != nil && at.Before(q.GetSince().AsTime()), q.GetUntil() != nil && !at.Before(q.GetUntil().AsTime()),
			q.GetWebhook() != "" && d.GetWebhook() != q.GetWebhook(), q.GetState() != 0 && d.GetState() != q.GetState(),
			q.GetEventType() != "" && d.GetEventType() != q.GetEventType():
			continue
		case len(picked) == int(q.GetLimit()):
			return listAnswer(true, picked...)
		}
		d = proto.CloneOf(d)
		d.Attempts = d.Attempts[len(d.Attempts)-1:]
		picked = append(picked, d)
	}
	return listAnswer(false, picked...)
}
