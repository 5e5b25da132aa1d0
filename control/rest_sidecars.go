package control

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

type rejectionView struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
}

type sidecarView struct {
	ID              string          `json:"id"`
	TokenID         string          `json:"token_id" doc:"Token that it connected with"`
	Hostname        string          `json:"hostname"`
	Version         string          `json:"version"`
	Apps            []string        `json:"apps" nullable:"false" doc:"Apps that its token allows"`
	StartedAt       *time.Time      `json:"started_at,omitempty"`
	Connected       bool            `json:"connected"`
	LastSeen        time.Time       `json:"last_seen"`
	Ready           bool            `json:"ready" doc:"It has configuration and takes events"`
	Draining        bool            `json:"draining" doc:"It was asked to drain: it refuses events until it is restarted, and delivers what it has"`
	Stale           bool            `json:"stale" doc:"Its configuration comes from its disk"`
	SnapshotVersion string          `json:"snapshot_version"`
	Rejections      []rejectionView `json:"rejections" nullable:"false" doc:"Resources that it refused"`
	Pending         uint64          `json:"pending" doc:"Deliveries that are not finished"`
	OldestAge       string          `json:"oldest_age" doc:"Age of the oldest of them, as in 1m30s"`
	Delivered       uint64          `json:"delivered" doc:"Since its start"`
	Dead            uint64          `json:"dead" doc:"Since its start"`
	FailedAttempts  uint64          `json:"failed_attempts" doc:"Since its start"`
	// Transformers that are installed there, or that its configuration names.
	Transformers []transformerView `json:"transformers" nullable:"false" doc:"That it has installed, or that its configuration names"`
}

type transformerView struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty" doc:"As it says itself, once it has been started"`
	State    string `json:"state" enum:"idle,running,failing,missing" doc:"idle: starts when a delivery needs it; failing: cannot be started now, its webhooks' deliveries wait; missing: named by configuration, but not installed"`
	Error    string `json:"error,omitempty" doc:"Why it is not running"`
	Restarts uint32 `json:"restarts" doc:"Times it was started again after it ended by itself or was ended for hanging"`
}

type sidecarPath struct {
	ID string `path:"id" doc:"Id of the sidecar"`
}

type drainingView struct {
	Pending int `json:"pending" doc:"Deliveries that it has left"`
}

func viewOfSidecar(s *Sidecar) sidecarView {
	v := sidecarView{
		ID: s.ID, TokenID: s.Credential, Hostname: s.Hostname, Version: s.Version, Apps: s.Apps, Connected: s.Connected,
		LastSeen: s.LastSeen, Ready: s.Ready, Draining: s.Draining, Stale: s.Stale, SnapshotVersion: s.SnapshotVersion,
		Rejections: []rejectionView{}, Pending: s.Pending, OldestAge: s.OldestAge.Round(time.Second).String(), Delivered: s.Delivered,
		Dead: s.Dead, FailedAttempts: s.FailedAttempts, Transformers: []transformerView{},
	}
	if !s.StartedAt.IsZero() {
		v.StartedAt = &s.StartedAt
	}
	for _, r := range s.Rejections {
		v.Rejections = append(v.Rejections, rejectionView(r))
	}
	for _, t := range s.Transformers {
		v.Transformers = append(v.Transformers, transformerView{
			Name: t.Name, Version: t.Version, State: string(t.State), Error: t.Error, Restarts: t.Restarts,
		})
	}
	return v
}

func (h *rest) registerSidecars() {
	register(h, forAdmin, huma.Operation{
		OperationID: "list-sidecars", Method: http.MethodGet, Path: "/v1/sidecars", Tags: []string{"sidecars"},
		Summary: "List the sidecars that are connected here, or were within a day, by id", Errors: []int{422},
	}, h.listSidecars)
	register(h, forAdmin, huma.Operation{
		OperationID: "drain-sidecar", Method: http.MethodPost, Path: "/v1/sidecars/{id}/drain", Tags: []string{"sidecars"},
		Summary:       "Make a sidecar refuse events, while it delivers what it has; undone by its restart",
		DefaultStatus: http.StatusAccepted, Errors: []int{404, 409, 502, 503, 504},
	}, func(ctx context.Context, in *sidecarPath) (*body[drainingView], error) {
		pending, err := h.fleet.Drain(ctx, in.ID)
		return &body[drainingView]{drainingView{Pending: pending}}, err
	})
}

func (h *rest) listSidecars(_ context.Context, in *pageQuery) (*body[list[sidecarView]], error) {
	page, next, err := paginate(h.fleet.Sidecars(), in.page(), func(s Sidecar) string { return s.ID + " " + s.Credential })
	if err != nil {
		return nil, err
	}
	out := &body[list[sidecarView]]{list[sidecarView]{Data: []sidecarView{}, NextCursor: next}}
	for i := range page {
		out.Body.Data = append(out.Body.Data, viewOfSidecar(&page[i]))
	}
	return out, nil
}
