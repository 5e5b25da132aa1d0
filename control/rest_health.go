package control

import (
	"time"

	"github.com/sidehook/sidehook"
)

// healthView is how a webhook fares, as the sidecars reported since they started.
type healthView struct {
	Delivered      uint64     `json:"delivered" doc:"Deliveries that arrived"`
	Dead           uint64     `json:"dead" doc:"Deliveries that were given up"`
	FailedAttempts uint64     `json:"failed_attempts"`
	LastSuccess    *time.Time `json:"last_success,omitempty" doc:"When an attempt last succeeded"`
	LastFailure    *time.Time `json:"last_failure,omitempty" doc:"When an attempt last failed"`
	LastError      string     `json:"last_error,omitempty" doc:"Why that failed, in plain words"`
	Paused         string     `json:"paused,omitempty" doc:"Why deliveries wait although they are due"`

	FilterErrors      uint64     `json:"filter_errors" doc:"Events that the filter had no answer for; the webhook did not get them"`
	LastFilterError   string     `json:"last_filter_error,omitempty" doc:"What the filter said to the last of them"`
	LastFilterErrorAt *time.Time `json:"last_filter_error_at,omitempty"`
}

// addHealth adds to a webhook how it fares.
func (h *rest) addHealth(v *webhookView) {
	x := h.fleet.WebhookHealth(sidehook.WebhookKey{App: v.App, ID: v.ID})
	v.Health = &healthView{
		Delivered: x.Delivered, Dead: x.Dead, FailedAttempts: x.FailedAttempts, LastSuccess: setTime(x.LastSuccess),
		LastFailure: setTime(x.LastFailure), LastError: x.LastError, Paused: x.Paused,
		FilterErrors: x.FilterErrors, LastFilterError: x.LastFilterError, LastFilterErrorAt: setTime(x.FilterErrorAt),
	}
}
