package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/catalogue"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/xds/schema"
)

// MaxEventTypes is how many event types an app may have: replacing all by as many others still fits into one commit of
// the store (storage.KV), and so does deleting the app with them.
const MaxEventTypes = 450

// maxCommitBytes is what a commit of the store takes (storage.KV).
const maxCommitBytes = 1 << 20

// EventTypeChanges says what became of the event types of an app. Kept ones are as they were.
type EventTypeChanges struct {
	Added, Changed, Removed, Kept int
}

// ListEventTypes lists an app's event types by product and type, a page; product selects those of one, empty for all.
func (s *Service) ListEventTypes(ctx context.Context, app, product string, page PageRequest) (
	[]*sidehook.EventType, string, error,
) {
	if _, err := s.GetApp(ctx, app); err != nil {
		return nil, "", err
	}
	pairs, _, err := s.kv.List(ctx, eventTypePrefix(app))
	if err != nil {
		return nil, "", err
	}
	all := make([]*sidehook.EventType, 0, len(pairs))
	for _, p := range pairs {
		t, err := eventTypeOf(p)
		if err != nil {
			return nil, "", err
		}
		if product == "" || t.Product == product {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *sidehook.EventType) int { return cmp.Compare(byProduct(a), byProduct(b)) })
	return paginate(all, page, byProduct)
}

// byProduct is a position by product and type; neither contains the byte between them.
func byProduct(t *sidehook.EventType) string { return t.Product + "\x00" + t.Type }

// GetEventType returns an entry of an app's catalogue.
func (s *Service) GetEventType(ctx context.Context, app, typ string) (*sidehook.EventType, error) {
	if !validEventTypeKey(app, typ) {
		return nil, notFound("event type", typ)
	}
	p, err := s.kv.Get(ctx, eventTypeKey(app, typ))
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, notFound("event type", typ)
	}
	if err != nil {
		return nil, err
	}
	return eventTypeOf(p)
}

func validEventTypeKey(app, typ string) bool {
	return sidehook.ValidName(app) && sidehook.ValidEventType(typ)
}

// PutEventType adds an entry to its app's catalogue or replaces it; created says which.
func (s *Service) PutEventType(ctx context.Context, spec sidehook.EventType) (
	t *sidehook.EventType, created bool, err error,
) {
	entry, err := cleanEventType(spec)
	if err != nil {
		return nil, false, err
	}
	err = s.changeEventTypes(ctx, entry.App, func(now *eventTypes) error {
		created = now.records[entry.Type] == nil
		now.put(entry)
		return nil
	})
	return entry, created, err
}

// DeleteEventType takes an entry out of an app's catalogue. Webhooks that want it keep their patterns.
func (s *Service) DeleteEventType(ctx context.Context, app, typ string) error {
	if !validEventTypeKey(app, typ) {
		return notFound("event type", typ)
	}
	return s.changeEventTypes(ctx, app, func(now *eventTypes) error {
		if now.records[typ] == nil {
			return notFound("event type", typ)
		}
		now.remove(typ)
		return nil
	})
}

// ReplaceEventTypes makes the given entries the app's whole catalogue, in one step. Fields of errors are
// data[i].type and so on.
func (s *Service) ReplaceEventTypes(ctx context.Context, app string, all []sidehook.EventType) (EventTypeChanges, error) {
	cleaned := make([]*sidehook.EventType, 0, len(all))
	wanted := make(map[string]bool, len(all))
	for i, spec := range all {
		spec.App = app
		t, err := cleanEventType(spec)
		if err != nil {
			return EventTypeChanges{}, sidehook.Under(dataField(i), err)
		}
		if wanted[t.Type] {
			return EventTypeChanges{}, sidehook.Fieldf(dataField(i)+".type", "%q is there twice", t.Type)
		}
		wanted[t.Type] = true
		cleaned = append(cleaned, t)
	}
	var changes EventTypeChanges
	err := s.changeEventTypes(ctx, app, func(now *eventTypes) error {
		for _, typ := range slices.Sorted(maps.Keys(now.records)) {
			if !wanted[typ] {
				now.remove(typ)
			}
		}
		for _, t := range cleaned {
			now.put(t)
		}
		changes = now.changes
		return nil
	})
	return changes, err
}

// ImportEventTypes adds the entries of a built-in catalogue. Those that the app has already stay as they are, since
// somebody may have edited them; with overwrite they become those of the catalogue.
func (s *Service) ImportEventTypes(ctx context.Context, app, name string, overwrite bool) (EventTypeChanges, error) {
	c, ok := catalogue.Lookup(name)
	if !ok {
		return EventTypeChanges{}, sidehook.Fieldf("catalogue", "%.60q is none; there are %s", name,
			strings.Join(catalogue.Names(), ", "))
	}
	var changes EventTypeChanges
	err := s.changeEventTypes(ctx, app, func(now *eventTypes) error {
		for _, t := range c.EventTypes {
			if now.records[t.Type] != nil && !overwrite {
				now.changes.Kept++
				continue
			}
			t.App = app
			now.put(&t)
		}
		changes = now.changes
		return nil
	})
	if err == nil {
		s.log.InfoContext(ctx, "catalogue imported", "app", app, "catalogue", name, "added", changes.Added,
			"changed", changes.Changed)
	}
	return changes, err
}

func dataField(i int) string { return "data[" + strconv.Itoa(i) + "]" }

// cleanEventType returns a copy of an entry that was found good, its sample and schema without spaces.
func cleanEventType(t sidehook.EventType) (*sidehook.EventType, error) {
	t.Product = strings.TrimSpace(t.Product)
	if err := t.Validate(); err != nil {
		return nil, err
	}
	if t.Type == "." || t.Type == ".." {
		return nil, sidehook.Fieldf("type", "must not be %s, which cannot be part of a URL's path", t.Type)
	}
	var err error
	if t.Sample, err = compacted("sample", t.Sample); err != nil {
		return nil, err
	}
	if t.Schema, err = compacted("schema", t.Schema); err != nil || len(t.Schema) == 0 {
		return &t, err
	}
	if _, err := schema.Compile(t.Schema); err != nil {
		return nil, sidehook.Under("schema", err)
	}
	return &t, nil
}

// compacted is JSON without spaces; nil for none.
func compacted(field string, text []byte) ([]byte, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, sidehook.Fieldf(field, "is not valid JSON")
	}
	return compact.Bytes(), nil
}

// eventTypes is an app's catalogue on its way to being changed.
type eventTypes struct {
	t       *txn
	app     string
	records map[string]*eventTypeRecord // as stored
	changes EventTypeChanges
}

func (e *eventTypes) put(t *sidehook.EventType) {
	record := recordOfEventType(t)
	switch before := e.records[t.Type]; {
	case before == nil:
		e.changes.Added++
	case before.equal(record):
		e.changes.Kept++
		return
	default:
		e.changes.Changed++
	}
	e.t.put(eventTypeKey(e.app, t.Type), record)
}

// remove takes out an entry that is there.
func (e *eventTypes) remove(typ string) {
	e.changes.Removed++
	e.t.delete(eventTypeKey(e.app, typ))
}

// changeEventTypes lets edit change an app's catalogue.
//
// Invariant: the app's eventTypesRecord changes with every entry that is added or removed, and each entry that was read
// is a condition; so what edit saw is the whole catalogue until the commit, and the limit holds.
func (s *Service) changeEventTypes(ctx context.Context, app string, edit func(*eventTypes) error) error {
	if !sidehook.ValidName(app) {
		return notFound("app", app)
	}
	return s.change(ctx, func(t *txn) error {
		policy, err := requireApp(t, app)
		if err != nil {
			return err
		}
		var count eventTypesRecord
		if _, err := t.get(eventTypeCountKey(app), &count); err != nil {
			return err
		}
		now := &eventTypes{t: t, app: app, records: make(map[string]*eventTypeRecord)}
		pairs, err := t.list(eventTypePrefix(app))
		if err != nil {
			return err
		}
		for _, p := range pairs {
			var r eventTypeRecord
			if err := decode(p, &r); err != nil {
				return err
			}
			now.records[typeOfKey(placeOf(p.Key).ids[1])] = &r
		}
		if err := edit(now); err != nil {
			return err
		}
		return now.settle(len(pairs), policy)
	})
}

// settle checks what the edit leaves behind and counts it.
func (e *eventTypes) settle(before int, policy *appRecord) error {
	after := before + e.changes.Added - e.changes.Removed
	switch {
	case e.changes.Added > 0 && after > MaxEventTypes:
		return conflictf("", "app would have %d event types; %d is the most it may have", after, MaxEventTypes)
	case after == 0 && e.changes.Removed > 0 && policy.publish() == sidehook.PublishStrict:
		return conflictf("", "app publishes strictly, which needs at least one event type; make it lenient first")
	case e.changes.Added+e.changes.Removed > 0:
		e.t.put(eventTypeCountKey(e.app), &eventTypesRecord{EventTypes: after})
	}
	if size := sizeOf(e.t.ops); size > maxCommitBytes {
		return sidehook.Fieldf("data", "is %d bytes too large to be stored in one step; put some entries one by one",
			size-maxCommitBytes)
	}
	return nil
}

func sizeOf(ops []storage.Op) int {
	size := 0
	for _, op := range ops {
		size += len(op.Key) + len(op.Value)
	}
	return size
}

// deleteEventTypesOf removes the catalogue of an app that goes.
func deleteEventTypesOf(t *txn, app string) error {
	found, err := t.get(eventTypeCountKey(app), &eventTypesRecord{})
	if err != nil || !found {
		return err
	}
	t.delete(eventTypeCountKey(app))
	pairs, err := t.list(eventTypePrefix(app))
	for _, p := range pairs {
		t.delete(p.Key)
	}
	return err
}
