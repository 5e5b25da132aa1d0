package outbound_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/send"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// okSender takes every request at once.
type okSender struct{ arrived chan struct{} }

func (s okSender) Do(_ context.Context, _ *send.Request, _ time.Duration, resp *send.Response) error {
	*resp = send.Response{Status: 200}
	s.arrived <- struct{}{}
	return nil
}

// BenchmarkOrder is what an event costs from publish to its request, with the store on disk and an endpoint that answers at
// once, while 2,000 are under way. With one key each waits for the commit of the one before it.
func BenchmarkOrder(b *testing.B) {
	b.Run("unordered", func(b *testing.B) { benchmarkOrder(b, webhook("w"), 10_000) })
	for _, keys := range []int{1, 64, 1000, 10_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkOrder(b, webhook("w", inOrder), keys) })
	}
}

func benchmarkOrder(b *testing.B, w *sidehook.Webhook, keys int) {
	const underWay, batch = 2000, 100
	store, err := badgerstore.Open(b.TempDir(), badgerstore.Options{MinFreeBytes: -1})
	if err != nil {
		b.Fatal(err)
	}
	arrived := make(chan struct{}, underWay+batch)
	engine := outbound.New(outbound.Options{Store: store, Sender: okSender{arrived}, LocalApps: []string{"demo"}})
	if err := engine.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	key, err := sidehook.KeyFromBytes([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		b.Fatal(err)
	}
	if err := engine.Apply(snapshot([]*sidehook.Webhook{w}, []*sidehook.Secret{{App: w.App, Webhook: w.ID, ID: "s1", Key: key}})); err != nil {
		b.Fatal(err)
	}
	published, out := 0, 0
	publish := func(n int) {
		events := make([]*sidehook.Event, n)
		for i := range events {
			events[i] = event(fmt.Sprintf("e-%09d", published), "a.b")
			events[i].OrderingKey = fmt.Sprint("k", published%keys)
			published++
		}
		r, err := engine.Accept(b.Context(), events)
		if err == nil {
			_, err = r.Wait(b.Context())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	arrive := func(until int) {
		for out < until {
			<-arrived
			out++
		}
	}
	publish(batch) // the endpoint has shown that it works
	arrive(batch)
	b.ReportAllocs()
	b.ResetTimer()
	began := cpuTime(b)
	for left := b.N; left > 0; {
		arrive(published - underWay)
		n := min(left, batch)
		publish(n)
		left -= n
	}
	arrive(published)
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
	ctx, cancel := contextWithin(10 * time.Second)
	defer cancel()
	if err := engine.Stop(ctx); err != nil {
		b.Error(err)
	}
	if err := store.Close(); err != nil {
		b.Error(err)
	}
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
