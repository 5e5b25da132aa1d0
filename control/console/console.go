package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sidehook/sidehook/control"
)

// Root is the path under which all pages are.
const Root = "/console/"

// Options of New.
type Options struct {
	// Service holds what the pages show and change. Required.
	Service *control.Service
	// Fleet is asked for what the sidecars know. Required.
	Fleet *control.Fleet
	// Version is shown at the foot of the pages; default "dev".
	Version string
	// Logger; nil for none.
	Logger *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Console is the handler of everything under Root. Close it before the server that it is part of is shut down, so that
// live streams end.
type Console struct {
	svc     *control.Service
	fleet   *control.Fleet
	version string
	log     *slog.Logger
	now     func() time.Time

	mux       *http.ServeMux
	tabs      []tab
	origins   *http.CrossOriginProtection
	assets    *assets
	texts     *texts
	templates *templates
	attempts  *attempts
	streams   *streams
}

// New makes a console; it fails when Options lack something.
func New(opts Options) (*Console, error) {
	if opts.Service == nil || opts.Fleet == nil {
		return nil, errors.New("console: Options.Service and Options.Fleet are required")
	}
	if opts.Version == "" {
		opts.Version = "dev"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	c := &Console{
		svc: opts.Service, fleet: opts.Fleet, version: opts.Version, log: opts.Logger, now: opts.Now,
		mux: http.NewServeMux(), origins: http.NewCrossOriginProtection(),
		attempts: newAttempts(opts.Now), streams: newStreams(),
	}
	var err error
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.texts, err = loadTexts(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.templates, err = loadTemplates(c.texts, c.assets); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.routes()
	return c, nil
}

// routes registers all pages.
func (c *Console) routes() {
	c.sessionRoutes()
	c.appRoutes()
	c.webhookRoutes()
	c.secretRoutes()
	c.testRoutes()
	c.eventTypeRoutes()
	c.deliveryRoutes()
	c.transformerRoutes()
	c.sidecarRoutes()
	c.handle("GET "+Root+"apps/{app}/live", forApp, c.live)
	c.handle("GET "+Root+"live", forAdmin, c.live)
	c.mux.Handle("GET "+Root+"assets/{name}", c.assets)
	c.handle(Root, forAnyone, func(*visit) error { return errNoPage })
}

// Close ends the live streams and waits for them. Pages go on being served.
func (c *Console) Close() error {
	c.streams.close()
	return nil
}

// contentPolicy lets pages load what the console itself serves and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store") // pages hold what their reader alone may see
	c.mux.ServeHTTP(w, r)
}

// tab is one of the pages that every app has.
type tab struct {
	path string // below the app's own
	text string // key of its name
}

// addTab adds a tab to those of every app, at the end.
func (c *Console) addTab(path, text string) { c.tabs = append(c.tabs, tab{path, text}) }

// streams counts the live streams, so that they are bounded and can be ended.
type streams struct {
	ctx    context.Context // ends with close
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool
	all     int
	running sync.WaitGroup
	bySess  map[string]int
}
