package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

const deliveries = "/console/apps/demo/deliveries"

// rows are the texts of a list's rows.
func (a *answer) rows() []string {
	var texts []string
	for _, n := range a.all(func(n *html.Node) bool { return n.Data == "tr" && n.Parent.Data == "tbody" }) {
		texts = append(texts, textOf(n))
	}
	return texts
}

func (a *answer) link(is func(*html.Node) bool) string {
	a.t.Helper()
	found := a.all(func(n *html.Node) bool { return n.Data == "a" && is(n) })
	if len(found) == 0 {
		a.t.Fatalf("%s has no such link", a.at)
	}
	return attr(found[0], "href")
}

func isNext(n *html.Node) bool { return attr(n, "rel") == "next" }

func TestDeliveries(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"Deliveries", "ID", "Status", "Webhook", "URL", "Event", "Error", "Attempts", "Sent", "Failure", "connection refused", "Successful", "Pending", "next attempt"},
		"vi": {"Lượt gửi", "ID", "Trạng thái", "Webhook", "URL", "Sự kiện", "Lỗi", "Số lần gửi", "Thời gian gửi", "Failure", "connection refused", "Successful", "Đang chờ", "gửi lại lúc"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			w := s.makeWebhook("One")
			car := s.sidecar(s.serveFleet(), "x", "demo")
			good, waiting := someDelivery(1, w.ID), someDelivery(2, w.ID)
			good.State, good.Attempts[1].Error, good.Attempts[1].Status = fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED, "", 200
			waiting.State, waiting.NextAttempt = fleetv1.DeliveryState_DELIVERY_STATE_PENDING, timestamppb.New(begin)
			car.history = []*fleetv1.Delivery{someDelivery(0, w.ID), good, waiting, someDelivery(3, "wh_deleted")}
			a := s.signedIn(lang).get(deliveries).want(200)
			checkPage(t, a)
			a.wantText("main", texts...)
			rows := a.rows()
			if len(rows) != 4 || !strings.Contains(rows[0], "One") || !strings.Contains(rows[0], "https://example.com/in") || !strings.Contains(rows[3], "wh_deleted") ||
				strings.Contains(rows[1], "refused") {
				t.Errorf("the rows are %q", rows)
			}
			if n := a.byID("deliveries"); n == nil || !strings.Contains(attr(n, "data-live"), "deliveries") {
				t.Error("the list does not follow what happens")
			}
		})
	}
}

// TestDeliveriesAreFiltered: filters are in the address, also of the next page.
func TestDeliveriesAreFiltered(t *testing.T) {
	s := newSite(t)
	one, two := s.makeWebhook("One"), s.makeWebhook("Two & <b>")
	car := s.sidecar(s.serveFleet(), "x", "demo")
	for n := range 60 {
		d := someDelivery(n, one.ID)
		if n%2 == 1 {
			d.Webhook, d.State = two.ID, fleetv1.DeliveryState_DELIVERY_STATE_DELIVERED
		}
		car.history = append(car.history, d)
	}
	r := s.signedIn("en")
	query := url.Values{
		"webhook": {two.ID}, "status": {"delivered"}, "event_type": {"order.paid"},
		"since": {"2026-03-01T11:10"}, "until": {"2026-03-01T11:59:30"},
	}
	a := r.get(deliveries + "?" + query.Encode()).want(200)
	checkPage(t, a)
	a.wantText("h1", "Event log: Two & <b>")
	path, form := a.form("/deliveries")
	if path != deliveries {
		t.Errorf("the form asks %s", path)
	}
	for name := range query {
		if form.Get(name) != query.Get(name) {
			t.Errorf("the form shows %s as %q", name, form.Get(name))
		}
	}
	seen := len(a.rows())
	if seen != 20 {
		t.Errorf("a page has %d rows", seen)
	}
	next := a.link(isNext)
	for name := range query {
		if !strings.Contains(next, name+"="+url.QueryEscape(query.Get(name))) {
			t.Errorf("the next page %s lacks %s", next, name)
		}
	}
	a = r.get(deliveries + next).want(200)
	if seen += len(a.rows()); seen != 25 { // 11:59 to 11:10, every second minute
		t.Errorf("the pages show %d deliveries", seen)
	}
	for _, row := range a.rows() {
		if !strings.Contains(row, "Two & <b>") {
			t.Errorf("a row is %q", row)
		}
	}
	first := a.link(func(n *html.Node) bool { return textOf(n) == "First page" })
	if len(r.get(deliveries+first).want(200).rows()) != 20 {
		t.Error("there is no way back to the first page")
	}
	id := car.history[3].GetId()
	if rows := r.get(deliveries + "?id=" + id).want(200).rows(); len(rows) != 1 || !strings.Contains(rows[0], id) {
		t.Errorf("the id finds %q", rows)
	}
	if rows := r.get(deliveries + "?status=dead&id=" + id).want(200).rows(); len(rows) != 0 {
		t.Errorf("the id finds %q in spite of its status", rows)
	}
	r.get(deliveries+"?id="+(sidehook.DeliveryID{Batch: 3}).String()).want(200).wantText("main", "Nothing matches", "Clear filters")
	r.get(deliveries+"?webhook=wh_gone").want(200).wantText("h1", "wh_gone").wantText("form", "").wantText("main", "deleted")
}

func TestBadFiltersAreSaidAtTheField(t *testing.T) {
	s := newSite(t)
	s.sidecar(s.serveFleet(), "x", "demo")
	for lang, texts := range map[string]map[string]string{
		"en": {
			"id=dlv_x": "#f-id-error must be the whole id", "status=done": "#f-status-error must be one of", "webhook=a%20b": "#f-webhook-error must be the id",
			"event_type=a%20b": "#f-event_type-error must be 1 to", "since=yesterday": "#f-since-error must be a time", "until=0001-01-01T00:00": "#f-until-error must be a time",
			"since=2026-01-02T00:00&until=2026-01-01T00:00": "#f-until-error must be after",
		},
		"vi": {
			"id=dlv_x": "#f-id-error phải là ID đầy đủ", "status=done": "#f-status-error phải là một trong", "webhook=a%20b": "#f-webhook-error phải là ID",
			"event_type=a%20b": "#f-event_type-error phải có 1 đến", "since=yesterday": "#f-since-error phải là thời gian", "until=0001-01-01T00:00": "#f-until-error phải là thời gian",
			"since=2026-01-02T00:00&until=2026-01-01T00:00": "#f-until-error phải sau",
		},
	} {
		r := s.signedIn(lang)
		for query, want := range texts {
			at, text, _ := strings.Cut(want, " ")
			a := r.get(deliveries + "?" + query).want(422)
			checkPage(t, a)
			a.wantText(at, text)
		}
		r.get(deliveries + "?cursor=%22%3E%3Cscript%3E").want(422)
	}
}

func TestNobodyToAsk(t *testing.T) {
	s := newSite(t)
	for lang, text := range map[string]string{"en": "No sidecar is connected", "vi": "Không có sidecar nào đang kết nối"} {
		a := s.signedIn(lang).get(deliveries).want(200)
		checkPage(t, a)
		a.wantText("#deliveries", text, "sidehook sidecar --config", "sidehook token create --kind sidecar")
		a = s.signedIn(lang).get(deliveries + "/" + sidehook.DeliveryID{Batch: 1}.String()).want(503)
		checkPage(t, a)
	}
	client := s.serveFleet()
	car := s.sidecar(client, "gone", "demo")
	here := s.sidecar(client, "here", "demo")
	r := s.signedIn("vi")
	r.get(deliveries).want(200).wantText("#deliveries", "Chưa có lượt gửi nào")
	car.leave()
	r.get(deliveries).want(200).wantText("#deliveries", "1 sidecar không trả lời", "gone")
	here.refuse(&fleetv1.Failure{Code: 13, Message: "disk <b>on fire</b>"})
	a := r.get(deliveries).want(502)
	checkMarkup(t, a)
	a.wantText("#deliveries", "disk <b>on fire</b>")
}

func TestDelivery(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"Delivery", "Failure", "Attempt 1", "Attempt 2", "Will retry", "connection refused", "No response came.", "oops", "HTTP 500", "1.5ms", "Made again", "evt_", "webhook-id: evt", "/orders", "\"paid\": true", "200 bytes"},
		"vi": {"Lượt gửi", "Failure", "Lần 1", "Lần 2", "Sẽ gửi lại", "connection refused", "Không có phản hồi.", "oops", "HTTP 500", "1.5ms", "Được tạo lại", "evt_", "webhook-id: evt", "/orders", "\"paid\": true", "200 byte"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			w := s.makeWebhook("One")
			car := s.sidecar(s.serveFleet(), "x", "demo")
			d := someDelivery(0, w.ID)
			d.Attempts[0].Response = []byte("oops")
			d.Request = &fleetv1.RequestBody{Body: []byte(`{"order":{"paid":true}}`), ContentType: "application/json", MadeAgain: true}
			d.Event = &eventsv1.Event{App: "demo", Id: d.GetEventId(), Source: "/orders", Type: d.GetEventType(), Data: make([]byte, 200), DataContentType: "application/octet-stream"}
			car.history = []*fleetv1.Delivery{d}
			r := s.signedIn(lang)
			path := r.get(deliveries).want(200).link(func(n *html.Node) bool { return strings.Contains(attr(n, "href"), "/dlv_") })
			if path != deliveries+"/"+d.GetId() {
				t.Errorf("the list leads to %s", path)
			}
			a := r.get(path).want(200)
			checkPage(t, a)
			weigh(t, a)
			a.wantText("main", texts...)
			a.wantText("main", "00000000") // the data in hex
		})
	}
}

func TestRetry(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"Attempt this delivery once more", "The delivery is attempted once more", "The sidecar x could not do it: its webhook is gone"},
		"vi": {"Gửi lại lượt này ngay bây giờ", "Đã yêu cầu gửi lại", "Sidecar x không thực hiện được: its webhook is gone"},
	} {
		s := newSite(t)
		w := s.makeWebhook("One")
		car := s.sidecar(s.serveFleet(), "x", "demo")
		car.history = []*fleetv1.Delivery{someDelivery(0, w.ID)}
		path := deliveries + "/" + car.history[0].GetId()
		r := s.signedIn(lang)
		page := r.get(path).want(200)
		asked := page.submit("/retry", nil).want(200)
		checkPage(t, asked)
		asked.wantText("main", texts[0])
		retries := func() int {
			n := 0
			for _, c := range car.commands() {
				if c.GetRetryDelivery() != nil {
					n++
				}
			}
			return n
		}
		if retries() != 0 {
			t.Error("it was not confirmed")
		}
		asked.submit("/retry", nil).wantRedirect(path).follow().want(200).wantText("#toasts", texts[1])
		if retries() != 1 {
			t.Errorf("the sidecar was asked %d times", retries())
		}
		r.send("POST", path+"/retry", url.Values{"confirmed": {"yes"}}).want(403)
		r.send("POST", path+"/retry", url.Values{"confirmed": {"yes"}, "csrf": {"x"}}).want(403)
		if retries() != 1 {
			t.Error("a form without its token was obeyed")
		}
		_, form := page.form("/retry")
		form.Set("confirmed", "yes")
		r.send("POST", deliveries+"/"+sidehook.DeliveryID{Batch: 3}.String()+"/retry", form).want(404)
		r.send("POST", deliveries+"/dlv_x/retry", form).want(404)
		car.mu.Lock()
		car.refusesRetry = &fleetv1.Failure{Code: 9, Message: "its webhook is gone"}
		car.mu.Unlock()
		refused := page.submit("/retry", url.Values{"confirmed": {"yes"}}).want(409)
		checkPage(t, refused)
		refused.wantText("#delivery", texts[2], "connection refused")
	}
}

func TestReplay(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"Replay", "3 deliveries were queued once more", "choose at least one", "must be a time", "must be one of", "must be after"},
		"vi": {"Gửi lại", "Đã đưa 3 lượt gửi vào hàng đợi", "hãy chọn ít nhất một", "phải là thời gian", "phải là một trong", "phải sau"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			w := s.makeWebhook("One")
			client := s.serveFleet()
			car := s.sidecar(client, "x", "demo")
			s.sidecar(client, "away", "demo").leave()
			r := s.signedIn(lang)
			log := r.get(deliveries + "?webhook=" + w.ID + "&since=2026-03-01T00:00&event_type=order.paid").want(200)
			open := log.link(func(n *html.Node) bool { return attr(n, "data-sheet") == "#replay" })
			page := r.get(open).want(200)
			checkPage(t, page)
			page.wantText("h1", texts[0])
			path, form := page.form("/replay")
			if strings.Join(form["states"], " ") != "dead dropped" || form.Get("since") != "2026-03-01T00:00" || form.Get("event_type") != "order.paid" {
				t.Errorf("the form begins with %v", form)
			}
			done := page.submit("/replay", url.Values{"until": {"2026-03-02T00:00:01"}}).want(200)
			checkPage(t, done)
			done.wantText("#replay-result", texts[1], "away")
			asked := car.commands()
			got := asked[len(asked)-1].GetReplayDeliveries()
			if got.GetWebhook() != w.ID || got.GetEventType() != "order.paid" || len(got.GetStates()) != 2 ||
				!got.GetSince().AsTime().Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) || !got.GetUntil().AsTime().Equal(time.Date(2026, 3, 2, 0, 0, 1, 0, time.UTC)) {
				t.Errorf("the sidecar was asked %v", got)
			}
			for at, bad := range map[string]url.Values{
				"#r-states-error " + texts[2]: {"states": nil}, "#r-since-error " + texts[3]: {"since": {"soon"}},
				"#r-states-error " + texts[4]: {"states": {"pending"}}, "#r-until-error " + texts[5]: {"until": {"2026-01-01T00:00"}},
				"#r-event_type-error ": {"event_type": {"a b"}},
			} {
				id, text, _ := strings.Cut(at, " ")
				a := page.submit("/replay", bad).want(422)
				checkPage(t, a)
				a.wantText(id, text)
			}
			if n := len(car.commands()); n != len(asked) {
				t.Error("a bad form reached the sidecar")
			}
			delete(form, "csrf")
			r.send("POST", path, form).want(403)
			car.leave()
			page.submit("/replay", nil).want(503)
			r.get(strings.Replace(path, w.ID, "wh_none", 1)).want(404)
		})
	}
}

// TestLargestDeliveryFits: whatever a sidecar tells, pages stay small and are markup of their own alone.
func TestLargestDeliveryFits(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	car := s.sidecar(s.serveFleet(), "x", "demo")
	evil := strings.Repeat(`"><img src=x onerror=alert(1)><script>alert(1)</script>`, 40)[:2000]
	for n := range 40 {
		d := someDelivery(n, w.ID)
		d.AttemptCount = 30
		d.EventId = strings.Repeat(`"`, 200)
		d.Attempts = nil
		for i := range 30 {
			d.Attempts = append(d.Attempts, &fleetv1.Attempt{
				Number: uint32(i + 1), At: timestamppb.New(begin), Url: "https://example.com/?" + evil, Error: evil, Status: 500, Response: []byte(evil[:1024]),
				RequestHeaders: []*fleetv1.Header{{Key: "X-A", Value: evil}, {Key: "X-B", Value: evil}}, Outcome: fleetv1.OutcomeKind_OUTCOME_KIND_DEAD,
			})
		}
		d.Request = &fleetv1.RequestBody{Body: []byte(strings.Repeat("[", 9000) + strings.Repeat("]", 9000)), ContentType: evil}
		d.Event = &eventsv1.Event{App: "demo", Id: "x", Source: "/" + evil[:500], Type: "order.paid", Data: []byte(`{"a":"` + strings.Repeat(`<\"`, 20_000) + `"}`), DataContentType: "application/json"}
		car.history = append(car.history, d)
	}
	for _, lang := range []string{"vi", "en"} {
		r := s.signedIn(lang)
		for _, path := range []string{deliveries, deliveries + "?webhook=" + w.ID, deliveries + "/" + car.history[0].GetId(), demo + "/" + w.ID + "/replay"} {
			a := r.get(path).want(200)
			checkMarkup(t, a)
			weigh(t, a)
		}
		typed := url.Values{}
		for _, name := range []string{"id", "status", "webhook", "event_type", "since", "until", "cursor"} {
			typed.Set(name, evil[:100])
		}
		checkMarkup(t, r.get(deliveries+"?"+typed.Encode()).want(422))
		checkMarkup(t, r.get(demo+"/"+w.ID+"/replay").submit("/replay", url.Values{"since": {evil}, "until": {evil}, "states": {evil}, "event_type": {evil}}).want(422))
	}
	car.history[0].Attempts[0].Error = "the first"
	a := s.signedIn("en").get(deliveries + "/" + car.history[0].GetId())
	if strings.Contains(a.body, "the first") || !strings.Contains(a.body, "older attempts have no room") {
		t.Error("what there is no room for is not said")
	}
}

func TestAppTokensSeeTheirOwnDeliveries(t *testing.T) {
	s := newSite(t)
	s.makeApp("other")
	w := s.makeWebhook("One")
	car := s.sidecar(s.serveFleet(), "x", "demo", "other")
	car.history = []*fleetv1.Delivery{someDelivery(0, w.ID)}
	id := car.history[0].GetId()
	token, _ := s.makeToken(control.TokenApp, "other")
	r := s.reader("en")
	r.signIn(token).want(http.StatusSeeOther)
	for _, path := range []string{deliveries, deliveries + "/" + id, demo + "/" + w.ID + "/replay", "/console/apps/demo/event-types", "/console/apps/demo/transformers"} {
		r.get(path).want(404)
	}
	r.get("/console/sidecars").want(403)
	a := r.get("/console/apps/other/deliveries").want(200)
	checkPage(t, a)
	if len(a.rows()) != 0 || strings.Contains(a.body, "/console/sidecars") {
		t.Errorf("the token of other sees %s", a.body)
	}
	_, form := a.form("/sign-out")
	form.Set("confirmed", "yes")
	for _, path := range []string{
		deliveries + "/" + id + "/retry", demo + "/" + w.ID + "/replay", "/console/apps/demo/event-types", "/console/apps/demo/event-types/import", "/console/apps/demo/event-types/order.paid/delete",
	} {
		r.send("POST", path, form).want(404)
	}
	r.send("POST", "/console/sidecars/x/drain", form).want(403)
	if slices.ContainsFunc(car.commands(), func(c *fleetv1.Command) bool { return c.GetListDeliveries().GetApp() != "other" }) {
		t.Error("a sidecar was asked for another app")
	}
}

// TestNewDeliveriesAreTold: a page that is open hears of what a sidecar reports.
func TestNewDeliveriesAreTold(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	car := s.sidecar(s.serveFleet(), "x", "demo")
	r := s.signedIn("en")
	_, events := r.listen("/console/apps/demo/live")
	if got := <-events; got != "open" {
		t.Fatalf("the stream says %q", got)
	}
	car.history = []*fleetv1.Delivery{someDelivery(0, w.ID)}
	car.report(&fleetv1.Report{Ready: true, Delivered: 1})
	for got := range events {
		if got == "deliveries" {
			break
		}
	}
	if n := len(r.get(deliveries).rows()); n != 1 {
		t.Error(fmt.Sprint("the list then has ", n))
	}
}
