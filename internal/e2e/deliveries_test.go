package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// rename gives a sidecar's place an id of its own.
func (pl *place) rename(id string) *place {
	pl.t.Helper()
	b, err := os.ReadFile(pl.config)
	if err != nil {
		pl.t.Fatal(err)
	}
	pl.write("sidecar.yaml", strings.Replace(string(b), "id: e2e\n", "id: "+id+"\n", 1))
	return pl
}

// listed waits until the control plane's list of deliveries is as wanted.
func (c *plane) listed(what string, f client.DeliveryFilter, ok func(*client.DeliveryList) bool) *client.DeliveryList {
	c.t.Helper()
	var list *client.DeliveryList
	await(c.t, what, func() (err error) {
		if list, err = c.api.Deliveries(c.t.Context(), "demo", f, 100); err != nil {
			return err
		}
		if !ok(list) {
			return fmt.Errorf("the list is %+v", list)
		}
		return nil
	})
	return list
}

// eventIDs are the events of a list, in its order.
func eventIDs(list *client.DeliveryList) string {
	var ids []string
	for i := range list.Data {
		ids = append(ids, list.Data[i].EventID)
	}
	return strings.Join(ids, " ")
}

// TestDeliveriesOverSidecars: two sidecars hold the history of one webhook. The control plane shows it as one list, says
// what it lacks while one is away, and gets every failed delivery sent after all.
func TestDeliveriesOverSidecars(t *testing.T) {
	plane := newPlane(t)
	control := plane.start()
	places := []*place{plane.newSidecar().rename("left"), plane.newSidecar().rename("right")}
	left, right := places[0].open(), places[1].open()
	crm := newEndpoint(t, "crm")
	var status atomic.Int32
	status.Store(http.StatusInternalServerError)
	crm.answer = func(*http.Request) int { return int(status.Load()) }
	off := false
	w := plane.webhook(crm, "person.*")
	if _, err := plane.api.UpdateWebhook(t.Context(), "demo", w.ID, client.WebhookFields{AutomaticRetry: &off}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*sidecar{left, right} {
		s.awaitWebhooks(1)
	}
	dead := client.DeliveryFilter{Webhook: w.ID, State: "dead"}
	var want string
	for i := range 6 { // newest first, alternating
		s := []*sidecar{left, right}[i%2]
		id := fmt.Sprintf("evt_%d", i)
		publish(t, s.grpc, "person.created", id)
		want = strings.TrimSpace(id + " " + want)
		plane.listed(id+" is dead", dead, func(l *client.DeliveryList) bool { return len(l.Data) == i+1 })
	}
	list := plane.listed("all are in order", dead, func(l *client.DeliveryList) bool { return eventIDs(l) == want })
	if len(list.Missing) > 0 || list.Data[0].Sidecar != "right" || list.Data[1].Sidecar != "left" {
		t.Errorf("the list is %+v", list)
	}
	paged := walk(t, plane, dead, 1)
	if paged != want {
		t.Errorf("page by page: %s, want %s", paged, want)
	}

	right.kill()
	half := plane.listed("one is away", dead, func(l *client.DeliveryList) bool { return len(l.Missing) > 0 })
	if eventIDs(half) != "evt_4 evt_2 evt_0" || half.Missing[0].ID != "right" || !strings.Contains(half.Missing[0].Reason, "not connected") {
		t.Errorf("with one away: %s, %+v", eventIDs(half), half.Missing)
	}
	right = places[1].open()
	right.awaitWebhooks(1)
	plane.listed("it is back with its history", dead, func(l *client.DeliveryList) bool { return eventIDs(l) == want && len(l.Missing) == 0 })

	status.Store(http.StatusOK)
	one := list.Data[2]
	if err := plane.api.RetryDelivery(t.Context(), "demo", one.ID); err != nil {
		t.Fatal(err)
	}
	crm.awaitArrival(t, one.EventID)
	await(t, "the retry is in its history", func() error {
		d, err := plane.api.Delivery(t.Context(), "demo", one.ID)
		if err != nil {
			return err
		}
		if d.State != "delivered" || len(d.Attempts) != 2 || d.Attempts[0].Status != 500 || d.Attempts[1].Status != 200 || d.Event == nil ||
			d.Event.ID != one.EventID || d.Request == nil || !strings.Contains(d.Request.Body, one.EventID) {
			return fmt.Errorf("it is %+v", d)
		}
		return nil
	})
	r, err := plane.api.ReplayWebhook(t.Context(), "demo", w.ID, client.ReplayFields{EventType: "person.created"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Deliveries != 5 || len(r.Missing) > 0 {
		t.Errorf("replayed %+v", r)
	}
	crm.awaitArrival(t, "evt_0", "evt_1", "evt_2", "evt_3", "evt_4", "evt_5")
	plane.listed("none is dead", dead, func(l *client.DeliveryList) bool { return len(l.Data) == 0 })
	await(t, "the webhook's health tells", func() error {
		got, err := plane.api.Webhook(t.Context(), "demo", w.ID)
		if err != nil {
			return err
		}
		if h := got.Health; h == nil || h.Delivered != 6 || h.LastSuccess.IsZero() {
			return fmt.Errorf("it is %+v", h)
		}
		return nil
	})
	left.stop(syscall.SIGTERM)
	right.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)
	crm.check(t)
}

// walk reads a list with pages of one size, and returns its events.
func walk(t *testing.T, plane *plane, f client.DeliveryFilter, size int) string {
	t.Helper()
	var ids []string
	cursor := ""
	for range 100 {
		url := fmt.Sprintf("http://%s/v1/apps/demo/webhooks/%s/deliveries?state=%s&limit=%d&cursor=%s", plane.rest, f.Webhook, f.State, size, cursor)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+plane.token())
		var page client.DeliveryList
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(resp.Body).Decode(&page)
		if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s answered %d, %v", url, resp.StatusCode, err)
		}
		if len(page.Data) > 0 {
			ids = append(ids, eventIDs(&page))
		}
		if cursor = page.NextCursor; cursor == "" {
			return strings.Join(ids, " ")
		}
	}
	t.Fatal("the list does not end")
	return ""
}

// TestTestEvents: a test shows what the receiver got and said, by the newest configuration of the webhook, and says what
// to do when nobody is there to send it.
func TestTestEvents(t *testing.T) {
	plane := newPlane(t)
	control := plane.start()
	pl := plane.newSidecar()
	crm := newEndpoint(t, "crm")
	w := plane.webhook(crm, "never.published")
	_, err := plane.api.TestWebhook(t.Context(), "demo", w.ID, "person.created", nil)
	var problem *client.Problem
	if !errors.As(err, &problem) || problem.Status != http.StatusServiceUnavailable || !strings.Contains(problem.Detail, "start one") {
		t.Errorf("without a sidecar: %v", err)
	}
	s := pl.open()
	plane.awaitSidecar("it is connected", func(s client.Sidecar) bool { return s.Connected })
	got := make(chan *http.Request, 10)
	body := make(chan string, 10)
	var status atomic.Int32
	status.Store(http.StatusOK)
	crm.hang(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(int(status.Load()))
		_, _ = io.WriteString(w, "thanks")
		body <- string(b)
		got <- r
	}))
	for i := range 5 { // each right after a change, which must be in the request
		headers := []client.Header{{Key: "X-Round", Value: fmt.Sprint(i)}}
		if _, err := plane.api.UpdateWebhook(t.Context(), "demo", w.ID, client.WebhookFields{Headers: &headers}); err != nil {
			t.Fatal(err)
		}
		r, err := plane.api.TestWebhook(t.Context(), "demo", w.ID, "person.created", []byte(`{"n":"é"}`))
		if err != nil {
			t.Fatal(err)
		}
		request, sent := <-got, <-body
		if !r.Succeeded || r.Status != 200 || r.Response != "thanks" || r.Request.Body != sent || r.Request.URL != crm.url || r.Sidecar != "e2e" ||
			r.EventID != request.Header.Get("Webhook-Id") || request.Header.Get("X-Round") != fmt.Sprint(i) || !strings.Contains(sent, `{"n":"é"}`) {
			t.Errorf("test %d: %+v, the receiver got %s", i, r, sent)
		}
	}
	status.Store(http.StatusBadGateway)
	r, err := plane.api.TestWebhook(t.Context(), "demo", w.ID, "person.created", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Succeeded || r.Status != http.StatusBadGateway || r.Outcome != "retry" || !strings.Contains(r.Error, "502") {
		t.Errorf("a failing test: %+v", r)
	}
	d, err := plane.api.Delivery(t.Context(), "demo", r.DeliveryID)
	if err != nil {
		t.Fatal(err)
	}
	if d.State != "pending" || d.NextAttempt.IsZero() || len(d.Attempts) != 1 || d.EventID != r.EventID {
		t.Errorf("its delivery: %+v", d)
	}
	if _, err := plane.api.DisableWebhook(t.Context(), "demo", w.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := plane.api.TestWebhook(t.Context(), "demo", w.ID, "x", nil); !errors.As(err, &problem) || problem.Status != http.StatusConflict {
		t.Errorf("a disabled webhook: %v", err)
	}
	s.stop(syscall.SIGTERM)
	control.stop(syscall.SIGTERM)
}
