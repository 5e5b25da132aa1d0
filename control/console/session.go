package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/sidehook/sidehook/control"
)

// Names of the cookies, all under Root.
const (
	sessionCookie  = "sidehook_session"
	languageCookie = "sidehook_language"
	noteCookie     = "sidehook_note"
)

const sessionLife = 12 * time.Hour

func (c *Console) sessionRoutes() {
	c.handle("GET "+Root+"{$}", forSignedIn, func(v *visit) error { return v.redirect(v.home()) })
	c.handle("GET "+Root+"sign-in", forAnyone, func(v *visit) error {
		if v.token != nil {
			return v.redirect(v.home())
		}
		return v.render(http.StatusOK, "signin", signIn{Next: v.form("next")})
	})
	c.handle("POST "+Root+"sign-in", forAnyone, (*visit).signIn)
	c.handle("POST "+Root+"sign-out", forSignedIn, (*visit).signOut)
	c.handle("POST "+Root+"language", forAnyone, (*visit).switchLanguage)
}

// home is where a reader begins.
func (v *visit) home() string {
	if v.token.Kind == control.TokenApp && len(v.token.Apps) == 1 {
		return Root + "apps/" + url.PathEscape(v.token.Apps[0]) + "/webhooks"
	}
	return Root + "apps"
}

// recognize finds out who asks; errSignedOut when nobody is signed in. The token that the session stands for is looked
// up every time, so that a revoked one ends it at once.
func (v *visit) recognize() error {
	cookie, err := v.r.Cookie(sessionCookie)
	if err != nil {
		return errSignedOut
	}
	token, err := v.c.svc.AuthenticateAccess(v.ctx(), cookie.Value)
	switch {
	case errors.Is(err, control.ErrUnauthenticated):
		return errSignedOut
	case err != nil:
		return fmt.Errorf("check the session: %w", err)
	case token.Kind != control.TokenAdmin && token.Kind != control.TokenApp:
		return errSignedOut
	}
	v.token, v.session = token, cookie.Value
	return nil
}

// askToSignIn sends a reader to the sign-in page, and back to this one afterwards.
func (v *visit) askToSignIn() {
	path := Root + "sign-in"
	if v.r.Method == http.MethodGet && v.r.URL.Path != Root && !strings.HasSuffix(v.r.URL.Path, "/live") && !v.isHTMX() {
		path += "?next=" + url.QueryEscape(v.r.URL.RequestURI())
	}
	if v.isHTMX() {
		v.w.Header().Set("HX-Redirect", path)
		v.w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if v.r.URL.Path == Root+"live" || strings.HasSuffix(v.r.URL.Path, "/live") {
		v.w.WriteHeader(http.StatusNoContent) // tells an EventSource not to come back
		return
	}
	http.Redirect(v.w, v.r, path, http.StatusSeeOther)
}

// signIn is the data of signin.html.
type signIn struct {
	Next  string
	Error string
}

func (v *visit) signIn() error {
	next := v.form("next")
	refuse := func(code int, key string, values ...any) error {
		return v.render(code, "signin", signIn{Next: next, Error: v.t(key, values...)})
	}
	if wait := v.c.attempts.take(v.r.RemoteAddr); wait > 0 {
		seconds := int(wait.Seconds()) + 1
		v.w.Header().Set("Retry-After", strconv.Itoa(seconds))
		return refuse(http.StatusTooManyRequests, "signin.slow", "N", seconds)
	}
	plain := strings.TrimSpace(v.r.PostForm.Get("token"))
	if plain == "" {
		return refuse(http.StatusUnprocessableEntity, "signin.empty")
	}
	session, token, err := v.newSession(plain)
	switch {
	case errors.Is(err, control.ErrUnauthenticated):
		return refuse(http.StatusUnauthorized, "signin.wrong")
	case err != nil:
		return err
	case token.Kind == control.TokenSidecar:
		return refuse(http.StatusForbidden, "signin.sidecar")
	}
	v.setCookie(sessionCookie, session, sessionLife, http.SameSiteStrictMode)
	v.c.log.InfoContext(v.ctx(), "signed in to the console", "token", token.ID)
	v.token, v.session = token, session
	if !isOwnPath(next) {
		next = v.home()
	}
	return v.redirect(next)
}

// newSession makes a session that has not been ended. Those of one token that end in the same second are the same, so
// that whoever signs out and in again at once would get the one that was just ended.
func (v *visit) newSession(plain string) (session string, token *control.Token, err error) {
	for life := sessionLife; life > sessionLife-time.Minute; life -= time.Second {
		if session, token, err = v.c.svc.IssueAccess(v.ctx(), plain, life); err != nil {
			break
		}
		if _, err = v.c.svc.AuthenticateAccess(v.ctx(), session); !errors.Is(err, control.ErrUnauthenticated) {
			break
		}
	}
	return session, token, err
}

func (v *visit) signOut() error {
	v.setCookie(sessionCookie, "", -1, http.SameSiteStrictMode)
	if err := v.c.svc.EndAccess(v.ctx(), v.session); err != nil && !errors.Is(err, control.ErrUnauthenticated) {
		return fmt.Errorf("end the session: %w", err)
	}
	return v.redirect(Root + "sign-in")
}

func (v *visit) switchLanguage() error {
	lang := v.r.PostForm.Get("lang")
	if !v.c.texts.has(lang) {
		return errBadForm
	}
	v.setCookie(languageCookie, lang, 365*24*time.Hour, http.SameSiteLaxMode)
	back := v.r.PostForm.Get("back")
	if !isOwnPath(back) {
		back = Root
	}
	return v.redirect(back)
}

// isOwnPath reports whether a path that came with a request leads to a page of the console, and not elsewhere.
func isOwnPath(path string) bool {
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && u.Opaque == "" && strings.HasPrefix(path, Root) &&
		!strings.ContainsAny(path, "\\\r\n\t") && !strings.Contains(u.Path, "//") && !strings.Contains(u.Path, "..") && len(path) < 2048
}

// setCookie sets a cookie under Root that scripts cannot read; a negative life removes it.
func (v *visit) setCookie(name, value string, life time.Duration, site http.SameSite) {
	seconds := int(life.Seconds())
	if life < 0 {
		seconds = -1
	}
	http.SetCookie(v.w, &http.Cookie{
		Name: name, Value: value, Path: Root, MaxAge: seconds, HttpOnly: true, Secure: v.r.TLS != nil, SameSite: site,
	})
}

// leaveNote keeps the key of a text for the next page.
func (v *visit) leaveNote(key string) {
	v.setCookie(noteCookie, key, time.Minute, http.SameSiteStrictMode)
}

// takeNote returns the text that the page before has left.
func (v *visit) takeNote() string {
	cookie, err := v.r.Cookie(noteCookie)
	if err != nil {
		return ""
	}
	v.setCookie(noteCookie, "", -1, http.SameSiteStrictMode)
	if !strings.HasPrefix(cookie.Value, "done.") || !v.c.texts.knows(cookie.Value) {
		return ""
	}
	return v.t(cookie.Value)
}

// attempts limits how often an address may try to sign in.
type attempts struct {
	now func() time.Time
	mu  sync.Mutex
	all map[netip.Prefix]*rate.Limiter
	// others is shared by the addresses for which all has no room.
	others *rate.Limiter
}

// Bounds of signing in: a burst, then one try every few seconds for each address.
const (
	signInBurst    = 20
	signInEvery    = 3 * time.Second
	maxSignInAddrs = 10_000
)

func newAttempts(now func() time.Time) *attempts {
	return &attempts{
		now: now, all: make(map[netip.Prefix]*rate.Limiter),
		others: rate.NewLimiter(rate.Every(signInEvery/10), signInBurst),
	}
}

// take counts a try and returns how long to wait before the next when there were too many.
func (a *attempts) take(remote string) time.Duration {
	now := a.now()
	reservation := a.limiter(remote, now).ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

func (a *attempts) limiter(remote string, now time.Time) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	network := networkOf(remote)
	if l := a.all[network]; l != nil {
		return l
	}
	if len(a.all) >= maxSignInAddrs {
		for n, l := range a.all {
			if l.TokensAt(now) >= signInBurst {
				delete(a.all, n) // it has not tried for a while
			}
		}
		if len(a.all) >= maxSignInAddrs {
			return a.others
		}
	}
	l := rate.NewLimiter(rate.Every(signInEvery), signInBurst)
	a.all[network] = l
	return l
}

// networkOf is what counts as one address: an IPv4 address, or an IPv6 network of 64 bits, which is what one host has.
func networkOf(remote string) netip.Prefix {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := addr.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	network, _ := ip.Prefix(bits) // bits fit
	return network
}
