package control

import (
	"context"
	"sync"

	"github.com/sidehook/sidehook/storage"
)

// Changes gives a channel that receives after something stored of an app has changed, here or by another process on the
// same store: the app itself, its webhooks, secrets or event types. An empty app stands for all. Several changes may be
// told as one, and one may be told although nothing has changed. The channel is closed when ctx ends or the Service
// closes; nothing is told before Start.
func (s *Service) Changes(ctx context.Context, app string) <-chan struct{} {
	return s.feed.changes.follow(ctx, app)
}

// changes tells those who look at an app that it has changed.
type changes struct {
	mu        sync.Mutex
	ended     bool
	followers map[*follower]struct{}
}

// follower gets what it has not yet taken as one.
type follower struct {
	app string // empty for all
	ch  chan struct{}
}

func newChanges() *changes { return &changes{followers: make(map[*follower]struct{})} }

func (c *changes) follow(ctx context.Context, app string) <-chan struct{} {
	f := &follower{app: app, ch: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		close(f.ch)
		return f.ch
	}
	c.followers[f] = struct{}{}
	context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.remove(f)
	})
	return f.ch
}

// remove closes a follower's channel, once. The caller holds mu.
func (c *changes) remove(f *follower) {
	if _, ok := c.followers[f]; ok {
		delete(c.followers, f)
		close(f.ch)
	}
}

// tell tells those who follow an app that a batch changes.
func (c *changes) tell(batch []storage.Change) {
	apps := make(map[string]bool)
	for _, change := range batch {
		if at := placeOf(change.Key); resourceName(at) != "" {
			apps[at.ids[0]] = true
		}
	}
	if len(apps) > 0 {
		c.tellThose(func(app string) bool { return app == "" || apps[app] })
	}
}

// tellAll tells everybody, because it is not known what has changed.
func (c *changes) tellAll() { c.tellThose(func(string) bool { return true }) }

func (c *changes) tellThose(concerns func(app string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.followers {
		if !concerns(f.app) {
			continue
		}
		select {
		case f.ch <- struct{}{}:
		default: // one is waiting there already
		}
	}
}

// end closes all channels.
func (c *changes) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for f := range c.followers {
		c.remove(f)
	}
}
