package outbound

import (
	"context"
	"fmt"
	"slices"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/format"
	"github.com/sidehook/sidehook/outbound/match"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/outbound/sign"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/filter"
)

// config is a Snapshot compiled for the hot path. It is immutable.
type config struct {
	snapshot *xds.Snapshot
	apps     map[string]*appConfig
}

// appConfig finds the lanes of the webhooks that want an event: the enabled ones, and those that miss theirs.
type appConfig struct {
	source *xds.App // what it was compiled from
	routes map[string]*route
	index  *match.Index
	lanes  []*lane // in the order of the index
	// missing, in the order of the index, are webhooks that the control plane disabled: what matches is kept as dropped,
	// for a replay. nil when there is none.
	missing []bool
	// filters of the webhooks, in the order of the index; nil when none has one.
	filters []*filter.Filter
	known   known
	// shy are types that the webhooks at some positions get only when one of their patterns is the type itself.
	shy map[string][]int
}

// route is a webhook compiled for delivering. It is immutable; a lane swaps it when configuration changes.
type route struct {
	webhook  *xds.Webhook
	endpoint *send.Endpoint
	format   format.Format
	signer   *sign.Signer
	filter   *filter.Filter // nil for none
}

// Apply makes a Snapshot the configuration in use. Everything that can fail is done before anything changes: on an
// error the earlier configuration stays. Lanes, with their counters and what they hold, outlive the change.
//
// A Snapshot shares what did not change with the one before, so the work is that of the apps and webhooks that did.
func (e *Engine) Apply(snapshot *xds.Snapshot) error {
	e.applyMu.Lock()
	defer e.applyMu.Unlock()
	before := e.config.Load()
	next := &config{snapshot: snapshot, apps: make(map[string]*appConfig)}
	var changed []*route
	for _, id := range snapshot.Apps() {
		app, routes, err := e.compileApp(snapshot.App(id), before.app(id))
		if err != nil {
			return err
		}
		next.apps[id] = app
		changed = append(changed, routes...)
	}

	for _, r := range changed {
		e.lane(r.webhook.Key()).setRoute(r)
	}
	e.config.Store(next)
	e.news.tell()
	e.retireLanes(next)
	if before == nil {
		e.goRun(e.releaseHeld)
	}
	return nil
}

// app returns the app of that id, nil when there is none or no config at all.
func (c *config) app(id string) *appConfig {
	if c == nil {
		return nil
	}
	return c.apps[id]
}

// route returns the webhook of that key, nil when the configuration has none.
func (c *config) route(key sidehook.WebhookKey) *route {
	if app := c.app(key.App); app != nil {
		return app.routes[key.ID]
	}
	return nil
}

// compileApp compiles an app, with the parts of the one before that are still true, and returns the new routes.
func (e *Engine) compileApp(source *xds.App, before *appConfig) (*appConfig, []*route, error) {
	if before != nil && before.source == source {
		return before, nil, nil
	}
	var knownBefore *known
	if before != nil {
		knownBefore = &before.known
	}
	known, err := knownOf(source, knownBefore)
	if err != nil {
		return nil, nil, err
	}
	app := &appConfig{source: source, known: known, routes: make(map[string]*route, len(source.Webhooks))}
	var changed []*route
	var patterns [][]string
	var filters []*filter.Filter
	var missing []bool
	filtered, misses := false, false
	for _, w := range source.Webhooks {
		var r *route
		if before != nil {
			r = before.routes[w.ID]
		}
		if r == nil || r.webhook != w {
			var err error
			if r, err = compileRoute(w); err != nil {
				return nil, nil, fmt.Errorf("webhook %s: %w", w.Key(), err)
			}
			changed = append(changed, r)
		}
		app.routes[w.ID] = r
		if w.Status == sidehook.WebhookEnabled || w.MissesEvents() {
			patterns = append(patterns, w.Events)
			for _, typ := range exactOnly[w.Format] {
				if app.shy == nil {
					app.shy = make(map[string][]int)
				}
				app.shy[typ] = append(app.shy[typ], len(app.lanes))
			}
			app.lanes = append(app.lanes, e.lane(w.Key()))
			missing = append(missing, w.MissesEvents())
			misses = misses || w.MissesEvents()
			filters = append(filters, r.filter)
			filtered = filtered || r.filter != nil
		}
	}
	app.index = match.Compile(patterns)
	if filtered {
		app.filters = filters
	}
	if misses {
		app.missing = missing
	}
	return app, changed, nil
}

// wanted is how many of the webhooks at some positions get what matches them, and do not miss it.
func (a *appConfig) wanted(matches []int) int {
	n := len(matches)
	if a.missing != nil {
		for _, m := range matches {
			if a.missing[m] {
				n--
			}
		}
	}
	return n
}

// exactOnly lists the types that no pattern with a star means in the system that a format speaks for: Twenty would send
// one for every step of every workflow.
var exactOnly = map[string][]string{sidehook.FormatTwenty: {"workflowRun.updated"}}

// match appends the positions in lanes of the webhooks that want a type.
func (a *appConfig) match(typ string, buf []int) []int {
	buf = a.index.Match(typ, buf)
	shy := a.shy[typ]
	if len(shy) == 0 {
		return buf
	}
	return slices.DeleteFunc(buf, func(i int) bool {
		_, isShy := slices.BinarySearch(shy, i)
		return isShy && !a.index.HasExact(typ, i)
	})
}

// retireLanes drops what waits for webhooks that were removed. A stale snapshot removes nothing: it is older than what
// is in the queues may be.
func (e *Engine) retireLanes(c *config) {
	if c.snapshot.Stale {
		return
	}
	e.eachLane(func(l *lane) {
		if app := c.apps[l.key.App]; app == nil || app.routes[l.key.ID] == nil {
			l.retire()
		}
	})
}

// Check reports why Apply would refuse a webhook, so that it can be refused by itself, before it is part of a Snapshot.
func Check(w *xds.Webhook) error {
	_, err := compileRoute(w)
	return err
}

func compileRoute(w *xds.Webhook) (*route, error) {
	endpoint, err := send.ParseEndpoint(w.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	f, ok := format.Lookup(w.Format)
	if !ok {
		return nil, sidehook.Fieldf("format", "%q is not built in", w.Format)
	}
	signer, err := sign.New(w.Webhook, w.Secrets)
	if err != nil {
		return nil, err
	}
	r := &route{webhook: w, endpoint: endpoint, format: f, signer: signer}
	if w.Filter != "" {
		if r.filter, err = filter.Compile(w.Filter); err != nil {
			return nil, sidehook.Under("filter", err)
		}
	}
	return r, nil
}

// releaseHeld matches the events that came in before there was configuration, and appends them again with their
// deliveries. A crash in between repeats deliveries with the same webhook-id.
func (e *Engine) releaseHeld() {
	released := 0
	for {
		held, _, err := e.store.Claim(e.work, storage.HoldQueue, e.now(), claimSize)
		if err != nil {
			if e.work.Err() == nil {
				e.log.Error("held events could not be read; they wait for the next start", "err", err)
			}
			return
		}
		if len(held) == 0 {
			break
		}
		if err := e.releasePage(held); err != nil {
			if e.work.Err() == nil {
				e.log.Error("held events could not be released; they wait for the next start", "err", err)
			}
			return
		}
		released += len(held)
	}
	if released > 0 {
		e.log.Info("released held events", "events", released)
	}
}

func (e *Engine) releasePage(held []storage.Claimed) error {
	events := make([]*sidehook.Event, len(held))
	for i, h := range held {
		events[i] = h.Event
	}
	receipt, err := e.submit(e.work, events, true)
	if err != nil {
		return err
	}
	if _, err := receipt.Wait(e.work); err != nil {
		return err
	}
	results := make([]storage.Result, len(held))
	for i, h := range held {
		results[i] = storage.Result{ID: h.ID, Webhook: storage.HoldQueue, State: sidehook.Delivered}
	}
	return e.store.Record(context.WithoutCancel(e.work), results)
}
