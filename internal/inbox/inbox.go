package inbox

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
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
	MaxDelay = time.Minute
	// MaxWaiting is how many requests may wait for their delay at once, in all bins together; more are answered 503.
	MaxWaiting = 128

	maxSecrets    = 8
	maxTitle      = 80       // characters
	maxAnswer     = 16 << 10 // bytes of the setting body
	maxWatchers   = 64
	maxHeaderText = 16 << 10
	maxSettings   = 64 << 10
)

// Options of an Inbox.
type Options struct {
	// AllowedHosts are names, without port, that the Host header of the pages and of the API may have besides loopback
	// names and addresses. Arrivals are received under any name.
	AllowedHosts []string
	// Now is the clock of arrivals and of signatures; default time.Now.
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
	waiting  int           // requests that wait for their delay
	closing  chan struct{} // closed by Close
}

// New makes an empty inbox.
func New(opts Options) *Inbox {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Inbox{now: opts.Now, log: opts.Logger, hosts: hostSet(opts.AllowedHosts), bins: map[string]*bin{}, closing: make(chan struct{})}
}

// Put makes a bin, or gives one other settings. It returns a *sidehook.FieldError.
func (b *Inbox) Put(name string, s Settings) error {
	if !sidehook.ValidName(name) {
		return sidehook.Fieldf("bin", binNameRule)
	}
	s = s.clone()
	if err := s.validate(); err != nil {
		return err
	}
	b.put(name, s)
	return nil
}

func (b *Inbox) put(name string, s Settings) binInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	bn := b.ensure(name)
	bn.settings, bn.failed = s, 0
	bn.tell(func(n *news) { n.changed = true })
	return bn.info()
}

// Close ends the event streams and all delays, so that http.Server.Shutdown need not wait for them (use it with
// RegisterOnShutdown); no new ones begin.
// What arrived can still be read.
func (b *Inbox) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed() {
		return
	}
	close(b.closing)
	for _, bn := range b.bins {
		bn.endWatches(false)
	}
}

func (b *Inbox) closed() bool {
	select {
	case <-b.closing:
		return true
	default:
		return false
	}
}

// Handler serves
//
//	ANY    /in/{bin}, /in/{bin}/…    receives an arrival
//	GET    /                         a page with the bins
//	GET    /bins/{bin}/view          a page with the arrivals of a bin, live
//	GET    /bins/{bin}/cards/{id}    one arrival as that page shows it
//	GET    /bins/{bin}/facts         the settings in short as that page shows them
//	GET    /bins                     the bins, JSON
//	GET    /bins/{bin}               the arrivals, newest first, JSON
//	GET    /bins/{bin}/stream        the arrivals as they come, server-sent events
//	POST   /bins                     makes a bin: {"name": …} with Settings, all optional; 409 when the name is taken
//	PUT    /bins/{bin}               sets all Settings, and begins to count failures anew
//	PATCH  /bins/{bin}               changes the Settings that are given
//	DELETE /bins/{bin}/arrivals      forgets the arrivals of a bin
//	DELETE /bins/{bin}               forgets a bin
//
// A bin also comes to be when something arrives in it, somebody watches it, or its settings are put.
func (b *Inbox) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/in/{bin}", b.receive)
	mux.HandleFunc("/in/{bin}/{rest...}", b.receive)
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /{$}":                    b.pageBins,
		"GET /bins/{bin}/view":        b.pageBin,
		"GET /bins/{bin}/cards/{id}":  b.pageCard,
		"GET /bins/{bin}/facts":       b.pageFacts,
		"GET /assets/{name}":          serveAsset,
		"GET /bins":                   b.listBins,
		"GET /bins/{bin}":             b.listArrivals,
		"GET /bins/{bin}/stream":      b.stream,
		"POST /bins":                  b.createBin,
		"PUT /bins/{bin}":             b.putSettings,
		"PATCH /bins/{bin}":           b.patchSettings,
		"DELETE /bins/{bin}/arrivals": b.clearBin,
		"DELETE /bins/{bin}":          b.deleteBin,
	} {
		mux.Handle(pattern, b.guard(handler))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "", "there is nothing here; arrivals go to /in/{bin}")
	})
	return mux
}
