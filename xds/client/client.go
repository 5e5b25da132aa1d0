package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"

	"github.com/sidehook/sidehook/xds"
)

// Options of a Client. Conn and Apply are required.
type Options struct {
	// Conn to the control plane. Set keepalive on it, so that a half-open link is noticed, and a longest wait between
	// its tries to connect (grpc.WithConnectParams): the default grows to two minutes.
	Conn grpc.ClientConnInterface
	// NodeID is what the sidecar calls itself, for people; which apps it gets follows from its credential.
	NodeID string
	// Version of the sidecar's binary, for people.
	Version string
	// Apply makes a snapshot live. It is called from Run's goroutine, one call at a time. An error refuses everything
	// that was new in the snapshot: the one before stays live, and the client connects again after a while.
	Apply func(*xds.Snapshot) error
	// Check looks at a resource that is valid in itself, for example whether its transformer is installed; an error
	// refuses it. Optional.
	Check func(*xds.Resource) error
	// OnResponse is called after each response, when Status tells what came of it. It is called from Run's goroutine and
	// must not block. Optional.
	OnResponse func()
	// LKGPath is the file of the last-known-good configuration; empty for none. It holds secrets: its mode is 0600.
	LKGPath string
	// LKGKey encrypts that file with AES-256-GCM; 32 bytes, or nil for clear text.
	LKGKey []byte
	// LKGDelay is how long changes are gathered before they are written; default 1 s.
	LKGDelay time.Duration
	// Backoff between connections; the zero value is DefaultBackoff.
	Backoff Backoff
	// ConnectTimeout bounds the wait for a connection in one try; default 20 s.
	ConnectTimeout time.Duration
	// FirstResponseTimeout is after how long the types that got no response yet are logged; default 15 s. Nothing else
	// follows from it: a sidecar does not become ready with a part of its configuration.
	FirstResponseTimeout time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
	// Rand gives numbers in [0, 1) for jitter; default math/rand/v2.
	Rand func() float64
}

func (o *Options) defaults() error {
	switch {
	case o.Conn == nil:
		return errors.New("xds/client: Options.Conn is required")
	case o.Apply == nil:
		return errors.New("xds/client: Options.Apply is required")
	case len(o.LKGKey) != 0 && len(o.LKGKey) != 32:
		return fmt.Errorf("xds/client: Options.LKGKey is %d bytes, must be 32", len(o.LKGKey))
	}
	if o.Check == nil {
		o.Check = func(*xds.Resource) error { return nil }
	}
	if o.OnResponse == nil {
		o.OnResponse = func() {}
	}
	if o.LKGDelay <= 0 {
		o.LKGDelay = time.Second
	}
	if o.Backoff == (Backoff{}) {
		o.Backoff = DefaultBackoff
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 20 * time.Second
	}
	if o.FirstResponseTimeout <= 0 {
		o.FirstResponseTimeout = 15 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return nil
}

// Client keeps a sidecar's configuration up to date.
type Client struct {
	opts   Options
	optErr error
	log    *slog.Logger
	node   *core.Node

	resync chan struct{}
	dirty  chan struct{} // the last-known-good file is out of date

	// Written by Run's goroutine only; mu lets others read.
	mu    sync.Mutex
	state state
	stats stats
}

// New makes a Client. Options that cannot work are reported by Run.
func New(opts Options) *Client {
	c := &Client{resync: make(chan struct{}, 1), dirty: make(chan struct{}, 1), state: newState()}
	c.optErr = opts.defaults()
	c.opts, c.log = opts, opts.Logger
	c.node = &core.Node{
		Id: opts.NodeID, UserAgentName: "sidehook",
		UserAgentVersionType: &core.Node_UserAgentVersion{UserAgentVersion: opts.Version},
	}
	return c
}

// Run applies the last-known-good snapshot, if there is one, as stale, then keeps connected and applies what comes,
// until ctx ends; it returns the cause. It returns early only for options that cannot work. Call it once.
func (c *Client) Run(ctx context.Context) error {
	if c.optErr != nil {
		return c.optErr
	}
	c.loadLKG(time.Now())

	writing := make(chan struct{})
	writerCtx, stopWriter := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(writing)
		c.keepLKG(writerCtx)
	}()
	defer func() {
		stopWriter()
		<-writing
	}()

	var wait wait
	for ctx.Err() == nil {
		applied, err := c.stream(ctx)
		c.note(func(s *stats) { s.connected = false; s.lastError = errText(ctx, err) })
		if ctx.Err() != nil {
			break
		}
		if applied {
			wait = 0
		}
		d := wait.next(c.opts.Backoff, c.opts.Rand)
		if errors.Is(err, errResync) {
			d = 0
		}
		c.log.Warn("not connected to the control plane; will try again", "error", err, "after", d)
		timer := time.NewTimer(d)
		select {
		case <-ctx.Done():
		case <-c.resync:
		case <-timer.C:
		}
		timer.Stop()
	}
	return context.Cause(ctx)
}

func errText(ctx context.Context, err error) string {
	if err == nil || ctx.Err() != nil {
		return ""
	}
	return err.Error()
}

// errResync ends a stream on Resync.
var errResync = errors.New("connecting again to be sent what was refused")

// Resync connects again at once, so that the control plane sends again what was refused. Call it when Check may have
// come to another opinion, for example after a transformer was installed.
func (c *Client) Resync() {
	select {
	case c.resync <- struct{}{}:
	default: // one is due already
	}
}

func (c *Client) note(change func(*stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}
