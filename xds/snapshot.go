package xds

import (
	"sort"

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

// Webhook is a webhook with the secrets that sign for it, by id. Neither is changed.
type Webhook struct {
	*sidehook.Webhook
	Secrets []sidehook.Secret
}

// NewSnapshot builds a snapshot of resources, which must not be changed afterwards. Of two with one name the later
// counts. Who changes a few of many resources uses a Builder.
func NewSnapshot(resources []*Resource) *Snapshot {
	b := NewBuilder()
	for _, r := range resources {
		b.Put(r)
	}
	return b.Build()
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
