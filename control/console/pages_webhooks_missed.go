package console

import (
	"net/http"
	"net/url"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// missedPart is the id of the part of a webhook's page that offers to replay what was missed.
const missedPart = "missed"

// missedPath is the page of a webhook that was enabled, with the offer to replay what it has missed since it was disabled.
func (v *visit) missedPath(since time.Time) string {
	return v.appPath("webhooks", v.r.PathValue("id")) + "?" + url.Values{missedPart: {utcField(since)}}.Encode()
}

// utcField is a time as readTime reads it, cut to the second.
func utcField(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05") }

// missed counts what the webhook in the path missed; nil for nothing, and when no sidecar can tell: then the webhook's log
// says so.
func (v *visit) missed(since time.Time) *control.Missed {
	missed, err := v.c.fleet.Missed(v.ctx(), v.webhookKey(), since)
	switch {
	case err != nil:
		if !isTrouble(err) {
			v.c.log.WarnContext(v.ctx(), "cannot count what a webhook missed", "path", v.r.URL.Path, "error", err)
		}
		return nil
	case missed.Deliveries == 0:
		return nil
	}
	return missed
}

// addMissed offers to replay what the webhook missed, on the page that enabling it leads to. Other parts of that page are
// fetched without asking the sidecars.
func (v *visit) addMissed(data *webhookPage) {
	since, ok := readTime(v.r.URL.Query().Get(missedPart))
	if !ok || since.IsZero() || data.Status != sidehook.WebhookEnabled || v.r.Method != http.MethodGet ||
		v.isHTMX() && v.r.Header.Get("HX-Target") != missedPart {
		return
	}
	if data.Missed = v.missed(since); data.Missed != nil {
		data.ReplayPath = v.appPath("webhooks", data.ID, "replay") + "?" +
			url.Values{"since": {utcField(since)}, "status": {sidehook.Dropped.String()}}.Encode()
	}
}
