package console

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// shapingForm is what filters, orders and bounds the deliveries of a webhook, as typed.
type shapingForm struct {
	Filter        string // a CEL expression; empty for none
	InOrder       bool
	RatePerSecond string // empty for no limit
	RateBurst     string // empty for the default
	HistorySample string // in percent; empty for all
}

func shapingOf(w *sidehook.Webhook) shapingForm {
	f := shapingForm{Filter: w.Filter, InOrder: w.Ordering == sidehook.OrderingKey, HistorySample: decimal(w.Sample() * 100)}
	if !w.RateLimit.IsZero() {
		f.RatePerSecond, f.RateBurst = decimal(w.RateLimit.PerSecond), strconv.Itoa(w.RateLimit.Burst)
	}
	return f
}

// decimal writes a number with as many digits as people type.
func decimal(x float64) string { return strconv.FormatFloat(x, 'g', 12, 64) }

func readShaping(posted url.Values) shapingForm {
	text := func(name string) string { return strings.TrimSpace(posted.Get(name)) }
	return shapingForm{
		Filter: text("filter"), InOrder: posted.Get("in_order") == "on", RatePerSecond: text("rate_per_second"), RateBurst: text("rate_burst"),
		HistorySample: text("history_sample"),
	}
}

// patchShaping adds what the form asks for; complain is told of fields that hold no number.
func (f *shapingForm) patchShaping(v *visit, p *control.WebhookPatch, complain func(field, text string)) {
	unread := func(field string) { complain(field, v.t("webhooks.bad-number")) }
	ordering, sample := sidehook.OrderingNone, 1.0
	if f.InOrder {
		ordering = sidehook.OrderingKey
	}
	var limit sidehook.RateLimit
	var err error
	if f.RatePerSecond != "" {
		if limit.PerSecond, err = strconv.ParseFloat(f.RatePerSecond, 64); err != nil || limit.PerSecond == 0 {
			unread("rate_limit.per_second")
		}
	}
	if f.RateBurst != "" {
		if limit.Burst, err = strconv.Atoi(f.RateBurst); err != nil {
			unread("rate_limit.burst")
		}
	}
	if f.HistorySample != "" {
		percent, err := strconv.ParseFloat(f.HistorySample, 64)
		switch {
		case err != nil:
			unread("history_sample")
		case !(percent >= 0 && percent <= 100): // NaN too
			complain("history_sample", v.t("webhooks.bad-percent"))
		}
		sample = percent / 100
	}
	p.Filter, p.Ordering, p.RateLimit, p.HistorySample = &f.Filter, &ordering, &limit, &sample
}

// SamplePercent is the share of successes in the history, for people.
func (p *webhookPage) SamplePercent() string { return decimal(p.Sample()*100) + "%" }
