package control_test

import (
	"context"
	"testing"
)

func TestChangesTellWhoFollowsTheApp(t *testing.T) {
	p := newPlane(t)
	p.makeApp("shop")
	p.makeApp("other")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shop, other, all := p.svc.Changes(ctx, "shop"), p.svc.Changes(ctx, "other"), p.svc.Changes(ctx, "")
	p.makeWebhook("shop", "first") // the answer comes after the change was handed over
	p.makeWebhook("shop", "second")
	// The feed tells after it has handed over; that of the other app comes behind it.
	p.makeWebhook("other", "first")
	for _, ch := range []<-chan struct{}{shop, other, all} {
		if _, ok := <-ch; !ok {
			t.Fatal("the channel is closed")
		}
	}
	p.makeWebhook("other", "second")
	<-other
	select {
	case <-shop: // what was left of the two before
	default:
	}
	p.makeWebhook("other", "third")
	<-other
	select {
	case <-shop:
		t.Error("a change of another app was told")
	default:
	}
	cancel()
	for range shop { // ends when it is closed
	}
}

func TestChangesEndWithTheService(t *testing.T) {
	p := newPlane(t)
	ch := p.svc.Changes(t.Context(), "shop")
	p.check(p.svc.Close())
	for range ch {
	}
	if _, ok := <-p.svc.Changes(t.Context(), "shop"); ok {
		t.Error("a closed service tells changes")
	}
}
