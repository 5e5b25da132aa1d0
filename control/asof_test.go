package control_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func TestUpdateRestsOnWhatWasSeen(t *testing.T) {
	p := newPlane(t)
	p.makeApp("shop")
	id, _ := p.makeWebhook("shop", "first")
	key := sidehook.WebhookKey{App: "shop", ID: id}
	seen, err := p.svc.GetWebhook(t.Context(), key)
	p.check(err)
	name := "second"
	changed, err := p.svc.UpdateWebhookWith(t.Context(), key, control.WebhookPatch{Name: &name}, control.WebhookExtras{AsOf: seen.UpdatedAt})
	p.check(err)
	if changed.Name != "second" {
		t.Errorf("name is %q", changed.Name)
	}
	name = "third"
	for _, asOf := range []time.Time{seen.UpdatedAt, changed.UpdatedAt.Add(time.Microsecond)} {
		_, err := p.svc.UpdateWebhookWith(t.Context(), key, control.WebhookPatch{Name: &name}, control.WebhookExtras{AsOf: asOf})
		if !errors.Is(err, control.ErrChanged) {
			t.Errorf("an update that rests on %s gave %v", asOf, err)
		}
	}
	if now, err := p.svc.GetWebhook(t.Context(), key); err != nil || now.Name != "second" {
		t.Errorf("the webhook is %+v, %v", now, err)
	}
}
