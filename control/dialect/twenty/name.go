package twenty

import (
	"context"
	"net/url"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect/naming"
)

// createNamed creates a webhook under a name that is free: Twenty's have none. It is made of the description, or else of
// the URL's host.
func (h *handler) createNamed(ctx context.Context, spec sidehook.Webhook, description *string, extras control.WebhookExtras) (w *sidehook.Webhook, err error) {
	base := ""
	if description != nil {
		base = naming.Plain(*description)
	}
	if u, err := url.Parse(spec.URL); base == "" && err == nil {
		base = naming.Plain(u.Hostname())
	}
	if base == "" {
		base = "Webhook"
	}
	err = naming.Free(base, func(name string) error {
		spec.Name = name
		w, _, err = h.svc.CreateWebhookWith(ctx, spec, extras)
		return err
	})
	return w, err
}
