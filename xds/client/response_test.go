package client_test

import (
	"errors"
	"testing"

	"github.com/sidehook/sidehook/xds"
	"github.com/sidehook/sidehook/xds/client"
)

// TestOnResponse: it is told of refusals and of their end too, which change no Snapshot, and Status has them by then.
func TestOnResponse(t *testing.T) {
	p := newPlane(t, "")
	p.Set("demo", []*xds.Resource{webhook("demo", "x", "X")}, nil)
	opts := quick(dial(t, p.addr, "car demo"))
	opts.Check = func(r *xds.Resource) error {
		if r.Webhook != nil && r.Webhook.ID == "bad" {
			return errors.New("not here")
		}
		return nil
	}
	responses := make(chan struct{}, 100)
	opts.OnResponse = func() { responses <- struct{}{} }
	c := start(t, opts)
	c.next()
	awaitRefused := func(want int) {
		t.Helper()
		for {
			receive(t, responses)
			refused := 0
			for _, r := range c.Resources() {
				if r.Status == client.Nacked {
					refused++
				}
			}
			if refused == want {
				return
			}
		}
	}
	p.Set("demo", []*xds.Resource{webhook("demo", "bad", "bad")}, nil)
	awaitRefused(1)
	p.Set("demo", nil, []string{"apps/demo/webhooks/bad"})
	awaitRefused(0)
}
