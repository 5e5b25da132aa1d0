package app

import (
	"log/slog"
	"net/http"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect/apiserver"
	"github.com/sidehook/sidehook/control/dialect/multisite"
	"github.com/sidehook/sidehook/control/dialect/omicall"
	"github.com/sidehook/sidehook/control/dialect/twenty"
	"github.com/sidehook/sidehook/internal/config"
)

// dialect is the API of another system on the service of the control plane.
type dialect struct {
	patterns func() []string // of http.ServeMux
	open     func(*control.Service, *control.Fleet, *config.Control, *slog.Logger) http.Handler
}

// dialects has the package of each name that config.Dialects lists.
var dialects = map[string]dialect{
	"apiserver": {apiserver.Patterns, func(svc *control.Service, _ *control.Fleet, cfg *config.Control, log *slog.Logger) http.Handler {
		return apiserver.New(svc, apiserver.Options{DeleteByGet: cfg.APIServer.DeleteByGet, Logger: log})
	}},
	"omicall": {omicall.Patterns, func(svc *control.Service, _ *control.Fleet, cfg *config.Control, log *slog.Logger) http.Handler {
		return omicall.New(svc, omicall.Options{InstanceID: cfg.OMICall.InstanceID, Logger: log})
	}},
	"twenty": {twenty.Patterns, func(svc *control.Service, _ *control.Fleet, _ *config.Control, log *slog.Logger) http.Handler {
		return twenty.New(svc, twenty.Options{Logger: log})
	}},
	"multisite": {multisite.Patterns, func(svc *control.Service, fleet *control.Fleet, _ *config.Control, log *slog.Logger) http.Handler {
		return multisite.New(svc, multisite.Options{Logger: log, Health: fleet})
	}},
}

// withDialects puts the dialects that the configuration turns on beside the native API.
func withDialects(native http.Handler, svc *control.Service, fleet *control.Fleet, cfg *config.Control, log *slog.Logger) http.Handler {
	if len(cfg.Dialects) == 0 {
		return native
	}
	mux := http.NewServeMux()
	mux.Handle("/", native)
	for _, name := range cfg.Dialects {
		d := dialects[name]
		h := d.open(svc, fleet, cfg, log.With("dialect", name))
		for _, pattern := range d.patterns() {
			mux.Handle(pattern, h)
		}
	}
	return mux
}
