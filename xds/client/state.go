package client

import (
	"fmt"
	"slices"
	"strings"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/sidehook/sidehook/xds"
)

// maxResources bounds what is kept of one type.
const maxResources = 1_000_000

// state is what the client knows, across streams.
type state struct {
	types   map[string]*typeState
	builder *xds.Builder // of everything live and staged
	// staged holds what arrived and was found good and is not live yet: by name, nil for a removal.
	staged map[string]*staged
	live   *xds.Snapshot // nil until there is one
	// synced: the control plane has told everything once since the start.
	synced bool
}

// staged is a change on its way to being live.
type staged struct {
	typeURL  string
	resource *xds.Resource // nil: remove
	version  string
}

// typeState is what the client knows of one type.
type typeState struct {
	entries map[string]*entry
	// Of the current stream.
	complete    bool                // a whole response, or the last piece of one, arrived
	partial     bool                // the latest response was a piece that more follow
	unconfirmed map[string]struct{} // live, not offered to the server when connecting, and not sent since
}

// entry is one resource by name.
type entry struct {
	resource *xds.Resource // live; nil when it never was good
	version  string        // that the server gave it
	updated  time.Time
	refused  *refusal // of a later version, nil when there is none
}

// refusal is why a resource is not live in its latest version.
type refusal struct {
	version string
	reason  string
	at      time.Time
}

func newState() state {
	s := state{types: make(map[string]*typeState), builder: xds.NewBuilder(), staged: make(map[string]*staged)}
	for _, typeURL := range xds.Types {
		s.types[typeURL] = &typeState{entries: make(map[string]*entry)}
	}
	return s
}

// begin readies the state for a new stream. Whatever was staged on an earlier one is dropped, so that what is offered
// is what is live.
func (s *state) begin() {
	s.rollback()
	for _, ts := range s.types {
		ts.complete, ts.partial, ts.unconfirmed = false, false, nil
	}
}

// offer gives the versions that are live, for the server to send only what differs. A request has to stay below the
// size that gRPC servers accept (4 MiB by default), so some may not fit: those are taken out, unless they are sent, when
// the first whole response has come.
func (s *state) offer(typeURL string) map[string]string {
	const budget = 3 << 20
	ts, size := s.types[typeURL], 0
	offered := make(map[string]string)
	for name, e := range ts.entries {
		if e.resource == nil {
			continue
		}
		if size += len(name) + len(e.version) + 8; size > budget {
			if ts.unconfirmed == nil {
				ts.unconfirmed = make(map[string]struct{})
			}
			ts.unconfirmed[name] = struct{}{}
			continue
		}
		offered[name] = e.version
	}
	return offered
}

// take stages what a response brings and returns what is refused of it, by name.
func (s *state) take(resp *discovery.DeltaDiscoveryResponse, check func(*xds.Resource) error) map[string]string {
	ts := s.types[resp.GetTypeUrl()]
	bad := make(map[string]string)
	seen := make(map[string]bool, len(resp.GetResources()))
	for _, name := range resp.GetRemovedResources() {
		seen[name] = false
	}
	for _, r := range resp.GetResources() {
		if _, twice := seen[r.GetName()]; twice {
			bad[r.GetName()] = "is in the response twice"
		}
		seen[r.GetName()] = true
	}
	for _, r := range resp.GetResources() {
		if bad[r.GetName()] != "" {
			continue
		}
		parsed, err := parse(resp.GetTypeUrl(), r)
		if err == nil {
			err = check(parsed)
		}
		if err == nil && len(ts.entries) >= maxResources && ts.entries[r.GetName()] == nil {
			err = fmt.Errorf("a sidecar takes at most %d resources of a type", maxResources)
		}
		if err != nil {
			bad[r.GetName()] = err.Error()
			continue
		}
		s.stage(r.GetName(), &staged{typeURL: resp.GetTypeUrl(), resource: parsed, version: r.GetVersion()})
	}
	for name, sent := range seen {
		delete(ts.unconfirmed, name)
		if !sent {
			s.remove(ts, resp.GetTypeUrl(), name)
		}
	}
	s.advance(ts, resp)
	return bad
}

// advance notes how far the type got on this stream.
func (s *state) advance(ts *typeState, resp *discovery.DeltaDiscoveryResponse) {
	if ts.partial = strings.HasPrefix(resp.GetSystemVersionInfo(), xds.MorePrefix); ts.partial {
		return
	}
	ts.complete = true
	for name := range ts.unconfirmed { // the server was not told that we have it, and did not send it: it is gone
		s.remove(ts, resp.GetTypeUrl(), name)
	}
	ts.unconfirmed = nil
}

func parse(typeURL string, r *discovery.Resource) (*xds.Resource, error) {
	if got := r.GetResource().GetTypeUrl(); got != typeURL {
		return nil, fmt.Errorf("is of type %.100q in a response of type %.100q", got, typeURL)
	}
	return xds.Parse(r.GetName(), r.GetResource())
}

func (s *state) stage(name string, st *staged) {
	s.staged[name] = st
	if st.resource != nil {
		s.builder.Put(st.resource)
	} else {
		s.builder.Remove(name)
	}
}

// remove stages the removal of a resource of that type and forgets that it was refused.
func (s *state) remove(ts *typeState, typeURL, name string) {
	if e := ts.entries[name]; e != nil {
		if e.refused = nil; e.resource == nil {
			delete(ts.entries, name)
		}
	}
	if st := s.staged[name]; ts.entries[name] != nil || st != nil && st.typeURL == typeURL {
		s.stage(name, &staged{typeURL: typeURL})
	}
}

// whole reports whether what is staged makes a configuration that can go live: the first one has everything, and a
// response in pieces counts when its last piece is there.
func (s *state) whole() bool {
	for _, ts := range s.types {
		if ts.partial || !s.synced && !ts.complete {
			return false
		}
	}
	return true
}

// waiting lists the types of which nothing whole arrived on this stream.
func (s *state) waiting() []string {
	var types []string
	for _, typeURL := range xds.Types {
		if !s.types[typeURL].complete {
			types = append(types, typeURL)
		}
	}
	return types
}

// commit makes what is staged live.
func (s *state) commit(snapshot *xds.Snapshot, now time.Time) {
	for name, st := range s.staged {
		entries := s.types[st.typeURL].entries
		if st.resource == nil {
			delete(entries, name)
			continue
		}
		e := &entry{resource: st.resource, version: st.version, updated: now}
		if old := entries[name]; old != nil && old.refused != nil && old.refused.version != st.version {
			e.refused = old.refused
		}
		entries[st.resource.Name] = e // not name: the resource has its own in memory anyway
	}
	s.staged = make(map[string]*staged) // not cleared: it would keep the size of the first configuration
	s.live = snapshot
}

// rollback drops what is staged and returns the names, sorted.
func (s *state) rollback() []string {
	names := make([]string, 0, len(s.staged))
	for name, st := range s.staged {
		names = append(names, name)
		if e := s.types[st.typeURL].entries[name]; e != nil && e.resource != nil {
			s.builder.Put(e.resource)
		} else {
			s.builder.Remove(name)
		}
	}
	clear(s.staged)
	slices.Sort(names)
	return names
}

// refuse notes why resources of a response are not live.
func (s *state) refuse(typeURL string, versions, bad map[string]string, now time.Time) {
	entries := s.types[typeURL].entries
	for name, reason := range bad {
		e := entries[name]
		if e == nil {
			if len(entries) >= maxResources {
				continue
			}
			e = &entry{}
			entries[name] = e
		}
		e.refused = &refusal{version: versions[name], reason: reason, at: now}
	}
}

// accept forgets refusals of what is good now.
func (s *state) accept(typeURL string, name string) {
	if e := s.types[typeURL].entries[name]; e != nil {
		e.refused = nil
	}
}
