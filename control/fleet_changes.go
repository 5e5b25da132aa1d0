package control

import (
	"context"
	"slices"
)

// fleetWatcher is somebody who is told of changes.
type fleetWatcher struct {
	app string // empty: of all
	ch  chan struct{}
}

// Changes gives a channel that receives after something of an app's sidecars changed: one came or went, or a report told
// news. With an empty app it tells of all sidecars. Several changes may be told as one. It is closed when ctx ends or the
// Fleet closes.
func (f *Fleet) Changes(ctx context.Context, app string) <-chan struct{} {
	w := &fleetWatcher{app: app, ch: make(chan struct{}, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		close(w.ch)
		return w.ch
	}
	f.watchers[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.unwatch(w)
	})
	return w.ch
}

// unwatch closes a watcher's channel, once. Whoever calls it holds mu, as does whoever sends, so that nobody sends on a
// closed channel.
func (f *Fleet) unwatch(w *fleetWatcher) {
	if _, watches := f.watchers[w]; watches {
		delete(f.watchers, w)
		close(w.ch)
	}
}

// tellChange tells the watchers of apps; mu is held.
func (f *Fleet) tellChange(apps []string) {
	for w := range f.watchers {
		if w.app != "" && !slices.Contains(apps, w.app) {
			continue
		}
		select {
		case w.ch <- struct{}{}:
		default: // it has not taken the last one yet
		}
	}
}
