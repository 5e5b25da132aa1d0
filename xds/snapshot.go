package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"sort"

	"google.golang.org/protobuf/proto"

	"github.com/sidehook/sidehook"
)

// Snapshot is one immutable set of configuration, as the sidecar applies it. The resources it was built from refer to
// each other loosely: a webhook may name a secret or transformer that is not there yet, and then waits for it.
type Snapshot struct {
	// Version identifies the contents: the same resources give the same version.
	Version string
	// Stale is set when it was read from disk and the control plane has not been reached since.
	Stale bool

	apps map[string]*App
}

// App is the configuration of one app.
type App struct {
	ID           string
	Policy       *AppPolicy // nil for none
	Webhooks     []*Webhook // by id
	EventTypes   map[string]*sidehook.EventType
	Transformers map[string]*Transformer
}

// Webhook is a webhook with the secrets that sign for it, by id.
type Webhook struct {
	sidehook.Webhook
	Secrets []sidehook.Secret
}

// NewSnapshot builds a snapshot of resources, which must not be changed afterwards. Of two with one name the later
// counts.
func NewSnapshot(resources []*Resource) *Snapshot {
	byName := make(map[string]*Resource, len(resources))
	for _, r := range resources {
		byName[r.Name] = r
	}
	names := make([]string, 0, len(byName))
	for name := range byName {
		names = append(names, name)
	}
	sort.Strings(names)
	s := &Snapshot{apps: make(map[string]*App)}
	hash := sha256.New()
	webhooks := make(map[sidehook.WebhookKey]*Webhook)
	for _, name := range names { // "secrets" sort before "webhooks" of an app, so webhooks are joined below
		r := byName[name]
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.Proto())
		if err != nil {
			panic("xds: a validated resource does not marshal: " + err.Error())
		}
		hash.Write([]byte(name))
		sum := sha256.Sum256(b)
		hash.Write(sum[:])
		s.add(r, webhooks)
	}
	for _, name := range names {
		if sec := byName[name].Secret; sec != nil {
			if w := webhooks[sidehook.WebhookKey{App: sec.App, ID: sec.Webhook}]; w != nil {
				w.Secrets = append(w.Secrets, *sec)
			}
		}
	}
	s.Version = hex.EncodeToString(hash.Sum(nil)[:8])
	return s
}

func (s *Snapshot) add(r *Resource, webhooks map[sidehook.WebhookKey]*Webhook) {
	switch {
	case r.Webhook != nil:
		w := &Webhook{Webhook: *r.Webhook}
		webhooks[w.Key()] = w
		app := s.app(w.App)
		app.Webhooks = append(app.Webhooks, w)
	case r.EventType != nil:
		s.app(r.EventType.App).EventTypes[r.EventType.Type] = r.EventType
	case r.Transformer != nil:
		s.app(r.Transformer.App).Transformers[r.Transformer.Name] = r.Transformer
	case r.AppPolicy != nil:
		s.app(r.AppPolicy.App).Policy = r.AppPolicy
	case r.Secret != nil: // joined to its webhook by NewSnapshot; alone it does not make an app served
	}
}

func (s *Snapshot) app(id string) *App {
	app := s.apps[id]
	if app == nil {
		app = &App{
			ID: id, EventTypes: make(map[string]*sidehook.EventType), Transformers: make(map[string]*Transformer),
		}
		s.apps[id] = app
	}
	return app
}

// App returns the configuration of an app, nil when the snapshot has none.
func (s *Snapshot) App(id string) *App { return s.apps[id] }

// Apps lists the ids of the apps, sorted.
func (s *Snapshot) Apps() []string {
	ids := make([]string, 0, len(s.apps))
	for id := range s.apps {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	return ids
}

// Webhook returns a webhook, nil when the snapshot has none of that key.
func (s *Snapshot) Webhook(k sidehook.WebhookKey) *Webhook {
	app := s.apps[k.App]
	if app == nil {
		return nil
	}
	i := sort.Search(len(app.Webhooks), func(i int) bool { return app.Webhooks[i].ID >= k.ID })
	if i < len(app.Webhooks) && app.Webhooks[i].ID == k.ID {
		return app.Webhooks[i]
	}
	return nil
}

// Webhooks returns all webhooks, by app and id.
func (s *Snapshot) Webhooks() []*Webhook {
	var all []*Webhook
	for _, id := range s.Apps() {
		all = append(all, s.apps[id].Webhooks...)
	}
	return all
}
