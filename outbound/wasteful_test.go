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
	last      time.Time
}

func (s *cutSender) Do(_ context.Context, _ *send.Request, _ time.Duration, resp *send.Response) error {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.last = time.Now()
	*resp = send.Response{Status: 200, Truncated: s.cut, Cut: s.cut}
	s.mu.Unlock()
	<-time.After(10 * time.Millisecond)
	s.mu.Lock()
	s.now--
	s.mu.Unlock()
	return nil
}

// during says how many requests there were at once, at most, and how long they took all together, while answers were
// cut or were not.
func (s *cutSender) during(cut bool, f func()) (most int, took time.Duration) {
	s.mu.Lock()
	s.cut, s.most = cut, 0
	s.mu.Unlock()
	began := time.Now()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most, s.last.Sub(began)
}

// TestCutAnswersGetNoMore: an endpoint whose answers have no end worth waiting for is delivered to, but gets no more at
// once than at first, and a hundred a second; as soon as they end it gets as much as any other.
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
		slow := (events - 2*first) * time.Second / 100
		if n, took := sender.during(true, load); n != first || took < slow || took > slow+time.Second {
			t.Errorf("%d at once in %s while answers are cut, want %d in %s", n, took, first, slow)
		}
		sender.during(false, load) // the first of them knows of the others no better
		if n, took := sender.during(false, load); n != most || took > time.Second {
			t.Errorf("%d at once in %s while they are not, want %d at full speed", n, took, most)
		}
		sender.during(true, load)
		if n, took := sender.during(true, load); n != first || took < slow {
			t.Errorf("%d at once in %s when they are cut again, want %d in %s", n, took, first, slow)
		}
	}, func(o *outbound.Options) { o.Sender, o.PerWebhook = sender, most })
}
