package control

import (
	"cmp"

	"github.com/sidehook/sidehook"
)

// rateRecord is a rate limit as it is stored.
type rateRecord struct {
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst"`
}

// shapingToRecord notes what orders and bounds deliveries, and since when a webhook is disabled.
func shapingToRecord(r *webhookRecord, w *sidehook.Webhook) {
	r.DisabledCause, r.DisabledAt = string(w.DisabledCause), w.DisabledAt
	r.Filter, r.HistorySample = w.Filter, w.HistorySample
	if w.Ordering != sidehook.OrderingNone {
		r.Ordering = string(w.Ordering)
	}
	if !w.RateLimit.IsZero() {
		r.RateLimit = &rateRecord{w.RateLimit.PerSecond, w.RateLimit.Burst}
	}
}

func shapingOfRecord(w *sidehook.Webhook, r *webhookRecord) {
	w.DisabledCause, w.DisabledAt = sidehook.DisabledCause(r.DisabledCause), r.DisabledAt
	w.Filter, w.HistorySample = r.Filter, r.HistorySample
	w.Ordering = cmp.Or(sidehook.Ordering(r.Ordering), sidehook.OrderingNone)
	if r.RateLimit != nil {
		w.RateLimit = sidehook.RateLimit{PerSecond: r.RateLimit.PerSecond, Burst: r.RateLimit.Burst}
	}
}
