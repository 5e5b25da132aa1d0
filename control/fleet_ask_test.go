package control_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

var someID = sidehook.DeliveryID{Origin: 1, Batch: 9}

// asking runs a question that is not answered yet.
func (p *plane) asking() <-chan error {
	failed := make(chan error, 1)
	go func() {
		_, err := p.fleet.Delivery(p.t.Context(), "a", someID)
		failed <- err
	}()
	return failed
}

func (p *plane) answered(d *fleetv1.Delivery) *fleetv1.Answer {
	return &fleetv1.Answer{Result: &fleetv1.Answer_Delivery{Delivery: d}}
}

// TestStreamEndsWhileAsked: however a stream ends, whoever waits for an answer hears of it at once.
func TestStreamEndsWhileAsked(t *testing.T) {
	for name, end := range map[string]func(p *plane, s *scripted, client fleetv1.FleetServiceClient, token, tokenID string){
		"sidecar goes": func(_ *plane, s *scripted, _ fleetv1.FleetServiceClient, _, _ string) { s.leave() },
		"connects again": func(p *plane, _ *scripted, client fleetv1.FleetServiceClient, token, _ string) {
			p.sidecar(client, token, "x", silent)
		},
		"token revoked": func(p *plane, _ *scripted, _ fleetv1.FleetServiceClient, _, tokenID string) {
			p.do(p.admin, "DELETE", "/v1/tokens/"+tokenID, "").want(204)
		},
		"fleet closes": func(p *plane, _ *scripted, _ fleetv1.FleetServiceClient, _, _ string) { p.check(p.fleet.Close()) },
		"breaks the rules": func(_ *plane, s *scripted, _ fleetv1.FleetServiceClient, _, _ string) {
			s.send(hello("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlane(t)
			p.makeApp("a")
			token, tokenID := p.makeToken("sidecar", "a")
			client := p.fleetClient()
			s := p.sidecar(client, token, "x", silent)
			started := time.Now()
			failed := p.asking()
			<-s.asked
			end(p, s, client, token, tokenID)
			var se *control.SidecarError
			if err := <-failed; !errors.Is(err, control.ErrSidecarGone) || !errors.As(err, &se) || se.Sidecar != "x" {
				t.Errorf("asking ended with %v", err)
			}
			if took := time.Since(started); took > 1500*time.Millisecond { // an answer may take 2 s
				t.Errorf("it took %s", took)
			}
		})
	}
}

// TestAnswersOfEveryKind: an answer counts once, for its own command, in time; others change nothing.
func TestAnswersOfEveryKind(t *testing.T) {
	p, client, token := fleetOfA(t)
	var s *scripted
	ready := make(chan struct{})
	s = p.sidecar(client, token, "x", func(c *fleetv1.Command) *fleetv1.Answer {
		<-ready
		for _, id := range []uint64{0, c.GetId() + 1, c.GetId() - 1, 1 << 63} { // for nothing
			s.answer(&fleetv1.Command{Id: id}, failure(13, "not this one"))
		}
		s.answer(c, p.answered(someDelivery(someID, "w1", time.Now())))
		s.answer(c, failure(13, "twice"))
		return &fleetv1.Answer{Result: &fleetv1.Answer_Failure{}}
	})
	close(ready)
	for range 5 {
		if _, err := p.fleet.Delivery(t.Context(), "a", someID); err != nil {
			t.Error(err)
		}
	}
}

// TestLateAnswer: an answer after the time given is nobody's.
func TestLateAnswer(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", silent)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("changed my mind")
	failed := make(chan error, 1)
	go func() {
		_, err := p.fleet.Delivery(ctx, "a", someID)
		failed <- err
	}()
	late := <-s.asked
	cancel(reason)
	if err := <-failed; !errors.Is(err, reason) {
		t.Errorf("cancelled: %v", err)
	}
	s.answer(late, failure(13, "late"))
	next := p.asking()
	s.answer(<-s.asked, p.answered(someDelivery(someID, "w1", time.Now())))
	if err := <-next; err != nil {
		t.Error(err)
	}
}

func TestSlowSidecar(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.sidecar(client, token, "x", silent)
	started := time.Now()
	_, err := p.fleet.Delivery(t.Context(), "a", someID)
	if !errors.Is(err, control.ErrSidecarSlow) || !strings.Contains(err.Error(), "sidecar x: did not answer within 2s") {
		t.Errorf("a silent sidecar gives %v", err)
	}
	if took := time.Since(started); took < 2*time.Second {
		t.Errorf("it had %s to answer", took)
	}
}

// TestCommandsAreBounded: a sidecar that does not answer holds back a bounded number of callers.
func TestCommandsAreBounded(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", silent)
	const most = 64
	var waiting []<-chan error
	for range most {
		waiting = append(waiting, p.asking())
	}
	for range most {
		<-s.asked
	}
	if _, err := p.fleet.Delivery(t.Context(), "a", someID); !errors.Is(err, control.ErrBusy) {
		t.Errorf("one more gives %v", err)
	}
	s.leave()
	for _, w := range waiting {
		if err := <-w; !errors.Is(err, control.ErrSidecarGone) {
			t.Errorf("waiting ended with %v", err)
		}
	}
}

// TestCommandBeforeWelcome: a sidecar is listed a moment before it is welcome; a command of that moment comes after
// the Welcome.
func TestCommandBeforeWelcome(t *testing.T) {
	p := newPlane(t)
	p.makeApp("a")
	token, _ := p.makeToken("sidecar", "a")
	checks := 0
	listed, goOn := make(chan struct{}), make(chan struct{})
	fleet, err := control.NewFleet(control.FleetOptions{
		Authenticate: func(ctx context.Context) ([]string, string, error) {
			if checks++; checks == 2 { // after it is listed
				close(listed)
				<-goOn
			}
			return p.svc.AuthenticateSidecar(ctx)
		},
	})
	p.check(err)
	p.check(p.fleet.Close())
	p.fleet = fleet
	stream := p.connect(p.fleetClient(), token)
	p.check(stream.Send(hello("x")))
	<-listed
	changes := fleet.Changes(t.Context(), "a")
	failed := p.asking()
	// Nothing says that the question is queued by now. If it is not, the test is about an ordinary one.
	close(goOn)
	first, err := stream.Recv()
	p.check(err)
	if first.GetWelcome() == nil {
		t.Fatalf("the first is %v", first)
	}
	second, err := stream.Recv()
	p.check(err)
	a := p.answered(someDelivery(someID, "w1", time.Now()))
	a.Command = second.GetCommand().GetId()
	p.check(stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Answer{Answer: a}}))
	p.check(<-failed)
	p.check(stream.CloseSend())
	<-changes
}

// TestSidecarThatDoesNotRead: Close ends also the stream of a sidecar that takes nothing any more.
func TestSidecarThatDoesNotRead(t *testing.T) {
	p, client, token := fleetOfA(t)
	stream := p.connect(client, token)
	p.greet(stream, "x")
	event := &sidehook.Event{App: "a", ID: "1", Source: "/s", Type: "x", Data: make([]byte, 200_000)}
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range 60 { // more than the stream's window holds
		waiting.Go(func() {
			_, err := p.fleet.SendTest(ctx, someWebhook("a"), event)
			if err == nil {
				t.Error("a test was answered by nobody")
			}
		})
	}
	_, err := p.fleet.Delivery(t.Context(), "a", someID) // it stands behind them, or is refused
	if !errors.Is(err, control.ErrSidecarSlow) && !errors.Is(err, control.ErrBusy) {
		t.Errorf("asking ended with %v", err)
	}
	p.check(p.fleet.Close())
	waiting.Wait()
	cancel()
}

func TestRetryAndGetFindTheOneThatHasIt(t *testing.T) {
	p, client, token := fleetOfA(t)
	h := &history{deliveries: []*fleetv1.Delivery{someDelivery(someID, "w1", time.Now())}}
	p.sidecar(client, token, "has-it", h.answer)
	p.sidecar(client, token, "has-not", (&history{}).answer)
	p.sidecar(client, token, "slow", silent)
	started := time.Now()
	d, err := p.fleet.Delivery(t.Context(), "a", someID)
	p.check(err)
	if d.Sidecar != "has-it" || time.Since(started) > 1500*time.Millisecond {
		t.Errorf("got it from %s after %s", d.Sidecar, time.Since(started))
	}
	p.check(p.fleet.Retry(t.Context(), "a", someID))
	h.mu.Lock()
	if len(h.retried) != 1 || h.retried[0] != someID.String() {
		t.Errorf("retried %q", h.retried)
	}
	h.mu.Unlock()
	if err := p.fleet.Retry(t.Context(), "a", sidehook.DeliveryID{Batch: 3}); !errors.Is(err, control.ErrSidecarSlow) {
		t.Errorf("nobody has it, but one could not say: %v", err)
	}
}

func TestAnotherDeliveryThanAsked(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.sidecar(client, token, "x", func(*fleetv1.Command) *fleetv1.Answer {
		return p.answered(someDelivery(sidehook.DeliveryID{Batch: 77}, "w1", time.Now()))
	})
	var se *control.SidecarError
	if _, err := p.fleet.Delivery(t.Context(), "a", someID); !errors.As(err, &se) || !strings.Contains(err.Error(), "something else") {
		t.Errorf("got %v", err)
	}
	if err := p.fleet.Retry(t.Context(), "a", someID); !errors.As(err, &se) {
		t.Errorf("retry got %v", err)
	}
}

func TestReplaySums(t *testing.T) {
	p, client, token := fleetOfA(t)
	two := &history{deliveries: make([]*fleetv1.Delivery, 2)}
	three := &history{deliveries: make([]*fleetv1.Delivery, 3)}
	p.sidecar(client, token, "two", two.answer)
	p.sidecar(client, token, "three", three.answer)
	p.sidecar(client, token, "knows-it-not", failing(5, "unknown webhook"))
	r, err := p.fleet.Replay(t.Context(), control.Replay{Webhook: sidehook.WebhookKey{App: "a", ID: "w"}})
	p.check(err)
	if r.Deliveries != 5 || len(r.Missing) != 0 {
		t.Errorf("replayed %+v", r)
	}
	gone := p.sidecar(client, token, "goes", silent)
	done := make(chan *control.Replayed, 1)
	go func() {
		r, err := p.fleet.Replay(t.Context(), control.Replay{
			Webhook: sidehook.WebhookKey{App: "a", ID: "w"}, States: []sidehook.DeliveryState{sidehook.Delivered},
			Since: time.Unix(5, 0), Until: time.Unix(6, 0), EventType: "x",
		})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-gone.asked
	gone.leave()
	if r := <-done; r == nil || r.Deliveries != 5 || len(r.Missing) != 1 || !strings.Contains(r.Missing[0].Reason, "some may be queued") {
		t.Errorf("replayed %+v", r)
	}
	if q := two.replays[1]; q.GetEventType() != "x" || q.GetStates()[0] != fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED ||
		q.GetSince().GetSeconds() != 5 || q.GetUntil().GetSeconds() != 6 {
		t.Errorf("asked for %v", q)
	}
	for field, r := range map[string]control.Replay{
		"webhook":    {Webhook: sidehook.WebhookKey{App: "a"}},
		"states[0]":  {Webhook: sidehook.WebhookKey{App: "a", ID: "w"}, States: []sidehook.DeliveryState{sidehook.Pending}},
		"event_type": {Webhook: sidehook.WebhookKey{App: "a", ID: "w"}, EventType: " "},
		"until":      {Webhook: sidehook.WebhookKey{App: "a", ID: "w"}, Since: time.Unix(6, 0), Until: time.Unix(5, 0)},
	} {
		var fe *sidehook.FieldError
		if _, err := p.fleet.Replay(t.Context(), r); !errors.As(err, &fe) || fe.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// someWebhook is one of an app that sidecars answer for by a script.
func someWebhook(app string) *sidehook.Webhook {
	return &sidehook.Webhook{App: app, ID: "w", Timeout: sidehook.MaxTimeout}
}

// TestTestIsBoundedByTheWebhook: whoever asks, and without a deadline of their own.
func TestTestIsBoundedByTheWebhook(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", failing(5, "unknown webhook"))
	event := &sidehook.Event{App: "a", ID: "test_1", Source: "/s", Type: "x"}
	for _, timeout := range []time.Duration{sidehook.MinTimeout, 20 * time.Second, sidehook.MaxTimeout, time.Hour} {
		w := someWebhook("a")
		w.Timeout = timeout
		if _, err := p.fleet.SendTest(t.Context(), w, event); !errors.Is(err, sidehook.ErrNotFound) {
			t.Errorf("%s: %v", timeout, err)
		}
		most := min(timeout, sidehook.MaxTimeout) + 10*time.Second
		if within := (<-s.asked).GetWithin().AsDuration(); within > most || within < most-5*time.Second {
			t.Errorf("a webhook with timeout %s has %s for its test", timeout, within)
		}
	}
}

// TestTestGoesToTheFittest, and to another one only when it was certainly not sent.
func TestTestGoesToTheFittest(t *testing.T) {
	p, client, token := fleetOfA(t)
	webhook := someWebhook("a")
	webhook.UpdatedAt = time.Unix(9, 0)
	event := &sidehook.Event{App: "a", ID: "test_1", Source: "/s", Type: "x", Data: []byte(`1`)}
	send := func() (*control.TestResult, error) {
		return p.fleet.SendTest(t.Context(), webhook, event)
	}
	says := make(map[string]script)
	var mu sync.Mutex
	all := make(map[string]*scripted)
	for id, r := range map[string]*fleetv1.Report{
		"a-not-ready": {}, "b-stale": {Ready: true, Stale: true}, "c-busy": {Ready: true, Pending: 50}, "d-best": {Ready: true, Pending: 2},
	} {
		all[id] = p.sidecar(client, token, id, func(c *fleetv1.Command) *fleetv1.Answer {
			mu.Lock()
			say := says[id]
			mu.Unlock()
			if say == nil {
				return testSent(c, 200)
			}
			return say(c)
		})
		all[id].report(r)
	}
	let := func(id string, say script) {
		mu.Lock()
		defer mu.Unlock()
		says[id] = say
	}
	wantFrom := func(id string) {
		t.Helper()
		r, err := send()
		p.check(err)
		if r.Sidecar != id || !r.Succeeded() || r.Event != event || r.Attempt.Status != 200 {
			t.Errorf("sent by %+v, want %s", r, id)
		}
	}
	wantFrom("d-best")
	if ask := (<-all["d-best"].asked).GetSendTestEvent(); ask.GetWebhookUpdatedAt().GetSeconds() != 9 || ask.GetEvent().GetId() != "test_1" {
		t.Errorf("asked %v", ask)
	}
	let("d-best", failing(8, "16 commands are under way"))
	wantFrom("c-busy")
	let("c-busy", failing(12, ""))
	wantFrom("b-stale")
	let("b-stale", failing(5, "unknown webhook"))
	wantFrom("a-not-ready")
	let("a-not-ready", failing(5, "unknown webhook here too"))
	if _, err := send(); !errors.Is(err, sidehook.ErrNotFound) || !strings.Contains(err.Error(), "here too") {
		t.Errorf("nobody knows the webhook: %v", err)
	}

	// From here on nobody but the best may be asked.
	for _, id := range []string{"a-not-ready", "b-stale", "c-busy"} {
		let(id, func(*fleetv1.Command) *fleetv1.Answer { t.Errorf("%s was asked too", id); return nil })
	}
	for code, want := range map[int32]error{9: control.ErrWebhookDisabled, 4: control.ErrSidecarSlow, 14: control.ErrSidecarGone, 13: nil} {
		let("d-best", failing(code, "so it is"))
		var se *control.SidecarError
		if _, err := send(); !errors.As(err, &se) || se.Sidecar != "d-best" || want != nil && !errors.Is(err, want) || !strings.Contains(se.Reason, "so it is") {
			t.Errorf("code %d gives %v", code, err)
		}
	}
	let("d-best", silent)
	for len(all["d-best"].asked) > 0 {
		<-all["d-best"].asked
	}
	failed := make(chan error, 1)
	go func() {
		_, err := send()
		failed <- err
	}()
	<-all["d-best"].asked
	all["d-best"].leave()
	if err := <-failed; !errors.Is(err, control.ErrSidecarGone) || !strings.Contains(err.Error(), "may have been sent") {
		t.Errorf("a sidecar that went away midway gives %v", err)
	}
}

func TestTestKeepsToItsTime(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", silent)
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	event := &sidehook.Event{App: "a", ID: "test_1", Source: "/s", Type: "x"}
	_, err := p.fleet.SendTest(ctx, someWebhook("a"), event)
	var se *control.SidecarError
	if !errors.Is(err, control.ErrSidecarSlow) || !errors.As(err, &se) || !strings.Contains(se.Reason, "may have been sent") {
		t.Errorf("a silent sidecar gives %v", err)
	}
	if c := <-s.asked; c.GetWithin().AsDuration() >= 700*time.Millisecond || c.GetSendTestEvent().GetWebhookUpdatedAt() != nil {
		t.Errorf("asked %v", c)
	}
}

// TestWhoHangsUpIsNotWaitedFor: the sidecar hears that a command is over, unless it was answered or never got it.
func TestWhoHangsUpIsNotWaitedFor(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", silent)
	ctx, hangUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		event := &sidehook.Event{App: "a", ID: "test_1", Source: "/s", Type: "x"}
		_, err := p.fleet.SendTest(ctx, someWebhook("a"), event)
		ended <- err
	}()
	test := <-s.asked
	hangUp()
	if err := <-ended; err == nil {
		t.Error("answered by nobody")
	}
	if id := <-s.cancel; id != test.GetId() {
		t.Errorf("cancelled %d, not %d", id, test.GetId())
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.fleet.Deliveries(over, control.DeliveryQuery{App: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("who hangs up gets %v", err)
	}
	go func() {
		_, err := p.fleet.Drain(t.Context(), "x")
		ended <- err
	}()
	var drain *fleetv1.Command
	for drain.GetDrain() == nil { // the list may have left before its caller was gone
		drain = <-s.asked
	}
	s.answer(drain, &fleetv1.Answer{Result: &fleetv1.Answer_Draining{Draining: &fleetv1.Draining{}}})
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.leave()
	for len(s.cancel) > 0 {
		if id := <-s.cancel; id == test.GetId() || id == drain.GetId() {
			t.Errorf("cancelled %d again", id)
		}
	}
}

func TestDrain(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", (&history{}).answer)
	if n, err := p.fleet.Drain(t.Context(), "x"); n != 7 || err != nil {
		t.Errorf("drain gives %d, %v", n, err)
	}
	other, _ := p.makeToken("sidecar", "a")
	twin := p.sidecar(client, other, "x", (&history{}).answer)
	var conflict *control.ConflictError
	if _, err := p.fleet.Drain(t.Context(), "x"); !errors.As(err, &conflict) {
		t.Errorf("drain of one of two gives %v", err)
	}
	twin.leave()
	s.leave()
	p.sidecars(func(l []map[string]any) bool {
		return len(l) == 2 && l[0]["connected"] == false && l[1]["connected"] == false
	})
	p.do(p.admin, "POST", "/v1/sidecars/x/drain", "").wantProblem(503, "", "is not connected")
	if _, err := p.fleet.Drain(t.Context(), "../x"); !errors.Is(err, sidehook.ErrNotFound) {
		t.Errorf("drain of none gives %v", err)
	}
}

// TestHealthSums: over sidecars; each counts since its start, so that the first report of a stream replaces what an
// earlier one told.
func TestHealthSums(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.makeApp("b")
	key := sidehook.WebhookKey{App: "a", ID: "w"}
	early, late := timestamppb.New(time.Unix(100, 0)), timestamppb.New(time.Unix(200, 0))
	one, two := p.sidecar(client, token, "one", silent), p.sidecar(client, token, "two", silent)
	one.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{
		{
			App: "a", Webhook: "w", Delivered: 1, Dead: 2, FailedAttempts: 3, LastSuccess: late, LastFailure: early, LastError: "old",
			FilterErrors: 4, LastFilterError: "no such key: n", LastFilterErrorAt: late,
		},
		{App: "b", Webhook: "w", Delivered: 99},
		{App: "a", Webhook: "../w", Delivered: 99},
	}})
	two.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{{
		App: "a", Webhook: "w", Delivered: 10, Dead: 20, FailedAttempts: 30, LastFailure: late, LastError: strings.Repeat("e", 5000),
		LastSuccess: &timestamppb.Timestamp{Seconds: 1 << 60}, Paused: "it is down",
		FilterErrors: 40, LastFilterError: "older", LastFilterErrorAt: early,
	}}})
	h := p.fleet.WebhookHealth(key)
	if h.Delivered != 11 || h.Dead != 22 || h.FailedAttempts != 33 || h.LastSuccess.Unix() != 200 || h.LastFailure.Unix() != 200 ||
		h.LastError != strings.Repeat("e", 1024) || h.Paused != "it is down" || h.FilterErrors != 44 ||
		h.LastFilterError != "no such key: n" || h.FilterErrorAt.Unix() != 200 {
		t.Errorf("health is %+v", h)
	}
	if h := p.fleet.WebhookHealth(sidehook.WebhookKey{App: "b", ID: "w"}); h != (control.WebhookHealth{}) {
		t.Errorf("a sidecar spoke for an app that is not its own: %+v", h)
	}
	one.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{{App: "a", Webhook: "w", Delivered: 2}}})
	if h := p.fleet.WebhookHealth(key); h.Delivered != 12 || h.Dead != 20 {
		t.Errorf("after a second report: %+v", h)
	}
	two.leave()
	p.sidecars(func(l []map[string]any) bool { return l[1]["connected"] == false })
	if h := p.fleet.WebhookHealth(key); h.Delivered != 12 || h.Paused != "" {
		t.Errorf("one is away: %+v", h)
	}
	two = p.sidecar(client, token, "two", silent)
	if h := p.fleet.WebhookHealth(key); h.Delivered != 12 {
		t.Errorf("it is back and has not reported: %+v", h)
	}
	two.report(&fleetv1.Report{})
	if h := p.fleet.WebhookHealth(key); h.Delivered != 2 {
		t.Errorf("it was started again: %+v", h)
	}

	one.leave()
	other, _ := p.makeToken("sidecar", "a")
	one = p.sidecar(client, other, "one", silent)
	one.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{{App: "a", Webhook: "w", Delivered: 3}}})
	if h := p.fleet.WebhookHealth(key); h.Delivered != 3 {
		t.Errorf("it came back with another token, and counts as two: %+v", h)
	}
}

func TestHealthIsBounded(t *testing.T) {
	p, client, token := fleetOfA(t)
	s := p.sidecar(client, token, "x", silent)
	for range 12 {
		r := &fleetv1.Report{}
		for range 2000 {
			r.Webhooks = append(r.Webhooks, &fleetv1.WebhookHealth{App: "a", Webhook: sidehook.DeliveryID{Index: uint32(len(r.Webhooks))}.String(), Delivered: 1})
		}
		s.report(r)
	}
	if h := p.fleet.WebhookHealth(sidehook.WebhookKey{App: "a", ID: sidehook.DeliveryID{Index: 1001}.String()}); h.Delivered != 0 {
		t.Error("more was taken of a report than it may have")
	}
}

func TestChanges(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.makeApp("b")
	ofB, _ := p.makeToken("sidecar", "b")
	ctx, cancel := context.WithCancel(t.Context())
	mine, all := p.fleet.Changes(ctx, "a"), p.fleet.Changes(t.Context(), "")
	none := func(what string) {
		t.Helper()
		select {
		case <-mine:
			t.Errorf("told of %s", what)
		default:
		}
	}
	s := p.sidecar(client, token, "x", silent)
	<-mine
	<-all
	s.report(&fleetv1.Report{Ready: true})
	<-mine
	<-all
	p.sidecar(client, ofB, "y", silent)
	<-all
	none("a sidecar of another app")
	// The same once more is no news, unlike what comes after it.
	r := &fleetv1.Report{Ready: true, SnapshotVersion: "v1", Rejections: []*fleetv1.Rejection{{Resource: "r"}}}
	s.send(report(r))
	<-mine
	s.send(report(r))
	s.send(report(&fleetv1.Report{Ready: true, SnapshotVersion: "v2", Webhooks: []*fleetv1.WebhookHealth{{App: "a", Webhook: "w"}}}))
	<-mine
	none("the same report")
	s.leave()
	<-mine
	cancel()
	if _, open := <-mine; open {
		t.Error("told of something after the end")
	}
	p.check(p.fleet.Close())
	for range all { // until it is closed
	}
	if _, open := <-p.fleet.Changes(t.Context(), "a"); open {
		t.Error("a closed fleet tells of changes")
	}
}

func TestAnswerBeforeHello(t *testing.T) {
	p, client, token := fleetOfA(t)
	stream := p.connect(client, token)
	p.check(stream.Send(&fleetv1.ConnectRequest{Payload: &fleetv1.ConnectRequest_Answer{Answer: failure(13, "")}}))
	wantEnd(t, stream, codes.InvalidArgument, "hello")
}
