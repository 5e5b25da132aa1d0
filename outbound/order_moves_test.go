package outbound_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

// slowCommits is a store of which every commit takes a while. It counts what is put back.
type slowCommits struct {
	storage.Store
	takes time.Duration
	moved atomic.Int64
}

func (s *slowCommits) Record(ctx context.Context, results []storage.Result) error {
	results = slices.Clone(results)
	go func() {
		<-time.After(s.takes)
		_ = s.Store.Record(ctx, results)
	}()
	return nil
}

func (s *slowCommits) Unclaim(ctx context.Context, back []storage.Unclaimed) error {
	s.moved.Add(int64(len(back)))
	<-time.After(s.takes)
	return s.Store.Unclaim(ctx, back)
}

// TestOrderUsesItsTurns: with thousands under way for a few keys, more than memory has room for, every key has its next
// delivery at hand when its turn comes, and what has no room is not read and put back over and over again.
func TestOrderUsesItsTurns(t *testing.T) {
	const underWay, commit = 2000, 5 * time.Millisecond
	for _, keys := range []int{1, 64, 1000} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			store := &slowCommits{takes: commit}
			bubble(t, func(k *kit) {
				total := min(12_000, 4000+keys*100)
				arrived := make(chan struct{}, total)
				got := newArrivals()
				k.recv.answer = func(_ int, s sent) (int, string, error) {
					got.take(s.headers["webhook-id"])
					arrived <- struct{}{}
					return 200, "", nil
				}
				k.apply(webhook("w", inOrder))
				start, out := time.Now(), 0
				for published := 0; published < total; {
					var batch []*sidehook.Event
					for range 100 {
						batch = append(batch, keyedEvent(fmt.Sprint("k", published%keys), published))
						published++
					}
					for ; out < published-underWay; out++ {
						<-arrived
					}
					k.publish(batch...)
					synctest.Wait()
					if n := k.engine.Webhooks()[0].InMemory; n > 1024+64+256 {
						t.Fatalf("%d deliveries are in memory", n)
					}
				}
				for ; out < total; out++ {
					<-arrived
				}
				// Each turn of a key takes a commit.
				if took, least := time.Since(start), time.Duration(total/keys)*commit; took > least*5/4+100*time.Millisecond {
					t.Errorf("%d deliveries of %d keys took %s, with every turn used %s", total, keys, took, least)
				}
				if n := store.moved.Load(); n > int64(12*total) {
					t.Errorf("%d deliveries were put back %d times", total, n)
				}
				k.wait(time.Second) // for the last commits
			}, func(o *outbound.Options) {
				store.Store = o.Store
				o.Store = store
			})
		})
	}
}
