package inbox

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Limits. What is beyond them is refused, cut, or makes the oldest go.
const (
	// MaxBins is how many bins there may be; a new one beyond it makes the one that was idle longest go.
	MaxBins = 50
	// MaxArrivals is how many arrivals a bin keeps.
	MaxArrivals = 200
	// MaxBody is the largest body that is received, in bytes; larger ones are answered 413.
	MaxBody = 1 << 20
	// MaxKeptBody is how much of a body is kept, in bytes. The signature is verified over all of it.
	MaxKeptBody = 64 << 10
	// MaxKept bounds the bodies and headers kept in all bins together, in bytes.
	MaxKept = 64 << 20
	// MaxDelay bounds the setting delay.
	MaxDelay = 5 * time.Minute

	maxSecrets    = 8
	maxWatchers   = 64
	maxHeaderText = 16 << 10
	maxSettings   = 16 << 10
)

// Options of an Inbox.
type Options struct {
	// AllowedHosts are names, without port, that the Host header of the pages and of the API may have besides loopback
	// names and addresses. Arrivals are received under any name.
	AllowedHosts []string
	// Now is the clock of arrivals; default time.Now. Signatures are checked against the real time.
	Now func() time.Time
	// Logger gets one line for each arrival at debug level; nil discards.
	Logger *slog.Logger
}

// Inbox keeps what arrived. Make it with New; it starts no goroutines of its own.
type Inbox struct {
	now   func() time.Time
	log   *slog.Logger
	hosts map[string]bool

	mu       sync.Mutex
	bins     map[string]*bin
	kept     int // bytes of all arrivals
	nextID   uint64
	watchers int
	closed   bool
}

// New makes an empty inbox.
func New(opts Options) *Inbox {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Inbox{now: opts.Now, log: opts.Logger, hosts: hostSet(opts.AllowedHosts), bins: map[string]*bin{}}
}

// Close ends the event streams, so that http.Server.Shutdown need not wait for them (use it with RegisterOnShutdown).
// What arrived can still be read.
func (b *Inbox) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, bn := range b.bins {
		bn.endWatches()
	}
}

// Handler serves
//
//	ANY    /in/{bin}, /in/{bin}/…    receives an arrival
//	GET    /                         a page with the bins
//	GET    /bins/{bin}/view          a page with the arrivals of a bin, live
//	GET    /bins/{bin}/cards/{id}    one arrival as that page shows it
//	GET    /bins                     the bins, JSON
//	GET    /bins/{bin}               the arrivals, newest first, JSON
//	GET    /bins/{bin}/stream        the arrivals as they come, server-sent events
//	PUT    /bins/{bin}               sets secrets, failures and delay; see Settings
//	DELETE /bins/{bin}               forgets a bin
//
// A bin comes to be when something arrives in it or its settings are put.
func (b *Inbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/in/{bin}", b.receive)
	mux.HandleFunc("/in/{bin}/{rest...}", b.receive)
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /{$}":                   b.pageBins,
		"GET /bins/{bin}/view":       b.pageBin,
		"GET /bins/{bin}/cards/{id}": b.pageCard,
		"GET /assets/{name}":         serveAsset,
		"GET /bins":                  b.listBins,
		"GET /bins/{bin}":            b.listArrivals,
		"GET /bins/{bin}/stream":     b.stream,
		"PUT /bins/{bin}":            b.putSettings,
		"DELETE /bins/{bin}":         b.deleteBin,
	} {
		mux.Handle(pattern, b.guard(handler))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "", "there is nothing here; arrivals go to /in/{bin}")
	})
	return mux
}
