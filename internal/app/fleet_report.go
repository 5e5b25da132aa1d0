package app

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/plugin/host"
	"github.com/sidehook/sidehook/xds"
)

// Bounds of a report.
const (
	maxReported       = 100
	maxHealthReported = 1000
	maxReportedText   = 1024 // bytes
)

// newReporter makes the reports of one stream.
func (s *Sidecar) newReporter() reporter {
	f := &fleetReporter{s: s, health: s.engine.HealthChanges()}
	return f.report
}

// fleetReporter says how the sidecar is. What takes looking through the whole configuration is kept from the report
// before while only numbers change.
type fleetReporter struct {
	s          *Sidecar
	health     *outbound.HealthChanges
	rejections []*fleetv1.Rejection
	snapshot   *xds.Snapshot // that named is of
	named      []string      // transformers
}

// settleWithin bounds the wait for what was counted to be in the history.
const settleWithin = time.Second

func (f *fleetReporter) report(ctx context.Context, fresh bool) (*fleetv1.Report, bool) {
	s := f.s
	// Who hears of new numbers may ask for the deliveries behind them at once: what is counted here was submitted before
	// the flush. Trouble of the store is told by others.
	counts := s.engine.Counts()
	flushCtx, cancel := context.WithTimeout(ctx, settleWithin)
	_ = s.store.Flush(flushCtx)
	cancel()
	stats := s.store.Stats()
	draining := s.draining.Load()
	r := &fleetv1.Report{
		Ready: s.engine.Ready() && !draining, Draining: draining, Pending: uint64(max(0, stats.Pending)),
		Delivered: uint64(counts.Delivered), Dead: uint64(counts.Dead), FailedAttempts: uint64(counts.Failed),
	}
	snap := s.engine.Snapshot()
	if snap != nil {
		r.Stale, r.SnapshotVersion = snap.Stale, snap.Version
	}
	if !stats.OldestPending.IsZero() {
		r.OldestAge = durationpb.New(time.Since(stats.OldestPending))
	}
	if fresh {
		f.rejections = rejectionsProto(s.source.rejections())
	}
	r.Rejections = f.rejections
	for _, g := range firstOf(s.engine.Gone(), maxReported) {
		r.Gone = append(r.Gone, &fleetv1.GoneWebhook{App: g.Key.App, Webhook: g.Key.ID, At: timestamppb.New(g.GoneAt)})
	}
	r.Transformers = f.transformers(snap)
	health, more := f.health.Next(maxHealthReported)
	for i := range health {
		r.Webhooks = append(r.Webhooks, healthProto(&health[i]))
	}
	return r, more
}

func firstOf[T any](list []T, limit int) []T { return list[:min(limit, len(list))] }

func rejectionsProto(list []rejection) []*fleetv1.Rejection {
	var out []*fleetv1.Rejection
	for _, rej := range firstOf(list, maxReported) {
		out = append(out, &fleetv1.Rejection{Resource: plain(rej.Resource), Reason: plain(rej.Reason)})
	}
	return out
}

func healthProto(h *outbound.WebhookHealth) *fleetv1.WebhookHealth {
	return &fleetv1.WebhookHealth{
		App: h.Key.App, Webhook: h.Key.ID, Delivered: uint64(h.Delivered), Dead: uint64(h.Dead),
		FailedAttempts: uint64(h.FailedAttempts), LastSuccess: optionalTimestamp(h.LastSuccess),
		LastFailure: optionalTimestamp(h.LastFailure), LastError: cutText(h.LastError, maxReportedText),
		Paused: cutText(h.Paused, maxReportedText), FilterErrors: uint64(h.FilterErrors),
		LastFilterError: cutText(h.LastFilterError, maxReportedText), LastFilterErrorAt: optionalTimestamp(h.FilterErrorAt),
	}
}

// transformers tells of those that are installed, and of those that configuration names and are not.
func (f *fleetReporter) transformers(snap *xds.Snapshot) []*fleetv1.TransformerStatus {
	var out []*fleetv1.TransformerStatus
	for _, st := range f.s.plugins.Status() {
		out = append(out, transformerProto(&st))
	}
	if snap != f.snapshot {
		f.snapshot, f.named = snap, namedTransformers(snap)
	}
	for _, name := range f.named {
		if !f.s.plugins.Installed(name) {
			out = append(out, &fleetv1.TransformerStatus{
				Name: name, State: fleetv1.TransformerState_TRANSFORMER_STATE_MISSING, Error: "it is not installed on this sidecar",
			})
		}
	}
	return firstOf(out, maxReported)
}

func transformerProto(st *host.Status) *fleetv1.TransformerStatus {
	t := &fleetv1.TransformerStatus{
		Name: st.Name, Version: plain(st.Version), Restarts: uint32(max(0, st.Restarts)),
	}
	switch {
	case st.State == host.Running:
		t.State = fleetv1.TransformerState_TRANSFORMER_STATE_RUNNING
	case st.Failures > 0 || st.State == host.Backoff:
		t.State = fleetv1.TransformerState_TRANSFORMER_STATE_FAILING
		t.Error = cutText(st.LastError, maxReportedText)
	default:
		t.State = fleetv1.TransformerState_TRANSFORMER_STATE_IDLE
	}
	return t
}

// namedTransformers lists the transformers that the configuration names, sorted.
func namedTransformers(snap *xds.Snapshot) []string {
	if snap == nil {
		return nil
	}
	var names []string
	for _, id := range snap.Apps() {
		app := snap.App(id)
		for name := range app.Transformers {
			names = append(names, name)
		}
		for _, w := range app.Webhooks {
			if w.Transformer != "" {
				names = append(names, w.Transformer)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
