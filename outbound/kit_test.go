package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/memstore"
	"github.com/sidehook/sidehook/xds"
)

// sent is one request that reached the receiver.
type sent struct {
	at      time.Time
	url     string
	headers map[string]string
	body    string
}

// receiver is a Sender that answers by a function of the request, and remembers.
type receiver struct {
	mu     sync.Mutex
	got    []sent
	answer func(n int, s sent) (status int, retryAfter string, err error) // n counts from 1
}

func (r *receiver) Do(ctx context.Context, req *send.Request, _ time.Duration, resp *send.Response) error {
	s := sent{at: time.Now(), url: req.URL.String(), headers: map[string]string{}, body: string(req.Body)}
	for _, h := range req.Headers {
		if _, twice := s.headers[h.Key]; twice {
			return fmt.Errorf("header %s is sent twice", h.Key)
		}
		s.headers[h.Key] = h.Value
	}
	r.mu.Lock()
	r.got = append(r.got, s)
	n := len(r.got)
	answer := r.answer
	r.mu.Unlock()
	*resp = send.Response{Status: 200}
	if answer == nil {
		return nil
	}
	status, retryAfter, err := answer(n, s)
	if errors.Is(err, errHang) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	resp.Status, resp.RetryAfter = status, retryAfter
	return err
}

var errHang = errors.New("hang")

func (r *receiver) all() []sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]sent(nil), r.got...)
}

// kit is an engine on a memstore, in a synctest bubble.
type kit struct {
	t      *testing.T
	store  *memstore.Store
	engine *outbound.Engine
	recv   *receiver
	opts   outbound.Options
}

func bubble(t *testing.T, test func(k *kit), change ...func(*outbound.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &kit{t: t, recv: &receiver{}, store: memstore.New(storage.Options{HistoryAge: 1000 * time.Hour})}
		k.opts = outbound.Options{Store: k.store, Sender: k.recv, LocalApps: []string{"demo"}}
		for _, c := range change {
			c(&k.opts)
		}
		k.engine = outbound.New(k.opts)
		if err := k.engine.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(k)
		k.stop()
		if err := k.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (k *kit) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := k.engine.Stop(ctx); err != nil {
		k.t.Errorf("stop: %v", err)
	}
}

// crash is a restart that gives up what is in flight after a moment, unrecorded.
func (k *kit) crash() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := k.engine.Stop(ctx); err != nil && !errors.Is(err, outbound.ErrGivenUp) {
		k.t.Errorf("stop: %v", err)
	}
	k.store.Reopen()
	k.engine = outbound.New(k.opts)
	if err := k.engine.Start(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

// restart is a stop and a start on the same store.
func (k *kit) restart() {
	k.t.Helper()
	k.stop()
	k.store.Reopen()
	k.engine = outbound.New(k.opts)
	if err := k.engine.Start(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

func webhook(id string, change ...func(*sidehook.Webhook)) *sidehook.Webhook {
	w := &sidehook.Webhook{
		App: "demo", ID: id, Name: id, URL: "https://" + id + ".example/in", Events: []string{"*"}, AutomaticRetry: true,
	}
	for _, c := range change {
		c(w)
	}
	w.Normalize()
	return w
}

func (k *kit) apply(webhooks ...*sidehook.Webhook) {
	k.t.Helper()
	var secrets []*sidehook.Secret
	for _, w := range webhooks {
		key, err := sidehook.KeyFromBytes([]byte("0123456789abcdef0123456789abcdef"))
		if err != nil {
			k.t.Fatal(err)
		}
		secrets = append(secrets, &sidehook.Secret{App: w.App, Webhook: w.ID, ID: "s1", Key: key})
	}
	k.applySnapshot(snapshot(webhooks, secrets))
}

func snapshot(webhooks []*sidehook.Webhook, secrets []*sidehook.Secret) *xds.Snapshot {
	rs := []*xds.Resource{xds.OfAppPolicy(&xds.AppPolicy{App: "demo"})}
	for _, w := range webhooks {
		rs = append(rs, xds.OfWebhook(w))
	}
	for _, s := range secrets {
		rs = append(rs, xds.OfSecret(s))
	}
	return xds.NewSnapshot(rs)
}

func (k *kit) applySnapshot(s *xds.Snapshot) {
	k.t.Helper()
	if err := k.engine.Apply(s); err != nil {
		k.t.Fatal(err)
	}
}

func event(id, typ string) *sidehook.Event {
	e := &sidehook.Event{App: "demo", ID: id, Source: "/test", Type: typ, Data: []byte(`{"n":1}`)}
	e.Normalize(time.Now())
	return e
}

func (k *kit) publish(events ...*sidehook.Event) []outbound.Accepting {
	k.t.Helper()
	r, err := k.engine.Accept(k.t.Context(), events)
	if err != nil {
		k.t.Fatal(err)
	}
	got, err := r.Wait(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return got
}

func (k *kit) deliveries(q storage.Query) []storage.DeliveryInfo {
	k.t.Helper()
	if err := k.store.Flush(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
	page, err := k.store.Deliveries(k.t.Context(), q)
	if err != nil {
		k.t.Fatal(err)
	}
	return page.Deliveries
}

// state returns how many deliveries are in each state.
func (k *kit) states() map[sidehook.DeliveryState]int {
	k.t.Helper()
	n := map[sidehook.DeliveryState]int{}
	for _, d := range k.deliveries(storage.Query{Limit: storage.MaxLimit}) {
		n[d.State]++
	}
	return n
}

func (k *kit) want(what string, got, want any) {
	k.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// contextWithin is a context of its own that ends after d.
func contextWithin(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
