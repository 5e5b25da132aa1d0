package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/outbound"
)

// controlEnd is the other end of the fleet protocol, which asks what a test wants. It takes one stream.
type controlEnd struct {
	fleetv1.UnimplementedFleetServiceServer
	t       *testing.T
	ask     chan *fleetv1.Command
	cancel  chan uint64
	answers chan *fleetv1.Answer
	reports chan *fleetv1.Report
	ended   chan struct{}
	lastID  uint64
}

func (c *controlEnd) Connect(stream grpc.BidiStreamingServer[fleetv1.ConnectRequest, fleetv1.ConnectResponse]) error {
	defer close(c.ended)
	first, err := stream.Recv()
	if err != nil || first.GetHello().GetSidecarId() == "" {
		c.t.Errorf("first request %v, %v", first, err)
	}
	if err := stream.Send(&fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Welcome{Welcome: &fleetv1.Welcome{}}}); err != nil {
		return err
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			if a := m.GetAnswer(); a != nil {
				c.answers <- a
			}
			if r := m.GetReport(); r != nil {
				c.reports <- r
			}
		}
	}()
	for {
		select {
		case command := <-c.ask:
			if err := stream.Send(&fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Command{Command: command}}); err != nil {
				return err
			}
		case id := <-c.cancel:
			if err := stream.Send(&fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Cancel{Cancel: &fleetv1.Cancel{Command: id}}}); err != nil {
				return err
			}
		case <-received:
			return nil
		}
	}
}

// connectFleet connects a sidecar to a control end over a real connection, until the test's end or stop.
func connectFleet(t *testing.T, s *Sidecar) (c *controlEnd, stop func()) {
	t.Helper()
	c = &controlEnd{
		t: t, ask: make(chan *fleetv1.Command), cancel: make(chan uint64), answers: make(chan *fleetv1.Answer, 100),
		reports: make(chan *fleetv1.Report, 1000), ended: make(chan struct{}),
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	fleetv1.RegisterFleetServiceServer(server, c)
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	parts := &stack{log: discard}
	parts.add("server", func(context.Context) error {
		server.Stop()
		return <-served
	})
	parts.add("connection", func(context.Context) error { return conn.Close() })
	f := &fleetClient{
		conn: conn, id: s.id, version: "test", reports: s.newReporter, obey: s.obey, changed: s.changed, counted: s.counted,
		log: discard,
	}
	parts.background("fleet", func(err error) { t.Errorf("fleet ended: %v", err) }, f.run)
	stop = func() {
		if err := parts.stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return c, stop
}

const testPatience = 20 * time.Second

// send asks and does not wait.
func (c *controlEnd) send(command *fleetv1.Command) uint64 {
	c.t.Helper()
	c.lastID++
	command.Id = c.lastID
	if command.Within == nil {
		command.Within = durationpb.New(testPatience)
	}
	select {
	case c.ask <- command:
	case <-time.After(testPatience):
		c.t.Fatal("the stream takes no command")
	}
	return command.Id
}

func (c *controlEnd) answer() *fleetv1.Answer {
	c.t.Helper()
	select {
	case a := <-c.answers:
		return a
	case <-time.After(testPatience):
		c.t.Fatal("no answer")
		return nil
	}
}

// do asks and waits for the answer.
func (c *controlEnd) do(command *fleetv1.Command) *fleetv1.Answer {
	c.t.Helper()
	id := c.send(command)
	a := c.answer()
	if a.GetCommand() != id {
		c.t.Fatalf("answer to %d, not %d", a.GetCommand(), id)
	}
	return a
}

// fails asks for what must fail.
func (c *controlEnd) fails(what string, command *fleetv1.Command, code codes.Code, words string) {
	c.t.Helper()
	f := c.do(command).GetFailure()
	if f == nil || codes.Code(f.GetCode()) != code || !strings.Contains(f.GetMessage(), words) {
		c.t.Errorf("%s: got %v, want %s with %q", what, f, code, words)
	}
}

// report waits for a report of which the condition holds.
func (c *controlEnd) report(what string, holds func(r *fleetv1.Report) bool) *fleetv1.Report {
	c.t.Helper()
	timeout := time.After(testPatience)
	for {
		select {
		case r := <-c.reports:
			if holds(r) {
				return r
			}
		case <-timeout:
			c.t.Fatalf("no report: %s", what)
		}
	}
}

func list(q *fleetv1.ListDeliveries) *fleetv1.Command {
	return &fleetv1.Command{Ask: &fleetv1.Command_ListDeliveries{ListDeliveries: q}}
}

func get(app, id string) *fleetv1.Command {
	return &fleetv1.Command{Ask: &fleetv1.Command_GetDelivery{GetDelivery: &fleetv1.GetDelivery{App: app, Id: id}}}
}

func retry(app, id string) *fleetv1.Command {
	return &fleetv1.Command{Ask: &fleetv1.Command_RetryDelivery{RetryDelivery: &fleetv1.RetryDelivery{App: app, Id: id}}}
}

func replayAsk(r *fleetv1.ReplayDeliveries) *fleetv1.Command {
	return &fleetv1.Command{Ask: &fleetv1.Command_ReplayDeliveries{ReplayDeliveries: r}}
}

func sendTest(webhook string, change ...func(*fleetv1.SendTestEvent)) *fleetv1.Command {
	ask := &fleetv1.SendTestEvent{App: "demo", Webhook: webhook, Event: &eventsv1.Event{
		App: "demo", Id: "test_1", Source: "/sidehook/test", Type: "person.created", Data: []byte(`{"n":1}`),
	}}
	for _, f := range change {
		f(ask)
	}
	return &fleetv1.Command{Ask: &fleetv1.Command_SendTestEvent{SendTestEvent: ask}}
}

// endpointSidecar is a sidecar with one webhook, w, that posts to an endpoint which answers as the test says.
func endpointSidecar(t *testing.T, more string) (*Sidecar, *atomic.Pointer[http.HandlerFunc]) {
	t.Helper()
	var answer atomic.Pointer[http.HandlerFunc]
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := answer.Load(); f != nil {
			(*f)(w, r)
		}
	}))
	t.Cleanup(endpoint.Close)
	return startFileSidecar(t, `apps:
  - id: demo
    webhooks:
      - id: w
        url: `+endpoint.URL+`
        events: ["*"]
        retry_policy: {schedule: [1h]}
        secrets: [{id: s1, key: whsec_ouDw7tJSFVAeQXfrlQYSEiOuLR6nY0YY96qzBSGx5Ws=}]
`+more), &answer
}

func answering(status int) *http.HandlerFunc {
	f := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	return &f
}

func publishTo(t *testing.T, s *Sidecar, ids ...string) {
	t.Helper()
	var events []*sidehook.Event
	for _, id := range ids {
		e := &sidehook.Event{App: "demo", ID: id, Source: "/x", Type: "a.b", Data: []byte(`{"id":"` + id + `"}`)}
		e.Normalize(time.Now())
		events = append(events, e)
	}
	r, err := s.engine.Accept(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestFleetListsGetsAndRetries(t *testing.T) {
	s, answer := endpointSidecar(t, "")
	c, _ := connectFleet(t, s)
	answer.Store(answering(503))
	publishTo(t, s, "e1")
	c.report("a failed attempt", func(r *fleetv1.Report) bool { return r.GetFailedAttempts() == 1 })
	answer.Store(nil)
	publishTo(t, s, "e2", "e3")
	c.report("two delivered", func(r *fleetv1.Report) bool { return r.GetDelivered() == 2 })

	page := c.do(list(&fleetv1.ListDeliveries{App: "demo", Limit: 2})).GetDeliveryList()
	if len(page.GetDeliveries()) != 2 || !page.GetMore() || page.GetDeliveries()[0].GetEventId() != "e3" {
		t.Fatalf("first page %v", page)
	}
	last := c.do(list(&fleetv1.ListDeliveries{App: "demo", Limit: 2, After: page.GetDeliveries()[1].GetId()})).GetDeliveryList()
	if len(last.GetDeliveries()) != 1 || last.GetMore() {
		t.Fatalf("last page %v", last)
	}
	d := last.GetDeliveries()[0]
	if d.GetEventId() != "e1" || d.GetState() != fleetv1.DeliveryState_DELIVERY_STATE_PENDING || !d.GetNextAttempt().IsValid() ||
		d.GetEvent() != nil || d.GetRequest() != nil || len(d.GetAttempts()) != 1 || d.GetAttempts()[0].GetStatus() != 503 {
		t.Errorf("listed as %v", d)
	}
	for state, n := range map[fleetv1.DeliveryState]int{
		fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED: 2, fleetv1.DeliveryState_DELIVERY_STATE_DEAD: 0,
	} {
		got := c.do(list(&fleetv1.ListDeliveries{App: "demo", Webhook: "w", State: state, Limit: 200})).GetDeliveryList()
		if len(got.GetDeliveries()) != n {
			t.Errorf("%s: %v", state, got)
		}
	}

	whole := c.do(get("demo", d.GetId())).GetDelivery()
	if whole.GetRequest().GetMadeAgain() || !strings.Contains(string(whole.GetRequest().GetBody()), `"id":"e1"`) ||
		string(whole.GetEvent().GetData()) != `{"id":"e1"}` || whole.GetAttempts()[0].GetOutcome() != fleetv1.OutcomeKind_OUTCOME_KIND_RETRY {
		t.Errorf("delivery %v", whole)
	}
	delivered := c.do(get("demo", page.GetDeliveries()[0].GetId())).GetDelivery()
	if r := delivered.GetRequest(); !r.GetMadeAgain() || !strings.Contains(string(r.GetBody()), `"id":"e3"`) ||
		r.GetContentType() != "application/json" {
		t.Errorf("delivered %v", delivered)
	}
	if a := c.do(retry("demo", d.GetId())); a.GetRetried() == nil {
		t.Fatalf("retry: %v", a)
	}
	r := c.report("the retry", func(r *fleetv1.Report) bool { return r.GetDelivered() == 3 })
	if r.GetPending() != 0 {
		t.Errorf("report %v", r)
	}
	if again := c.do(get("demo", d.GetId())).GetDelivery(); again.GetState() != fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED ||
		again.GetAttemptCount() != 2 {
		t.Errorf("retried %v", again)
	}
}

func TestFleetReportsHealthByChange(t *testing.T) {
	s, answer := endpointSidecar(t, "")
	c, _ := connectFleet(t, s)
	first := c.report("the first", func(*fleetv1.Report) bool { return true })
	if !first.GetReady() || len(first.GetWebhooks()) != 0 || len(first.GetTransformers()) != 0 {
		t.Errorf("first %v", first)
	}
	answer.Store(answering(500))
	publishTo(t, s, "e1")
	r := c.report("the failure", func(r *fleetv1.Report) bool { return len(r.GetWebhooks()) > 0 })
	if h := r.GetWebhooks()[0]; h.GetApp() != "demo" || h.GetWebhook() != "w" || h.GetFailedAttempts() != 1 ||
		h.GetLastError() != "500 Internal Server Error" || !h.GetLastFailure().IsValid() || h.GetLastSuccess() != nil {
		t.Errorf("health %v", h)
	}
	s.noteChange()
	if r := c.report("another", func(*fleetv1.Report) bool { return true }); len(r.GetWebhooks()) != 0 {
		t.Errorf("told again: %v", r)
	}
}

func TestFleetReplaysFinishedDeliveries(t *testing.T) {
	s, answer := endpointSidecar(t, `        automatic_retry: false
      - id: "off"
        url: http://127.0.0.1:9/
        events: ["none.*"]
        status: disabled
        secrets: [{id: s1, key: whsec_ouDw7tJSFVAeQXfrlQYSEiOuLR6nY0YY96qzBSGx5Ws=}]
`)
	c, _ := connectFleet(t, s)
	answer.Store(answering(404))
	ids := make([]string, 2*replayStep+7)
	for i := range ids {
		ids[i] = fmt.Sprint("e", i)
	}
	publishTo(t, s, ids...)
	n := uint64(len(ids))
	c.report("all dead", func(r *fleetv1.Report) bool { return r.GetDead() == n })
	ask := func(change func(r *fleetv1.ReplayDeliveries)) *fleetv1.Command {
		r := &fleetv1.ReplayDeliveries{App: "demo", Webhook: "w"}
		change(r)
		return replayAsk(r)
	}
	replayed := func(what string, command *fleetv1.Command, want uint64) {
		t.Helper()
		a := c.do(command)
		if a.GetReplayed() == nil || uint64(a.GetReplayed().GetDeliveries()) != want {
			t.Errorf("%s: %v, want %d", what, a, want)
		}
	}
	replayed("delivered ones", ask(func(r *fleetv1.ReplayDeliveries) {
		r.States = []fleetv1.DeliveryState{fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED}
	}), 0)
	replayed("of before the start", ask(func(r *fleetv1.ReplayDeliveries) { r.Until = timestamppb.New(s.started) }), 0)
	replayed("of another type", ask(func(r *fleetv1.ReplayDeliveries) { r.EventType = "x.y" }), 0)
	answer.Store(nil)
	// While the replay goes on, what it queued ends in a state that is asked for too.
	replayed("all", ask(func(r *fleetv1.ReplayDeliveries) {
		r.States = []fleetv1.DeliveryState{
			fleetv1.DeliveryState_DELIVERY_STATE_DEAD, fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED,
		}
	}), n)
	c.report("all delivered", func(r *fleetv1.Report) bool { return r.GetDelivered() == n && r.GetPending() == 0 })
	replayed("by default the dead and dropped", ask(func(*fleetv1.ReplayDeliveries) {}), 0)

	c.fails("disabled", ask(func(r *fleetv1.ReplayDeliveries) { r.Webhook = "off" }), codes.FailedPrecondition, "disabled")
	c.fails("unknown webhook", ask(func(r *fleetv1.ReplayDeliveries) { r.Webhook = "none" }), codes.NotFound, "demo/none")
	c.fails("no webhook", ask(func(r *fleetv1.ReplayDeliveries) { r.Webhook = "" }), codes.InvalidArgument, "webhook")
	c.fails("pending", ask(func(r *fleetv1.ReplayDeliveries) {
		r.States = []fleetv1.DeliveryState{fleetv1.DeliveryState_DELIVERY_STATE_PENDING}
	}), codes.InvalidArgument, "states[0]")
}

func TestFleetSendsTestEvents(t *testing.T) {
	s, answer := endpointSidecar(t, "")
	c, _ := connectFleet(t, s)
	sent := c.do(sendTest("w")).GetTestSent()
	if sent.GetAttempt().GetStatus() != 200 || !strings.Contains(string(sent.GetRequest().GetBody()), `{"n":1}`) ||
		sent.GetRequest().GetContentType() != "application/json" || sent.GetRequest().GetMadeAgain() {
		t.Errorf("sent %v", sent)
	}
	if d := c.do(get("demo", sent.GetDeliveryId())).GetDelivery(); d.GetEventId() != "test_1" || len(d.GetAttempts()) != 1 {
		t.Errorf("delivery %v", d)
	}
	if r := c.report("the delivery", func(r *fleetv1.Report) bool { return r.GetDelivered() == 1 }); len(r.GetWebhooks()) > 0 &&
		r.GetWebhooks()[0].GetDelivered() != 0 {
		t.Errorf("health counts the test: %v", r)
	}
	c.fails("again", sendTest("w"), codes.InvalidArgument, "event.id")

	answer.Store(answering(404))
	other := func(a *fleetv1.SendTestEvent) { a.Event.Id = "test_2" }
	if a := c.do(sendTest("w", other)).GetTestSent().GetAttempt(); a.GetStatus() != 404 ||
		a.GetOutcome() != fleetv1.OutcomeKind_OUTCOME_KIND_RETRY || a.GetError() == "" {
		t.Errorf("a failing one: %v", a)
	}
	late := sendTest("w", func(a *fleetv1.SendTestEvent) { a.WebhookUpdatedAt = timestamppb.New(time.Now().Add(time.Hour)) })
	late.Within = durationpb.New(50 * time.Millisecond)
	c.fails("configuration that does not come", late, codes.DeadlineExceeded, "has not come")
	unknown := sendTest("none")
	unknown.Within = durationpb.New(50 * time.Millisecond)
	c.fails("unknown webhook", unknown, codes.NotFound, "demo/none")
}

func TestFleetRefusesBadCommands(t *testing.T) {
	s, _ := endpointSidecar(t, "")
	c, _ := connectFleet(t, s)
	ok := func() *fleetv1.ListDeliveries { return &fleetv1.ListDeliveries{App: "demo", Limit: 1} }
	query := func(change func(q *fleetv1.ListDeliveries)) *fleetv1.Command {
		q := ok()
		change(q)
		return list(q)
	}
	within := func(d time.Duration) *fleetv1.Command {
		command := list(ok())
		command.Within = durationpb.New(d)
		return command
	}
	id := sidehook.DeliveryID{Origin: 1, Batch: 1}.String()
	for _, bad := range []struct {
		what    string
		command *fleetv1.Command
		code    codes.Code
		words   string
	}{
		{"nothing asked", &fleetv1.Command{}, codes.Unimplemented, "does not know"},
		{"no time", within(0), codes.InvalidArgument, "within"},
		{"time before", within(-time.Second), codes.InvalidArgument, "within"},
		{"too long", within(2*time.Minute + 1), codes.InvalidArgument, "within"},
		{"bad time", &fleetv1.Command{Within: &durationpb.Duration{Nanos: -1, Seconds: 1}}, codes.InvalidArgument, "within"},
		{"empty", list(nil), codes.InvalidArgument, "app"},
		{"bad app", query(func(q *fleetv1.ListDeliveries) { q.App = "../x" }), codes.InvalidArgument, "app"},
		{"app of others", query(func(q *fleetv1.ListDeliveries) { q.App = "other" }), codes.NotFound, "other"},
		{"bad webhook", query(func(q *fleetv1.ListDeliveries) { q.Webhook = "a b" }), codes.InvalidArgument, "webhook"},
		{"bad state", query(func(q *fleetv1.ListDeliveries) { q.State = 77 }), codes.InvalidArgument, "state"},
		{"bad type", query(func(q *fleetv1.ListDeliveries) { q.EventType = "a b" }), codes.InvalidArgument, "event_type"},
		{"no limit", query(func(q *fleetv1.ListDeliveries) { q.Limit = 0 }), codes.InvalidArgument, "limit"},
		{"large limit", query(func(q *fleetv1.ListDeliveries) { q.Limit = 201 }), codes.InvalidArgument, "limit"},
		{"bad after", query(func(q *fleetv1.ListDeliveries) { q.After = "x" }), codes.InvalidArgument, "after"},
		{"after of others", query(func(q *fleetv1.ListDeliveries) { q.After = id }), codes.InvalidArgument, "after"},
		{"bad since", query(func(q *fleetv1.ListDeliveries) { q.Since = &timestamppb.Timestamp{Nanos: -1} }), codes.InvalidArgument, "since"},
		{"until before since", query(func(q *fleetv1.ListDeliveries) {
			q.Since, q.Until = timestamppb.New(time.Unix(9, 0)), timestamppb.New(time.Unix(9, 0))
		}), codes.InvalidArgument, "until"},
		{"get of a bad id", get("demo", "dlv_1"), codes.InvalidArgument, "id: "},
		{"get of others", get("other", id), codes.NotFound, "other"},
		{"get of an unknown", get("demo", id), codes.NotFound, id},
		{"retry of a bad id", retry("demo", ""), codes.InvalidArgument, "id: "},
		{"retry of an unknown", retry("demo", id), codes.NotFound, id},
		{"test of a bad app", sendTest("w", func(a *fleetv1.SendTestEvent) { a.App = "" }), codes.InvalidArgument, "app"},
		{"test of a bad webhook", sendTest(""), codes.InvalidArgument, "webhook"},
		{"test without event", sendTest("w", func(a *fleetv1.SendTestEvent) { a.Event = nil }), codes.InvalidArgument, "event: is required"},
		{"test of another app", sendTest("w", func(a *fleetv1.SendTestEvent) { a.Event.App = "other" }), codes.InvalidArgument, "event.app"},
		{"test with a bad time", sendTest("w", func(a *fleetv1.SendTestEvent) { a.Event.Time = &timestamppb.Timestamp{Nanos: -1} }), codes.InvalidArgument, "event.time"},
		{"test without a type", sendTest("w", func(a *fleetv1.SendTestEvent) { a.Event.Type = "" }), codes.InvalidArgument, "event.type"},
		{"test that is too large", sendTest("w", func(a *fleetv1.SendTestEvent) { a.Event.Data = make([]byte, 300<<10) }), codes.InvalidArgument, "event.data: "},
		{"test with a bad updated_at", sendTest("w", func(a *fleetv1.SendTestEvent) { a.WebhookUpdatedAt = &timestamppb.Timestamp{Nanos: -1} }), codes.InvalidArgument, "webhook_updated_at"},
	} {
		c.fails(bad.what, bad.command, bad.code, bad.words)
	}
}

func TestFleetBearsSoManyCommandsAndEndsThemWithTheStream(t *testing.T) {
	s, _ := endpointSidecar(t, "")
	c, stop := connectFleet(t, s)
	of := func(app string) *fleetv1.Command {
		return sendTest("none", func(a *fleetv1.SendTestEvent) { a.App, a.Event.App = app, app })
	}
	for i := range maxSlow {
		c.send(of(fmt.Sprint("app", i/maxSlowOfApp))) // waits for a webhook that does not come
	}
	c.fails("a test too many", of("another"), codes.ResourceExhausted, "12 tests and replays are")
	c.fails("a replay too many", replayAsk(&fleetv1.ReplayDeliveries{App: "demo", Webhook: "w"}), codes.ResourceExhausted, "12 tests and replays are")
	if a := c.do(list(&fleetv1.ListDeliveries{App: "demo", Limit: 1})); a.GetDeliveryList() == nil {
		t.Errorf("with tests under way a list is answered by %v", a)
	}
	stop() // returns when all have ended
	select {
	case a := <-c.answers:
		t.Errorf("answered %v", a)
	case <-c.ended:
	}
}

// TestFleetEndsCancelledTests: who hangs up gives the place back; what has begun is a delivery like any other.
func TestFleetEndsCancelledTests(t *testing.T) {
	s, answer := endpointSidecar(t, "")
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	hanging := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	answer.Store(&hanging)
	c, _ := connectFleet(t, s)
	hung := c.send(sendTest("w"))
	<-arrived
	waiting := make([]uint64, maxSlowOfApp-1)
	for i := range waiting {
		waiting[i] = c.send(sendTest("none"))
	}
	c.fails("a test too many", sendTest("none"), codes.ResourceExhausted, "6 tests and replays of the app")
	c.cancel <- 1_000_000 // unknown
	c.cancel <- hung
	c.cancel <- hung // twice
	short := sendTest("none")
	short.Within = durationpb.New(50 * time.Millisecond)
	for { // the place comes back soon after the cancel
		if f := c.do(short).GetFailure(); codes.Code(f.GetCode()) == codes.NotFound {
			break
		}
	}
	for _, id := range waiting {
		c.cancel <- id
	}
	close(release)
	c.report("the delivery", func(r *fleetv1.Report) bool { return r.GetDelivered() == 1 })
	list := c.do(list(&fleetv1.ListDeliveries{App: "demo", Limit: 2})).GetDeliveryList().GetDeliveries()
	if len(list) != 1 || list[0].GetEventId() != "test_1" || list[0].GetState() != fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED {
		t.Errorf("deliveries %v", list)
	}
}

// TestCancelledTestsAreBounded: who tests and hangs up again and again is held to a number of tests at a time.
func TestCancelledTestsAreBounded(t *testing.T) {
	started := make(chan struct{})
	c := newCommander(func(ctx context.Context, _ *fleetv1.Command) (*fleetv1.Answer, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}, discard)
	ctx, end := context.WithCancel(t.Context())
	ask := func(id uint64) *fleetv1.Command {
		command := sendTest("w")
		command.Id, command.Within = id, durationpb.New(time.Minute)
		return command
	}
	freed := func() {
		for timeout := time.After(testPatience); ; runtime.Gosched() {
			c.places.mu.Lock()
			taken := c.places.taken
			c.places.mu.Unlock()
			select {
			case <-timeout:
				t.Fatal("the place is not given back")
			default:
			}
			if taken == 0 {
				return
			}
		}
	}
	for id := range uint64(maxLeft) {
		c.take(ctx, ask(id))
		<-started
		c.cancel(id)
		freed()
	}
	c.take(ctx, ask(maxLeft))
	<-started
	c.cancel(maxLeft)
	c.mu.Lock()
	if u := c.underWay[maxLeft]; u == nil || u.left || c.left != maxLeft {
		t.Errorf("one more than may be left: %+v of %d", u, c.left)
	}
	c.mu.Unlock()
	end()
	c.running.Wait()
	if c.left != 0 || len(c.underWay) != 0 || c.places.taken != 0 {
		t.Errorf("left behind: %d, %d, %d", c.left, len(c.underWay), c.places.taken)
	}
}

func TestPlacesOfCommands(t *testing.T) {
	var p places
	quick, slow := list(&fleetv1.ListDeliveries{App: "a"}), sendTest("w", func(a *fleetv1.SendTestEvent) { a.App = "a" })
	var leave []func()
	take := func(c *fleetv1.Command, times int) {
		t.Helper()
		for range times {
			l, err := p.take(c)
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, l)
		}
	}
	full := func(c *fleetv1.Command, words string) {
		t.Helper()
		if _, err := p.take(c); err == nil || !strings.HasPrefix(err.Error(), words) {
			t.Errorf("got %v, want %s", err, words)
		}
	}
	take(slow, maxSlowOfApp)
	full(slow, "6 tests and replays of the app")
	take(quick, maxCommands-maxSlowOfApp)
	full(quick, "16 commands")
	for _, l := range leave {
		l()
	}
	if p.taken != 0 || p.slow != 0 || len(p.slowOf) != 0 {
		t.Errorf("left behind: %d, %d, %v", p.taken, p.slow, p.slowOf)
	}
	take(slow, maxSlowOfApp)
}

func TestFleetDrains(t *testing.T) {
	s, _ := endpointSidecar(t, "")
	c, _ := connectFleet(t, s)
	c.report("ready", func(r *fleetv1.Report) bool { return r.GetReady() && !r.GetDraining() })
	if a := c.do(&fleetv1.Command{Ask: &fleetv1.Command_Drain{Drain: &fleetv1.Drain{}}}); a.GetDraining() == nil {
		t.Fatalf("got %v", a)
	}
	c.report("draining", func(r *fleetv1.Report) bool { return !r.GetReady() && r.GetDraining() })
	c.fails("a test while draining", sendTest("w"), codes.Unavailable, "stopping")
	if _, err := s.engine.Accept(t.Context(), nil); !errors.Is(err, sidehook.ErrStopping) {
		t.Errorf("events are still taken: %v", err)
	}
}

func TestFailuresAreWordedAndBounded(t *testing.T) {
	long := errors.Join(outbound.ErrDisabled, errors.New(strings.Repeat("ž", 2000)+"\xff"))
	code, text := failureOf(long)
	if cut := cutText(text, maxFailureText); code != codes.FailedPrecondition || len(cut) > maxFailureText || strings.Contains(cut, "\uFFFD") {
		t.Errorf("%s: %q", code, cut)
	}
	if code, text := failureOf(errors.New("disk /var/x is broken")); code != codes.Internal || strings.Contains(text, "disk") {
		t.Errorf("%s: %s", code, text)
	}
}
