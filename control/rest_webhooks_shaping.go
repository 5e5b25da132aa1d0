package control

import "github.com/sidehook/sidehook"

// rateLimitView is a rate limit.
type rateLimitView struct {
	PerSecond float64 `json:"per_second" doc:"How many in the long run: 0.001 to 100000" example:"10"`
	Burst     int     `json:"burst,omitempty" doc:"How many at once after a rest: 1 to 100000. Default: per_second, rounded up" example:"20"`
}

// viewShaping shows what orders and bounds deliveries, and since when a webhook is disabled.
func viewShaping(v *webhookView, w *sidehook.Webhook) {
	v.Filter = w.Filter
	v.Ordering, v.HistorySample, v.DisabledCause = string(w.Ordering), w.Sample(), string(w.DisabledCause)
	if !w.RateLimit.IsZero() {
		v.RateLimit = &rateLimitView{w.RateLimit.PerSecond, w.RateLimit.Burst}
	}
	if !w.DisabledAt.IsZero() {
		v.DisabledAt = &w.DisabledAt
	}
}

func (f *webhookFields) patchShaping(p *WebhookPatch) error {
	if ordering := f.Ordering.patch(""); ordering != nil {
		p.Ordering = (*sidehook.Ordering)(ordering)
	}
	p.Filter = f.Filter.patch("")
	p.HistorySample = f.HistorySample.patch(1)
	if !f.RateLimit.sent {
		return nil
	}
	p.RateLimit = new(sidehook.RateLimit)
	if sent := f.RateLimit.value; sent != nil {
		if sent.PerSecond == 0 { // with a burst of 0 it would be the zero value, which means no limit
			return sidehook.Fieldf("rate_limit.per_second", "must be %g to %d", sidehook.MinRatePerSecond, sidehook.MaxRatePerSecond)
		}
		*p.RateLimit = sidehook.RateLimit{PerSecond: sent.PerSecond, Burst: sent.Burst}
	}
	return nil
}
