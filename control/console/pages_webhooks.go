package console

import (
	"net/http"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func (c *Console) webhookRoutes() {
	c.addTab("webhooks", "tab.webhooks")
	all := Root + "apps/{app}/webhooks"
	one := all + "/{id}"
	c.handle("GET "+all, forApp, (*visit).listWebhooks)
	c.handle("GET "+all+"/new", forApp, (*visit).newWebhook)
	c.handle("POST "+all, forApp, (*visit).createWebhook)
	c.handle("GET "+one, forApp, func(v *visit) error { return v.showWebhook("") })
	c.handle("GET "+one+"/edit", forApp, (*visit).editWebhook)
	c.handle("POST "+one+"/edit", forApp, (*visit).updateWebhook)
	c.handle("POST "+one+"/enable", forApp, (*visit).enableWebhook)
	c.handle("POST "+one+"/disable", forApp, (*visit).disableWebhook)
	c.handle("POST "+one+"/delete", forApp, (*visit).deleteWebhook)
}

// webhookKey is that of the webhook in the path.
func (v *visit) webhookKey() sidehook.WebhookKey {
	return sidehook.WebhookKey{App: v.app.ID, ID: v.r.PathValue("id")}
}

func (v *visit) webhook() (*sidehook.Webhook, error) {
	return v.c.svc.GetWebhook(v.ctx(), v.webhookKey())
}

// webhookList is the data of webhooks.html.
type webhookList struct {
	paging
	Webhooks []*sidehook.Webhook
}

func (v *visit) listWebhooks() error {
	all, err := v.c.svc.AllWebhooks(v.ctx(), v.app.ID)
	if err != nil {
		return err
	}
	var data webhookList
	data.paging, data.Webhooks = pageOf(v, all, pageRows, pageLink)
	return v.render(http.StatusOK, "webhooks", data)
}

// webhookPage is the data of webhook.html.
type webhookPage struct {
	*sidehook.Webhook
	Health  control.WebhookHealth
	Secrets []control.SecretInfo
	// Missed is what the webhook did not get before it was enabled, when that can be replayed at ReplayPath.
	Missed     *control.Missed
	ReplayPath string
	// Key is the newest secret, when it was asked to be shown.
	Key      string
	Overlaps []string
	Problems *problems
}

// showWebhook shows a webhook; key, if any, is the secret that the reader asked to see.
func (v *visit) showWebhook(key string) error {
	data := webhookPage{Key: key}
	return v.renderWebhook(http.StatusOK, &data)
}

func (v *visit) renderWebhook(code int, data *webhookPage) (err error) {
	if data.Webhook, err = v.webhook(); err != nil {
		return err
	}
	if data.Secrets, err = v.c.svc.ListSecrets(v.ctx(), v.webhookKey()); err != nil {
		return err
	}
	data.Health = v.c.fleet.WebhookHealth(v.webhookKey())
	data.Overlaps = overlaps
	v.addMissed(data)
	return v.render(code, "webhook", data)
}

func (v *visit) enableWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	if ok, err := v.confirmed(v.t("webhooks.confirm-enable", "Name", w.Name), v.backTo()); !ok {
		return err
	}
	if _, err := v.c.svc.EnableWebhook(v.ctx(), v.webhookKey()); err != nil {
		return err
	}
	if w.MissesEvents() && v.missed(w.DisabledAt) != nil {
		return v.done(v.missedPath(w.DisabledAt), "done.enabled")
	}
	return v.done(v.backTo(), "done.enabled")
}

func (v *visit) disableWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	if ok, err := v.confirmed(v.t("webhooks.confirm-disable", "Name", w.Name), v.backTo()); !ok {
		return err
	}
	if _, err := v.c.svc.DisableWebhook(v.ctx(), v.webhookKey(), ""); err != nil {
		return err
	}
	return v.done(v.backTo(), "done.disabled")
}

func (v *visit) deleteWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	if ok, err := v.confirmed(v.t("webhooks.confirm-delete", "Name", w.Name), v.backTo()); !ok {
		return err
	}
	if err := v.c.svc.DeleteWebhook(v.ctx(), v.webhookKey()); err != nil {
		return err
	}
	return v.done(v.appPath("webhooks"), "done.deleted")
}

// backTo is the page that a webhook's action was asked for on: its own, or the list.
func (v *visit) backTo() string {
	if v.r.PostForm.Get("from") == "webhook" {
		return v.appPath("webhooks", v.r.PathValue("id"))
	}
	return v.appPath("webhooks")
}
