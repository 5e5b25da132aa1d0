// Package outbound is the delivery engine: it matches accepted events to webhooks, makes event and deliveries durable
// in one commit, and attempts each delivery until it ends. pipeline.go reads as the way of one delivery; lane.go keeps
// one endpoint's trouble its own. It does not listen, does not read configuration files and does not know which store,
// transformer host or control plane it works with: those meet in internal/app.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/xds"
)

// Sender makes one HTTP request; *send.Client is one. It keeps nothing of what it is given when it returns.
type Sender interface {
	Do(ctx context.Context, req *send.Request, timeout time.Duration, resp *send.Response) error
}

// Options of an Engine. Store and Sender are required.
type Options struct {
	Store  storage.Store
	Sender Sender
	// Transformers runs transformers; nil: none is installed.
	Transformers sidehook.Transformers
	// LocalApps are apps whose events are taken whatever the configuration says; before the first Snapshot they are the
	// only ones, and with none, events of every app are taken and held.
	LocalApps []string
	// MaxInFlight bounds the requests in flight over all webhooks, beyond one for each. Default 1024.
	MaxInFlight int
	// PerWebhook bounds the requests in flight to one webhook. Default 64.
	PerWebhook int
	// MaxInMemory bounds the deliveries held in memory; the rest wait on disk. Default 32,768.
	MaxInMemory int
	// MaxKeys bounds the ordering keys of one webhook that are known at once, because they have a delivery under way or
	// waiting for its retry. Deliveries of others wait until there is room, which is looked for after 100 ms, and then
	// after up to a minute. Default 65,536.
	MaxKeys int
	// OnChange, when set, is called when something that a status report tells changed: a webhook is gone. It must not
	// block.
	OnChange func()
	// OnCount, when set, is called when the counters changed or there are new deliveries: often. It must not block.
	OnCount func()
	// Observe, when set, is told of every attempt; it must be quick.
	Observe func(key sidehook.WebhookKey, a *sidehook.Attempt)
	// Clock is the engine's time, which Store must be on, too; nil for NewClock(time.Now).
	Clock *Clock
	// Logger; nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = NewClock(nil)
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 1024
	}
	if o.PerWebhook == 0 {
		o.PerWebhook = 64
	}
	if o.MaxInMemory == 0 {
		o.MaxInMemory = 32768
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = 1 << 16
	}
	if o.OnChange == nil {
		o.OnChange = func() {}
	}
	if o.OnCount == nil {
		o.OnCount = func() {}
	}
	if o.Observe == nil {
		o.Observe = func(sidehook.WebhookKey, *sidehook.Attempt) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Engine delivers events. Make one with New, give it configuration with Apply, events with Accept, and end it with
// Stop. It may be used from many goroutines.
type Engine struct {
	opts   Options
	clock  *Clock
	store  storage.Store
	log    *slog.Logger
	config atomic.Pointer[config] // nil until the first Apply
	news   news                   // of config and closed

	applyMu  sync.Mutex // serialises Apply and Start
	lanesMu  sync.RWMutex
	lanes    map[sidehook.WebhookKey]*lane
	eventful eventful

	inFlight atomic.Int64 // requests beyond the first of each lane
	inMemory atomic.Int64 // deliveries taken into lanes or reserved for them

	// work ends when attempts must be given up; stopping is set before, when no new one may start.
	work     context.Context
	cancel   context.CancelCauseFunc
	stopping atomic.Bool
	closed   atomic.Bool // for events; set before stopping
	// running counts every goroutine of the engine. startMu orders its Add against Stop's Wait: after stopping is set
	// under startMu nothing is added.
	startMu sync.Mutex
	running sync.WaitGroup

	asked    asked
	counters counters
}

// New makes an engine. It takes events at once; Start makes it deliver.
func New(opts Options) *Engine {
	opts = opts.withDefaults()
	e := &Engine{
		opts: opts, clock: opts.Clock, store: opts.Store, log: opts.Logger, lanes: make(map[sidehook.WebhookKey]*lane),
	}
	e.work, e.cancel = context.WithCancelCause(context.Background())
	return e
}

// Start wakes the lanes of the deliveries that an earlier run left in the store.
func (e *Engine) Start(ctx context.Context) error {
	e.applyMu.Lock()
	defer e.applyMu.Unlock()
	var heads []storage.QueueHead
	for head, err := range e.store.Queues(ctx) {
		if err != nil {
			return fmt.Errorf("read the queues: %w", err)
		}
		if head.Webhook == storage.HoldQueue {
			continue // Apply releases it
		}
		heads = append(heads, head)
		e.clock.notBefore(head.NextDue)
	}
	if ahead := e.clock.ahead(); ahead > time.Second {
		e.log.Warn("the clock was set back since the last run: retries do not wait for it", "ahead", ahead)
	}
	for _, head := range heads {
		e.lane(head.Webhook).noteQueued(head.NextDue)
	}
	return nil
}

// StopAccepting refuses events from now on; delivering goes on.
func (e *Engine) StopAccepting() {
	e.closed.Store(true)
	e.news.tell()
}

// errStopped is the cause of the work context once Stop's deadline has passed.
var errStopped = fmt.Errorf("delivery given up: %w", sidehook.ErrStopping)

// ErrGivenUp is what Stop returns, with the cause, when its time was over before the last attempt. Nothing is lost: those
// attempts are repeated after the next start.
var ErrGivenUp = errors.New("attempts in flight were given up and will be repeated")

// Stop drains: nothing new is accepted or attempted, what is in flight is finished until ctx ends and given up then,
// and what was recorded is committed. Everything else stays in the store. The store remains open. A failed commit is the
// error, else ErrGivenUp if that happened.
func (e *Engine) Stop(ctx context.Context) error {
	e.StopAccepting()
	e.startMu.Lock()
	e.stopping.Store(true)
	e.startMu.Unlock()
	e.eachLane(func(l *lane) { l.stop() })

	done := make(chan struct{})
	go func() {
		e.running.Wait()
		close(done)
	}()
	var late error
	select {
	case <-done:
	case <-ctx.Done():
		late = fmt.Errorf("%w: %w", ErrGivenUp, context.Cause(ctx))
	}
	e.cancel(errStopped)
	<-done
	// The commit of what was recorded is worth a wait of its own after a missed deadline.
	flushCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := e.store.Flush(flushCtx); err != nil {
		return fmt.Errorf("commit what was recorded: %w", err)
	}
	return late
}

const flushTimeout = 5 * time.Second

// goRun runs f on a goroutine that Stop waits for; false when the engine is stopping.
func (e *Engine) goRun(f func()) bool {
	e.startMu.Lock()
	defer e.startMu.Unlock()
	if e.stopping.Load() {
		return false
	}
	e.running.Add(1)
	go func() {
		defer e.running.Done()
		f()
	}()
	return true
}

// lane returns the lane of a webhook, made when missing.
func (e *Engine) lane(key sidehook.WebhookKey) *lane {
	e.lanesMu.RLock()
	l := e.lanes[key]
	e.lanesMu.RUnlock()
	if l != nil {
		return l
	}
	e.lanesMu.Lock()
	defer e.lanesMu.Unlock()
	if l = e.lanes[key]; l == nil {
		l = newLane(e, key)
		e.lanes[key] = l
	}
	return l
}

func (e *Engine) eachLane(f func(*lane)) {
	e.lanesMu.RLock()
	all := make([]*lane, 0, len(e.lanes))
	for _, l := range e.lanes {
		all = append(all, l)
	}
	e.lanesMu.RUnlock()
	for _, l := range all {
		f(l)
	}
}

// Ready reports whether the engine has configuration.
func (e *Engine) Ready() bool { return e.config.Load() != nil }

// Snapshot returns the configuration in use, nil before the first.
func (e *Engine) Snapshot() *xds.Snapshot {
	if c := e.config.Load(); c != nil {
		return c.snapshot
	}
	return nil
}
