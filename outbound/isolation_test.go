package outbound_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// slowNames answers for one name only when it is released, and has the others on loopback.
type slowNames struct{ released <-chan struct{} }

func (s slowNames) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	if strings.HasPrefix(host, "slow") {
		select {
		case <-s.released:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// TestTroubleStaysItsOwn: while a hundred endpoints hang, one never ends its answer, one answers 429, the name of one is not
// resolved and the TLS of one is broken, healthy endpoints get everything. None of the troubled ones is released before
// the healthy ones have it all, and there are fewer requests in flight to share than there are endpoints that hang.
func TestTroubleStaysItsOwn(t *testing.T) {
	const hanging, events = 100, 200
	released := make(chan struct{})
	var healthy atomic.Int64
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch part := strings.Trim(r.URL.Path, "/"); {
		case strings.HasPrefix(part, "fine"):
			if healthy.Add(1) == 2*events {
				close(done)
			}
		case strings.HasPrefix(part, "hang"):
			wait(r, released)
		case part == "endless":
			endless(w, r, released)
		case part == "busy":
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	brokenTLS, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer brokenTLS.Close()
	go answerNonsense(brokenTLS)

	client := send.New(send.Options{
		Guard: send.NewGuard(send.GuardOptions{AllowLoopback: true}), Resolver: slowNames{released},
	})
	defer client.Close()
	store, err := badgerstore.Open(t.TempDir(), badgerstore.Options{MinFreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	k := &kit{t: t, engine: outbound.New(outbound.Options{
		Store: store, Sender: client, LocalApps: []string{"demo"}, MaxInFlight: 32,
	})}
	if err := k.engine.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	to := func(id, url string) *sidehook.Webhook {
		return webhook(id, slowRetry, func(w *sidehook.Webhook) { w.URL, w.Timeout = url, time.Minute })
	}
	port := server.Listener.Addr().(*net.TCPAddr).Port
	all := []*sidehook.Webhook{
		to("endless", server.URL+"/endless"), to("busy", server.URL+"/busy"),
		to("slow", fmt.Sprintf("http://slow.example:%d/x", port)), to("tls", "https://"+brokenTLS.Addr().String()+"/x"),
	}
	for n := range hanging {
		all = append(all, to(fmt.Sprint("hang", n), fmt.Sprint(server.URL, "/hang", n)))
	}
	all = append(all, to("fine0", server.URL+"/fine0"), to("fine1", server.URL+"/fine1"))
	k.apply(all...)
	for n := range events {
		k.publish(event(fmt.Sprint("e", n), "a.b"))
	}
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Errorf("%d of %d deliveries to healthy endpoints arrived", healthy.Load(), 2*events)
	}
	close(released)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := k.engine.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// wait holds a request until it is released or given up.
func wait(r *http.Request, released <-chan struct{}) {
	select {
	case <-released:
	case <-r.Context().Done():
	}
}

// endless streams a body until it is released or given up.
func endless(w http.ResponseWriter, r *http.Request, released <-chan struct{}) {
	w.WriteHeader(http.StatusOK)
	for {
		select {
		case <-released:
			return
		case <-r.Context().Done():
			return
		default:
		}
		if _, err := fmt.Fprintln(w, strings.Repeat("x", 4000)); err != nil {
			return
		}
	}
}

// answerNonsense answers what is no TLS.
func answerNonsense(lis net.Listener) {
	for {
		conn, err := lis.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte("220 this is something else\r\n"))
		_ = conn.Close()
	}
}
