package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/client"
	"github.com/sidehook/sidehook/xds/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for an event that must come.
const patience = 20 * time.Second

// plane is a control plane on a loopback address, with a record of what went over its streams.
type plane struct {
	*server.Server
	t    *testing.T
	addr string
	grpc *grpc.Server

	mu     sync.Mutex
	change chan struct{} // closed at each change of the record
	sent   []*discovery.DeltaDiscoveryResponse
	got    []*discovery.DeltaDiscoveryRequest
	nacks  []server.NACK
}

// newPlane starts a control plane; addr "" for any. A token allows the apps in its text: "token a b" is sidecar "token"
// with apps a and b.
func newPlane(t *testing.T, addr string) *plane {
	t.Helper()
	return newFilledPlane(t, addr, func(*plane) {})
}

// newFilledPlane fills the control plane before it can be reached.
func newFilledPlane(t *testing.T, addr string, fill func(*plane)) *plane {
	t.Helper()
	p := &plane{t: t, change: make(chan struct{})}
	p.Server = server.New(server.Options{
		Authenticate: authenticate,
		OnNACK: func(n server.NACK) {
			p.record(func() { p.nacks = append(p.nacks, n) })
		},
		OnACK: func(server.ACK) { p.record(func() {}) },
	})
	fill(p)
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p.addr = listener.Addr().String()
	p.grpc = grpc.NewServer(grpc.StreamInterceptor(
		func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, &recorder{ss, p})
		}))
	p.Register(p.grpc)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = p.grpc.Serve(listener)
	}()
	t.Cleanup(func() { p.stop(); <-served })
	return p
}

func (p *plane) stop() {
	p.Close()
	p.grpc.Stop()
}

func authenticate(ctx context.Context) ([]string, string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	words := strings.Fields(strings.Join(md.Get("authorization"), " "))
	if len(words) == 0 {
		return nil, "", errors.New("no token")
	}
	return words[1:], words[0], nil
}

type recorder struct {
	grpc.ServerStream
	p *plane
}

func (r *recorder) SendMsg(m any) error {
	if resp, ok := m.(*discovery.DeltaDiscoveryResponse); ok {
		r.p.record(func() { r.p.sent = append(r.p.sent, resp) })
	}
	return r.ServerStream.SendMsg(m)
}

func (r *recorder) RecvMsg(m any) error {
	err := r.ServerStream.RecvMsg(m)
	if req, ok := m.(*discovery.DeltaDiscoveryRequest); ok && err == nil {
		req := proto.Clone(req).(*discovery.DeltaDiscoveryRequest) // the server writes the node into it
		r.p.record(func() { r.p.got = append(r.p.got, req) })
	}
	return err
}

func (p *plane) record(add func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	add()
	close(p.change)
	p.change = make(chan struct{})
}

// await waits until the record satisfies ok.
func (p *plane) await(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		p.mu.Lock()
		done, change := ok(), p.change
		p.mu.Unlock()
		if done {
			return
		}
		select {
		case <-change:
		case <-deadline.C:
			p.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// settled waits until every stream has an answer to the latest response of each type, and the server took note.
func (p *plane) settled() {
	p.t.Helper()
	p.await("answers to all responses", func() bool {
		streams := p.Status()
		for _, st := range streams {
			if len(st.Types) < len(xds.Types) {
				return false
			}
			for _, ts := range st.Types {
				if ts.Sent == "" || ts.Sent != ts.Acked {
					return false
				}
			}
		}
		return len(streams) > 0
	})
}

// counts returns how many responses, resources and removals were sent.
func (p *plane) counts() (responses, resources, removed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, resp := range p.sent {
		resources += len(resp.GetResources())
		removed += len(resp.GetRemovedResources())
	}
	return len(p.sent), resources, removed
}

// token is a bearer of apps.
type token string

func (tok token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(tok)}, nil
}
func (token) RequireTransportSecurity() bool { return false }

func dial(t *testing.T, addr, tok string) *grpc.ClientConn {
	t.Helper()
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: patience,
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1, MaxDelay: 5 * time.Millisecond},
		}),
	}
	if tok != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(token(tok)))
	}
	conn, err := grpc.NewClient(addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// countTries makes opts give up on a connection quickly, and returns a channel with an element for each failed try.
func countTries(opts *client.Options) <-chan struct{} {
	tried := make(chan struct{}, 1000)
	opts.ConnectTimeout = 20 * time.Millisecond
	opts.Rand = func() float64 { // called after a try, for the wait before the next
		select {
		case tried <- struct{}{}:
		default:
		}
		return 0.5
	}
	return tried
}

func receive(t *testing.T, tried <-chan struct{}) {
	t.Helper()
	select {
	case <-tried:
	case <-time.After(patience):
		t.Fatal("does not try again")
	}
}

// car is a running client with the snapshots it applied.
type car struct {
	*client.Client
	t         *testing.T
	snapshots chan *xds.Snapshot
	stop      func()
}

func quick(conn grpc.ClientConnInterface) client.Options {
	return client.Options{
		Conn: conn, NodeID: "node-1", LKGDelay: time.Millisecond,
		Backoff: client.Backoff{Base: 5 * time.Millisecond, Factor: 1.6, Jitter: 0.2, Cap: 20 * time.Millisecond},
	}
}

func start(t *testing.T, opts client.Options) *car {
	t.Helper()
	c := &car{t: t, snapshots: make(chan *xds.Snapshot, 10_000)}
	inner := opts.Apply
	opts.Apply = func(s *xds.Snapshot) error {
		if inner != nil {
			if err := inner(s); err != nil {
				return err
			}
		}
		c.snapshots <- s
		return nil
	}
	c.Client = client.New(opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

// next waits for the next snapshot.
func (c *car) next() *xds.Snapshot {
	c.t.Helper()
	select {
	case s := <-c.snapshots:
		return s
	case <-time.After(patience):
		c.t.Fatalf("no snapshot; status %+v", c.Status())
		return nil
	}
}

// until waits for a snapshot that satisfies ok.
func (c *car) until(ok func(*xds.Snapshot) bool) *xds.Snapshot {
	c.t.Helper()
	for {
		if s := c.next(); ok(s) {
			return s
		}
	}
}

func (c *car) resource(name string) client.ResourceStatus {
	for _, r := range c.Resources() {
		if r.Name == name {
			return r
		}
	}
	return client.ResourceStatus{}
}

func webhook(app, id, name string) *xds.Resource {
	w := &sidehook.Webhook{
		App: app, ID: id, Name: name, URL: "https://example.com/" + id, Events: []string{"*"}, AutomaticRetry: true,
	}
	w.Normalize()
	return xds.OfWebhook(w)
}

func secret(app, of, id string) *xds.Resource {
	key, err := sidehook.KeyFromBytes([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		panic(err)
	}
	return xds.OfSecret(&sidehook.Secret{App: app, Webhook: of, ID: id, Key: key})
}

func key(app, id string) sidehook.WebhookKey { return sidehook.WebhookKey{App: app, ID: id} }
