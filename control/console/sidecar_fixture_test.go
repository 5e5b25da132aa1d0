package console_test

import (
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

// serveFleet offers the fleet over a real gRPC connection on loopback.
func (s *site) serveFleet() fleetv1.FleetServiceClient {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.check(err)
	server := grpc.NewServer()
	s.fleet.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	s.check(err)
	s.t.Cleanup(func() {
		s.check(conn.Close())
		server.Stop()
		s.check(<-served)
	})
	return fleetv1.NewFleetServiceClient(conn)
}

// sidecar is a scripted one on a real stream: it answers from a history as a sidecar does.
type sidecar struct {
	s      *site
	id     string
	stream grpc.BidiStreamingClient[fleetv1.ConnectRequest, fleetv1.ConnectResponse]
	over   chan struct{} // closed when its stream has ended

	mu      sync.Mutex
	history []*fleetv1.Delivery // newest first
	asked   []*fleetv1.Command
	refuses *fleetv1.Failure // instead of any answer
	// refusesRetry is what it answers to retries alone.
	refusesRetry *fleetv1.Failure
}

func (s *site) sidecar(client fleetv1.FleetServiceClient, id string, apps ...string) *sidecar {
	s.t.Helper()
	token, _ := s.makeToken(control.TokenSidecar, apps...)
	stream, err := client.Connect(metadata.AppendToOutgoingContext(s.t.Context(), "authorization", "Bearer "+token))
	s.check(err)
	car := &sidecar{s: s, id: id, stream: stream, over: make(chan struct{})}
	s.check(stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Hello{Hello: &fleetv1.Hello{
		SidecarId: id, Hostname: "host-" + id, Version: "1.2.3", StartedAt: timestamppb.New(time.Unix(1_700_000_000, 0)),
	}}}))
	_, err = stream.Recv()
	s.check(err)
	go car.work()
	return car
}

func (c *sidecar) work() {
	defer close(c.over)
	for {
		response, err := c.stream.Recv()
		if err != nil {
			return
		}
		command := response.GetCommand()
		if command == nil { // a cancel
			continue
		}
		answer := c.answer(command)
		answer.Command = command.GetId()
		c.send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Answer{Answer: answer}})
	}
}

func (c *sidecar) send(r *fleetv1.ConnectRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.stream.Send(r) // a stream that has ended is seen by Recv
}

// report waits until the control plane has the report.
func (c *sidecar) report(r *fleetv1.Report) {
	c.s.t.Helper()
	changes := c.s.fleet.Changes(c.s.t.Context(), "")
	if r.SnapshotVersion == "" {
		r.SnapshotVersion = time.Now().Format(time.RFC3339Nano)
	}
	c.send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Report{Report: r}})
	for {
		for _, known := range c.s.fleet.Sidecars() {
			if known.ID == c.id && known.SnapshotVersion == r.GetSnapshotVersion() {
				return
			}
		}
		if _, ok := <-changes; !ok {
			c.s.t.Fatal("the fleet does not hear the report")
		}
	}
}

// leave ends the stream and waits until the control plane knows.
func (c *sidecar) leave() {
	c.s.t.Helper()
	c.mu.Lock()
	c.s.check(c.stream.CloseSend())
	c.mu.Unlock()
	<-c.over
}

func (c *sidecar) commands() []*fleetv1.Command {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*fleetv1.Command(nil), c.asked...)
}

func (c *sidecar) refuse(f *fleetv1.Failure) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses = f
}

func (c *sidecar) answer(command *fleetv1.Command) *fleetv1.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, command)
	if c.refuses != nil {
		return &fleetv1.Answer{Result: &fleetv1.Answer_Failure{Failure: c.refuses}}
	}
	missing := &fleetv1.Answer{Result: &fleetv1.Answer_Failure{Failure: &fleetv1.Failure{Code: 5, Message: "no such delivery"}}}
	switch ask := command.GetAsk().(type) {
	case *fleetv1.Command_ListDeliveries:
		return c.list(ask.ListDeliveries)
	case *fleetv1.Command_GetDelivery:
		if d := c.find(ask.GetDelivery.GetId()); d != nil {
			return &fleetv1.Answer{Result: &fleetv1.Answer_Delivery{Delivery: d}}
		}
		return missing
	case *fleetv1.Command_RetryDelivery:
		switch {
		case c.find(ask.RetryDelivery.GetId()) == nil:
			return missing
		case c.refusesRetry != nil:
			return &fleetv1.Answer{Result: &fleetv1.Answer_Failure{Failure: c.refusesRetry}}
		}
		return &fleetv1.Answer{Result: &fleetv1.Answer_Retried{Retried: &fleetv1.Retried{}}}
	case *fleetv1.Command_ReplayDeliveries:
		return &fleetv1.Answer{Result: &fleetv1.Answer_Replayed{Replayed: &fleetv1.Replayed{Deliveries: 3}}}
	case *fleetv1.Command_SendTestEvent:
		return &fleetv1.Answer{Result: &fleetv1.Answer_TestSent{TestSent: &fleetv1.TestSent{
			DeliveryId: sidehook.DeliveryID{Batch: 1}.String(), Attempt: &fleetv1.Attempt{
				Number: 1, Url: "https://example.com/in", Error: "timeout after 15s <b>", Outcome: fleetv1.OutcomeKind_OUTCOME_KIND_DEAD,
			},
		}}}
	case *fleetv1.Command_Drain:
		return &fleetv1.Answer{Result: &fleetv1.Answer_Draining{Draining: &fleetv1.Draining{Pending: 7}}}
	}
	return &fleetv1.Answer{Result: &fleetv1.Answer_Failure{Failure: &fleetv1.Failure{Code: 12, Message: "unknown command"}}}
}

func (c *sidecar) find(id string) *fleetv1.Delivery {
	for _, d := range c.history {
		if d.GetId() == id {
			return d
		}
	}
	return nil
}

func (c *sidecar) list(q *fleetv1.ListDeliveries) *fleetv1.Answer {
	list := &fleetv1.DeliveryList{}
	passed := q.GetAfter() == ""
	for _, d := range c.history {
		at := d.GetAcceptedAt().AsTime()
		switch {
		case !passed:
			passed = d.GetId() == q.GetAfter()
			continue
		case d.GetApp() != q.GetApp(), q.GetSince() != nil && at.Before(q.GetSince().AsTime()),
			q.GetUntil() != nil && !at.Before(q.GetUntil().AsTime()), q.GetWebhook() != "" && d.GetWebhook() != q.GetWebhook(),
			q.GetState() != 0 && d.GetState() != q.GetState(), q.GetEventType() != "" && d.GetEventType() != q.GetEventType():
			continue
		case len(list.Deliveries) == int(q.GetLimit()):
			list.More = true
			return &fleetv1.Answer{Result: &fleetv1.Answer_DeliveryList{DeliveryList: list}}
		}
		d = proto.CloneOf(d)
		d.Event, d.Request = nil, nil
		if n := len(d.Attempts); n > 0 {
			d.Attempts = d.Attempts[n-1:]
		}
		list.Deliveries = append(list.Deliveries, d)
	}
	return &fleetv1.Answer{Result: &fleetv1.Answer_DeliveryList{DeliveryList: list}}
}

// begin is when the deliveries of tests begin; each is a minute older than the one before.
var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// someDelivery is the n-th of an app, newest first: failed twice.
func someDelivery(n int, webhook string) *fleetv1.Delivery {
	id := sidehook.DeliveryID{Origin: 7, Batch: uint64(10_000 - n)}
	at := begin.Add(-time.Duration(n) * time.Minute)
	return &fleetv1.Delivery{
		Id: id.String(), App: "demo", Webhook: webhook, EventId: "evt_" + id.String(), EventType: "order.paid",
		AcceptedAt: timestamppb.New(at), State: fleetv1.DeliveryState_DELIVERY_STATE_DEAD, AttemptCount: 2,
		Attempts: []*fleetv1.Attempt{
			{
				Number: 1, At: timestamppb.New(at), Latency: durationpb.New(1500 * time.Microsecond), Url: "https://example.com/in",
				Status: 500, Response: []byte("oops"), Error: "500 Internal Server Error",
				Outcome: fleetv1.OutcomeKind_OUTCOME_KIND_RETRY, RetryAt: timestamppb.New(at.Add(5 * time.Second)),
			},
			{
				Number: 2, At: timestamppb.New(at.Add(5 * time.Second)), Latency: durationpb.New(2 * time.Millisecond),
				Url: "https://example.com/in", RequestHeaders: []*fleetv1.Header{{Key: "webhook-id", Value: "evt"}},
				Error: "connection refused", Outcome: fleetv1.OutcomeKind_OUTCOME_KIND_DEAD,
			},
		},
	}
}
