package control

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// HandlerOptions of NewHandler.
type HandlerOptions struct {
	// Version of the API document; default "dev".
	Version string
	// Logger; nil for none.
	Logger *slog.Logger
}

// MaxBody bounds a request's body, in bytes.
const MaxBody = 256 << 10

// bodyWithin is how long the body of a request may take.
const bodyWithin = 10 * time.Second

// rest is the native REST API.
type rest struct {
	svc   *Service
	fleet *Fleet
	log   *slog.Logger
	mux   *http.ServeMux
	api   huma.API
}

// NewHandler returns the native REST API: everything under /v1, behind a bearer token, and, open to all, the API's
// description at /openapi.json and health at /live and /ready. Anything else is 404.
//
// Who may do what: an admin token everything; an app token what is under /v1/apps/{app} of its own app, and it sees that
// app alone in GET /v1/apps. Other apps are 404 to it, whether they exist or not; what is for admins is 403. A sidecar's
// token is for gRPC and gets 403. All errors are application/problem+json (RFC 9457).
func NewHandler(svc *Service, fleet *Fleet, opts HandlerOptions) http.Handler {
	if opts.Version == "" {
		opts.Version = "dev"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &rest{svc: svc, fleet: fleet, log: opts.Logger, mux: http.NewServeMux()}
	h.api = humago.New(h.mux, apiConfig(opts.Version))
	h.registerApps()
	h.registerWebhooks()
	h.registerSecrets()
	h.registerTest()
	h.registerDeliveries()
	h.registerEventTypes()
	h.registerCatalogues()
	h.registerTokens()
	h.registerSidecars()
	h.mux.HandleFunc("GET /live", h.live)
	h.mux.HandleFunc("GET /ready", h.ready)
	return h
}

const bearerScheme = "bearer"

func apiConfig(version string) huma.Config {
	config := huma.DefaultConfig("Sidehook control plane", version)
	config.Info.Description = "Manage the webhooks of a service mesh."
	config.OpenAPIPath = "/openapi"
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{plainProblems}
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearerScheme: {Type: "http", Scheme: "bearer", Description: "A token, " + TokenPrefix + "…"},
	}
	config.Security = []map[string][]string{{bearerScheme: {}}}
	return config
}

// ServeHTTP implements http.Handler.
func (h *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.URL.Path == "/v1" || strings.HasPrefix(r.URL.Path, "/v1/") {
		w.Header().Set("Cache-Control", "no-store") // answers hold secrets
		token, err := h.authenticate(r)
		if err != nil {
			h.refuse(w, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), tokenContext{}, token))
	}
	handler, pattern := h.mux.Handler(r)
	if pattern == "" { // 404 or 405, as ServeMux decides
		h.unrouted(w, r, handler)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// tokenContext is the key of the caller's *Token in a request's context.
type tokenContext struct{}

func (h *rest) authenticate(r *http.Request) (*Token, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return nil, ErrUnauthenticated
	}
	plain, ok := bearer(headers[0])
	if !ok {
		return nil, ErrUnauthenticated
	}
	return h.svc.Authenticate(r.Context(), plain)
}

// access is who may call an operation.
type access int

const (
	forAdmin access = iota // admin tokens
	forApp                 // admin tokens, and app tokens for their own app
)

// allow checks the caller's token against an operation; app is the one in the path, empty for none.
func allow(ctx context.Context, who access, app string) error {
	token, _ := ctx.Value(tokenContext{}).(*Token)
	if token == nil {
		return ErrUnauthenticated
	}
	if token.Kind == TokenAdmin {
		return nil
	}
	if token.Kind == TokenApp {
		if app != "" && app != token.Apps[0] {
			return notFound("app", app)
		}
		if who == forApp {
			return nil
		}
	}
	return errForbidden
}

// register adds an operation: who may call it, and its errors as problems.
func register[I, O any](h *rest, who access, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes = MaxBody
	op.BodyReadTimeout = bodyWithin
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	op.Middlewares = huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
		if err := allow(ctx.Context(), who, ctx.Param("app")); err != nil {
			r, w := humago.Unwrap(ctx)
			h.refuse(w, r, err)
			return
		}
		next(ctx)
	}}
	huma.Register(h.api, op, func(ctx context.Context, input *I) (*O, error) {
		output, err := do(ctx, input)
		if err != nil {
			return nil, h.problem(ctx, err, inputPlace(op.Method))
		}
		return output, nil
	})
}

// inputPlace is where the fields that the service names come from.
func inputPlace(method string) string {
	if method == http.MethodGet {
		return "query"
	}
	return "body"
}

func (h *rest) live(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "live\n") }

func (h *rest) ready(w http.ResponseWriter, _ *http.Request) {
	if !h.svc.Ready() {
		writeText(w, http.StatusServiceUnavailable, "not ready: the store is not being followed\n")
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the client is gone if this fails
}
