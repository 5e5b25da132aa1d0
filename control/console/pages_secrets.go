package console

import (
	"slices"
	"time"
)

func (c *Console) secretRoutes() {
	one := Root + "apps/{app}/webhooks/{id}/secrets"
	c.handle("POST "+one+"/reveal", forApp, (*visit).revealSecret)
	c.handle("POST "+one, forApp, (*visit).rotateSecret)
}

// overlaps are how long an old secret may go on beside a new one.
var overlaps = []string{"24h", "1h", "72h", "168h", "0s"}

func (v *visit) revealSecret() error {
	key, err := v.c.svc.RevealKey(v.ctx(), v.webhookKey())
	if err != nil {
		return err
	}
	v.c.log.InfoContext(v.ctx(), "secret shown in the console", "app", v.app.ID, "webhook", v.r.PathValue("id"), "token", v.token.ID)
	return v.showWebhook(key.Reveal())
}

func (v *visit) rotateSecret() error {
	text := v.r.PostForm.Get("overlap")
	overlap, err := time.ParseDuration(text)
	if err != nil || !slices.Contains(overlaps, text) {
		return errBadForm
	}
	own := v.appPath("webhooks", v.r.PathValue("id"))
	if ok, err := v.confirmed(v.t("secrets.confirm-rotate"), own); !ok {
		return err
	}
	_, _, err = v.c.svc.RotateSecret(v.ctx(), v.webhookKey(), overlap)
	if found := v.problems(err); found != nil {
		return v.renderWebhook(found.Code, &webhookPage{Problems: found})
	}
	if err != nil {
		return err
	}
	return v.done(own+"#secrets", "done.rotated")
}
