package console_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

const eventTypes = "/console/apps/demo/event-types"

func isArticle(n *html.Node) bool { return n.Data == "article" }

func TestImportCatalogue(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"The catalogue is empty", "The catalogue was imported", "Payment Received", "whatever its status", "Everything in that catalogue is there", "payment_received"},
		"vi": {"Danh mục đang trống", "Đã nhập danh mục", "Nhận được thanh toán", "bất kể trạng thái", "Mọi mục của danh mục đều đã có", "payment_received"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			r := s.signedIn(lang)
			page := r.get(eventTypes).want(200)
			checkPage(t, page)
			page.wantText("#event-types", texts[0])
			list := page.submit("/import", url.Values{"catalogue": {"multisite"}}).wantRedirect(eventTypes).follow().want(200)
			checkPage(t, list)
			weigh(t, list)
			list.wantText("#toasts", texts[1])
			list.wantText("#event-types", "Ultimate Multisite", texts[2], texts[3], texts[5], "site_published", "domain_created")
			if n := len(list.all(isArticle)); n != 14 {
				t.Errorf("there are %d event types", n)
			}
			if sample := list.byID("sample-payment_received"); sample == nil || !strings.Contains(textOf(sample), `"payment_id": 1`) || !strings.Contains(textOf(sample), "customer_name") {
				t.Errorf("the sample of payment_received is not there")
			}
			list.submit("/import", url.Values{"catalogue": {"multisite"}}).follow().wantText("#toasts", texts[4])
			// What was edited stays, unless it is to be overwritten.
			_, _, err := s.svc.PutEventType(t.Context(), sidehook.EventType{App: "demo", Type: "payment_received", Name: map[string]string{"en": "Mine", "vi": "Mine"}})
			s.check(err)
			list.submit("/import", url.Values{"catalogue": {"multisite"}}).follow().wantText("#event-types", "Mine")
			list.submit("/import", url.Values{"catalogue": {"multisite"}, "overwrite": {"on"}}).follow().wantText("#toasts", texts[1]).wantText("#event-types", texts[2])
			bad := list.submit("/import", url.Values{"catalogue": {"<b>"}}).want(422)
			checkMarkup(t, bad)
			if bad.text("#f-catalogue-error") == "" {
				t.Error("an unknown catalogue is not refused at its field")
			}
			_, form := list.form("/import")
			delete(form, "csrf")
			r.send("POST", eventTypes+"/import", form).want(403)
		})
	}
}

func TestSearchCatalogue(t *testing.T) {
	s := newSite(t)
	s.importSigma()
	_, err := s.svc.ImportEventTypes(t.Context(), "demo", "multisite", false)
	s.check(err)
	s.makeWebhook("Orders")
	w, _, err := s.svc.CreateWebhook(t.Context(), sidehook.Webhook{App: "demo", Name: "Live", URL: "https://example.com", Events: []string{"livestream.*"}})
	s.check(err)
	r := s.signedIn("vi")
	seen := 0
	for path := eventTypes; ; {
		a := r.get(path).want(200)
		checkPage(t, a)
		seen += len(a.all(isArticle))
		if len(a.all(isNext)) == 0 {
			break
		}
		path = eventTypes + a.link(isNext)
	}
	if seen != 22 {
		t.Errorf("the pages show %d event types", seen)
	}
	for query, want := range map[string]int{"thanh TOÁN": 0, "payment received": 1, "LIVESTREAM": 3, "nothing such": 0, `"><script>`: 0} {
		a := r.get(eventTypes + "?q=" + url.QueryEscape(query)).want(200)
		checkMarkup(t, a)
		got := len(a.all(isArticle))
		if query == "thanh TOÁN" && got == 0 || want != 0 && got != want || query == "nothing such" && got != 0 {
			t.Errorf("%q finds %d", query, got)
		}
		if _, form := a.form("/event-types"); form.Get("q") != query {
			t.Errorf("the box shows %q", form.Get("q"))
		}
	}
	a := r.get(eventTypes + "?q=livestream.channel.live").want(200)
	a.wantText("article", "1 webhook nhận", "Live")
	if path := a.link(func(n *html.Node) bool { return textOf(n) == "Live" }); path != demo+"/"+w.ID {
		t.Errorf("the webhook's link is %s", path)
	}
	r.get(eventTypes+"?q=payment_received").wantText("article", "Chưa có webhook nào nhận")
}

func TestEditEventType(t *testing.T) {
	for lang, texts := range map[string][]string{
		"en": {"Event type saved", "is in the catalogue already", "must be 1 to 256", "is not valid JSON", "Deleted successfully!", "Delete a/b:c from the catalogue"},
		"vi": {"Đã lưu loại sự kiện", "đã có trong danh mục", "phải có 1 đến 256", "không phải JSON hợp lệ", "Đã xoá thành công!", "Xoá a/b:c khỏi danh mục"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			r := s.signedIn(lang)
			page := r.get(eventTypes + "/new").want(200)
			checkPage(t, page)
			fields := url.Values{
				"type": {"a/b:c"}, "product": {"Shop"}, "name.en": {"Paid"}, "name.vi": {"Đã trả"}, "description.en": {"It was paid"}, "description.vi": {" "},
				"sample": {`{ "id": 1 }`}, "schema": {`{"type": "object"}`},
			}
			saved := page.submit("/event-types", fields).want(303).follow().want(200)
			saved.wantText("#toasts", texts[0])
			if len(saved.all(isArticle)) != 1 {
				t.Error("the new event type is not shown")
			}
			got, err := s.svc.GetEventType(t.Context(), "demo", "a/b:c")
			s.check(err)
			if got.Product != "Shop" || fmt.Sprint(got.Name) != "map[en:Paid vi:Đã trả]" || fmt.Sprint(got.Description) != "map[en:It was paid]" ||
				string(got.Sample) != `{"id":1}` || string(got.Schema) != `{"type":"object"}` {
				t.Errorf("stored is %+v", got)
			}
			page.submit("/event-types", fields).want(409).wantText("#f-type-error", texts[1])
			for field, text := range map[string]string{"type": texts[2], "sample": texts[3], "schema": texts[3]} {
				one := url.Values{"type": {"x.y"}, field: {"{ not good"}}
				a := page.submit("/event-types", one).want(422)
				checkPage(t, a)
				a.wantText("#f-"+field+"-error", text)
				if _, kept := a.form("/event-types"); kept.Get(field) != "{ not good" {
					t.Errorf("%s is shown again as %q", field, kept.Get(field))
				}
			}
			for field, value := range map[string]string{"schema": `{"type": 3}`, "product": strings.Repeat("p", 65), "name.vi": strings.Repeat("ồ", 101), "description.en": strings.Repeat("d", 2001)} {
				a := page.submit("/event-types", url.Values{"type": {"x.y"}, field: {value}}).want(422)
				checkPage(t, a)
				if a.text("#f-"+strings.ReplaceAll(field, ".", "-")+"-error") == "" {
					t.Errorf("%s is not refused at its field: %s", field, a.text("main"))
				}
			}
			// Texts in other languages than those of the console stay.
			got.Name["fr"] = "Payé"
			_, _, err = s.svc.PutEventType(t.Context(), *got)
			s.check(err)
			path := r.get(eventTypes).link(func(n *html.Node) bool { return strings.HasSuffix(attr(n, "href"), "/edit") })
			edit := r.get(path).want(200)
			checkPage(t, edit)
			edit.submit("/edit", url.Values{"name.en": {""}, "type": {"other"}}).want(303).follow().want(200)
			got, err = s.svc.GetEventType(t.Context(), "demo", "a/b:c")
			s.check(err)
			if fmt.Sprint(got.Name) != "map[fr:Payé vi:Đã trả]" || string(got.Sample) != `{"id":1}` {
				t.Errorf("stored is %+v", got)
			}
			list := r.get(eventTypes)
			asked := list.submit("/delete", nil).want(200)
			asked.wantText("main", texts[5])
			asked.submit("/delete", nil).wantRedirect(eventTypes).follow().wantText("#toasts", texts[4])
			if _, err := s.svc.GetEventType(t.Context(), "demo", "a/b:c"); err == nil {
				t.Error("it is still there")
			}
			r.get(path).want(404)
			r.get(eventTypes + "/%20/edit").want(404)
		})
	}
}

func TestLargestCatalogueFits(t *testing.T) {
	s := newSite(t)
	evil := strings.Repeat(`"><script>alert(1)</script>`, 100)
	sample := `{"a":"` + strings.Repeat(`<'\"`, 240) + `"}`
	var all []sidehook.EventType
	for i := range control.MaxEventTypes {
		all = append(all, sidehook.EventType{
			Type: fmt.Sprintf("%s.t%03d", strings.Repeat("x", 200), i), Product: fmt.Sprintf("%.50s%d", evil, i/10), Sample: []byte(sample),
			Name: map[string]string{"en": evil[:90], "vi": evil[:91]},
		})
	}
	_, err := s.svc.ReplaceEventTypes(t.Context(), "demo", all)
	s.check(err)
	_, _, err = s.svc.PutEventType(t.Context(), sidehook.EventType{
		App: "demo", Type: all[0].Type, Sample: []byte(`"` + strings.Repeat("<", 20_000) + `"`), Schema: []byte(`{"description":"` + strings.Repeat("&", 3_000) + `"}`),
		Description: map[string]string{"en": evil[:2000], "vi": evil[:2000]},
	})
	s.check(err)
	large := strings.Repeat("<", 20_000)
	a := s.signedIn("en").get(eventTypes + "/" + all[0].Type + "/edit").want(200)
	a.wantText("main", "20002 bytes are kept as they are")
	a.submit("/edit", url.Values{"product": {"Changed"}}).want(303)
	if got, err := s.svc.GetEventType(t.Context(), "demo", all[0].Type); err != nil || got.Product != "Changed" || string(got.Sample) != `"`+large+`"` || len(got.Schema) < 3000 {
		t.Errorf("what there is no room for did not stay: %.300v %v", got, err)
	}
	for _, lang := range []string{"vi", "en"} {
		r := s.signedIn(lang)
		for _, path := range []string{eventTypes, eventTypes + "?page=2", eventTypes + "/new", eventTypes + "/" + all[0].Type + "/edit", deliveries} {
			a := r.get(path).want(200)
			checkMarkup(t, a)
			weigh(t, a)
		}
	}
}
