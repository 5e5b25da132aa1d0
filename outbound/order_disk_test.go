package outbound_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage/badgerstore"
)

// TestOrderOnDisk: the order holds with the store on disk, by the real clock, across restarts with requests in flight.
func TestOrderOnDisk(t *testing.T) {
	const keys, perKey, restarts = 20, 60, 3
	dir := t.TempDir()
	got := newArrivals()
	var mu sync.Mutex
	attempts := make(map[string]int)
	arrived := make(chan struct{}, keys*perKey)
	recv := &receiver{answer: func(_ int, s sent) (int, string, error) {
		id := s.headers["webhook-id"]
		mu.Lock()
		attempts[id]++
		n := attempts[id]
		mu.Unlock()
		switch h := chance(id, n); {
		case h < 1:
			return 0, "", errHang
		case h < 15:
			return 404, "", nil
		}
		got.take(id)
		if n == 1 || chance(id, n-1) < 15 {
			arrived <- struct{}{}
		}
		return 200, "", nil
	}}
	w := webhook("w", inOrder, func(w *sidehook.Webhook) {
		w.RetrySchedule = slices.Repeat([]time.Duration{5 * time.Millisecond, 30 * time.Millisecond}, 20)
	})
	k := &kit{t: t}
	var store *badgerstore.Store
	start := func() {
		var err error
		if store, err = badgerstore.Open(dir, badgerstore.Options{MinFreeBytes: -1}); err != nil {
			t.Fatal(err)
		}
		k.engine = outbound.New(outbound.Options{Store: store, Sender: recv, LocalApps: []string{"demo"}, PerWebhook: 64})
		if err := k.engine.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		k.apply(w)
	}
	stop := func() {
		ctx, cancel := contextWithin(100 * time.Millisecond)
		defer cancel()
		if err := k.engine.Stop(ctx); err != nil && !errors.Is(err, outbound.ErrGivenUp) {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	start()
	for n := range perKey {
		var batch []*sidehook.Event
		for key := range keys {
			batch = append(batch, keyedEvent(fmt.Sprint("k", key), n))
		}
		k.publish(batch...)
		if n%(perKey/restarts) == perKey/restarts-1 {
			stop()
			start()
		}
	}
	// What hangs is given up by a restart, so there are some more until all is there.
	for deadline := time.After(60 * time.Second); ; {
		idle := time.NewTimer(2 * time.Second)
		select {
		case <-arrived:
			idle.Stop()
			continue
		case <-idle.C:
		case <-deadline:
			t.Error("not everything arrived in time")
		}
		if complete(got, keys, perKey) || t.Failed() {
			break
		}
		stop()
		start()
	}
	stop()
	for key := range keys {
		if ns := got.get(fmt.Sprint("k", key)); !slices.IsSorted(ns) || len(ns) != perKey {
			t.Errorf("k%d: %d of %d arrived, as %v", key, len(ns), perKey, ns)
		}
	}
}

func complete(got *arrivals, keys, perKey int) bool {
	for key := range keys {
		if len(got.get(fmt.Sprint("k", key))) < perKey {
			return false
		}
	}
	return true
}
