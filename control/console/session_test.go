package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook/control"
)

func TestSignInRefused(t *testing.T) {
	s := newSite(t)
	sidecar, _ := s.makeToken(control.TokenSidecar, "demo")
	for _, tc := range []struct {
		lang, token string
		code        int
		text        string
	}{
		{"en", "", 422, "Enter a token."},
		{"vi", "", 422, "Hãy nhập token."},
		{"en", "sht_wrong", 401, "This token is not valid."},
		{"vi", strings.Repeat("x", 5000), 401, "Token không hợp lệ."},
		{"en", sidecar, 403, "This is a sidecar's token"},
		{"vi", sidecar, 403, "Đây là token của sidecar"},
	} {
		a := s.reader(tc.lang).signIn(tc.token).want(tc.code).wantText("main", tc.text)
		if a.header.Get("Set-Cookie") != "" {
			t.Errorf("%q: a refused sign-in sets a cookie", tc.token)
		}
		if tc.token != "" && strings.Contains(a.body, tc.token) {
			t.Errorf("the page repeats the token %.20q", tc.token)
		}
	}
}

func TestSession(t *testing.T) {
	s := newSite(t)
	r := s.reader("en")
	a := r.get("/console/apps/demo/webhooks?page=1").wantRedirect("/console/sign-in?next=%2Fconsole%2Fapps%2Fdemo%2Fwebhooks%3Fpage%3D1")
	a = a.follow().want(200).submit("/sign-in", url.Values{"token": {" " + s.admin + " "}})
	a.wantRedirect("/console/apps/demo/webhooks?page=1")
	var cookie *http.Cookie
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == "sidehook_session" {
			cookie = c
		}
	}
	if cookie == nil || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/console/" || cookie.Secure {
		t.Fatalf("the session's cookie is %v", cookie)
	}
	if strings.Contains(cookie.Value, s.admin) {
		t.Error("the cookie holds the token")
	}
	page := r.get("/console/apps").want(200)
	page.submit("/sign-out", nil).wantRedirect("/console/sign-in")
	// The cookie's value does not hold any more, even where somebody kept it.
	again := s.reader("en")
	again.header.Set("Cookie", "sidehook_session="+cookie.Value)
	again.get("/console/apps").want(http.StatusSeeOther)
}

func TestCookieOfASessionBehindAProxyWithTLSIsSecure(t *testing.T) {
	s := newSite(t)
	r := s.reader("en")
	r.header.Set("X-Forwarded-Proto", "https")
	a := r.signIn(s.admin).wantRedirect("/console/apps")
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if !c.Secure {
			t.Errorf("the cookie %s may travel in the clear", c.Name)
		}
	}
	if len(a.header.Values("Set-Cookie")) == 0 {
		t.Error("there is no cookie")
	}
}

func TestSignInFromASecondTab(t *testing.T) {
	s := newSite(t)
	r := s.reader("en")
	second := r.get("/console/sign-in").want(200)
	r.signIn(s.admin).wantRedirect("/console/apps")
	second.submit("/sign-in", url.Values{"token": {s.admin}}).wantRedirect("/console/apps")
	r.get("/console/apps").want(200)
}

func TestSignOutAndInAgain(t *testing.T) {
	s := newSite(t)
	r := s.reader("en")
	for range 5 { // within one second
		r.signIn(s.admin).wantRedirect("/console/apps")
		r.get("/console/apps").want(200).submit("/sign-out", nil).want(http.StatusSeeOther)
		r.get("/console/apps").want(http.StatusSeeOther)
	}
}

func TestSessionEndsWithItsToken(t *testing.T) {
	s := newSite(t)
	token, id := s.makeToken(control.TokenApp, "demo")
	r := s.reader("en")
	r.signIn(token).wantRedirect("/console/apps/demo/webhooks").follow().want(200)
	s.check(s.svc.RevokeToken(t.Context(), id))
	r.get("/console/apps/demo/webhooks").want(http.StatusSeeOther)
	r.header.Set("HX-Request", "true")
	if a := r.get("/console/apps/demo/webhooks").want(401); a.header.Get("HX-Redirect") != "/console/sign-in" {
		t.Errorf("a script is not sent to sign in: %v", a.header)
	}
}

func TestSessionEndsInTime(t *testing.T) {
	s := newSite(t)
	r := s.signedIn("en")
	s.clock.move(12*time.Hour - time.Minute)
	r.get("/console/apps").want(200)
	s.clock.move(2 * time.Minute)
	r.get("/console/apps").want(http.StatusSeeOther)
}

func TestNextLeadsNowhereElse(t *testing.T) {
	s := newSite(t)
	for _, next := range []string{
		"https://evil.example/", "//evil.example/", "/\\evil.example", "/console//evil.example", "/v1/apps", "/console/../v1", "javascript:alert(1)",
		"/console/\r\nX: y", "/console/" + strings.Repeat("a", 5000),
	} {
		s.reader("en").send("POST", "/console/sign-in", url.Values{"token": {s.admin}, "next": {next}}).wantRedirect("/console/apps")
		s.reader("en").send("POST", "/console/language", url.Values{"lang": {"vi"}, "back": {next}}).wantRedirect("/console/")
	}
}

func TestSignInIsLimited(t *testing.T) {
	s := newSite(t)
	r := s.reader("vi")
	codes := map[int]int{}
	for range 30 {
		a := r.signIn("sht_guess")
		codes[a.code]++
		if a.code == http.StatusTooManyRequests {
			a.wantText("main", "Thử quá nhiều lần")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	if codes[401] != 20 || codes[429] != 10 {
		t.Errorf("answers are %v", codes)
	}
	s.clock.move(4 * time.Second)
	r.signIn(s.admin).wantRedirect("/console/apps")
}

func TestAppTokenSeesItsAppAlone(t *testing.T) {
	s := newSite(t)
	s.makeApp("other")
	w := s.makeWebhook("One")
	token, _ := s.makeToken(control.TokenApp, "other")
	r := s.reader("en")
	page := r.signIn(token).wantRedirect("/console/apps/other/webhooks").follow().want(200)
	r.get("/console/").wantRedirect("/console/apps/other/webhooks")
	for _, path := range []string{
		"/console/apps/demo", "/console/apps/demo/webhooks", "/console/apps/demo/webhooks/" + w.ID, "/console/apps/demo/live",
		"/console/apps/demo/webhooks/new", "/console/apps/demo/settings", "/console/apps/none/webhooks",
		"/console/apps/other/webhooks/" + w.ID,
	} {
		code := http.StatusNotFound
		if strings.HasSuffix(path, "/settings") {
			code = http.StatusForbidden
		}
		if a := r.get(path).want(code); strings.Contains(a.body, "One") {
			t.Errorf("%s tells of another app", path)
		}
	}
	for _, path := range []string{"/console/apps", "/console/apps/new", "/console/apps/other/settings", "/console/live"} {
		r.get(path).want(http.StatusForbidden)
	}
	_, form := page.form("/sign-out")
	r.send("POST", "/console/apps/demo/webhooks/"+w.ID+"/delete", url.Values{"csrf": form["csrf"], "confirmed": {"yes"}}).want(404)
	r.send("POST", "/console/apps", url.Values{"csrf": form["csrf"], "app": {"new"}}).want(403)
	if _, err := s.svc.GetWebhook(t.Context(), w.Key()); err != nil {
		t.Error(err)
	}
}

func TestForeignFormsAreRefused(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	path := "/console/apps/demo/webhooks/" + w.ID + "/delete"
	r, other := s.signedIn("en"), s.signedIn("vi")
	s.clock.move(time.Second) // so that the sessions differ
	second := s.signedIn("en")
	_, foreign := second.get("/console/apps").form("/sign-out")
	_, own := r.get("/console/apps").form("/sign-out")
	for name, form := range map[string]url.Values{
		"no token": {"confirmed": {"yes"}}, "wrong token": {"confirmed": {"yes"}, "csrf": {"x"}},
		"token of another session": {"confirmed": {"yes"}, "csrf": foreign["csrf"]},
		"token in the query only":  {"confirmed": {"yes"}},
	} {
		at := path
		if name == "token in the query only" {
			at += "?csrf=" + url.QueryEscape(own.Get("csrf"))
		}
		r.send("POST", at, form).want(403).wantText("main", "The form is no longer valid")
	}
	other.send("POST", path, url.Values{}).want(403).wantText("main", "Biểu mẫu không còn hợp lệ")
	for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		r.header.Set(name, value)
		r.send("POST", path, url.Values{"confirmed": {"yes"}, "csrf": own["csrf"]}).want(403)
		s2 := s.reader("en")
		s2.header.Set(name, value)
		s2.signIn(s.admin).want(403)
		r.header.Del(name)
	}
	if _, err := s.svc.GetWebhook(t.Context(), w.Key()); err != nil {
		t.Fatal(err)
	}
	r.send("POST", path, url.Values{"confirmed": {"yes"}, "csrf": own["csrf"]}).want(http.StatusSeeOther)
}

func TestLanguage(t *testing.T) {
	s := newSite(t)
	for accept, want := range map[string]string{
		"": "en", "de": "en", "vi": "vi", "vi-VN,vi;q=0.9,en;q=0.8": "vi", "en-US,vi;q=0.5": "en", "de, vi;q=0.1": "vi", ";;;": "en",
		strings.Repeat("vi,", 10000): "en",
	} {
		if len(accept) > 20000 {
			accept = accept[:20000]
		}
		a := s.reader(accept).get("/console/sign-in").want(200)
		if got := attr(a.all(isTag("html"))[0], "lang"); got != want || a.header.Get("Content-Language") != want {
			t.Errorf("%.30q gives %s, want %s", accept, got, want)
		}
	}
	r := s.reader("en")
	r.get("/console/sign-in").submit("/language", url.Values{"lang": {"vi"}}).wantRedirect("/console/sign-in").follow().wantText("h1", "Đăng nhập")
	r.get("/console/sign-in").submit("/language", url.Values{"lang": {"en"}}).follow().wantText("h1", "Sign in")
	r.send("POST", "/console/language", url.Values{"lang": {"xx"}}).want(400)
}

func TestLanguageIsSwitchedOnAnAnswer(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	r := s.signedIn("en")
	own := demo + "/" + w.ID
	for _, tc := range []struct{ page, form, back string }{
		{own, "/delete", "/console/"},           // the page that asks cannot be asked for
		{own + "/edit", "/edit", own + "/edit"}, // nor can the refused form, but the fresh one
		{demo + "/new", "/webhooks", demo},      // or the list
		{own + "/test", "/test", own + "/test"},
	} {
		a := r.get(tc.page).submit(tc.form, url.Values{"name": {""}, "url": {""}, "event_type": {""}})
		a.submit("/language", url.Values{"lang": {"vi"}}).wantRedirect(tc.back).follow()
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	s := newSite(t)
	r := s.signedIn("vi")
	_, form := r.get(demo + "/new").form("/webhooks")
	form.Set("name", strings.Repeat("x", control.MaxBody))
	r.send("POST", demo, form).want(http.StatusRequestEntityTooLarge).wantText("main", "Quá lớn")
	form.Set("name", "%zz")
	r.send("POST", demo+"?a=%zz", form).want(http.StatusBadRequest)
}
