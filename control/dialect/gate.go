package dialect

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook/control"
)

// Gate lets callers in before it looks at paths, so that who is not known learns nothing about them. A path with a slash
// at its end is the same as without.
type Gate struct {
	// Mux has the operations; their handlers find the caller's app by CallerApp.
	Mux *http.ServeMux
	// Authenticate returns the app that the caller may act for. Its errors, and NoRoute where Mux has nothing, go to Refuse.
	Authenticate func(*http.Request) (app string, err error)
	Refuse       func(http.ResponseWriter, *http.Request, error)
	NoRoute      error
}

// callerApp is the key of the caller's app in a request's context.
type callerApp struct{}

// CallerApp returns the app of a request that a Gate let in.
func CallerApp(r *http.Request) string {
	app, _ := r.Context().Value(callerApp{}).(string)
	return app
}

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store") // answers hold secrets
	w.Header().Set("X-Content-Type-Options", "nosniff")
	app, err := g.Authenticate(r)
	if err != nil {
		g.Refuse(w, r, err)
		return
	}
	r = r.Clone(context.WithValue(r.Context(), callerApp{}, app))
	r.URL.Path = strings.TrimSuffix(r.URL.Path, "/")
	if _, pattern := g.Mux.Handler(r); pattern == "" {
		g.Refuse(w, r, g.NoRoute)
		return
	}
	g.Mux.ServeHTTP(w, r)
}

// TokenApp returns the app of an app token. Errors are for RefusalOf.
func TokenApp(ctx context.Context, svc *control.Service, plain string) (string, error) {
	token, err := svc.Authenticate(ctx, plain)
	if err != nil {
		return "", err
	}
	return AppOf(token)
}

// PairApp is TokenApp for protocols that have a name and a password: the id of the token and the token.
func PairApp(ctx context.Context, svc *control.Service, id, plain string) (string, error) {
	token, err := svc.Authenticate(ctx, plain)
	if err != nil {
		return "", err
	}
	if token.ID != id {
		return "", control.ErrUnauthenticated
	}
	return AppOf(token)
}

// WriteJSON answers with JSON as JavaScript prints it: without HTML escapes, and without a line break at the end.
func WriteJSON(w http.ResponseWriter, r *http.Request, log *slog.Logger, status int, contentType string, answer any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(answer); err != nil {
		log.ErrorContext(r.Context(), "cannot write the answer", "error", err)
		status = http.StatusInternalServerError
		b.Reset()
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) // the client is gone if this fails
}
