// Package twenty answers the REST API that Twenty has for webhooks (/rest/webhooks and /rest/metadata/webhooks) on the
// service of the control plane, so that what manages webhooks in Twenty can manage them in Sidehook. It has nothing of
// Twenty's other objects, and no GraphQL; how requests to receivers look is the business of the format twenty.
package twenty

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect"
)

// Options of New.
type Options struct {
	// Logger; nil for none. Secrets are never logged.
	Logger *slog.Logger
}

// The two places of the API; their lists differ.
const (
	plainBase    = "/rest/webhooks"
	metadataBase = "/rest/metadata/webhooks"
)

// Patterns lists the patterns of http.ServeMux to mount the handler under.
func Patterns() []string {
	return []string{plainBase, plainBase + "/", metadataBase, metadataBase + "/"}
}

type handler struct {
	svc *control.Service
	log *slog.Logger
	mux *http.ServeMux
}

// New returns the API. The app is that of the caller's token: Authorization: Bearer and an app token.
func New(svc *control.Service, opts Options) http.Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{svc: svc, log: opts.Logger, mux: http.NewServeMux()}
	h.handle("GET "+plainBase, h.list)
	h.handle("GET "+metadataBase, h.listPage)
	for _, base := range []string{plainBase, metadataBase} {
		h.handle("POST "+base, h.create)
		h.handle("GET "+base+"/{id}", h.get)
		h.handle("PATCH "+base+"/{id}", h.update)
		h.handle("DELETE "+base+"/{id}", h.remove)
	}
	return &dialect.Gate{Mux: h.mux, Authenticate: h.authenticate, Refuse: h.refuse, NoRoute: errNoRoute}
}

// request is a call by somebody who was let in.
type request struct {
	*http.Request
	app string
}

// handle adds an operation, whose answer is a status and what is written as JSON.
func (h *handler) handle(pattern string, do func(request) (int, any, error)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		dialect.BoundBody(w, r)
		code, answer, err := do(request{r, dialect.CallerApp(r)})
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		h.write(w, r, code, answer)
	})
}

// authenticate returns the app of the caller's token.
func (h *handler) authenticate(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", errNoToken
	}
	scheme, plain, _ := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	return dialect.TokenApp(r.Context(), h.svc, plain)
}
