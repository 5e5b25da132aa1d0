package control

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/xds"
)

// Publisher pushes configuration to the sidecars. Its methods are called one after the other and must be quick. The
// resources must not be changed.
type Publisher interface {
	// Set applies a batch of changes to an app's resources in one step: put replaces by name, remove lists names.
	Set(app string, put []*xds.Resource, remove []string)
	// Replace makes all the app's resources.
	Replace(app string, all []*xds.Resource)
	// RemoveApp removes the app with all its resources.
	RemoveApp(app string)
}

// Start loads everything and publishes it, then follows the store and publishes each change, made here or by another
// process on the same store, until Close. onRevoke, which may be nil, is called with the id of each token that is
// revoked, so that streams opened with it can be ended. Start is called once.
func (s *Service) Start(ctx context.Context, pub Publisher, onRevoke func(credential string)) error {
	if onRevoke == nil {
		onRevoke = func(string) {}
	}
	return s.feed.start(ctx, pub, onRevoke)
}

// Ready reports whether Start has published everything and what happens in the store is being followed.
func (s *Service) Ready() bool { return s.feed.progress.following() }

// Close stops publishing and waits until it has stopped.
func (s *Service) Close() error {
	s.feed.stop()
	return nil
}

// errStopped is why the feed's context ends.
var errStopped = errors.New("control service is closed")

// feed takes the changes from the store to the Publisher. One goroutine, run, owns all of its state but progress; stop
// ends it and waits.
type feed struct {
	kv       storage.KV
	log      *slog.Logger
	progress *progress
	changes  *changes

	pub      Publisher
	onRevoke func(string)
	cancel   context.CancelCauseFunc
	done     chan struct{}

	apps   map[string]bool   // published
	tokens map[string]string // id by hash
}

func newFeed(kv storage.KV, log *slog.Logger) *feed {
	return &feed{
		kv: kv, log: log, progress: newProgress(), changes: newChanges(), apps: make(map[string]bool), tokens: make(map[string]string),
	}
}

func (f *feed) start(ctx context.Context, pub Publisher, onRevoke func(string)) error {
	f.pub, f.onRevoke = pub, onRevoke
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if err := context.Cause(ctx); err != nil {
		cancel(err)
		return err
	}
	changes, err := f.load(running)
	if err != nil {
		cancel(err)
		return err
	}
	f.cancel, f.done = cancel, make(chan struct{})
	go f.run(running, changes)
	return nil
}

func (f *feed) stop() {
	f.changes.end()
	if f.cancel == nil {
		return
	}
	f.cancel(errStopped)
	<-f.done
}

// Bounds of the pause before the store is asked again after it failed.
const (
	minReload = 50 * time.Millisecond
	maxReload = 5 * time.Second
)

// run follows changes until ctx ends; when the watch ends early it loads everything anew.
func (f *feed) run(ctx context.Context, changes <-chan storage.Change) {
	defer close(f.done)
	defer f.progress.ended()
	wait := minReload
	for {
		if changes != nil {
			f.follow(changes)
			wait = minReload
		}
		f.progress.lost()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		var err error
		if changes, err = f.load(ctx); err != nil {
			f.log.ErrorContext(ctx, "cannot read the store; sidecars keep what they have", "error", err)
			wait = min(2*wait, maxReload)
		}
	}
}

// load publishes everything there is and returns the changes after that.
func (f *feed) load(ctx context.Context) (<-chan storage.Change, error) {
	pairs, revision, err := f.kv.List(ctx, "")
	if err != nil {
		return nil, err
	}
	changes, err := f.kv.Watch(ctx, "", revision)
	if err != nil {
		return nil, err
	}
	f.publishAll(pairs)
	f.progress.loaded(revision)
	f.changes.tellAll()
	return changes, nil
}

func (f *feed) publishAll(pairs []storage.Pair) {
	all := make(map[string][]*xds.Resource)
	tokens := make(map[string]string)
	for _, p := range pairs {
		if at := placeOf(p.Key); at.kind == tokensPrefix {
			tokens[at.ids[0]] = f.tokenID(p)
		} else if r := f.resource(p); r != nil {
			all[at.ids[0]] = append(all[at.ids[0]], r)
		}
	}
	for _, app := range slices.Sorted(maps.Keys(all)) {
		f.pub.Replace(app, all[app])
	}
	for app := range f.apps {
		if all[app] == nil {
			f.pub.RemoveApp(app)
		}
	}
	f.apps = make(map[string]bool, len(all))
	for app := range all {
		f.apps[app] = true
	}
	for hash, id := range f.tokens {
		if _, ok := tokens[hash]; !ok {
			f.onRevoke(id)
		}
	}
	f.tokens = tokens
}

// follow publishes changes until the watch ends. It takes all that have come at once and publishes them as one batch.
func (f *feed) follow(changes <-chan storage.Change) {
	for c := range changes {
		batch := []storage.Change{c}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case next, ok := <-changes:
				if more = ok; ok {
					batch = append(batch, next)
				}
			default:
				more = false
			}
		}
		f.publish(batch)
		f.progress.saw(batch)
		f.changes.tell(batch)
	}
}

const maxBatch = 1000

// appChange is what a batch does to one app.
type appChange struct {
	anew   bool // the app was removed before what follows
	put    map[string]*xds.Resource
	remove map[string]bool
}

func (f *feed) publish(batch []storage.Change) {
	byApp := make(map[string]*appChange)
	var order []string
	for _, c := range batch {
		at := placeOf(c.Key)
		if at.kind == tokensPrefix {
			f.tokenChanged(at.ids[0], c)
			continue
		}
		name := resourceName(at)
		if name == "" {
			continue
		}
		app := at.ids[0]
		if byApp[app] == nil {
			byApp[app] = newAppChange(false)
			order = append(order, app)
		}
		if c.Deleted && at.kind == appsPrefix {
			byApp[app] = newAppChange(true)
			continue
		}
		byApp[app].add(name, c, f.resource(c.Pair))
	}
	for _, app := range order {
		f.publishApp(app, byApp[app])
	}
}

func newAppChange(anew bool) *appChange {
	return &appChange{anew: anew, put: make(map[string]*xds.Resource), remove: make(map[string]bool)}
}

// add notes a change. A record that is damaged (r is nil) leaves in place what was published before.
func (a *appChange) add(name string, c storage.Change, r *xds.Resource) {
	switch {
	case c.Deleted:
		delete(a.put, name)
		a.remove[name] = true
	case r != nil:
		delete(a.remove, name)
		a.put[name] = r
	}
}

func (f *feed) publishApp(app string, a *appChange) {
	put := make([]*xds.Resource, 0, len(a.put))
	for _, name := range slices.Sorted(maps.Keys(a.put)) {
		put = append(put, a.put[name])
	}
	if a.anew {
		f.pub.RemoveApp(app)
		delete(f.apps, app)
		if len(put) > 0 {
			f.pub.Replace(app, put)
			f.apps[app] = true
		}
		return
	}
	if remove := slices.Sorted(maps.Keys(a.remove)); len(put)+len(remove) > 0 {
		f.pub.Set(app, put, remove)
		f.apps[app] = true
	}
}

func (f *feed) tokenChanged(hash string, c storage.Change) {
	if !c.Deleted {
		f.tokens[hash] = f.tokenID(c.Pair)
		return
	}
	if id, ok := f.tokens[hash]; ok {
		delete(f.tokens, hash)
		f.onRevoke(id)
	}
}

func (f *feed) tokenID(p storage.Pair) string {
	var r tokenRecord
	if err := decode(p, &r); err != nil {
		f.log.Error("stored token is damaged and cannot be used", "error", err)
	}
	return r.ID
}

// resourceName is the name of the resource that a record is published as, empty for none.
func resourceName(at place) string {
	switch {
	case at.kind == appsPrefix && len(at.ids) == 1:
		return xds.AppPolicyName(at.ids[0])
	case at.kind == webhooksPrefix && len(at.ids) == 2:
		return xds.WebhookName(sidehook.WebhookKey{App: at.ids[0], ID: at.ids[1]})
	case at.kind == secretsPrefix && len(at.ids) == 3:
		return xds.SecretName(at.ids[0], at.ids[1], at.ids[2])
	case at.kind == eventTypesPrefix && len(at.ids) == 2 && typeOfKey(at.ids[1]) != "":
		return xds.EventTypeName(at.ids[0], typeOfKey(at.ids[1]))
	}
	return ""
}

// resource makes the resource of a record; nil when it is none, or damaged, which is logged.
func (f *feed) resource(p storage.Pair) *xds.Resource {
	at := placeOf(p.Key)
	if resourceName(at) == "" || p.Value == nil {
		return nil
	}
	r, err := resourceOf(at, p)
	if err != nil {
		f.log.Error("stored record is damaged and is not published", "key", p.Key, "error", err)
		return nil
	}
	return r
}

func resourceOf(at place, p storage.Pair) (*xds.Resource, error) {
	switch at.kind {
	case appsPrefix:
		var r appRecord
		if err := decode(p, &r); err != nil {
			return nil, err
		}
		return xds.OfAppPolicy(r.policy(at.ids[0])), nil
	case webhooksPrefix:
		var r webhookRecord
		if err := decode(p, &r); err != nil {
			return nil, err
		}
		w := r.webhook(sidehook.WebhookKey{App: at.ids[0], ID: at.ids[1]})
		return xds.OfWebhook(w), w.Validate()
	case eventTypesPrefix:
		t, err := eventTypeOf(p)
		if err != nil {
			return nil, err
		}
		return xds.OfEventType(t), t.Validate()
	default:
		var r secretRecord
		if err := decode(p, &r); err != nil {
			return nil, err
		}
		secret, err := r.secret(at.ids[0], at.ids[1], at.ids[2])
		if err != nil {
			return nil, err
		}
		return xds.OfSecret(secret), nil
	}
}
