package control

import (
	"time"

	"github.com/sidehook/sidehook"
)

// enable lets a webhook get deliveries; false when it did.
func enable(w *sidehook.Webhook) bool {
	if w.Status == sidehook.WebhookEnabled {
		return false
	}
	w.Status = sidehook.WebhookEnabled
	settleStatus(w, time.Time{})
	return true
}

// disable keeps deliveries from a webhook. A disabled one stays as it is, and it returns false.
func disable(w *sidehook.Webhook, reason string, cause sidehook.DisabledCause, at time.Time) bool {
	if w.Status == sidehook.WebhookDisabled {
		return false
	}
	w.Status, w.DisabledReason, w.DisabledCause, w.DisabledAt = sidehook.WebhookDisabled, reason, cause, at
	return true
}

// settleStatus makes what is said about being disabled fit a status that was set at the given time.
func settleStatus(w *sidehook.Webhook, at time.Time) {
	switch {
	case w.Status != sidehook.WebhookDisabled:
		w.DisabledReason, w.DisabledCause, w.DisabledAt = "", sidehook.DisabledByPerson, time.Time{}
	case w.DisabledAt.IsZero():
		w.DisabledAt = at
	}
}
