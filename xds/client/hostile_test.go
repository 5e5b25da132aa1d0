package client_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"

	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/client"
)

// script is a control plane that says what a test wants, on a real connection.
type script struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	requests chan *discovery.DeltaDiscoveryRequest
	streams  chan discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	end      chan error
}

func (s *script) DeltaAggregatedResources(g discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s.streams <- g
	go func() {
		for {
			req, err := g.Recv()
			if err != nil {
				return
			}
			s.requests <- req
		}
	}()
	select {
	case err := <-s.end:
		return err
	case <-g.Context().Done():
		return g.Context().Err()
	}
}

func newScript(t *testing.T) (*script, string) {
	t.Helper()
	s := &script{
		requests: make(chan *discovery.DeltaDiscoveryRequest, 1000), end: make(chan error),
		streams: make(chan discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, 100),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(listener)
	}()
	t.Cleanup(func() { g.Stop(); <-done })
	return s, listener.Addr().String()
}

// subscribed takes the subscriptions of a new stream.
func (s *script) subscribed(t *testing.T) (
	g discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, offers map[string]map[string]string,
) {
	t.Helper()
	g = <-s.streams
	offers = make(map[string]map[string]string)
	for i, typeURL := range xds.Types {
		req := <-s.requests
		if req.GetTypeUrl() != typeURL || len(req.GetResourceNamesSubscribe()) != 1 ||
			req.GetResourceNamesSubscribe()[0] != "*" || (req.GetNode() != nil) != (i == 0) || req.GetResponseNonce() != "" {
			t.Fatalf("subscription %d is %v", i, req)
		}
		offers[typeURL] = req.GetInitialResourceVersions()
	}
	return g, offers
}

// say sends a response and returns the client's answer to it.
func (s *script) say(t *testing.T, g discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer,
	resp *discovery.DeltaDiscoveryResponse,
) *discovery.DeltaDiscoveryRequest {
	t.Helper()
	if err := g.Send(resp); err != nil {
		t.Fatal(err)
	}
	req := <-s.requests
	if req.GetResponseNonce() != resp.GetNonce() || req.GetTypeUrl() != resp.GetTypeUrl() || req.GetNode() != nil {
		t.Fatalf("%v was answered with %v", resp.GetNonce(), req)
	}
	return req
}

func sent(t *testing.T, version string, all ...*xds.Resource) []*discovery.Resource {
	t.Helper()
	var out []*discovery.Resource
	for _, r := range all {
		body, err := r.Any()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &discovery.Resource{Name: r.Name, Version: version, Resource: body})
	}
	return out
}

// empty answers the types but for webhooks.
func (s *script) empty(t *testing.T, g discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) {
	t.Helper()
	for _, typeURL := range xds.Types[:len(xds.Types)-1] {
		if req := s.say(t, g, &discovery.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: typeURL}); req.GetErrorDetail() != nil {
			t.Fatalf("refused: %v", req)
		}
	}
}

func TestHostileControlPlane(t *testing.T) {
	s, addr := newScript(t)
	c := start(t, quick(dial(t, addr, "")))
	g, _ := s.subscribed(t)

	// A type that was not asked for is not answered.
	if err := g.Send(&discovery.DeltaDiscoveryResponse{TypeUrl: xds.TypePrefix + "Future", Nonce: "f"}); err != nil {
		t.Fatal(err)
	}
	s.empty(t, g)
	if len(c.snapshots) != 0 {
		t.Fatal("a snapshot went live before all types were there")
	}

	good := webhook("a", "good", "Good")
	wrong := sent(t, "1", secret("a", "good", "s"))
	both := webhook("a", "both", "Both")
	long := sent(t, "1", webhook("a", "w", "W"))
	long[0].Name = strings.Repeat("n", 100_000)
	resources := append(sent(t, "1", good, webhook("a", "twice", "1"), webhook("a", "twice", "2"), both), wrong...)
	resources = append(append(resources, long...), &discovery.Resource{Name: "apps/a/webhooks/nil"}, nil)
	answer := s.say(t, g, &discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.WebhookType, Nonce: "w", Resources: resources,
		RemovedResources: []string{both.Name, "apps/a/webhooks/never", ""},
	})
	detail := answer.GetErrorDetail()
	if detail.GetCode() != 3 || len(detail.GetMessage()) > 20_000 {
		t.Errorf("error detail %v", detail)
	}
	bad := new(errdetails.BadRequest)
	if len(detail.GetDetails()) != 1 || detail.GetDetails()[0].UnmarshalTo(bad) != nil {
		t.Fatalf("details %v", detail.GetDetails())
	}
	named := make(map[string]bool)
	for _, v := range bad.GetFieldViolations() {
		named[v.GetField()] = true
	}
	for _, name := range []string{"apps/a/webhooks/twice", both.Name, wrong[0].GetName(), "apps/a/webhooks/nil"} {
		if !named[name] || !strings.Contains(detail.GetMessage(), name) {
			t.Errorf("%s is not among the refused: %v", name, detail.GetMessage())
		}
	}
	if named[good.Name] || len(named) != 6 {
		t.Errorf("refused %v", named)
	}
	snapshot := c.next()
	if len(snapshot.Webhooks()) != 1 || snapshot.Webhook(key("a", "good")) == nil {
		t.Errorf("live are %v", snapshot.Webhooks())
	}

	// A removal under the wrong type removes nothing.
	s.say(t, g, &discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.SecretType, Nonce: "s", RemovedResources: []string{good.Name},
	})
	if len(c.snapshots) != 0 {
		t.Error("a removal under the wrong type had an effect")
	}

	// A new stream is offered what is live, not what was refused.
	s.end <- errors.New("over")
	_, offers := s.subscribed(t)
	if got := offers[xds.WebhookType]; len(got) != 1 || got[good.Name] != "1" {
		t.Errorf("offered %v", got)
	}
	if st := c.Status(); st.Attempts != 7 || st.Rejections != 1 || st.ConnectAttempts != 2 {
		t.Errorf("status %+v", st)
	}
}

// TestStreamBreaksAmidPieces: what was not whole never goes live, and is not offered as known.
func TestStreamBreaksAmidPieces(t *testing.T) {
	s, addr := newScript(t)
	c := start(t, quick(dial(t, addr, "")))
	g, _ := s.subscribed(t)
	s.empty(t, g)
	s.say(t, g, &discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.WebhookType, Nonce: "1", Resources: sent(t, "1", webhook("a", "one", "1")),
	})
	c.next()
	s.say(t, g, &discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.WebhookType, Nonce: "2", SystemVersionInfo: xds.MorePrefix + "2",
		Resources: sent(t, "2", webhook("a", "one", "2"), webhook("a", "two", "2")),
	})
	// Another type meanwhile does not make the piece live.
	s.say(t, g, &discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.SecretType, Nonce: "3", Resources: sent(t, "2", secret("a", "one", "s")),
	})
	s.end <- errors.New("over")
	g, offers := s.subscribed(t)
	if got := offers[xds.WebhookType]; len(got) != 1 || got["apps/a/webhooks/one"] != "1" || len(offers[xds.SecretType]) != 0 {
		t.Errorf("offered %v", offers)
	}
	if len(c.snapshots) != 0 {
		t.Error("a part went live")
	}
	s.say(t, g, &discovery.DeltaDiscoveryResponse{
		TypeUrl: xds.WebhookType, Nonce: "1", Resources: sent(t, "2", webhook("a", "one", "2")),
	})
	if snapshot := c.next(); len(snapshot.Webhooks()) != 1 || snapshot.Webhook(key("a", "one")).Name != "2" {
		t.Errorf("live are %v", snapshot.Webhooks())
	}
}

// waits is a log handler that passes on how long the client says it waits.
type waits chan time.Duration

func (waits) Enabled(context.Context, slog.Level) bool { return true }
func (w waits) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w waits) WithGroup(string) slog.Handler          { return w }

func (w waits) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "after" {
			w <- a.Value.Duration()
		}
		return true
	})
	return nil
}

// TestBackoffOverStreams: failing streams wait longer and longer; one that brought something starts over.
func TestBackoffOverStreams(t *testing.T) {
	s, addr := newScript(t)
	opts := quick(dial(t, addr, ""))
	opts.Backoff = client.Backoff{Base: time.Nanosecond, Factor: 10, Cap: time.Microsecond}
	said := make(waits, 100)
	opts.Logger = slog.New(said)
	start(t, opts)
	for _, want := range []time.Duration{1, 10, 100, 1000, 1000} {
		s.subscribed(t)
		s.end <- errors.New("no")
		if got := <-said; got != want {
			t.Errorf("waits %s, want %s", got, want)
		}
	}
	g, _ := s.subscribed(t)
	s.empty(t, g)
	s.end <- errors.New("over")
	if got := <-said; got != 1 {
		t.Errorf("after responses it waits %s, want 1ns", got)
	}
	s.subscribed(t)
}
