package server

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook/xds"
)

// saidStream is the server's side of a stream on which a client says what is recorded: first one good request, the
// others when that is answered, then nothing more.
type saidStream struct {
	discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	ctx      context.Context
	left     []*discovery.DeltaDiscoveryRequest
	asked    int
	answered chan struct{}
	once     sync.Once
	mu       sync.Mutex
	sent     []*discovery.DeltaDiscoveryResponse
}

func (s *saidStream) Context() context.Context     { return s.ctx }
func (s *saidStream) SetHeader(metadata.MD) error  { return nil }
func (s *saidStream) SendHeader(metadata.MD) error { return nil }
func (s *saidStream) SetTrailer(metadata.MD)       {}

func (s *saidStream) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	if s.asked++; s.asked == 1 {
		return &discovery.DeltaDiscoveryRequest{TypeUrl: xds.WebhookType}, nil
	}
	select {
	case <-s.answered:
	case <-s.ctx.Done():
	}
	if len(s.left) == 0 {
		return nil, io.EOF
	}
	r := s.left[0]
	s.left = s.left[1:]
	return r, nil
}

func (s *saidStream) Send(r *discovery.DeltaDiscoveryResponse) error {
	s.mu.Lock()
	s.sent = append(s.sent, r)
	s.mu.Unlock()
	s.once.Do(func() { close(s.answered) })
	return nil
}

// FuzzRequests: whatever a sidecar asks for, acknowledges or claims to be, it is sent resources of its own apps only,
// and its stream ends when it does.
func FuzzRequests(f *testing.F) {
	seed := func(requests ...*discovery.DeltaDiscoveryRequest) {
		var b bytes.Buffer
		for _, r := range requests {
			if _, err := protodelim.MarshalTo(&b, r); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes())
	}
	ack := &discovery.DeltaDiscoveryRequest{TypeUrl: xds.WebhookType, ResponseNonce: "1"}
	seed(ack)
	seed(ack, &discovery.DeltaDiscoveryRequest{
		TypeUrl: xds.WebhookType, ResourceNamesSubscribe: []string{"apps/theirs/webhooks/w", "*", ""}, ResourceNamesUnsubscribe: []string{"*"},
	})
	seed(&discovery.DeltaDiscoveryRequest{TypeUrl: xds.SecretType, InitialResourceVersions: map[string]string{"apps/theirs/webhooks/w": "1", cursorKey: "9"}})
	seed(&discovery.DeltaDiscoveryRequest{TypeUrl: xds.WebhookType, ResponseNonce: "1", ErrorDetail: &rpcstatus.Status{Code: 3, Message: "no"}},
		&discovery.DeltaDiscoveryRequest{TypeUrl: "type.googleapis.com/x", Node: &core.Node{Id: "theirs"}}, &discovery.DeltaDiscoveryRequest{})
	seed()
	s := New(Options{Authenticate: func(context.Context) ([]string, string, error) { return []string{"mine"}, "car", nil }})
	for _, app := range []string{"mine", "theirs"} {
		for _, id := range []string{"v", "w"} {
			if err := s.SetRaw(app, xds.WebhookType, "apps/"+app+"/webhooks/"+id, &anypb.Any{TypeUrl: xds.WebhookType, Value: []byte("x")}); err != nil {
				f.Fatal(err)
			}
		}
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, data []byte) {
		g := &saidStream{ctx: t.Context(), answered: make(chan struct{})}
		reader := bytes.NewReader(data)
		for {
			r := new(discovery.DeltaDiscoveryRequest)
			if err := protodelim.UnmarshalFrom(reader, r); err != nil {
				break
			}
			g.left = append(g.left, r)
		}
		_ = s.DeltaAggregatedResources(g) // an error is an answer too
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.sent) == 0 || len(g.sent[0].GetResources()) != 2 {
			t.Fatalf("the good request was answered with %v", g.sent)
		}
		for _, resp := range g.sent {
			for _, r := range resp.GetResources() {
				if !strings.HasPrefix(r.GetName(), "apps/mine/") {
					t.Fatalf("%s was sent", r.GetName())
				}
			}
		}
		if n := len(s.Status()); n != 0 {
			t.Fatalf("%d streams are left", n)
		}
	})
}
