package ingest

import (
	"log/slog"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Limits that are part of the published contract or guard the doors.
const (
	// MaxEvents is how many events a batch may have.
	MaxEvents = storage.MaxBatchEntries
	// MaxBatchBytes bounds the data of the events of a batch together.
	MaxBatchBytes = 1 << 20
	// MaxRequestBytes bounds one gRPC message or HTTP body as sent. Above MaxBatchBytes, so that a batch that is somewhat
	// too large is refused with a reason instead of by the transport.
	MaxRequestBytes = 4 << 20

	defaultWindow        = 64
	defaultWindowBytes   = 8 << 20
	defaultInFlightBytes = 64 << 20
)

// Options of a Server.
type Options struct {
	// Acceptor takes the events. Required.
	Acceptor Acceptor
	// DefaultApp is the app of events that name none; empty: such events are refused.
	DefaultApp string
	// MaxData bounds the data of one event in bytes. Default sidehook.DefaultMaxData; at most MaxBatchBytes.
	MaxData int
	// Window is how many batches of one stream may be unanswered before it is read no further. Default 64.
	Window int
	// WindowBytes bounds the unanswered batches of one stream in bytes. Default 8 MiB; one batch always may
	// be.
	WindowBytes int64
	// InFlightBytes bounds what all publishers together may have submitted and not yet durable, in bytes; beyond it they
	// wait. Default 64 MiB; one batch always may.
	InFlightBytes int64
	// AllowedHosts are names, without port, that the Host header of an HTTP request may have besides loopback names and
	// the address that the connection came in on.
	AllowedHosts []string
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Logger gets failures of the store; nil discards.
	Logger *slog.Logger
	// Metrics are counted into; default a new one. See Server.Metrics.
	Metrics *Metrics
}

func (o Options) withDefaults() Options {
	if o.MaxData <= 0 {
		o.MaxData = sidehook.DefaultMaxData
	}
	o.MaxData = min(o.MaxData, MaxBatchBytes)
	if o.Window <= 0 {
		o.Window = defaultWindow
	}
	if o.WindowBytes <= 0 {
		o.WindowBytes = defaultWindowBytes
	}
	if o.InFlightBytes <= 0 {
		o.InFlightBytes = defaultInFlightBytes
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = new(Metrics)
	}
	return o
}
