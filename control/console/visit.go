package console

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
)

// visit is one request, with what is known of who sent it.
type visit struct {
	c      *Console
	w      http.ResponseWriter
	r      *http.Request
	access access
	lang   string
	// token and session are set unless the page is forAnyone.
	token   *control.Token
	session string
	// app is that of the path, when it has one.
	app *control.App
}

// access is who may see a page.
type access int

const (
	forAnyone   access = iota // before signing in, too
	forSignedIn               // whoever is signed in
	forApp                    // admin tokens, and app tokens for their own app: paths with {app}
	forAdmin                  // admin tokens
)

// handler answers a visit. An error becomes an error page.
type handler func(*visit) error

// Errors that become pages of their own.
var (
	errNoPage         = fmt.Errorf("page: %w", sidehook.ErrNotFound)
	errAdminsOnly     = errors.New("page is for admin tokens")
	errForgedForm     = errors.New("form does not come from a page of this session")
	errBadForm        = errors.New("form cannot be read")
	errTooManyStreams = errors.New("too many live streams")
	errSignedOut      = errors.New("nobody is signed in")
)

// handle registers a page. All checks of who asks, and from where, are here: see admit and fromHere.
func (c *Console) handle(pattern string, who access, h handler) {
	c.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := &visit{c: c, w: w, r: r, access: who, lang: c.texts.choose(r)}
		err := v.admit(who)
		if err == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
			err = v.fromHere()
		}
		if err == nil {
			err = h(v)
		}
		if err != nil {
			v.fail(err)
		}
	})
}

// admit finds out who asks and refuses those who may not.
func (v *visit) admit(who access) error {
	if err := v.recognize(); err != nil {
		if errors.Is(err, errSignedOut) && who == forAnyone {
			return nil
		}
		return err
	}
	id := v.r.PathValue("app")
	if v.token.Kind != control.TokenAdmin {
		if who == forAdmin {
			return errAdminsOnly
		}
		if id != "" && (len(v.token.Apps) != 1 || v.token.Apps[0] != id) {
			return fmt.Errorf("app %.80q: %w", id, sidehook.ErrNotFound)
		}
	}
	if id == "" {
		return nil
	}
	var err error
	v.app, err = v.c.svc.GetApp(v.r.Context(), id)
	return err
}

// fromHere refuses changes that do not come from the console's own pages, and reads the form.
func (v *visit) fromHere() error {
	if err := v.c.origins.Check(v.r); err != nil {
		return errForgedForm
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, control.MaxBody)
	if err := v.r.ParseForm(); err != nil {
		return fmt.Errorf("%w: %w", errBadForm, err)
	}
	// Forms for anyone may be older than the session: the sign-in page of a second tab.
	if v.token != nil && v.access != forAnyone && !hmac.Equal([]byte(v.r.PostForm.Get("csrf")), []byte(v.formToken())) {
		return errForgedForm
	}
	return nil
}

// formToken proves that a form was made for this session. It follows from the session's secret, so that it holds on
// every replica and after a restart.
func (v *visit) formToken() string {
	if v.session == "" {
		return ""
	}
	mac := hmac.New(sha256.New, []byte(v.session))
	_, _ = mac.Write([]byte("sidehook console form")) // documented never to fail
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (v *visit) ctx() context.Context { return v.r.Context() }

// t says a text in the reader's language; values are pairs of name and value.
func (v *visit) t(key string, values ...any) string { return v.c.texts.say(v.lang, key, values...) }

// form returns a field of what was posted, or of the query.
func (v *visit) form(name string) string { return v.r.FormValue(name) }

// isHTMX reports whether a script asks, for a part of a page.
func (v *visit) isHTMX() bool { return v.r.Header.Get("HX-Request") == "true" }

// appPath is a path below the visit's app.
func (v *visit) appPath(parts ...string) string {
	p := Root + "apps/" + url.PathEscape(v.app.ID)
	for _, part := range parts {
		p += "/" + url.PathEscape(part)
	}
	return p
}

// page is the data of every template.
type page struct {
	Lang    string
	Version string
	// Back is where the switch of the language comes back to.
	Back string
	// CSRF goes into every form that posts.
	CSRF     string
	SignedIn bool
	Admin    bool
	App      *control.App // nil outside of an app
	AppPath  string       // of App, without a slash at its end
	Tabs     []pageTab
	Live     string // URL of the live stream; empty for none
	Toast    string
	Data     any
}

type pageTab struct {
	Path, Text string
	Current    bool
}

// render answers with a page: data becomes .Data of the template.
func (v *visit) render(code int, name string, data any) error {
	p := &page{
		Lang: v.lang, Version: v.c.version, CSRF: v.formToken(), Data: data, App: v.app, Back: v.back(),
		SignedIn: v.token != nil, Admin: v.token != nil && v.token.Kind == control.TokenAdmin,
	}
	if v.app != nil {
		p.AppPath = v.appPath()
		for _, t := range v.c.tabs {
			path := p.AppPath + "/" + t.path
			p.Tabs = append(p.Tabs, pageTab{path, v.t(t.text), v.r.URL.Path == path || strings.HasPrefix(v.r.URL.Path, path+"/")})
		}
	}
	if v.r.Method == http.MethodGet { // the answer to a form cannot be fetched again when something changes
		p.Live = v.livePath()
	}
	if v.token != nil && !v.isHTMX() {
		p.Toast = v.takeNote()
	}
	var b bytes.Buffer
	if err := v.c.templates.execute(&b, v.lang, name, p); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Language", v.lang)
	v.w.Header().Add("Vary", "Accept-Language, Cookie, HX-Request")
	v.w.WriteHeader(code)
	_, _ = v.w.Write(b.Bytes()) // the reader has gone if this fails
	return nil
}

// livePath is that of the live stream for this page; empty where there is none.
func (v *visit) livePath() string {
	switch {
	case v.app != nil:
		return v.appPath("live")
	case v.token != nil && v.token.Kind == control.TokenAdmin:
		return Root + "live"
	}
	return ""
}

// back is where the switch of the language leads: to this page, or to the start when it is the answer to a form and
// cannot be asked for.
func (v *visit) back() string {
	get := v.r.Clone(v.ctx())
	get.Method = http.MethodGet
	if _, pattern := v.c.mux.Handler(get); pattern == Root {
		return Root
	}
	return v.r.URL.RequestURI()
}

// redirect answers a form with another page.
func (v *visit) redirect(path string) error {
	if v.isHTMX() {
		v.w.Header().Set("HX-Redirect", path)
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
	return nil
}

// done answers a form that has worked: with another page and the text of a note on it, once.
func (v *visit) done(path, note string) error {
	v.leaveNote(note)
	return v.redirect(path)
}

// confirmed reports whether the reader has confirmed what a form asks for. When not, it answers with a page that asks;
// question is a text in the reader's language, cancel the path of the page to go back to. Where scripts run, a dialog has
// asked before.
func (v *visit) confirmed(question, cancel string) (bool, error) {
	if v.r.PostForm.Get("confirmed") == "yes" {
		return true, nil
	}
	keep := make(map[string]string)
	for name := range v.r.PostForm {
		if name != "csrf" && name != "confirmed" {
			keep[name] = v.r.PostForm.Get(name)
		}
	}
	return false, v.render(http.StatusOK, "confirm", confirmPage{question, v.r.URL.EscapedPath(), cancel, keep})
}

// confirmPage is the data of confirm.html.
type confirmPage struct {
	Question, Action, Cancel string
	Keep                     map[string]string // what was posted
}

// errorPage is the data of error.html.
type errorPage struct {
	Code        int
	Title, Text string
}

// fail answers with the page of an error.
func (v *visit) fail(err error) {
	if errors.Is(err, errSignedOut) {
		v.askToSignIn()
		return
	}
	e := v.explain(err)
	if e.Code >= http.StatusInternalServerError {
		v.c.log.ErrorContext(v.ctx(), "page failed", "method", v.r.Method, "path", v.r.URL.Path, "error", err)
	}
	if v.isHTMX() {
		// The page stays as it is; its script shows the text.
		b, _ := json.Marshal(map[string]string{"sidehook:refused": e.Text}) // strings marshal
		v.w.Header().Set("HX-Trigger", asciiJSON(b))
		v.w.Header().Set("HX-Reswap", "none")
	}
	if err := v.render(e.Code, "error", e); err != nil {
		v.c.log.ErrorContext(v.ctx(), "page of an error failed", "error", err)
		http.Error(v.w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// explain says what an error means to the reader.
func (v *visit) explain(err error) errorPage {
	var tooLarge *http.MaxBytesError
	var full *sidehook.FullError
	is := func(target error) bool { return errors.Is(err, target) }
	say := func(code int, key string) errorPage {
		return errorPage{Code: code, Title: v.t("error." + key + ".title"), Text: v.t("error." + key + ".text")}
	}
	switch {
	case is(sidehook.ErrNotFound):
		return say(http.StatusNotFound, "missing")
	case is(errAdminsOnly):
		return say(http.StatusForbidden, "admins")
	case is(errForgedForm):
		return say(http.StatusForbidden, "forged")
	case errors.As(err, &tooLarge):
		return say(http.StatusRequestEntityTooLarge, "large")
	case is(errBadForm):
		return say(http.StatusBadRequest, "form")
	case is(errTooManyStreams):
		return say(http.StatusTooManyRequests, "streams")
	case errors.As(err, &full):
		return say(http.StatusInsufficientStorage, "full")
	case is(control.ErrBusy), is(storage.ErrClosed), is(sidehook.ErrStopping), is(context.Canceled), is(context.DeadlineExceeded):
		return say(http.StatusServiceUnavailable, "busy")
	}
	if found := v.problems(err); found != nil {
		return errorPage{Code: found.Code, Title: v.t("error.refused.title"), Text: found.All[0].Text}
	}
	return say(http.StatusInternalServerError, "internal")
}

// asciiJSON escapes JSON so that it can be a header.
func asciiJSON(b []byte) string {
	var s strings.Builder
	for _, r := range string(b) {
		switch {
		case r < 0x80:
			s.WriteRune(r)
		case r > 0xffff:
			s.WriteByte('?')
		default:
			fmt.Fprintf(&s, `\u%04x`, r)
		}
	}
	return s.String()
}
