// Package multisite answers the REST API that Ultimate Multisite has for webhooks (/wp-json/wu/v2/webhook, /hooks and
// /auth) on the service of the control plane, so that what manages webhooks there can manage them in Sidehook. It has
// nothing of its other objects; how requests to receivers look is the business of the format multisite.
package multisite

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect"
)

// Options of New.
type Options struct {
	// Logger; nil for none.
	Logger *slog.Logger
	// Health tells how webhooks fare, which a control.Fleet knows; nil when nobody does.
	Health Health
}

// Health tells how webhooks fare.
type Health interface {
	// WebhookHealth is zero for a webhook of which nothing was heard.
	WebhookHealth(sidehook.WebhookKey) control.WebhookHealth
}

const base = "/wp-json/wu/v2"

// Patterns lists the patterns of http.ServeMux to mount the handler under.
func Patterns() []string { return []string{base + "/"} }

type handler struct {
	svc    *control.Service
	log    *slog.Logger
	mux    *http.ServeMux
	health Health
}

// New returns the API. The app is that of the caller's credentials: the id of an app token is the API key and the token
// the API secret, as Basic authentication or as the query parameters api_key and api_secret.
func New(svc *control.Service, opts Options) http.Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{svc: svc, log: opts.Logger, mux: http.NewServeMux(), health: opts.Health}
	h.handle("GET "+base+"/auth", h.auth)
	h.handle("GET "+base+"/hooks", h.hooks)
	h.handle("GET "+base+"/webhook", h.list)
	h.handle("POST "+base+"/webhook", h.create)
	h.handle("GET "+base+"/webhook/{id}", h.get)
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		h.handle(method+" "+base+"/webhook/{id}", h.update)
	}
	h.handle("DELETE "+base+"/webhook/{id}", h.remove)
	return &dialect.Gate{Mux: h.mux, Authenticate: h.authenticate, Refuse: h.refuse, NoRoute: errNoRoute}
}

// request is a call by somebody who was let in.
type request struct {
	*http.Request
	app string
}

// handle adds an operation, whose answer is written as JSON.
func (h *handler) handle(pattern string, do func(request) (any, error)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		dialect.BoundBody(w, r)
		answer, err := do(request{r, dialect.CallerApp(r)})
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		h.write(w, r, http.StatusOK, answer)
	})
}

// authenticate returns the app of the caller's token. Browsers add Basic credentials by themselves, also for pages of
// other sites, so those are refused first.
func (h *handler) authenticate(r *http.Request) (string, error) {
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
	if dialect.CheckOrigin(r, changes) != nil {
		return "", errOrigin
	}
	key, secret, _ := r.BasicAuth()
	if key == "" {
		query := r.URL.Query()
		key = cmp.Or(query.Get("api_key"), query.Get("api-key"))
		secret = cmp.Or(query.Get("api_secret"), query.Get("api-secret"))
	}
	return dialect.PairApp(r.Context(), h.svc, key, secret)
}

// auth answers GET /auth, with which clients try their credentials.
func (h *handler) auth(r request) (any, error) {
	app, err := h.svc.GetApp(r.Context(), r.app)
	if err != nil {
		return nil, err
	}
	return struct {
		Success bool   `json:"success"`
		Label   string `json:"label"`
		Message string `json:"message"`
	}{true, cmp.Or(app.DisplayName, app.ID), "Welcome to our API"}, nil
}

// idInPath is the number in the path of a request; what is none leads nowhere.
func idInPath(r request) (int64, error) {
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		return 0, errNotFound
	}
	if err != nil {
		return 0, errNoRoute
	}
	return int64(id), nil
}
