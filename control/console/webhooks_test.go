package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/control"
)

const demo = "/console/apps/demo/webhooks"

func (s *site) webhooks() []*sidehook.Webhook {
	s.t.Helper()
	all, err := s.svc.AllWebhooks(s.t.Context(), "demo")
	s.check(err)
	return all
}

func (s *site) importSigma() {
	s.t.Helper()
	_, err := s.svc.ImportEventTypes(s.t.Context(), "demo", "sigma", false)
	s.check(err)
}

func newForm(name string) url.Values {
	return url.Values{"name": {name}, "url": {"https://example.com/in"}, "events": {"livestream.channel.live"}}
}

func TestCreateWebhook(t *testing.T) {
	for lang, texts := range map[string][]string{
		"vi": {"Tạo webhook thành công", "Thêm mới", "Tên", "Trạng thái", "URL", "Sự kiện cần gửi", "Thời gian tạo", "Thời gian chỉnh sửa", "Hành động", "Enable"},
		"en": {"Webhook created successfully", "Add new", "Name", "Status", "URL", "Events to send", "Created", "Updated", "Actions", "Enabled"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			s.importSigma()
			s.makeWebhook("Old")
			s.clock.move(time.Second)
			r := s.signedIn(lang)
			page := r.get(demo + "/new").want(200)
			if _, f := page.form("/webhooks"); f.Has("automatic_retry") || f.Has("events") {
				t.Errorf("a new form begins with %v", f)
			}
			list := page.submit("/webhooks", url.Values{
				"name": {" Đơn hàng "}, "url": {"https://example.com/in?a=1&b=2"}, "events": {"livestream.channel.live", "dai.ads.transcode.failed"},
				"patterns": {"order.*\n  livestream.channel.live, *.created"}, "automatic_retry": {"on"},
				"header_key": {"X-Key", "", "X-Number"}, "header_value": {"abc", "", "123"},
				"timeout": {"20s"}, "retry_schedule": {"5s, 1m"},
				"in_order": {"on"}, "rate_per_second": {" 2.5 "}, "history_sample": {"12.5"}, "filter": {"data.amount > 100"},
			}).wantRedirect(demo).follow().want(200)
			list.wantText("#toasts", texts[0])
			list.wantText("main", texts[1:]...)
			rows := list.all(isTag("tr"))
			if len(rows) != 3 || !strings.Contains(textOf(rows[1]), "Đơn hàng") || !strings.Contains(textOf(rows[2]), "Old") {
				t.Errorf("the new webhook is not first: %s", list.text("main"))
			}
			if again := r.get(demo); strings.Contains(again.text("#toasts"), texts[0]) {
				t.Error("the toast is shown twice")
			}
			w := s.webhooks()[0]
			want := "livestream.channel.live dai.ads.transcode.failed order.* *.created"
			if w.Name != "Đơn hàng" || strings.Join(w.Events, " ") != want || !w.AutomaticRetry || fmt.Sprint(w.Headers) != "[{X-Key abc} {X-Number 123}]" ||
				w.Timeout != 20*time.Second || fmt.Sprint(w.RetrySchedule) != "[5s 1m0s]" || w.URL != "https://example.com/in?a=1&b=2" {
				t.Errorf("stored is %+v", w)
			}
			if w.Ordering != sidehook.OrderingKey || w.RateLimit != (sidehook.RateLimit{PerSecond: 2.5, Burst: 3}) || w.Sample() != 0.125 {
				t.Errorf("stored is %+v", w)
			}
			_, edit := r.get(demo + "/" + w.ID + "/edit").want(200).form("/edit")
			if edit.Get("in_order") != "on" || edit.Get("rate_per_second") != "2.5" || edit.Get("rate_burst") != "3" || edit.Get("history_sample") != "12.5" || edit.Get("filter") != "data.amount > 100" {
				t.Errorf("the form to edit it has %v", edit)
			}
		})
	}
}

func TestBadInputIsSaidAtTheField(t *testing.T) {
	s := newSite(t)
	s.importSigma()
	s.makeWebhook("Taken")
	// Each case changes one field; at is the id of what is at fault, and en and vi what is said there.
	cases := []struct {
		name       string
		set        url.Values
		code       int
		at, en, vi string
	}{
		{"no name", url.Values{"name": {" "}}, 422, "f-name", "is required", "bắt buộc"},
		{"long name", url.Values{"name": {strings.Repeat("ă", 51)}}, 422, "f-name", "must be at most 50 characters", "tối đa 50 ký tự"},
		{"name twice", url.Values{"name": {"Taken"}}, 409, "f-name", "is the name of webhook", "đã là tên của webhook"},
		{"no url", url.Values{"url": {""}}, 422, "f-url", "is required", "bắt buộc"},
		{"ftp", url.Values{"url": {"ftp://example.com"}}, 422, "f-url", "must start with", "phải bắt đầu bằng"},
		{"long url", url.Values{"url": {"https://example.com/" + strings.Repeat("a", 2030)}}, 422, "f-url", "at most 2048 bytes", "tối đa 2048 byte"},
		{"no events", url.Values{"events": nil}, 422, "f-events", "at least one event is required", "cần ít nhất một sự kiện"},
		{"bad pattern", url.Values{"patterns": {"café"}}, 422, "f-events", "is not an event type", "không phải loại sự kiện"},
		{"reserved header", url.Values{"header_key": {"", "Host"}, "header_value": {"", "x"}}, 422, "f-headers-0-key", "is set by Sidehook", "do Sidehook đặt"},
		{"illegal header", url.Values{"header_key": {"A", "b c"}, "header_value": {"1", "2"}}, 422, "f-headers-1-key", "is not a legal header name", "không phải tên header"},
		{"header value", url.Values{"header_key": {"A"}, "header_value": {"a\r\nb"}}, 422, "f-headers-0-value", "must not have line breaks", "không được có xuống dòng"},
		{"11 headers", url.Values{"header_key": strings.Split("abcdefghijk", ""), "header_value": strings.Split("abcdefghijk", "")}, 422, "f-headers", "must be at most 10", "tối đa là 10"},
		{"timeout", url.Values{"timeout": {"soon"}}, 422, "f-timeout", "must be a duration", "phải là khoảng thời gian"},
		{"long timeout", url.Values{"timeout": {"2h"}}, 422, "f-timeout", "must be 100ms to 1m0s", "phải từ 100ms đến 1m0s"},
		{"schedule", url.Values{"retry_schedule": {"5s, often"}}, 422, "f-retry_policy-schedule", "must be a duration", "phải là khoảng thời gian"},
		{"short wait", url.Values{"retry_schedule": {"5s 1ms"}}, 422, "f-retry_policy-schedule", "must be 1s to 168h0m0s", "phải từ 1s đến 168h0m0s"},
		{"rate", url.Values{"rate_per_second": {"fast"}}, 422, "f-rate_limit-per_second", "must be a number", "phải là số"},
		{"big rate", url.Values{"rate_per_second": {"1e9"}}, 422, "f-rate_limit-per_second", "must be 0.001 to 100000", "phải từ 0.001 đến 100000"},
		{"burst", url.Values{"rate_per_second": {"1"}, "rate_burst": {"-1"}}, 422, "f-rate_limit-burst", "must be 1 to 100000", "phải từ 1 đến 100000"},
		{"sample", url.Values{"history_sample": {"101"}}, 422, "f-history_sample", "must be 0 to 100", "phải từ 0 đến 100"},
		{"filter", url.Values{"filter": {"data.amount >"}}, 422, "f-filter", "line 1, column", "dòng 1, cột"},
		{"filter of a number", url.Values{"filter": {"1 + 1"}}, 422, "f-filter", "it must be true or false", "phải là true hoặc false"},
		{"format", url.Values{"format": {"xml"}}, 422, "f-format", "must be one of", "phải là một trong"},
		{"scheme", url.Values{"scheme": {"none"}}, 422, "f-signing-scheme", "must be one of", "phải là một trong"},
		{"hmac header", url.Values{"scheme": {"hmac"}}, 422, "f-signing-header", "is required: the name", "bắt buộc: tên của header"},
		{"hmac template", url.Values{"scheme": {"hmac"}, "signing_header": {"X-S"}, "template": {"x"}}, 422, "f-signing-template", "must have {body} once", "phải có {body}"},
		{"transformer", url.Values{"transformer": {"a b"}}, 422, "f-transformer", "must be 1 to", "phải có 1 đến"},
	}
	for lang, say := range map[string]func(i int) string{
		"en": func(i int) string { return cases[i].en }, "vi": func(i int) string { return cases[i].vi },
	} {
		r := s.signedIn(lang)
		page := r.get(demo + "/new").want(200)
		for i, tc := range cases {
			form := newForm("Kept name")
			for name, values := range tc.set {
				form[name] = values
			}
			a := page.submit("/webhooks", form)
			if a.code != tc.code {
				t.Errorf("%s/%s answered %d", lang, tc.name, a.code)
				continue
			}
			checkPage(t, a)
			input := a.byID(tc.at)
			if input == nil {
				t.Errorf("%s/%s: there is no %s", lang, tc.name, tc.at)
				continue
			}
			if said := a.text("#" + tc.at + "-error"); !strings.Contains(said, say(i)) {
				t.Errorf("%s/%s: %s says %q, want %q", lang, tc.name, tc.at, said, say(i))
			}
			if input.Data != "fieldset" && (attr(input, "aria-invalid") != "true" || !strings.Contains(attr(input, "aria-describedby"), tc.at+"-error")) {
				t.Errorf("%s/%s: %s is not tied to its error", lang, tc.name, tc.at)
			}
			summary := a.all(func(n *html.Node) bool { return attr(n, "role") == "alert" })
			if len(summary) != 1 || !strings.Contains(textOf(summary[0]), say(i)) {
				t.Errorf("%s/%s: the summary lacks it", lang, tc.name)
				continue
			}
			linked := false
			for n := range summary[0].Descendants() {
				linked = linked || n.Data == "a" && attr(n, "href") == "#"+tc.at
			}
			if !linked {
				t.Errorf("%s/%s: the summary does not lead to %s", lang, tc.name, tc.at)
			}
			if _, kept := a.form("/webhooks"); tc.set["name"] == nil && kept.Get("name") != "Kept name" {
				t.Errorf("%s/%s: the input is lost: %v", lang, tc.name, kept)
			}
		}
	}
	if all := s.webhooks(); len(all) != 1 {
		t.Errorf("bad input left %d webhooks", len(all))
	}
}

func TestEleventhWebhook(t *testing.T) {
	s := newSite(t)
	for i := range 10 {
		s.makeWebhook(fmt.Sprint("Webhook ", i))
	}
	for lang, want := range map[string]string{"vi": "app đã có 10 webhook, là số tối đa", "en": "app has 10 webhooks, the most it may have"} {
		a := s.signedIn(lang).get(demo+"/new").submit("/webhooks", newForm("Eleven")).want(409).wantText("main", want)
		if _, kept := a.form("/webhooks"); kept.Get("name") != "Eleven" || kept.Get("patterns") != "livestream.channel.live" {
			t.Errorf("the input is lost: %v", kept)
		}
	}
	if n := len(s.webhooks()); n != 10 {
		t.Errorf("there are %d webhooks", n)
	}
}

func TestEditWebhook(t *testing.T) {
	s := newSite(t)
	s.importSigma()
	w := s.makeWebhook("Before")
	s.clock.move(time.Second)
	r := s.signedIn("vi")
	page := r.get(demo + "/" + w.ID + "/edit").want(200)
	if _, f := page.form("/edit"); f.Get("name") != "Before" || f.Get("patterns") != "order.*" || f.Get("automatic_retry") != "on" || f.Get("timeout") != "15s" {
		t.Errorf("the form is filled with %v", f)
	}
	page.submit("/edit", url.Values{
		"name": {"After"}, "automatic_retry": nil, "events": {"dai.ads.transcode.failed"}, "scheme": {"hmac"}, "signing_header": {"X-Sig"},
		"prefix": {"sha256="}, "algorithm": {"sha256"}, "encoding": {"hex"}, "header_key": {"A"}, "header_value": {"1"},
	}).wantRedirect(demo).follow().wantText("#toasts", "Đã cập nhật webhook thành công")
	got := s.webhooks()[0]
	if got.Name != "After" || got.AutomaticRetry || fmt.Sprint(got.Events) != "[dai.ads.transcode.failed order.*]" || got.Signing.Header != "X-Sig" || len(got.Headers) != 1 {
		t.Errorf("stored is %+v", got)
	}
	// Back to a scheme without details: what is left in the fields does not matter.
	r.get(demo+"/"+w.ID+"/edit").submit("/edit", url.Values{"scheme": {"standard"}}).wantRedirect(demo)
	if got := s.webhooks()[0]; got.Signing.Scheme != "standard" || got.Signing.Header != "" {
		t.Errorf("signing is %+v", got.Signing)
	}
}

func TestStaleEdit(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("Mine")
	r := s.signedIn("vi")
	page := r.get(demo + "/" + w.ID + "/edit").want(200)
	s.clock.move(time.Second)
	theirs := "Theirs"
	_, err := s.svc.UpdateWebhook(t.Context(), w.Key(), control.WebhookPatch{Name: &theirs})
	s.check(err)
	again := page.submit("/edit", url.Values{"name": {"Mine again"}}).want(409).wantText("main", "Người khác vừa thay đổi webhook này")
	if s.webhooks()[0].Name != "Theirs" {
		t.Fatal("a stale form overwrote a change")
	}
	if _, f := again.form("/edit"); f.Get("name") != "Mine again" {
		t.Errorf("the input is lost: %v", f)
	}
	again.submit("/edit", nil).wantRedirect(demo)
	if s.webhooks()[0].Name != "Mine again" {
		t.Error("a form that was sent again does not overwrite")
	}
	page.submit("/edit", url.Values{"as_of": {"yesterday"}}).want(400)
}

func TestSwitches(t *testing.T) {
	for lang, texts := range map[string]struct{ disable, disabled, enable, enabled, delete, deleted string }{
		"vi": {"Tắt webhook “One”?", "Đã tắt webhook thành công!", "Bật webhook “One”?", "Đã bật webhook thành công!", "Xoá webhook “One”", "Đã xoá thành công!"},
		"en": {"Disable the webhook “One”?", "Webhook disabled successfully!", "Enable the webhook “One”?", "Webhook enabled successfully!", "Delete the webhook “One”", "Deleted successfully!"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			w := s.makeWebhook("One")
			r := s.signedIn(lang)
			// step asks, says no, and then yes.
			step := func(action, question, done string, from string) *answer {
				t.Helper()
				page := r.get(from)
				forms := page.all(func(n *html.Node) bool { return n.Data == "form" && strings.HasSuffix(attr(n, "action"), "/"+action) })
				if len(forms) != 1 || !strings.Contains(attr(forms[0], "data-confirm"), question) {
					t.Fatalf("%s does not ask %q", action, question)
				}
				before := s.webhooks()
				ask := page.submit("/"+action, nil).want(200).wantText("main", question)
				if after := s.webhooks(); len(after) != len(before) || after[0].Status != before[0].Status {
					t.Fatalf("%s did not wait for the answer", action)
				}
				checkPage(t, ask)
				return ask.submit("/"+action, nil).follow().want(200).wantText("#toasts", done)
			}
			a := step("disable", texts.disable, texts.disabled, demo)
			if s.webhooks()[0].Status != sidehook.WebhookDisabled || strings.Contains(a.body, "/"+w.ID+"/test") {
				t.Error("it is not disabled, or can be tested")
			}
			own := demo + "/" + w.ID
			if a = step("enable", texts.enable, texts.enabled, own); a.at != own || s.webhooks()[0].Status != sidehook.WebhookEnabled {
				t.Errorf("it is not enabled, or the way back is lost: %s", a.at)
			}
			step("delete", texts.delete, texts.deleted, own)
			if len(s.webhooks()) != 0 {
				t.Error("it is not deleted")
			}
			r.get(own).want(404)
		})
	}
}

// TestMissedIsOfferedForReplay: enabling a webhook that the control plane disabled leads, without scripts too, to what it
// missed and the form that replays exactly that. What a person disabled has missed nothing.
func TestMissedIsOfferedForReplay(t *testing.T) {
	for lang, texts := range map[string]struct{ missed, one, replay, done string }{
		"en": {"missed 2 deliveries", "missed 1 delivery ", "Replay what it missed", "3 deliveries were queued"},
		"vi": {"bỏ lỡ 2 lượt gửi", "bỏ lỡ 1 lượt gửi", "Gửi lại phần bị bỏ lỡ", "Đã đưa 3 lượt gửi vào hàng đợi"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			w := s.makeWebhook("One")
			own := demo + "/" + w.ID
			r := s.signedIn(lang)
			enable := func() *answer {
				t.Helper()
				return r.get(demo).submit("/enable", url.Values{"confirmed": {"yes"}}).follow().want(200)
			}
			isReplay := func(n *html.Node) bool { return strings.Contains(attr(n, "href"), "/replay?") }
			since := s.clock.Now().Truncate(time.Second)
			s.check(s.svc.DisableGone(t.Context(), w.Key(), s.clock.Now()))
			if page := enable(); page.at != demo {
				t.Errorf("with nobody to ask it leads to %s", page.at)
			}
			s.clock.move(time.Minute)
			s.check(s.svc.DisableGone(t.Context(), w.Key(), s.clock.Now()))
			car := s.sidecar(s.serveFleet(), "x", "demo")
			dropped := func(n int, at time.Time) *fleetv1.Delivery {
				d := someDelivery(n, w.ID)
				d.AcceptedAt, d.State = timestamppb.New(at), fleetv1.DeliveryState_DELIVERY_STATE_DROPPED
				return d
			}
			dead := someDelivery(1, w.ID)
			dead.AcceptedAt = timestamppb.New(s.clock.Now().Add(time.Minute))
			has := func(history ...*fleetv1.Delivery) {
				car.mu.Lock()
				defer car.mu.Unlock()
				car.history = history
			}
			has(dropped(0, s.clock.Now().Add(2*time.Minute)), dead, dropped(2, s.clock.Now().Add(time.Second)), dropped(3, since))
			since = s.clock.Now().Truncate(time.Second)
			page := enable()
			checkPage(t, page)
			if !strings.HasPrefix(page.at, own+"?") {
				t.Errorf("it leads to %s", page.at)
			}
			page.wantText("#missed", texts.missed, texts.replay)
			form := r.get(page.link(isReplay)).want(200)
			checkPage(t, form)
			_, fields := form.form("/replay")
			if got := strings.Join(fields["states"], " "); got != "dropped" || fields.Get("since") != since.UTC().Format("2006-01-02T15:04:05") {
				t.Errorf("the form begins with %v, want what is dropped since %s", fields, since)
			}
			form.submit("/replay", nil).want(200).wantText("#replay-result", texts.done)
			asked := car.commands()
			if got := asked[len(asked)-1].GetReplayDeliveries(); !got.GetSince().AsTime().Equal(since) || len(got.GetStates()) != 1 {
				t.Errorf("the sidecar was asked %v", got)
			}

			has(dropped(0, s.clock.Now().Add(2*time.Minute)))
			before := len(car.commands())
			r.header = http.Header{"Hx-Request": {"true"}, "Hx-Target": {"webhook"}}
			if r.get(page.at).want(200); len(car.commands()) != before {
				t.Error("the sidecars are asked for another part of the page")
			}
			r.header.Set("Hx-Target", "missed")
			r.get(page.at).want(200).wantText("#missed", texts.one)
			r.header = http.Header{}
			has()
			for _, path := range []string{page.at, own + "?missed=soon", own + "?missed="} {
				if a := r.get(path).want(200); a.text("#missed") != "" {
					t.Errorf("%s offers %q", path, a.text("#missed"))
				}
			}
			if _, err := s.svc.DisableWebhook(t.Context(), w.Key(), ""); err != nil {
				t.Fatal(err)
			}
			if page := enable(); page.at != demo {
				t.Errorf("after a person disabled it, it leads to %s", page.at)
			}
		})
	}
}

// TestFilterErrorsAreShown: with what the filter said, as text, once there are some.
func TestFilterErrorsAreShown(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	car := s.sidecar(s.serveFleet(), "edge-1", "demo")
	for lang, title := range map[string]string{"en": "Events the filter had no answer for", "vi": "Sự kiện mà bộ lọc không trả lời được"} {
		r := s.signedIn(lang)
		car.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{{App: "demo", Webhook: w.ID}}})
		if text := r.get(demo + "/" + w.ID).want(200).text("#webhook"); strings.Contains(text, title) {
			t.Errorf("without any: %s", text)
		}
		car.report(&fleetv1.Report{Webhooks: []*fleetv1.WebhookHealth{{
			App: "demo", Webhook: w.ID, FilterErrors: 7, LastFilterError: "no such key: <b>", LastFilterErrorAt: timestamppb.New(begin),
		}}})
		page := r.get(demo + "/" + w.ID).want(200)
		checkPage(t, page)
		page.wantText("#webhook", title+" 7", "no such key: <b>", "12:00:00")
	}
}

// TestReasonsAreTranslated: those that the control plane gives; what a person wrote stays.
func TestReasonsAreTranslated(t *testing.T) {
	s := newSite(t)
	svc, err := control.New(control.Options{KV: s.kv, Now: s.clock.Now, AutoDisableAfter: time.Hour})
	s.check(err)
	failing, gone, person := s.makeWebhook("Failing"), s.makeWebhook("Gone"), s.makeWebhook("Person")
	s.clock.move(time.Minute)
	since := s.clock.Now()
	for range 2 {
		s.check(svc.NoteHealth(t.Context(), failing.Key(), time.Time{}, s.clock.Now()))
		s.clock.move(time.Hour)
	}
	s.check(s.svc.DisableGone(t.Context(), gone.Key(), s.clock.Now()))
	_, err = s.svc.DisableWebhook(t.Context(), person.Key(), "nothing but failures since yesterday")
	s.check(err)
	for lang, want := range map[string]map[*sidehook.Webhook]string{
		"en": {
			failing: "nothing but failures since " + since.UTC().Format("2006-01-02 15:04:00 UTC"), gone: "endpoint answered 410 Gone",
			person: "nothing but failures since yesterday",
		},
		"vi": {
			failing: "chỉ toàn lỗi từ " + since.UTC().Format("02/01/2006 15:04:00 UTC"), gone: "endpoint trả lời 410 Gone",
			person: "nothing but failures since yesterday",
		},
	} {
		r := s.signedIn(lang)
		for w, reason := range want {
			checkPage(t, r.get(demo+"/"+w.ID).want(200).wantText("#webhook", reason))
		}
	}
}

func TestPages(t *testing.T) {
	s := newSite(t)
	kv, err := control.New(control.Options{KV: s.kv, MaxWebhooks: 25})
	s.check(err)
	for i := range 23 {
		_, _, err := kv.CreateWebhook(t.Context(), sidehook.Webhook{App: "demo", Name: fmt.Sprintf("Nr %02d", i), URL: "https://example.com", Events: []string{"*"}})
		s.check(err)
	}
	r := s.signedIn("en")
	seen := map[string]bool{}
	for page, want := range []string{"1–10 of 23", "11–20 of 23", "21–23 of 23"} {
		a := r.get(fmt.Sprintf("%s?page=%d", demo, page+1)).want(200).wantText("main", want)
		for _, n := range a.all(func(n *html.Node) bool { return n.Data == "a" && attr(n, "class") == "strong" }) {
			seen[textOf(n)] = true
		}
	}
	if len(seen) != 23 {
		t.Errorf("the pages show %d webhooks", len(seen))
	}
	for _, page := range []string{"0", "-1", "x", "99999999999999999999", "4"} {
		r.get(demo + "?page=" + page).want(200)
	}
}

func TestMoreHeaderRowsWithoutScripts(t *testing.T) {
	s := newSite(t)
	page := s.signedIn("en").get(demo + "/new")
	keys, values := []string{"A", "B", "C"}, []string{"1", "2", "3"}
	for n := 1; n <= 3; n++ {
		page = page.submit("/webhooks", url.Values{"more": {"header"}, "name": {"Kept"}, "header_key": keys[:n], "header_value": values[:n]}).want(200)
		_, f := page.form("/webhooks")
		if len(f["header_key"]) != n+1 || f.Get("name") != "Kept" {
			t.Fatalf("the form is %v", f)
		}
	}
	if len(s.webhooks()) != 0 {
		t.Error("a row more was taken for a webhook")
	}
}

// TestFailedTest: why a test failed follows its verdict, and the sidecar is given no longer than the webhook's timeout and
// what is around an attempt.
func TestFailedTest(t *testing.T) {
	for lang, want := range map[string]string{
		"en": "The test failed: timeout after 15s <b>", "vi": "Kiểm tra không thành công: timeout after 15s <b>",
	} {
		s := newSite(t)
		w := s.makeWebhook("One")
		car := s.sidecar(s.serveFleet(), "edge-1", "demo")
		page := s.signedIn(lang).get(demo + "/" + w.ID + "/test").want(200)
		page.submit("/test", url.Values{"event_type": {"order.created"}}).want(200).wantText("#test", want)
		if c := car.commands(); len(c) != 1 || c[0].GetWithin().AsDuration() > w.Timeout+10*time.Second {
			t.Errorf("the sidecar was asked %v", c)
		}
	}
}

func TestTestPage(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	r := s.signedIn("vi")
	own := demo + "/" + w.ID
	page := r.get(own+"/test").want(200).wantText("main", "Kiểm tra URL Webhook của bạn")
	page.submit("/test", url.Values{"event_type": {"order.created"}}).want(503).wantText("#test", "Không có sidecar nào của app này đang kết nối")
	page.submit("/test", url.Values{"event_type": {"a b"}}).want(422).wantText("#test", "phải có 1 đến")
	s.importSigma()
	if options := r.get(own + "/test").all(isTag("option")); len(options) != 8 {
		t.Errorf("%d event types can be chosen", len(options))
	}
	_, err := s.svc.DisableWebhook(t.Context(), w.Key(), "")
	s.check(err)
	r.get(own+"/test").want(200).wantText("#test", "Webhook đang tắt")
	r.get(demo + "/none/test").want(http.StatusNotFound)
}
