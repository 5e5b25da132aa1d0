package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

// Authenticator tells from a stream's peer or metadata which apps its credential allows and which sidecar it is for.
// An error ends the stream as UNAUTHENTICATED with the error's text.
type Authenticator func(ctx context.Context) (apps []string, sidecar string, err error)

// Options of a Server.
type Options struct {
	// Authenticate is required.
	Authenticate Authenticator
	// Logger; nil discards.
	Logger *slog.Logger
	// OnNACK is told of every refusal, from the stream's goroutine: it must not block. Optional.
	OnNACK func(NACK)
	// OnACK is told of every response that a client accepted whole, in the same way. Optional.
	OnACK func(ACK)
}

// Server pushes configuration. Its methods may be called concurrently; changes of one app must come from one goroutine
// at a time when their order matters. It has no goroutines of its own: those of streams belong to the grpc.Server.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	opts  Options
	log   *slog.Logger
	store *store
	epoch string // makes versions of this process differ from others'

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
}

// New makes a Server without configuration.
func New(opts Options) *Server {
	if opts.Authenticate == nil {
		panic("xds/server: Options.Authenticate is required")
	}
	log := opts.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var epoch [4]byte
	_, _ = rand.Read(epoch[:]) // documented never to fail
	return &Server{
		opts: opts, log: log, store: newStore(), epoch: hex.EncodeToString(epoch[:]), streams: make(map[*stream]struct{}),
	}
}

// Register adds the aggregated discovery service to g. Streams are long: give g keepalive parameters, so that a peer
// that vanished is noticed.
func (s *Server) Register(g *grpc.Server) { discovery.RegisterAggregatedDiscoveryServiceServer(g, s) }

// Set puts and removes resources of an app, in one go, and pushes the change to every stream that may see the app. A
// resource that is the same as before is not pushed. One that belongs to another app, or cannot be serialized, is
// logged and left out.
func (s *Server) Set(app string, put []*xds.Resource, remove []string) {
	c := s.changeOf(app, put)
	for _, name := range remove {
		of, ok := xds.AppOfName(name)
		typeURL := xds.TypeOfName(name)
		if !ok || of != app || typeURL == "" {
			s.log.Error("a resource to remove is not of the app", "app", app, "resource", name)
			continue
		}
		c.add(typeURL, name, nil)
	}
	s.store.apply(app, c)
}

// Replace makes all the app's resources, those that are not in it are removed.
func (s *Server) Replace(app string, all []*xds.Resource) { s.store.replace(app, s.changeOf(app, all)) }

// RemoveApp removes every resource of the app.
func (s *Server) RemoveApp(app string) { s.store.replace(app, make(change)) }

func (s *Server) changeOf(app string, put []*xds.Resource) change {
	c := make(change)
	for _, r := range put {
		body, err := r.Any()
		if err == nil {
			err = s.add(c, app, r.TypeURL, r.Name, body)
		}
		if err != nil {
			s.log.Error("a resource cannot be pushed", "app", app, "resource", r.Name, "error", err)
		}
	}
	return c
}

// SetRaw puts a resource without looking into it: what a sidecar makes of a bad one can be seen that way. The type must
// be one of xds.Types, and name one of the app.
func (s *Server) SetRaw(app, typeURL, name string, body *anypb.Any) error {
	c := make(change)
	if err := s.add(c, app, typeURL, name, body); err != nil {
		return err
	}
	s.store.apply(app, c)
	return nil
}

func (s *Server) add(c change, app, typeURL, name string, body *anypb.Any) error {
	if of, ok := xds.AppOfName(name); !ok || of != app {
		return fmt.Errorf("%.200q is not a resource of app %q", name, app)
	}
	if !slices.Contains(xds.Types, typeURL) {
		return fmt.Errorf("unknown resource type %.100q", typeURL)
	}
	if len(body.GetValue()) > xds.MaxResourceBytes {
		return fmt.Errorf("resource of %d bytes: limit is %d: %w", len(body.GetValue()), xds.MaxResourceBytes,
			sidehook.ErrTooLarge)
	}
	c.add(typeURL, name, &discovery.Resource{
		Name: name, Version: xds.VersionOf(name, body.GetValue()), Resource: body,
	})
	return nil
}

// DeltaAggregatedResources serves a sidecar.
func (s *Server) DeltaAggregatedResources(g discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	st, err := s.open(g.Context(), true)
	if err != nil {
		return err
	}
	defer s.remove(st)
	d := delta.NewServer(st.ctx, &watcher{s.store, st, s.epoch}, st)
	return st.result(d.DeltaStreamHandler(g, resource.AnyType))
}

// StreamAggregatedResources serves a plain client, state of the world.
func (s *Server) StreamAggregatedResources(g discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	st, err := s.open(g.Context(), false)
	if err != nil {
		return err
	}
	defer s.remove(st)
	w := sotw.NewServer(st.ctx, &watcher{s.store, st, s.epoch}, st)
	return st.result(w.StreamHandler(g, resource.AnyType))
}

var errClosed = errors.New("the control plane is stopping")

// open authenticates a stream. What it may see is settled here and nowhere else: by its credential, for as long as it
// lives.
//
// The credential is asked about again once the stream is registered: one that was revoked in between had no stream yet
// that EndStreams could have ended.
func (s *Server) open(ctx context.Context, delta bool) (*stream, error) {
	apps, sidecar, err := s.authenticate(ctx)
	if err != nil {
		return nil, err
	}
	st := &stream{
		server: s, sidecar: sidecar, apps: apps, delta: delta, since: time.Now(), types: make(map[string]*typeState),
	}
	st.ctx, st.cancel = context.WithCancelCause(ctx)
	if err := s.register(st); err != nil {
		return nil, err
	}
	again, same, err := s.authenticate(ctx)
	if err == nil && (same != sidecar || !slices.Equal(again, apps)) {
		err = status.Error(codes.Unauthenticated, errCredential.Error())
	}
	if err != nil {
		s.remove(st)
		return nil, err
	}
	return st, nil
}

// authenticate returns the apps sorted, each once, and errors as gRPC statuses.
func (s *Server) authenticate(ctx context.Context) (apps []string, sidecar string, err error) {
	apps, sidecar, err = s.opts.Authenticate(ctx)
	if err != nil {
		s.log.Warn("a stream was refused", "error", err)
		return nil, "", status.Error(codes.Unauthenticated, err.Error())
	}
	return slices.Compact(slices.Sorted(slices.Values(apps))), sidecar, nil
}

func (s *Server) register(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		st.cancel(errClosed)
		return status.Error(codes.Unavailable, errClosed.Error())
	}
	s.streams[st] = struct{}{}
	s.store.hold(st.apps)
	s.log.Info("a sidecar connected", "sidecar", st.sidecar, "apps", st.apps, "delta", st.delta)
	return nil
}

func (s *Server) remove(st *stream) {
	s.mu.Lock()
	delete(s.streams, st)
	s.mu.Unlock()
	s.store.release(st.apps)
	s.log.Info("a sidecar disconnected", "sidecar", st.sidecar, "cause", context.Cause(st.ctx))
	st.cancel(nil)
}

func (s *Server) refused(n *NACK) {
	s.log.Warn("a sidecar refused configuration", "sidecar", n.Sidecar, "type", n.TypeURL, "version", n.Version,
		"error", n.Message)
	if s.opts.OnNACK != nil {
		s.opts.OnNACK(*n)
	}
}

// Status describes the connected streams, by sidecar and age.
func (s *Server) Status() []StreamStatus {
	s.mu.Lock()
	streams := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	s.mu.Unlock()
	all := make([]StreamStatus, 0, len(streams))
	for _, st := range streams {
		all = append(all, st.status())
	}
	slices.SortFunc(all, func(a, b StreamStatus) int {
		return cmp.Or(cmp.Compare(a.Sidecar, b.Sidecar), a.ConnectedAt.Compare(b.ConnectedAt))
	})
	return all
}

var errCredential = errors.New("the credential changed: connect again")

// EndStreams ends the streams of the sidecars that match, whose credential changed or was revoked. They connect again
// and are authenticated anew.
func (s *Server) EndStreams(match func(sidecar string) bool) {
	s.endStreams(match, codes.Unauthenticated, errCredential)
}

// Close ends all streams and refuses new ones. Stop the grpc.Server afterwards to wait for their handlers.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.endStreams(func(string) bool { return true }, codes.Unavailable, errClosed)
}

func (s *Server) endStreams(match func(sidecar string) bool, code codes.Code, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.streams {
		if match(st.sidecar) {
			st.end(code, cause)
		}
	}
}
