package ingest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const waitLimit = 10 * time.Second

// keeper is an Acceptor that keeps what it is given. Its batches are durable at once unless it is held.
type keeper struct {
	apps map[string]bool

	mu       sync.Mutex
	events   []*sidehook.Event
	acceptE  error         // what Accept answers
	waitE    error         // what Wait answers
	durable  chan struct{} // closed: batches are durable
	room     chan struct{} // not nil: Accept waits for a token
	accepted chan int      // gets the size of each batch
}

func newKeeper(apps ...string) *keeper {
	k := &keeper{apps: map[string]bool{}, durable: make(chan struct{}), accepted: make(chan int, 1000)}
	close(k.durable)
	for _, a := range apps {
		k.apps[a] = true
	}
	return k
}

// hold makes batches wait until the function it returns is called.
func (k *keeper) hold() (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := make(chan struct{})
	k.durable = d
	return sync.OnceFunc(func() { close(d) })
}

func (k *keeper) fail(accept, wait error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acceptE, k.waitE = accept, wait
}

func (k *keeper) taken() []*sidehook.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]*sidehook.Event(nil), k.events...)
}

func (k *keeper) Serves(app string) bool { return k.apps[app] }

func (k *keeper) Accept(ctx context.Context, events []*sidehook.Event) (Receipt, error) {
	k.mu.Lock()
	room := k.room
	k.mu.Unlock()
	if room != nil {
		select {
		case <-room:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.acceptE != nil {
		return nil, k.acceptE
	}
	k.events = append(k.events, events...)
	k.accepted <- len(events)
	return &keeperReceipt{n: len(events), durable: k.durable, err: k.waitE}, nil
}

type keeperReceipt struct {
	n       int
	durable chan struct{}
	err     error
}

func (r *keeperReceipt) Wait(ctx context.Context) ([]Result, error) {
	select {
	case <-r.durable:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		return nil, r.err
	}
	results := make([]Result, r.n)
	for i := range results {
		results[i] = Result{Disposition: Disposition(i%4 + 1), Deliveries: i % 3}
	}
	return results, nil
}

// door is a Server with a gRPC server on loopback and a client to it.
type door struct {
	*Server
	grpc   *GRPC
	addr   string
	conn   *grpc.ClientConn
	client eventsv1.EventServiceClient
}

func openDoor(t testing.TB, opts Options) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openDoorOn(t, opts, l, l.Addr().String())
}

func openDoorOn(t testing.TB, opts Options, l net.Listener, dial string) *door {
	t.Helper()
	d := &door{Server: NewServer(opts), addr: dial}
	d.grpc = NewGRPC(d.Server)
	served := make(chan error, 1)
	go func() { served <- d.grpc.Serve(l) }()
	var err error
	d.conn, err = grpc.NewClient(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	d.client = eventsv1.NewEventServiceClient(d.conn)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		if err := d.conn.Close(); err != nil {
			t.Errorf("closing the client: %v", err)
		}
		if err := d.grpc.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Stop: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return d
}

func event1(id string) *eventsv1.Event {
	return &eventsv1.Event{App: "demo", Id: id, Source: "/t", Type: "person.created", Data: []byte(`{"a": 1}`)}
}

func limited(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	t.Cleanup(cancel)
	return ctx
}

func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(waitLimit):
		t.Fatalf("no %s within %v", what, waitLimit)
		panic("unreachable")
	}
}
