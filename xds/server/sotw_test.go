package server_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/client/sotw/v3"
	"go.uber.org/goleak"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts srv on a loopback address and returns a connection to it.
func serve(t *testing.T, srv *server.Server) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	srv.Register(g)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(listener)
	}()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		srv.Close()
		g.Stop()
		<-done
	})
	return conn
}

func allow(apps ...string) server.Authenticator {
	return func(context.Context) ([]string, string, error) { return apps, "car", nil }
}

func webhook(app, id, name string) *xds.Resource {
	w := &sidehook.Webhook{App: app, ID: id, Name: name, URL: "https://example.com", Events: []string{"*"}}
	w.Normalize()
	return xds.OfWebhook(w)
}

// TestPlainClient: the state-of-the-world client that go-control-plane ships.
func TestPlainClient(t *testing.T) {
	srv := server.New(server.Options{Authenticate: allow("a")})
	srv.Set("a", []*xds.Resource{webhook("a", "1", "one"), webhook("a", "2", "two")}, nil)
	srv.Set("b", []*xds.Resource{webhook("b", "1", "other")}, nil)
	conn := serve(t, srv)
	c := sotw.NewADSClient(t.Context(), &core.Node{Id: "plain"}, xds.WebhookType)
	if err := c.InitConnect(conn); err != nil {
		t.Fatal(err)
	}
	fetch := func() (names []string) {
		t.Helper()
		resp, err := c.Fetch()
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range resp.Resources {
			for _, id := range []string{"1", "2", "3"} {
				if r, err := xds.Parse("apps/a/webhooks/"+id, body); err == nil {
					names = append(names, r.Webhook.Name)
				}
			}
		}
		slices.Sort(names)
		return names
	}
	if got := fetch(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("at first %v", got)
	}
	if err := c.Ack(); err != nil {
		t.Fatal(err)
	}
	srv.Set("a", []*xds.Resource{webhook("a", "3", "three")}, []string{"apps/a/webhooks/1"})
	if got := fetch(); !slices.Equal(got, []string{"three", "two"}) {
		t.Errorf("after a change %v", got)
	}
	// A refusal is answered by the next change only: what comes next is that change, not the refused again.
	if err := c.Nack("no"); err != nil {
		t.Fatal(err)
	}
	srv.Set("a", nil, []string{"apps/a/webhooks/3"})
	if got := fetch(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("after a refusal %v", got)
	}
	if err := c.Ack(); err != nil {
		t.Fatal(err)
	}
	srv.RemoveApp("a")
	if got := fetch(); len(got) != 0 {
		t.Errorf("after removal %v", got)
	}
}

// TestPlainNACK: no hot loop, and it can be seen.
func TestPlainNACK(t *testing.T) {
	nacks := make(chan server.NACK, 100)
	srv := server.New(server.Options{Authenticate: allow("a"), OnNACK: func(n server.NACK) { nacks <- n }})
	srv.Set("a", []*xds.Resource{webhook("a", "1", "one")}, nil)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(serve(t, srv)).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *discovery.DiscoveryRequest) {
		t.Helper()
		req.TypeUrl = xds.WebhookType
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	next := func() *discovery.DiscoveryResponse {
		t.Helper()
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	ask(&discovery.DiscoveryRequest{ResourceNames: []string{"*"}})
	first := next()
	ask(&discovery.DiscoveryRequest{
		ResourceNames: []string{"*"}, ResponseNonce: first.GetNonce(), ErrorDetail: &rpcstatus.Status{Message: "no"},
	})
	if n := <-nacks; n.Message != "no" || n.Version != first.GetVersionInfo() || n.Sidecar != "car" {
		t.Errorf("NACK %+v", n)
	}
	if ts := srv.Status()[0].Types[xds.WebhookType]; ts.Acked != "" || ts.NACKs != 1 || ts.LastError != "no" {
		t.Errorf("status %+v", ts)
	}
	srv.Set("a", []*xds.Resource{webhook("a", "1", "two")}, nil)
	second := next()
	if second.GetVersionInfo() == first.GetVersionInfo() {
		t.Error("the refused response was sent again")
	}
	// By name: what does not exist is no answer, and other names do not wake it.
	ask(&discovery.DiscoveryRequest{
		ResourceNames: []string{"apps/a/webhooks/2"}, ResponseNonce: second.GetNonce(), VersionInfo: second.GetVersionInfo(),
	})
	srv.Set("a", []*xds.Resource{webhook("a", "1", "three")}, nil)
	srv.Set("a", []*xds.Resource{webhook("a", "2", "mine")}, nil)
	third := next()
	if len(third.GetResources()) != 1 {
		t.Fatalf("third %v", third)
	}
	if _, err := xds.Parse("apps/a/webhooks/2", third.GetResources()[0]); err != nil {
		t.Error(err)
	}
}

func TestHostileClients(t *testing.T) {
	srv := server.New(server.Options{Authenticate: allow("a")})
	api := discovery.NewAggregatedDiscoveryServiceClient(serve(t, srv))
	many := make([]string, 50_000)
	for i := range many {
		many[i] = "apps/a/webhooks/" + string(rune('a'+i%26)) + "x" + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26)) +
			string(rune('a'+i/17576%26))
	}
	for name, requests := range map[string]func(i int) *discovery.DeltaDiscoveryRequest{
		"types": func(i int) *discovery.DeltaDiscoveryRequest {
			return &discovery.DeltaDiscoveryRequest{TypeUrl: "t" + string(rune('a'+i))}
		},
		"no type": func(int) *discovery.DeltaDiscoveryRequest { return &discovery.DeltaDiscoveryRequest{} },
		"names": func(i int) *discovery.DeltaDiscoveryRequest {
			names := slices.Clone(many)
			for j := range names {
				names[j] += string(rune('a' + i))
			}
			return &discovery.DeltaDiscoveryRequest{TypeUrl: xds.WebhookType, ResourceNamesSubscribe: names}
		},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := api.DeltaAggregatedResources(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for i := range 40 {
					if stream.Send(requests(i)) != nil {
						return
					}
				}
				_ = stream.CloseSend()
			}()
			for {
				if _, err = stream.Recv(); err != nil {
					break
				}
			}
			if code := status.Code(err); code != codes.ResourceExhausted && code != codes.InvalidArgument {
				t.Errorf("the stream ended with %v", err)
			}
		})
	}
}

func TestRefusedCredential(t *testing.T) {
	srv := server.New(server.Options{Authenticate: func(context.Context) ([]string, string, error) {
		return nil, "", errors.New("the token is not known")
	}})
	api := discovery.NewAggregatedDiscoveryServiceClient(serve(t, srv))
	delta, err := api.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := delta.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("delta: %v", err)
	}
	plain, err := api.StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("plain: %v", err)
	}
}

func TestEndAndClose(t *testing.T) {
	srv := server.New(server.Options{Authenticate: allow("a")})
	api := discovery.NewAggregatedDiscoveryServiceClient(serve(t, srv))
	open := func() discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient {
		t.Helper()
		stream, err := api.DeltaAggregatedResources(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: xds.WebhookType}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		return stream
	}
	stream := open()
	srv.EndStreams(func(sidecar string) bool { return sidecar == "another" })
	srv.EndStreams(func(sidecar string) bool { return sidecar == "car" })
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("after EndStreams: %v", err)
	}
	stream = open()
	srv.Close()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("after Close: %v", err)
	}
	stream, err := api.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream after Close: %v", err)
	}
}
