package xds

import (
	"math"

	"github.com/sidehook/sidehook"
	configv1 "github.com/sidehook/sidehook/api/config/v1"
	"github.com/sidehook/sidehook/xds/filter"
)

// CheckFilter reports why a webhook's filter cannot be compiled, as a *sidehook.FieldError of the field filter.
func CheckFilter(w *sidehook.Webhook) error {
	if w.Filter == "" {
		return nil
	}
	_, err := filter.Compile(w.Filter)
	return sidehook.Under("filter", err)
}

var orderings = map[configv1.Ordering]sidehook.Ordering{
	configv1.Ordering_ORDERING_UNSPECIFIED: sidehook.OrderingNone,
	configv1.Ordering_ORDERING_NONE:        sidehook.OrderingNone,
	configv1.Ordering_ORDERING_KEY:         sidehook.OrderingKey,
}

var disabledCauses = map[configv1.DisabledCause]sidehook.DisabledCause{
	configv1.DisabledCause_DISABLED_CAUSE_UNSPECIFIED: sidehook.DisabledByPerson,
	configv1.DisabledCause_DISABLED_CAUSE_GONE:        sidehook.DisabledByGone,
	configv1.DisabledCause_DISABLED_CAUSE_FAILING:     sidehook.DisabledByFailing,
}

// shapingFromProto reads what orders and bounds deliveries.
func shapingFromProto(w *sidehook.Webhook, m *configv1.Webhook) error {
	var known bool
	if w.Ordering, known = orderings[m.GetOrdering()]; !known {
		return sidehook.Fieldf("ordering", "is unknown")
	}
	if w.DisabledCause, known = disabledCauses[m.GetDisabledCause()]; !known {
		return sidehook.Fieldf("disabled_cause", "is unknown")
	}
	var err error
	if w.DisabledAt, err = timeFromProto("disabled_at", m.GetDisabledAt()); err != nil {
		return err
	}
	if l := m.GetRateLimit(); l != nil {
		if l.GetPerSecond() == 0 {
			return sidehook.Fieldf("rate_limit.per_second", "must be %g to %d", sidehook.MinRatePerSecond, sidehook.MaxRatePerSecond)
		}
		w.RateLimit = sidehook.RateLimit{PerSecond: l.GetPerSecond(), Burst: int(min(l.GetBurst(), math.MaxInt32))}
	}
	w.Filter, w.HistorySample = m.GetFilter(), m.HistorySample
	return nil
}

func shapingToProto(m *configv1.Webhook, w *sidehook.Webhook) {
	if w.Ordering == sidehook.OrderingKey {
		m.Ordering = configv1.Ordering_ORDERING_KEY
	}
	for wire, cause := range disabledCauses {
		if cause == w.DisabledCause {
			m.DisabledCause = wire
		}
	}
	m.DisabledAt = timeToProto(w.DisabledAt)
	if !w.RateLimit.IsZero() {
		m.RateLimit = &configv1.RateLimit{PerSecond: w.RateLimit.PerSecond, Burst: uint32(max(0, w.RateLimit.Burst))}
	}
	m.Filter, m.HistorySample = w.Filter, w.HistorySample
}
