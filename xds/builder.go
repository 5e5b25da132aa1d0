package xds

import (
	"cmp"
	"maps"
	"slices"
	"sort"

	"github.com/sidehook/sidehook"
)

// Builder makes one Snapshot after the other from a changing set of resources. What did not change is shared between
// its snapshots, so that a change costs what it touches (and a copy of the pointers of its app's webhooks), not the
// whole set. It is for one goroutine; the snapshots are for all.
type Builder struct {
	resources map[string]*Resource
	sum       digest               // of resources
	apps      map[string]*appState // of every app that has a resource
	dirty     map[string]struct{}  // apps changed since the last Build
	built     map[string]*App      // as in the last Snapshot; never changed, only replaced
}

// appState is what a Builder knows of one app beside its built App.
type appState struct {
	served       int // resources other than secrets: a secret alone does not make an app served
	policy       *AppPolicy
	eventTypes   map[string]*sidehook.EventType
	transformers map[string]*Transformer
	webhooks     map[string]*sidehook.Webhook
	secrets      map[string][]sidehook.Secret // by webhook, sorted by id, replaced and never changed; a webhook need not exist yet

	// Changed since the last Build.
	dirtyWebhooks                     map[string]struct{}
	dirtyEventTypes, dirtyTransformer bool
}

// NewBuilder returns a Builder without resources.
func NewBuilder() *Builder {
	return &Builder{
		resources: make(map[string]*Resource), apps: make(map[string]*appState),
		dirty: make(map[string]struct{}), built: make(map[string]*App),
	}
}

// Len counts the resources.
func (b *Builder) Len() int { return len(b.resources) }

// Get returns the resource of that name, nil for none.
func (b *Builder) Get(name string) *Resource { return b.resources[name] }

// Put adds r or replaces the resource of its name. It panics on a value that does not marshal, which Parse and
// validation exclude.
func (b *Builder) Put(r *Resource) {
	sum, err := r.digest()
	if err != nil {
		panic("xds: resource was not validated: " + err.Error())
	}
	if old := b.resources[r.Name]; old != nil {
		if oldSum, _ := old.digest(); oldSum == sum {
			return
		}
		b.Remove(r.Name)
	}
	b.resources[r.Name] = r
	b.sum = b.sum.plus(sum)
	b.app(r.App()).put(r)
}

// Remove takes the resource of that name out, if there is one.
func (b *Builder) Remove(name string) {
	r := b.resources[name]
	if r == nil {
		return
	}
	delete(b.resources, name)
	sum, _ := r.digest() // Put has seen it succeed
	b.sum = b.sum.minus(sum)
	b.app(r.App()).remove(r)
}

// Build returns the snapshot of the resources as they are now.
func (b *Builder) Build() *Snapshot {
	if len(b.dirty) > 0 {
		built := maps.Clone(b.built)
		for id := range b.dirty {
			st := b.apps[id]
			if app := st.build(id, built[id]); app != nil {
				built[id] = app
			} else {
				delete(built, id)
			}
			if st.served == 0 && len(st.secrets) == 0 {
				delete(b.apps, id)
			}
		}
		b.built = built
		clear(b.dirty)
	}
	return &Snapshot{Version: b.sum.String(), apps: b.built}
}

// app returns the state of an app that is about to change.
func (b *Builder) app(id string) *appState {
	b.dirty[id] = struct{}{}
	st := b.apps[id]
	if st == nil {
		st = &appState{
			eventTypes: make(map[string]*sidehook.EventType), transformers: make(map[string]*Transformer),
			webhooks: make(map[string]*sidehook.Webhook), secrets: make(map[string][]sidehook.Secret),
			dirtyWebhooks: make(map[string]struct{}),
		}
		b.apps[id] = st
	}
	return st
}

func (st *appState) put(r *Resource) {
	switch {
	case r.Webhook != nil:
		st.webhooks[r.Webhook.ID] = r.Webhook
		st.dirtyWebhooks[r.Webhook.ID] = struct{}{}
	case r.Secret != nil:
		of, at, _ := st.secret(r.Secret)
		st.secrets[r.Secret.Webhook] = slices.Insert(slices.Clip(of), at, *r.Secret)
		st.dirtyWebhooks[r.Secret.Webhook] = struct{}{}
		return
	case r.EventType != nil:
		st.eventTypes[r.EventType.Type] = r.EventType
		st.dirtyEventTypes = true
	case r.Transformer != nil:
		st.transformers[r.Transformer.Name] = r.Transformer
		st.dirtyTransformer = true
	case r.AppPolicy != nil:
		st.policy = r.AppPolicy
	}
	st.served++
}

func (st *appState) remove(r *Resource) {
	switch {
	case r.Webhook != nil:
		delete(st.webhooks, r.Webhook.ID)
		st.dirtyWebhooks[r.Webhook.ID] = struct{}{}
	case r.Secret != nil:
		of, at, found := st.secret(r.Secret)
		switch {
		case found && len(of) > 1:
			st.secrets[r.Secret.Webhook] = slices.Delete(slices.Clone(of), at, at+1)
		case found:
			delete(st.secrets, r.Secret.Webhook)
		}
		st.dirtyWebhooks[r.Secret.Webhook] = struct{}{}
		return
	case r.EventType != nil:
		delete(st.eventTypes, r.EventType.Type)
		st.dirtyEventTypes = true
	case r.Transformer != nil:
		delete(st.transformers, r.Transformer.Name)
		st.dirtyTransformer = true
	case r.AppPolicy != nil:
		st.policy = nil
	}
	st.served--
}

// secret returns the secrets of the webhook of s, and where s is among them or belongs.
func (st *appState) secret(s *sidehook.Secret) (of []sidehook.Secret, at int, found bool) {
	of = st.secrets[s.Webhook]
	at, found = slices.BinarySearchFunc(of, s.ID, func(a sidehook.Secret, id string) int { return cmp.Compare(a.ID, id) })
	return of, at, found
}

// build makes the App from the one before, nil when there was none, and returns nil when nothing is served any more.
func (st *appState) build(id string, before *App) *App {
	if before == nil {
		before = &App{}
	}
	app := &App{ID: id, Policy: st.policy, EventTypes: before.EventTypes, Transformers: before.Transformers}
	if st.dirtyEventTypes || app.EventTypes == nil {
		app.EventTypes = maps.Clone(st.eventTypes)
	}
	if st.dirtyTransformer || app.Transformers == nil {
		app.Transformers = maps.Clone(st.transformers)
	}
	app.Webhooks = st.merge(before.Webhooks)
	st.dirtyEventTypes, st.dirtyTransformer = false, false
	st.dirtyWebhooks = make(map[string]struct{})
	if st.served == 0 {
		return nil
	}
	return app
}

// merge returns before, which is sorted by id, with the changed webhooks put in, replaced or left out.
func (st *appState) merge(before []*Webhook) []*Webhook {
	if len(st.dirtyWebhooks) == 0 {
		return before
	}
	changed := slices.Sorted(maps.Keys(st.dirtyWebhooks))
	after := make([]*Webhook, 0, len(before)+len(changed))
	for _, id := range changed {
		n := sort.Search(len(before), func(i int) bool { return before[i].ID >= id })
		after = append(after, before[:n]...)
		before = before[n:]
		if len(before) > 0 && before[0].ID == id {
			before = before[1:]
		}
		if w := st.webhooks[id]; w != nil {
			after = append(after, st.join(w))
		}
	}
	if after = append(after, before...); len(after) == 0 {
		return nil
	}
	return after
}

// join puts a webhook together with its secrets.
func (st *appState) join(w *sidehook.Webhook) *Webhook {
	return &Webhook{Webhook: w, Secrets: st.secrets[w.ID]}
}
