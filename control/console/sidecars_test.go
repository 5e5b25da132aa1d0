package console_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

func TestSidecars(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"No sidecar is connected", "Connected", "Ready", "2 resources refused", "Drain edge-1", "The sidecar refuses new events", "Not connected", "is not connected", "5m0s", "Draining"},
		"vi": {"Không có sidecar nào", "Đang kết nối", "Sẵn sàng", "Từ chối 2 tài nguyên", "Rút tải edge-1", "Sidecar từ chối sự kiện mới", "Mất kết nối", "đang mất kết nối", "5m0s", "Đang rút tải"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			r := s.signedIn(lang)
			empty := r.get("/console/sidecars").want(200)
			checkPage(t, empty)
			empty.wantText("main", texts[0])
			car := s.sidecar(s.serveFleet(), "edge-1", "demo")
			evil := `"><script>alert(1)</script>`
			car.report(&fleetv1.Report{
				Ready: true, SnapshotVersion: "v42", Pending: 12, OldestAge: durationpb.New(5 * time.Minute), Delivered: 1234, Dead: 5, FailedAttempts: 67,
				Rejections: []*fleetv1.Rejection{{Resource: "apps/demo/webhooks/wh_1", Reason: evil}, {Resource: evil, Reason: "no such transformer"}},
			})
			a := r.get("/console/sidecars").want(200)
			checkMarkup(t, a)
			a.wantText("main", "edge-1", "host-edge-1", "1.2.3", "demo", "v42", "12", "1234", "67", texts[1], texts[2], texts[3], "wh_1", "no such transformer", texts[8])
			asked := a.submit("/drain", nil).want(200)
			checkPage(t, asked)
			asked.wantText("main", texts[4])
			if len(car.commands()) != 0 {
				t.Error("it was not confirmed")
			}
			asked.submit("/drain", nil).wantRedirect("/console/sidecars").follow().wantText("#toasts", texts[5])
			if c := car.commands(); len(c) != 1 || c[0].GetDrain() == nil {
				t.Errorf("the sidecar was asked %v", c)
			}
			r.send("POST", "/console/sidecars/edge-1/drain", url.Values{"confirmed": {"yes"}}).want(403)
			car.refuse(&fleetv1.Failure{Code: 13, Message: "cannot <b>"})
			a.submit("/drain", url.Values{"confirmed": {"yes"}}).want(502).wantText("main", "cannot <b>")
			car.report(&fleetv1.Report{Draining: true, SnapshotVersion: "v43"})
			r.get("/console/sidecars").want(200).wantText("main", texts[9])
			car.leave()
			gone := r.get("/console/sidecars").want(200)
			gone.wantText("main", texts[6])
			a.submit("/drain", url.Values{"confirmed": {"yes"}}).want(409).wantText("main", texts[7])
			_, form := a.form("/drain")
			form.Set("confirmed", "yes")
			r.send("POST", "/console/sidecars/none/drain", form).want(404)
			r.send("POST", "/console/sidecars/%22%3E/drain", form).want(404)
		})
	}
}

func TestManySidecarsHavePages(t *testing.T) {
	s := newSite(t)
	client := s.serveFleet()
	evil := strings.Repeat(`<script>"&`, 200)
	for i := range 25 {
		car := s.sidecar(client, fmt.Sprintf("edge-%02d", i), "demo")
		report := &fleetv1.Report{Ready: true}
		for range 60 {
			report.Rejections = append(report.Rejections, &fleetv1.Rejection{Resource: evil[:255], Reason: evil[:1024]})
		}
		for n := range 60 {
			report.Transformers = append(report.Transformers, &fleetv1.TransformerStatus{
				Name: fmt.Sprintf("t%02d", n), Version: evil[:200], State: fleetv1.TransformerState_TRANSFORMER_STATE_FAILING, Error: evil[:1000],
			})
		}
		car.report(report)
	}
	r := s.signedIn("vi")
	a := r.get("/console/sidecars").want(200)
	checkMarkup(t, a)
	weigh(t, a)
	a.wantText("main", "edge-00", "edge-19", "1–20 trên 25", "mục không hiện ở đây")
	a = r.get("/console/sidecars" + a.link(isNext)).want(200)
	a.wantText("main", "edge-20", "edge-24")
	a = r.get("/console/apps/demo/transformers").want(200)
	checkMarkup(t, a)
	weigh(t, a)
	a.wantText("main", "bộ biến đổi không hiện ở đây", "sidecar không hiện ở đây")
}

func TestTransformers(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"No transformers", "docs/transformers.md", "Used by 1 webhook: Shouting", "Running", "Failing", "Ready, not started", "Not installed", "no webhook uses it", "1 connected sidecar does not have it", "No sidecar of this app is connected"},
		"vi": {"Chưa có bộ biến đổi nào", "docs/transformers.md", "1 webhook đang dùng: Shouting", "Đang chạy", "Đang lỗi", "Sẵn sàng, chưa chạy", "Chưa cài đặt", "chưa có webhook nào dùng", "1 sidecar đang kết nối không có", "Không có sidecar nào của app này"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			s.makeApp("other")
			r := s.signedIn(lang)
			const path = "/console/apps/demo/transformers"
			empty := r.get(path).want(200)
			checkPage(t, empty)
			empty.wantText("main", texts[0], texts[1])
			_, _, err := s.svc.CreateWebhook(t.Context(), sidehook.Webhook{App: "demo", Name: "Shouting", URL: "https://example.com", Events: []string{"*"}, Transformer: "shout"})
			s.check(err)
			r.get(path).want(200).wantText("main", "shout", texts[9])
			client := s.serveFleet()
			one, two, foreign := s.sidecar(client, "one", "demo"), s.sidecar(client, "two", "demo"), s.sidecar(client, "three", "other")
			evil := `"><script>alert(1)</script>`
			one.report(&fleetv1.Report{Transformers: []*fleetv1.TransformerStatus{
				{Name: "shout", Version: "1.0.0", State: fleetv1.TransformerState_TRANSFORMER_STATE_RUNNING, Restarts: 4},
				{Name: "spare", State: fleetv1.TransformerState_TRANSFORMER_STATE_IDLE},
				{Name: "lost", State: fleetv1.TransformerState_TRANSFORMER_STATE_MISSING, Error: "not installed"},
			}})
			two.report(&fleetv1.Report{Transformers: []*fleetv1.TransformerStatus{
				{Name: "shout", Version: evil, State: fleetv1.TransformerState_TRANSFORMER_STATE_FAILING, Error: evil},
			}})
			foreign.report(&fleetv1.Report{Transformers: []*fleetv1.TransformerStatus{{Name: "foreign", State: fleetv1.TransformerState_TRANSFORMER_STATE_IDLE}}})
			a := r.get(path).want(200)
			checkMarkup(t, a)
			weigh(t, a)
			a.wantText("main", texts[2:9]...)
			a.wantText("main", "1.0.0", "4", "one", "two", "spare", "lost")
			if strings.Contains(a.text("main"), "foreign") {
				t.Error("another app's sidecars are shown")
			}
			rows := a.rows()
			if len(rows) != 4 || !strings.Contains(rows[0], "two") {
				t.Errorf("what is in trouble is not first: %q", rows)
			}
		})
	}
}
