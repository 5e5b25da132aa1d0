package outbound_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/outbound/send"
)

// cutSender takes a while for every request, and counts how many it has at once.
type cutSender struct {
	mu        sync.Mutex
	now, most int
	cut       bool
}

func (s *cutSender) Do(_ context.Context, _ *send.Request, _ time.Duration, resp *send.Response) error {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	*resp = send.Response{Status: 200, Truncated: s.cut, Cut: s.cut}
	s.mu.Unlock()
	<-time.After(10 * time.Millisecond)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return nil
}

// during says how many requests there were at once, at most, while answers were cut or were not.
func (s *cutSender) during(cut bool, f func()) int {
	s.mu.Lock()
	s.cut, s.most = cut, 0
	s.mu.Unlock()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// TestCutAnswersGetNoMore: an endpoint whose answers have no end worth waiting for is delivered to, but gets no more at
// once than at first; as soon as they end it gets as much as any other.
func TestCutAnswersGetNoMore(t *testing.T) {
	const first, most, events = 8, 32, 400
	sender := &cutSender{}
	bubble(t, func(k *kit) {
		k.apply(webhook("w"))
		sent := 0
		load := func() {
			batch := make([]*sidehook.Event, events)
			for i := range batch {
				batch[i] = event(fmt.Sprint("e", sent), "a.b")
				sent++
			}
			k.publish(batch...)
			time.Sleep(time.Minute)
			synctest.Wait()
			if c := k.engine.Counts(); c.Delivered != int64(sent) {
				t.Fatalf("%d of %d delivered", c.Delivered, sent)
			}
		}
		if n := sender.during(true, load); n != first {
			t.Errorf("%d at once while answers are cut, want %d", n, first)
		}
		if n := sender.during(false, load); n != most {
			t.Errorf("%d at once while they are not, want %d", n, most)
		}
		sender.during(true, load)
		if n := sender.during(true, load); n != first {
			t.Errorf("%d at once when they are cut again, want %d", n, first)
		}
	}, func(o *outbound.Options) { o.Sender, o.PerWebhook = sender, most })
}
