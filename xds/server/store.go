package server

import (
	"slices"
	"sync"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/sidehook/sidehook/xds"
)

// entry is a resource, or the memory of one that was removed. It is never changed.
type entry struct {
	name string
	seq  uint64
	res  *discovery.Resource // shared by every response; nil: removed
	size int                 // what it adds to a response, in bytes, roughly
}

// collection holds the resources of one type of one app.
type collection struct {
	entries map[string]*entry
	removed int // how many of entries are memories of removal
	// log holds entries by growing seq. Those that are not in entries any more are skipped, and dropped now and then.
	log []*entry
	// floor: removals up to this sequence number may be forgotten, so who has seen less must start over.
	floor uint64
	// last is the sequence number of the latest change.
	last uint64
}

// keepRemovals is how many removals a collection remembers beside one for each resource it has.
const keepRemovals = 1024

// store holds all resources and the watches that wait for changes. Lock order: store.mu, then stream.mu.
type store struct {
	limit   int // of a response, see maxResponse
	keep    int // see keepRemovals
	mu      sync.RWMutex
	seq     uint64 // of the latest change
	apps    map[string]map[string]*collection
	watches map[place]map[*watch]struct{}
	holders map[string]int // streams by app in their scope
}

// place is where a change happens and a watch waits.
type place struct{ app, typeURL string }

// watch is a stream's open request for one type. It is answered at most once, under store.mu.
type watch struct {
	typeURL string
	apps    []string
	// answer sends what is new and reports true, or reports false when nothing is.
	answer func() bool
}

func newStore() *store {
	return &store{
		limit: maxResponse, keep: keepRemovals,
		apps: make(map[string]map[string]*collection), watches: make(map[place]map[*watch]struct{}),
		holders: make(map[string]int),
	}
}

// change is a batch for one app: by type, names with their new resource, nil to remove it.
type change map[string]map[string]*discovery.Resource

func (c change) add(typeURL, name string, r *discovery.Resource) {
	if c[typeURL] == nil {
		c[typeURL] = make(map[string]*discovery.Resource)
	}
	c[typeURL][name] = r
}

// apply makes the change and answers the watches it concerns, types that others refer to first.
func (s *store) apply(app string, c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applyLocked(app, c)
}

func (s *store) applyLocked(app string, c change) {
	touched := make(map[string]bool, len(c))
	for typeURL, resources := range c {
		for name, r := range resources {
			if s.put(app, typeURL, name, r) {
				touched[typeURL] = true
			}
		}
	}
	for _, typeURL := range xds.Types {
		if !touched[typeURL] {
			continue
		}
		for w := range s.watches[place{app, typeURL}] {
			if w.answer() {
				s.forget(w)
			}
		}
	}
	for typeURL := range touched { // after the answers: who waits has seen every removal
		s.apps[app][typeURL].compact(s.keep)
	}
	s.purge(app)
}

// replace makes the app's resources exactly those that c puts.
func (s *store) replace(app string, c change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for typeURL, col := range s.apps[app] {
		for name, e := range col.entries {
			if _, stays := c[typeURL][name]; !stays && e.res != nil {
				c.add(typeURL, name, nil)
			}
		}
	}
	s.applyLocked(app, c)
}

// put reports whether anything changed.
func (s *store) put(app, typeURL, name string, r *discovery.Resource) bool {
	col := s.apps[app][typeURL]
	if col == nil {
		if r == nil {
			return false
		}
		col = &collection{entries: make(map[string]*entry)}
		if s.apps[app] == nil {
			s.apps[app] = make(map[string]*collection)
		}
		s.apps[app][typeURL] = col
	}
	old := col.entries[name]
	switch {
	case r == nil && (old == nil || old.res == nil):
		return false
	case r != nil && old != nil && old.res != nil && old.res.GetVersion() == r.GetVersion():
		return false
	}
	if old != nil && old.res == nil {
		col.removed--
	}
	s.seq++
	e := &entry{name: name, seq: s.seq, res: r, size: len(name)}
	if r == nil {
		col.removed++
	} else {
		e.size += len(name) + len(r.GetResource().GetValue()) + 100
	}
	col.entries[name] = e
	col.log = append(col.log, e)
	col.last = e.seq
	return true
}

// compact keeps the log within twice what it is about, and removals within their limit, at constant cost per change.
func (c *collection) compact(keep int) {
	if live := len(c.entries) - c.removed; c.removed > 2*(live+keep) {
		excess := c.removed - (live + keepRemovals)
		for _, e := range c.log {
			if excess == 0 {
				break
			}
			if e.res == nil && c.entries[e.name] == e {
				delete(c.entries, e.name)
				c.removed--
				c.floor = e.seq
				excess--
			}
		}
	}
	if len(c.log) > 2*len(c.entries)+64 {
		c.log = slices.DeleteFunc(c.log, func(e *entry) bool { return c.entries[e.name] != e })
	}
}

// after returns the part of the log that is newer than seq.
func (c *collection) after(seq uint64) []*entry {
	i, _ := slices.BinarySearchFunc(c.log, seq, func(e *entry, seq uint64) int {
		if e.seq <= seq {
			return -1
		}
		return 1
	})
	return c.log[i:]
}

// purge forgets an app without resources that no stream can see: whoever comes later starts over anyway.
func (s *store) purge(app string) {
	if s.holders[app] > 0 {
		return
	}
	for _, col := range s.apps[app] {
		if len(col.entries) > col.removed {
			return
		}
	}
	delete(s.apps, app)
}

// hold and release count the streams that can see an app.
func (s *store) hold(apps []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range apps {
		s.holders[app]++
	}
}

func (s *store) release(apps []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, app := range apps {
		if s.holders[app]--; s.holders[app] == 0 {
			delete(s.holders, app)
			s.purge(app)
		}
	}
}

// wait registers a watch; the caller holds mu. The returned function cancels it and may be called repeatedly. After it
// returned the watch is not answered any more.
func (s *store) wait(w *watch) (cancel func()) {
	for _, app := range w.apps {
		p := place{app, w.typeURL}
		if s.watches[p] == nil {
			s.watches[p] = make(map[*watch]struct{})
		}
		s.watches[p][w] = struct{}{}
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget(w)
	}
}

func (s *store) forget(w *watch) {
	for _, app := range w.apps {
		p := place{app, w.typeURL}
		delete(s.watches[p], w)
		if len(s.watches[p]) == 0 {
			delete(s.watches, p)
		}
	}
}

// live returns the resource of that name if it is one of the type in the scope, else nil. The caller holds mu.
func (s *store) live(apps []string, typeURL, name string) *discovery.Resource {
	app, ok := xds.AppOfName(name)
	if !ok {
		return nil
	}
	if _, in := slices.BinarySearch(apps, app); !in {
		return nil
	}
	col := s.apps[app][typeURL]
	if col == nil {
		return nil
	}
	if e := col.entries[name]; e != nil {
		return e.res
	}
	return nil
}
