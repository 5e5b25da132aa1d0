package control

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
)

// Bounds of what is kept of a sidecar's reports.
const (
	maxTransformers   = 100
	maxReportedHealth = 1000   // of one report
	maxHealth         = 10_000 // webhooks of one sidecar; of more the health is not known
)

// keep notes what a report says; texts are cut, lists bounded.
func (s *sidecarState) keep(r *fleetv1.Report, now time.Time) {
	info := &s.info
	info.LastSeen = now
	info.Ready, info.Draining, info.Stale = r.GetReady(), r.GetDraining(), r.GetStale()
	info.SnapshotVersion = cut(r.GetSnapshotVersion(), maxShortText)
	info.Pending, info.OldestAge = r.GetPending(), 0
	if age := r.GetOldestAge(); age.IsValid() {
		info.OldestAge = max(0, age.AsDuration())
	}
	info.Delivered, info.Dead, info.FailedAttempts = r.GetDelivered(), r.GetDead(), r.GetFailedAttempts()
	info.Rejections = nil
	for _, x := range r.GetRejections()[:min(maxRejections, len(r.GetRejections()))] {
		info.Rejections = append(info.Rejections, Rejection{
			Resource: cut(x.GetResource(), maxLongText), Reason: cut(x.GetReason(), maxLongText),
		})
	}
	info.Transformers = nil
	for _, x := range r.GetTransformers()[:min(maxTransformers, len(r.GetTransformers()))] {
		state, known := transformerStates[x.GetState()]
		if !known || x.GetName() == "" {
			continue
		}
		info.Transformers = append(info.Transformers, TransformerStatus{
			Name: cut(x.GetName(), maxShortText), Version: cut(x.GetVersion(), maxShortText), State: state,
			Error: cut(x.GetError(), maxLongText), Restarts: x.GetRestarts(),
		})
	}
}

var transformerStates = map[fleetv1.TransformerState]TransformerState{
	fleetv1.TransformerState_TRANSFORMER_STATE_IDLE:    TransformerIdle,
	fleetv1.TransformerState_TRANSFORMER_STATE_RUNNING: TransformerRunning,
	fleetv1.TransformerState_TRANSFORMER_STATE_FAILING: TransformerFailing,
	fleetv1.TransformerState_TRANSFORMER_STATE_MISSING: TransformerMissing,
}

// tellsNews reports whether somebody who looks at the sidecar sees a difference, the age of what waits aside, which
// always grows.
func (s *Sidecar) tellsNews(before *Sidecar) bool {
	return s.Ready != before.Ready || s.Draining != before.Draining || s.Stale != before.Stale || s.SnapshotVersion != before.SnapshotVersion ||
		s.Pending != before.Pending || s.Delivered != before.Delivered || s.Dead != before.Dead ||
		s.FailedAttempts != before.FailedAttempts || !slices.Equal(s.Rejections, before.Rejections) ||
		!slices.Equal(s.Transformers, before.Transformers)
}

// keepHealth notes the health of webhooks that the sidecar's credential allows, and reports whether there was any.
func (s *sidecarState) keepHealth(reported []*fleetv1.WebhookHealth) (news bool) {
	if !s.heard {
		s.heard, s.health = true, nil
	}
	for _, x := range reported[:min(maxReportedHealth, len(reported))] {
		k := sidehook.WebhookKey{App: x.GetApp(), ID: x.GetWebhook()}
		if !slices.Contains(s.info.Apps, k.App) || !sidehook.ValidName(k.ID) {
			continue
		}
		if _, known := s.health[k]; !known && len(s.health) >= maxHealth {
			continue
		}
		if s.health == nil {
			s.health = make(map[sidehook.WebhookKey]WebhookHealth)
		}
		s.health[k] = WebhookHealth{
			Delivered: x.GetDelivered(), Dead: x.GetDead(), FailedAttempts: x.GetFailedAttempts(),
			LastSuccess: timeOf(x.GetLastSuccess()), LastFailure: timeOf(x.GetLastFailure()),
			LastError: cut(x.GetLastError(), maxLongText), Paused: cut(x.GetPaused(), maxLongText),
			FilterErrors: x.GetFilterErrors(), LastFilterError: cut(x.GetLastFilterError(), maxLongText),
			FilterErrorAt: timeOf(x.GetLastFilterErrorAt()),
		}
		news = true
	}
	return news
}

// tellHealth passes on how webhooks fare. A failure is logged; the next report of the webhook tells it again.
func (f *Fleet) tellHealth(ctx context.Context, apps []string, reported []*fleetv1.WebhookHealth) {
	if f.opts.Health == nil {
		return
	}
	for _, x := range reported[:min(maxReportedHealth, len(reported))] {
		k := sidehook.WebhookKey{App: x.GetApp(), ID: x.GetWebhook()}
		if !slices.Contains(apps, k.App) || !sidehook.ValidName(k.ID) {
			continue
		}
		if err := f.opts.Health(ctx, k, timeOf(x.GetLastSuccess()), timeOf(x.GetLastFailure())); err != nil {
			f.opts.Logger.ErrorContext(ctx, "cannot note how a webhook fares", "app", k.App, "webhook", k.ID, "error", err)
		}
	}
}

// timeOf is a time that a sidecar sent, zero when it sent none or none that there is.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil || !t.IsValid() {
		return time.Time{}
	}
	return t.AsTime()
}

// WebhookHealth tells how a webhook fares; zero when no sidecar has reported of it. Paused is what a connected sidecar
// says.
func (f *Fleet) WebhookHealth(k sidehook.WebhookKey) WebhookHealth {
	f.mu.Lock()
	defer f.mu.Unlock()
	var sum WebhookHealth
	var paused sidecarKey
	var here map[string]bool // made when it is needed
	for key, state := range f.sidecars {
		h, ok := state.health[k]
		if !ok {
			continue
		}
		if state.stream == nil {
			if here == nil {
				here = f.idsHere()
			}
			if here[key.id] { // with another token it tells the same numbers
				continue
			}
		}
		sum.Delivered += h.Delivered
		sum.Dead += h.Dead
		sum.FailedAttempts += h.FailedAttempts
		sum.FilterErrors += h.FilterErrors
		if h.LastSuccess.After(sum.LastSuccess) {
			sum.LastSuccess = h.LastSuccess
		}
		if h.LastFailure.After(sum.LastFailure) {
			sum.LastFailure, sum.LastError = h.LastFailure, h.LastError
		}
		if h.FilterErrorAt.After(sum.FilterErrorAt) {
			sum.FilterErrorAt, sum.LastFilterError = h.FilterErrorAt, h.LastFilterError
		}
		if h.Paused != "" && state.stream != nil && (sum.Paused == "" || key.compare(paused) < 0) {
			sum.Paused, paused = h.Paused, key
		}
	}
	return sum
}

// idsHere are the ids of the sidecars that are connected. One that went away and is here with another token is the same:
// it shows its token in place of an earlier one. Whoever calls it holds mu.
func (f *Fleet) idsHere() map[string]bool {
	here := make(map[string]bool)
	for key, state := range f.sidecars {
		if state.stream != nil {
			here[key.id] = true
		}
	}
	return here
}
