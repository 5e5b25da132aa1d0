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

// maxPage is what a page may weigh with everything that it loads, unpacked.
const maxPage = 200_000

// checkPage checks what must hold of every page.
func checkPage(t *testing.T, a *answer) {
	t.Helper()
	if n := len(a.all(isTag("h1"))); n != 1 {
		t.Errorf("%s has %d h1", a.at, n)
	}
	if title := a.text("title"); !strings.HasSuffix(title, " · Sidehook") {
		t.Errorf("%s has the title %q", a.at, title)
	}
	ids := map[string]bool{}
	for _, n := range a.all(func(n *html.Node) bool { return !inTemplate(n) }) {
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("%s has the id %s twice", a.at, id)
			}
			ids[id] = true
		}
	}
	labels := map[string]bool{}
	for _, n := range a.all(isTag("label")) {
		labels[attr(n, "for")] = true
	}
	for _, n := range a.all(func(n *html.Node) bool { return !inTemplate(n) }) {
		checkElement(t, a, n, ids, labels)
	}
	for _, key := range []string{"<no value>", "%!", "[redacted]"} {
		if strings.Contains(a.body, key) {
			t.Errorf("%s contains %q", a.at, key)
		}
	}
}

func checkElement(t *testing.T, a *answer, n *html.Node, ids, labels map[string]bool) {
	t.Helper()
	for _, at := range n.Attr {
		switch {
		case strings.HasPrefix(at.Key, "on") || at.Key == "style" || strings.HasPrefix(at.Key, "hx-on"):
			t.Errorf("%s: <%s %s> is against the content policy", a.at, n.Data, at.Key)
		case at.Key == "aria-describedby" || at.Key == "aria-labelledby":
			for _, id := range strings.Fields(at.Val) {
				if !ids[id] && id != "sheet-title" { // the title comes with what the sheet shows
					t.Errorf("%s: %s=%q names nothing", a.at, at.Key, at.Val)
				}
			}
		case (at.Key == "href" || at.Key == "for") && strings.HasPrefix(at.Val, "#") && !ids[at.Val[1:]]:
			t.Errorf("%s: %s leads nowhere", a.at, at.Val)
		}
	}
	typ := attr(n, "type")
	switch {
	case n.Data == "script" && (n.FirstChild != nil || !strings.HasPrefix(attr(n, "src"), "/console/assets/")), n.Data == "style":
		t.Errorf("%s: <%s> is against the content policy", a.at, n.Data)
	case n.Data == "form" && strings.EqualFold(attr(n, "method"), "post"):
		signedIn := strings.Contains(a.body, "/console/sign-out")
		if _, values := a.form(attr(n, "action")); signedIn && values.Get("csrf") == "" {
			t.Errorf("%s: the form %s has no token", a.at, attr(n, "action"))
		}
	case n.Data == "input" && typ != "hidden" || n.Data == "select" || n.Data == "textarea":
		within := false
		for p := n.Parent; p != nil; p = p.Parent {
			within = within || p.Data == "label"
		}
		if !within && !labels[attr(n, "id")] && attr(n, "aria-label") == "" {
			t.Errorf("%s: the field %s has no label", a.at, attr(n, "name"))
		}
	case (n.Data == "button" || n.Data == "a") && textOf(n) == "" && attr(n, "aria-label") == "":
		t.Errorf("%s: a %s has no name", a.at, n.Data)
	case n.Data == "img" && !has(n, "alt"):
		t.Errorf("%s: an image has no alt", a.at)
	}
}

// weigh checks how much a page loads.
func weigh(t *testing.T, a *answer) {
	t.Helper()
	total := len(a.body)
	seen := map[string]bool{}
	for _, n := range a.all(func(n *html.Node) bool { return n.Data == "link" || n.Data == "script" || n.Data == "img" }) {
		path := attr(n, "href") + attr(n, "src")
		if seen[path] {
			continue
		}
		seen[path] = true
		asset := a.reader.get(path).want(200)
		total += len(asset.body)
		if !strings.Contains(asset.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s is not kept", path)
		}
	}
	if total > maxPage {
		t.Errorf("%s weighs %d bytes", a.at, total)
	}
	t.Logf("%s weighs %d bytes, %d of them its own", a.at, total, len(a.body))
}

func TestEveryPage(t *testing.T) {
	s := newSite(t)
	s.importSigma()
	w := s.makeWebhook("One")
	for i := range 9 {
		s.makeWebhook(fmt.Sprint("More ", i))
	}
	for _, lang := range []string{"vi", "en"} {
		out := s.reader(lang).get("/console/sign-in").want(200)
		checkPage(t, out)
		weigh(t, out)
		r := s.signedIn(lang)
		for _, path := range []string{
			"/console/apps", "/console/apps/new", "/console/apps/demo/settings", demo, demo + "/new", demo + "/" + w.ID, demo + "/" + w.ID + "/edit",
			demo + "/" + w.ID + "/test",
		} {
			a := r.get(path).want(200)
			checkPage(t, a)
			weigh(t, a)
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
			} {
				if got := a.header.Get(name); got != want {
					t.Errorf("%s: %s is %q", path, name, got)
				}
			}
			if got := attr(a.all(isTag("html"))[0], "lang"); got != lang {
				t.Errorf("%s is in %q", path, got)
			}
		}
		for path, text := range map[string]map[string]string{
			"/console/nothing":                   {"vi": "Không có gì ở đây", "en": "There is nothing here"},
			"/console/apps/none/webhooks":        {"vi": "Không có gì ở đây", "en": "There is nothing here"},
			"/console/apps/demo/webhooks/wh_":    {"vi": "Không có gì ở đây", "en": "There is nothing here"},
			"/console/apps/%3Cscript%3E/":        {"vi": "Không có gì ở đây", "en": "There is nothing here"},
			"/console/apps?cursor=%22%3E":        {"vi": "không phải con trỏ", "en": "is not one that an earlier page gave"},
			"/console/apps/demo/webhooks/%2e%2e": {"vi": "Không có gì ở đây", "en": "There is nothing here"},
		} {
			a := r.get(path)
			if a.code < 400 || a.code > 499 {
				if a.code == 301 || a.code == 307 { // ServeMux cleans paths
					continue
				}
				t.Errorf("%s answered %d", path, a.code)
			}
			checkPage(t, a)
			a.wantText("main", text[lang])
		}
	}
}

func TestAFullCatalogueFits(t *testing.T) {
	s := newSite(t)
	var all []sidehook.EventType
	for i := range control.MaxEventTypes {
		typ := fmt.Sprintf("product%02d.resource.happened%03d", i/20, i)
		all = append(all, sidehook.EventType{Type: typ, Product: fmt.Sprint("Product ", i/20), Name: map[string]string{"en": "It has happened", "vi": "Đã xảy ra"}})
	}
	_, err := s.svc.ReplaceEventTypes(t.Context(), "demo", all)
	s.check(err)
	a := s.signedIn("vi").get(demo + "/new").want(200)
	checkPage(t, a)
	weigh(t, a)
}

func TestNothingTypedBecomesMarkup(t *testing.T) {
	s := newSite(t)
	const evil = `"><img src=x onerror=alert(1)><script>alert(1)</script>{{.}}`
	_, _, err := s.svc.PutApp(t.Context(), "demo", control.AppSpec{DisplayName: evil})
	s.check(err)
	_, _, err = s.svc.PutEventType(t.Context(), sidehook.EventType{
		App: "demo", Type: "x.y", Product: evil[:60], Name: map[string]string{"en": evil, "vi": evil}, Description: map[string]string{"en": evil, "vi": evil},
	})
	s.check(err)
	w, _, err := s.svc.CreateWebhook(t.Context(), sidehook.Webhook{
		App: "demo", Name: `"><script>alert(1)</script>'`, URL: "https://example.com/%22%3E?javascript:alert(1)//'<script>", Events: []string{"x.y"},
		Headers: []sidehook.Header{{Key: "X", Value: evil}},
	})
	s.check(err)
	_, err = s.svc.DisableWebhook(t.Context(), w.Key(), evil)
	s.check(err)
	for _, lang := range []string{"vi", "en"} {
		r := s.signedIn(lang)
		for _, path := range []string{"/console/apps", "/console/apps/demo/settings", demo, demo + "/new", demo + "/" + w.ID, demo + "/" + w.ID + "/edit", demo + "/" + w.ID + "/test"} {
			a := r.get(path).want(200)
			checkMarkup(t, a)
		}
		form := url.Values{}
		for _, name := range []string{
			"name", "url", "events", "patterns", "header_key", "header_value", "format", "scheme", "transformer", "timeout", "retry_schedule", "signing_header",
			"prefix", "template", "timestamp_header", "algorithm", "encoding", "automatic_retry",
		} {
			form.Set(name, evil)
		}
		checkMarkup(t, r.get(demo+"/new").submit("/webhooks", form).want(422))
		for name := range form { // each alone, so that each is what is refused
			one := newForm(lang + " " + name)
			one.Set("scheme", sidehook.SchemeHMAC)
			one.Set("signing_header", "X-Sig")
			one.Set(name, evil)
			a := r.get(demo+"/new").submit("/webhooks", one)
			if a.code == 303 {
				continue // a switch, or a prefix: taken as it stands
			}
			checkMarkup(t, a.want(422))
		}
		checkMarkup(t, r.get("/console/apps/new").submit("/apps", url.Values{"app": {evil}, "display_name": {evil + strings.Repeat("x", 100)}}).want(422))
		checkMarkup(t, r.get(demo+"/"+w.ID).submit("/delete", url.Values{"from": {evil}}))
		checkMarkup(t, s.reader(lang).send("POST", "/console/sign-in", url.Values{"token": {"x"}, "next": {evil}}))
		checkMarkup(t, s.reader(lang).get("/console/sign-in?next="+url.QueryEscape(evil)))
	}
}

// checkMarkup checks that a page has the elements of its template alone.
func checkMarkup(t *testing.T, a *answer) {
	t.Helper()
	checkPage(t, a)
	for _, n := range a.all(func(n *html.Node) bool { return n.Data == "script" || n.Data == "img" }) {
		if !strings.HasPrefix(attr(n, "src"), "/console/assets/") {
			t.Errorf("%s: there is a <%s> of somebody else", a.at, n.Data)
		}
	}
	for _, n := range a.all(isTag("a")) {
		if href := attr(n, "href"); strings.Contains(strings.ToLower(href), "javascript:") && !strings.HasPrefix(href, "/console/") {
			t.Errorf("%s: a link leads to %s", a.at, href)
		}
	}
}

func TestApps(t *testing.T) {
	for lang, texts := range map[string][]string{
		"vi": {"Tạo app thành công", "đã có app dùng", "phải có 1 đến 64 ký tự", "Đã lưu app thành công", "có URL http://", "chưa có loại sự kiện nào", "Không có gì ở đây"},
		"en": {"App created", "is taken by another app", "must be 1 to 64", "App saved", "has an http:// URL", "app has no event types yet", "There is nothing here"},
	} {
		t.Run(lang, func(t *testing.T) {
			s := newSite(t)
			r := s.signedIn(lang)
			page := r.get("/console/apps/new").want(200)
			page.submit("/apps", url.Values{"app": {"shop"}, "display_name": {"Cửa hàng"}}).wantRedirect("/console/apps").follow().
				wantText("#toasts", texts[0]).wantText("main", "Cửa hàng", "shop")
			page.submit("/apps", url.Values{"app": {"shop"}}).want(409).wantText("#f-app-error", texts[1])
			page.submit("/apps", url.Values{"app": {"a b"}}).want(422).wantText("#f-app-error", texts[2])
			settings := r.get("/console/apps/shop/settings").want(200)
			settings.submit("/settings", url.Values{"https_only": {"on"}, "app": {"demo"}}).wantRedirect("/console/apps/shop/settings").follow().wantText("#toasts", texts[3])
			app, err := s.svc.GetApp(t.Context(), "shop")
			s.check(err)
			if !app.HTTPSOnly || app.DisplayName != "Cửa hàng" {
				t.Errorf("stored is %+v", app)
			}
			_, _, err = s.svc.CreateWebhook(t.Context(), sidehook.Webhook{App: "demo", Name: "Plain", URL: "http://example.com", Events: []string{"*"}})
			s.check(err)
			settings = r.get("/console/apps/demo/settings")
			settings.submit("/settings", url.Values{"https_only": {"on"}}).want(409).wantText("#f-https_only-error", texts[4])
			settings.submit("/settings", url.Values{"publish": {"strict"}}).want(409).wantText("#f-publish-error", texts[5])
			r.get("/console/apps/none/settings").want(404).wantText("main", texts[6])
		})
	}
}

func TestListOfAppsHasPages(t *testing.T) {
	s := newSite(t)
	for i := range 24 {
		s.makeApp(fmt.Sprintf("app-%02d", i))
	}
	r := s.signedIn("en")
	a := r.get("/console/apps")
	seen := 0
	for {
		seen += len(a.all(isTag("tr"))) - 1
		next := a.all(func(n *html.Node) bool { return attr(n, "rel") == "next" })
		if len(next) == 0 {
			break
		}
		a = r.get("/console/apps" + attr(next[0], "href")).want(200)
	}
	if seen != 25 {
		t.Errorf("the pages show %d apps", seen)
	}
}
