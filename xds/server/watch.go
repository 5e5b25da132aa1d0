package server

import (
	"maps"
	"strconv"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook/xds"
)

// watcher is the cache that go-control-plane sees of one stream: the store, limited to the stream's apps. An unknown
// type is an empty one, so that a newer sidecar keeps the stream.
type watcher struct {
	store  *store
	stream *stream
	epoch  string
}

// CreateDeltaWatch answers at once when there is something to say, else waits for it.
func (w *watcher) CreateDeltaWatch(req *cache.DeltaRequest, sub cache.Subscription, out chan cache.DeltaResponse,
) (func(), error) {
	if !sub.IsWildcard() {
		return w.createNamed(req, sub, out)
	}
	typeURL := req.GetTypeUrl()
	send := func(u *update) { w.sendDelta(req, u, out) }

	// The first synchronization of a stream can be long: it is computed beside others, and answered in any case.
	w.store.mu.RLock()
	u, err := w.store.wildcard(w.stream.apps, typeURL, sub.ReturnedResources())
	w.store.mu.RUnlock()
	if err != nil {
		return nil, status.Error(codes.Aborted, err.Error())
	}
	if !u.empty() || req.GetResponseNonce() == "" {
		send(u)
		return nil, nil
	}
	known := u.next
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	answer := func() bool {
		u, err := w.store.wildcard(w.stream.apps, typeURL, maps.Clone(known))
		if err != nil {
			w.stream.end(codes.Aborted, err)
			return true
		}
		if u.empty() {
			return false
		}
		send(u)
		return true
	}
	if answer() { // it changed in between
		return nil, nil
	}
	return w.store.wait(&watch{typeURL: typeURL, apps: w.stream.apps, answer: answer}), nil
}

func (w *watcher) createNamed(req *cache.DeltaRequest, sub cache.Subscription, out chan cache.DeltaResponse,
) (func(), error) {
	if len(sub.SubscribedResources()) > maxNames {
		return nil, status.Errorf(codes.ResourceExhausted, "more than %d resource names; subscribe to *", maxNames)
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	answer := func() bool {
		u := w.store.named(w.stream.apps, req.GetTypeUrl(), sub.ReturnedResources(), sub.SubscribedResources())
		if u.empty() {
			return false
		}
		w.sendDelta(req, u, out)
		return true
	}
	if answer() {
		return nil, nil
	}
	return w.store.wait(&watch{typeURL: req.GetTypeUrl(), apps: w.stream.apps, answer: answer}), nil
}

func (w *watcher) sendDelta(req *cache.DeltaRequest, u *update, out chan cache.DeltaResponse) {
	version := w.epoch + "-" + strconv.FormatUint(u.seq, 10)
	if u.more {
		version = xds.MorePrefix + version
	}
	response := &cache.DeltaPassthroughResponse{
		DeltaRequest: req, NextVersionMap: u.next,
		DeltaDiscoveryResponse: &discovery.DeltaDiscoveryResponse{
			TypeUrl: req.GetTypeUrl(), SystemVersionInfo: version, Resources: u.resources, RemovedResources: u.removed,
		},
	}
	select {
	case out <- response:
	default: // cannot be: the channel has room for two of each type that can have something to say
		w.stream.end(codes.Aborted, errBehind)
	}
}

// CreateWatch serves state-of-the-world clients: each response has everything they asked for. After the first there is
// a response only when that is not the same as in the one before; a refusal repeats nothing.
func (w *watcher) CreateWatch(req *cache.Request, sub cache.Subscription, out chan cache.Response) (func(), error) {
	if len(sub.SubscribedResources()) > maxNames {
		return nil, status.Errorf(codes.ResourceExhausted, "more than %d resource names; subscribe to *", maxNames)
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	first := req.GetResponseNonce() == ""
	answer := func() bool {
		resources, version, next := w.world(req.GetTypeUrl(), sub)
		if !first && maps.Equal(next, sub.ReturnedResources()) {
			return false
		}
		out <- &cache.PassthroughResponse{ // has room: a new channel for each request, answered once
			Request: req, ReturnedResources: next,
			DiscoveryResponse: &discovery.DiscoveryResponse{
				TypeUrl: req.GetTypeUrl(), VersionInfo: version, Resources: resources,
			},
		}
		return true
	}
	if answer() {
		return nil, nil
	}
	return w.store.wait(&watch{typeURL: req.GetTypeUrl(), apps: w.stream.apps, answer: answer}), nil
}

// world gives everything that a subscription asks for, and what identifies it: for a wildcard the version, else the
// version of each name.
func (w *watcher) world(typeURL string, sub cache.Subscription) (all []*anypb.Any, version string, id map[string]string) {
	var last uint64
	id = make(map[string]string)
	for _, app := range w.stream.apps {
		col := w.store.apps[app][typeURL]
		if col == nil {
			continue
		}
		last = max(last, col.last)
		if !sub.IsWildcard() {
			continue
		}
		for _, e := range col.log {
			if e.res != nil && col.entries[e.name] == e {
				all = append(all, e.res.GetResource())
			}
		}
	}
	version = w.epoch + "-" + strconv.FormatUint(last, 10)
	if sub.IsWildcard() {
		id[cursorKey] = version
		return all, version, id
	}
	for name := range sub.SubscribedResources() {
		if r := w.store.live(w.stream.apps, typeURL, name); r != nil {
			all = append(all, r.GetResource())
			id[name] = r.GetVersion()
		}
	}
	return all, version, id
}
