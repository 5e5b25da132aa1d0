package control_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

func TestRESTDeliveries(t *testing.T) {
	p, client, token := fleetOfA(t)
	p.makeApp("b")
	webhook, _ := p.makeWebhook("a", "CRM")
	own, _ := p.makeToken("app", "a")
	other, _ := p.makeToken("app", "b")
	at := time.Unix(1_700_000_000, 0).UTC()
	h := &history{}
	var ids []string
	for n := range 3 {
		d := someDelivery(sidehook.DeliveryID{Origin: 1, Batch: uint64(9 - n)}, webhook, at.Add(-time.Duration(n)*time.Hour))
		h.deliveries = append(h.deliveries, d)
		ids = append(ids, d.GetId())
	}
	whole := h.deliveries[0]
	whole.Event = &eventsv1.Event{
		App: "a", Id: whole.GetEventId(), Source: "/s", Type: "person.created", Time: timestamppb.New(at),
		DataContentType: "application/json", Data: []byte(`{"id": "<7>"}`), Extensions: map[string]string{"traceparent": "00-1"},
	}
	whole.Request = &fleetv1.RequestBody{Body: []byte(`{"a":"é"}`), ContentType: "application/json", MadeAgain: true}
	whole.Attempts[0].Response = []byte{0xff, 0xfe}
	p.sidecar(client, token, "side-1", h.answer)
	p.sidecar(client, token, "side-2", failing(13, "the disk is gone"))

	const app = "/v1/apps/a"
	of := app + "/webhooks/" + webhook + "/deliveries"
	for _, path := range []string{app + "/deliveries", of, app + "/deliveries?webhook=" + webhook} {
		a := p.do(own, "GET", path, "").want(200)
		list := a.data()
		if len(list) != 3 || list[0]["id"] != ids[0] || list[0]["webhook"] != webhook || list[0]["sidecar"] != "side-1" ||
			list[0]["state"] != "dead" || list[0]["attempt_count"] != 2.0 || list[0]["accepted_at"] != at.Format(time.RFC3339) ||
			list[0]["event"] != nil || list[0]["request"] != nil || len(list[0]["attempts"].([]any)) != 1 {
			t.Errorf("%s answered %s", path, a.raw)
		}
		if !strings.Contains(a.raw, `"missing":[{"id":"side-2","reason":"the disk is gone"}]`) {
			t.Errorf("%s does not say who is missing: %s", path, a.raw)
		}
	}
	page := p.do(own, "GET", of+"?limit=2&state=dead&event_type=person.created&since=2023-01-01T00:00:00Z&until=2024-01-01T00:00:00%2B02:00", "").want(200)
	next := p.do(own, "GET", of+"?cursor="+page.str("next_cursor"), "").want(200)
	if len(page.data()) != 2 || len(next.data()) != 1 || next.data()[0]["id"] != ids[2] || next.str("next_cursor") != "" {
		t.Errorf("pages are %s and %s", page.raw, next.raw)
	}

	got := p.do(own, "GET", app+"/deliveries/"+ids[0], "").want(200)
	event, request := got.body["event"].(map[string]any), got.body["request"].(map[string]any)
	first, second := got.body["attempts"].([]any)[0].(map[string]any), got.body["attempts"].([]any)[1].(map[string]any)
	if event["data"].(map[string]any)["id"] != "<7>" || event["extensions"].(map[string]any)["traceparent"] != "00-1" ||
		request["body"] != `{"a":"é"}` || request["made_again"] != true || first["response_base64"] != "//4=" || first["response"] != nil ||
		first["latency_ms"] != 1.5 || first["outcome"] != "retry" || first["retry_at"] == nil || second["response"] != nil ||
		second["error"] != "connection refused" || second["request_headers"].([]any)[0].(map[string]any)["key"] != "X-A" {
		t.Errorf("delivery is %s", got.raw)
	}

	p.do(own, "POST", app+"/deliveries/"+ids[1]+"/retry", "").want(202)
	if h.mu.Lock(); len(h.retried) != 1 || h.retried[0] != ids[1] {
		t.Errorf("retried %q", h.retried)
	}
	h.mu.Unlock()
	replayed := p.do(own, "POST", app+"/webhooks/"+webhook+"/replay",
		`{"since":"2023-01-01T00:00:00Z","states":["dead","delivered"],"event_type":"x"}`).want(200)
	if replayed.body["deliveries"] != 3.0 || !strings.Contains(replayed.raw, "the disk is gone") {
		t.Errorf("replay answered %s", replayed.raw)
	}
	p.do(own, "POST", app+"/webhooks/"+webhook+"/replay", "").want(200)
	h.mu.Lock()
	if q := h.replays[0]; q.GetWebhook() != webhook || len(q.GetStates()) != 2 || q.GetEventType() != "x" || q.GetSince() == nil || q.GetUntil() != nil {
		t.Errorf("replay was %v", q)
	}
	if q := h.replays[1]; len(q.GetStates()) != 0 || q.GetSince() != nil {
		t.Errorf("plain replay was %v", q)
	}
	h.mu.Unlock()

	none := sidehook.DeliveryID{Origin: 7}.String()
	for name, c := range map[string]struct {
		token, method, path, body string
		code                      int
		location, words           string
	}{
		"another app's token":  {other, "GET", app + "/deliveries", "", 404, "", "not found"},
		"another app's test":   {other, "POST", app + "/webhooks/" + webhook + "/test", `{"event_type":"x"}`, 404, "", "not found"},
		"sidecar's token":      {token, "GET", app + "/deliveries", "", 403, "", "not for that"},
		"no such app":          {p.admin, "GET", "/v1/apps/none/deliveries", "", 404, "", "none"},
		"no such webhook":      {own, "GET", app + "/webhooks/none/deliveries", "", 404, "", "none"},
		"replay of none":       {own, "POST", app + "/webhooks/none/replay", "", 404, "", "none"},
		"bad state":            {own, "GET", of + "?state=lost", "", 422, "query.state", "state: must be one of pending, delivered, dead, dropped"},
		"bad since":            {own, "GET", of + "?since=yesterday", "", 422, "query.since", "since: must be a time such as 2026-01-31T15:04:05Z"},
		"bad span":             {own, "GET", of + "?since=2024-01-01T00:00:00Z&until=2023-01-01T00:00:00Z", "", 422, "query.until", "after since"},
		"bad cursor":           {own, "GET", of + "?cursor=x", "", 422, "query.cursor", "next_cursor"},
		"bad type":             {own, "GET", of + "?event_type=a%20b", "", 422, "query.event_type", "must be"},
		"bad limit":            {own, "GET", of + "?limit=201", "", 422, "query.limit", "limit: must be at most 200"},
		"unknown parameter":    {own, "GET", of + "?status=dead", "", 422, "query.status", "is not a known parameter"},
		"bad delivery":         {own, "GET", app + "/deliveries/dlv_x", "", 404, "", "dlv_x"},
		"other delivery":       {own, "GET", app + "/deliveries/" + none, "", 502, "", "the disk is gone"},
		"retry of other":       {own, "POST", app + "/deliveries/" + none + "/retry", "", 502, "", "the disk is gone"},
		"pending is no end":    {own, "POST", app + "/webhooks/" + webhook + "/replay", `{"states":["pending"]}`, 422, "body.states[0]", "delivered"},
		"replay span":          {own, "POST", app + "/webhooks/" + webhook + "/replay", `{"since":"2024-01-01T00:00:00Z","until":"2023-01-01T00:00:00Z"}`, 422, "body.until", "after since"},
		"app without sidecars": {p.admin, "GET", "/v1/apps/b/deliveries", "", 503, "", "start one"},
		"drain by app":         {own, "POST", "/v1/sidecars/side-1/drain", "", 403, "", "not for that"},
		"drain of none":        {p.admin, "POST", "/v1/sidecars/none/drain", "", 404, "", "none"},
		"drain fails":          {p.admin, "POST", "/v1/sidecars/side-2/drain", "", 502, "", "the disk is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			a := p.do(c.token, c.method, c.path, c.body)
			a.t = t
			a.wantProblem(c.code, c.location, c.words)
		})
	}
	if a := p.do(p.admin, "POST", "/v1/sidecars/side-1/drain", "").want(202); a.body["pending"] != 7.0 {
		t.Errorf("drain answered %s", a.raw)
	}
}

// testSent is what a sidecar answers to a test: the receiver's status decides.
func testSent(c *fleetv1.Command, status uint32) *fleetv1.Answer {
	outcome, text := fleetv1.OutcomeKind_OUTCOME_KIND_DELIVERED, ""
	if status/100 != 2 {
		outcome, text = fleetv1.OutcomeKind_OUTCOME_KIND_RETRY, "the endpoint failed"
	}
	return &fleetv1.Answer{Result: &fleetv1.Answer_TestSent{TestSent: &fleetv1.TestSent{
		DeliveryId: sidehook.DeliveryID{Batch: 1}.String(),
		Attempt: &fleetv1.Attempt{
			Number: 1, At: timestamppb.Now(), Latency: durationpb.New(12 * time.Millisecond), Url: "https://example.com/in",
			RequestHeaders: []*fleetv1.Header{{Key: "webhook-id", Value: c.GetSendTestEvent().GetEvent().GetId()}},
			Status:         status, Response: []byte("thanks"), Error: text, Outcome: outcome,
		},
		Request: &fleetv1.RequestBody{Body: c.GetSendTestEvent().GetEvent().GetData(), ContentType: "application/json"},
	}}}
}

func TestRESTTest(t *testing.T) {
	p, client, token := fleetOfA(t)
	webhook, _ := p.makeWebhook("a", "CRM")
	path := "/v1/apps/a/webhooks/" + webhook
	p.do(p.admin, "POST", path+"/test", `{"event_type":"person.created"}`).wantProblem(503, "", "no sidecar of app a is connected; make a token")
	status := uint32(200)
	s := p.sidecar(client, token, "side-1", func(c *fleetv1.Command) *fleetv1.Answer { return testSent(c, status) })
	a := p.do(p.admin, "POST", path+"/test", `{"event_type":"person.created"}`).want(200)
	asked := <-s.asked
	ask := asked.GetSendTestEvent()
	w := p.do(p.admin, "GET", path, "").want(200)
	if ask.GetApp() != "a" || ask.GetWebhook() != webhook || ask.GetEvent().GetSource() != "/sidehook/test" ||
		ask.GetWebhookUpdatedAt().AsTime().Format(time.RFC3339Nano) != w.str("updated_at") ||
		!strings.Contains(string(ask.GetEvent().GetData()), "Test Data") || asked.GetWithin().AsDuration().Round(time.Second) != 25*time.Second {
		t.Errorf("asked %v", asked)
	}
	request := a.body["request"].(map[string]any)
	if a.body["succeeded"] != true || a.body["status"] != 200.0 || a.body["latency_ms"] != 12.0 || a.str("outcome") != "delivered" ||
		a.str("sidecar") != "side-1" || a.str("response") != "thanks" || !strings.HasPrefix(a.str("delivery_id"), "dlv_") ||
		a.str("event_id") != ask.GetEvent().GetId() || request["url"] != "https://example.com/in" || request["body"] != string(ask.GetEvent().GetData()) ||
		request["headers"].([]any)[0].(map[string]any)["value"] != a.str("event_id") {
		t.Errorf("test answered %s", a.raw)
	}

	p.do(p.admin, "POST", path+"/test", `{"event_type":"person.created","data":{"n":[1, "<2>"]}}`).want(200)
	if got := (<-s.asked).GetSendTestEvent().GetEvent().GetData(); string(got) != `{"n":[1, "<2>"]}` {
		t.Errorf("data sent is %s", got)
	}
	for name, c := range map[string]struct{ body, location, words string }{
		"no type":    {`{}`, "body.event_type", "required"},
		"bad type":   {`{"event_type":"a b"}`, "body.event_type", "must be"},
		"other type": {`{"event_type":7}`, "body.event_type", "string"},
		"no field":   {`{"event_type":"x","n":1}`, "body.n", "known field"},
	} {
		t.Run(name, func(t *testing.T) {
			a := p.do(p.admin, "POST", path+"/test", c.body)
			a.t = t
			a.wantProblem(422, c.location, c.words)
		})
	}
	p.do(p.admin, "POST", path+"/disable", "").want(200)
	p.do(p.admin, "POST", path+"/test", `{"event_type":"x"}`).wantProblem(409, "", "enable it")
	if len(s.asked) > 0 {
		t.Error("a sidecar was asked for a test that is refused")
	}
	p.do(p.admin, "POST", "/v1/apps/a/webhooks/none/test", `{"event_type":"x"}`).wantProblem(404, "", "none")
}

// TestRESTTestFails: whatever the receiver does, there was an attempt and the answer is 200; a sidecar's trouble is not.
func TestRESTTestFails(t *testing.T) {
	p, client, token := fleetOfA(t)
	webhook, _ := p.makeWebhook("a", "CRM")
	path := "/v1/apps/a/webhooks/" + webhook + "/test"
	answers := make(chan *fleetv1.Answer, 1)
	p.sidecar(client, token, "x", func(c *fleetv1.Command) *fleetv1.Answer {
		a := <-answers
		if sent := a.GetTestSent(); sent != nil && sent.GetAttempt().GetStatus() != 0 {
			return testSent(c, sent.GetAttempt().GetStatus())
		}
		return a
	})
	ask := func(a *fleetv1.Answer) *answer {
		answers <- a
		return p.do(p.admin, "POST", path, `{"event_type":"x"}`)
	}
	a := ask(testSent(&fleetv1.Command{}, 503)).want(200)
	if a.body["succeeded"] != false || a.body["status"] != 503.0 || a.str("error") != "the endpoint failed" || a.str("outcome") != "retry" {
		t.Errorf("a failing test answered %s", a.raw)
	}
	unmade := testSent(&fleetv1.Command{}, 0)
	unmade.GetTestSent().Request, unmade.GetTestSent().Attempt.Response = nil, nil
	a = ask(unmade).want(200)
	if a.body["succeeded"] != false || a.body["status"] != 0.0 || a.body["response"] != nil || a.body["request"].(map[string]any)["body"] != nil {
		t.Errorf("a test without response answered %s", a.raw)
	}
	ask(failure(9, "webhook is disabled")).wantProblem(409, "", "webhook is disabled")
	ask(failure(4, "its configuration has not come")).wantProblem(504, "", "its configuration has not come")
	ask(failure(5, "webhook is not there")).wantProblem(404, "", "webhook is not there")
	ask(failure(8, "16 commands are under way")).wantProblem(503, "", "16 commands are under way")
	ask(failure(13, "its log says why")).wantProblem(502, "", "its log says why")
	ask(failure(14, "is stopping")).wantProblem(502, "", "may have been sent")
	ask(&fleetv1.Answer{}).wantProblem(502, "", "answered something else")
	noID := testSent(&fleetv1.Command{}, 0)
	noID.GetTestSent().DeliveryId = "x"
	ask(noID).wantProblem(502, "", "not a delivery id")
}

func TestRESTHealthAndTransformers(t *testing.T) {
	p, client, token := fleetOfA(t)
	webhook, _ := p.makeWebhook("a", "CRM")
	s := p.sidecar(client, token, "side-1", silent)
	at := time.Unix(1_700_000_000, 0)
	s.report(&fleetv1.Report{
		Transformers: []*fleetv1.TransformerStatus{
			{Name: "redact", Version: "1.0", State: fleetv1.TransformerState_TRANSFORMER_STATE_FAILING, Error: "exit 1", Restarts: 3},
			{Name: "future", State: 99},
		},
		Webhooks: []*fleetv1.WebhookHealth{{
			App: "a", Webhook: webhook, Delivered: 5, Dead: 1, FailedAttempts: 3, LastSuccess: timestamppb.New(at),
			LastFailure: timestamppb.New(at), LastError: "the endpoint answered 500", Paused: "it is down",
			FilterErrors: 2, LastFilterError: "no such key: n", LastFilterErrorAt: timestamppb.New(at),
		}},
	})
	want := `{"delivered":5,"dead":1,"failed_attempts":3,"last_success":"2023-11-14T22:13:20Z","last_failure":"2023-11-14T22:13:20Z",` +
		`"last_error":"the endpoint answered 500","paused":"it is down","filter_errors":2,"last_filter_error":"no such key: n",` +
		`"last_filter_error_at":"2023-11-14T22:13:20Z"}`
	for _, path := range []string{"/v1/apps/a/webhooks", "/v1/apps/a/webhooks/" + webhook} {
		if a := p.do(p.admin, "GET", path, "").want(200); !strings.Contains(a.raw, `"health":`+want) {
			t.Errorf("%s answered %s", path, a.raw)
		}
	}
	list := p.sidecars(func([]map[string]any) bool { return true })
	got, err := json.Marshal(list[0]["transformers"])
	p.check(err)
	if string(got) != `[{"error":"exit 1","name":"redact","restarts":3,"state":"failing","version":"1.0"}]` {
		t.Errorf("transformers are %s", got)
	}
	if h := p.fleet.WebhookHealth(sidehook.WebhookKey{App: "a", ID: "other"}); h != (control.WebhookHealth{}) {
		t.Errorf("a webhook that nobody reported has %+v", h)
	}
}
