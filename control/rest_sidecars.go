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
	Stale           bool            `json:"stale" doc:"Its configuration comes from its disk"`
	SnapshotVersion string          `json:"snapshot_version"`
	Rejections      []rejectionView `json:"rejections" nullable:"false" doc:"Resources that it refused"`
	Pending         uint64          `json:"pending" doc:"Deliveries that are not finished"`
	OldestAge       string          `json:"oldest_age" doc:"Age of the oldest of them, as in 1m30s"`
	Delivered       uint64          `json:"delivered" doc:"Since its start"`
	Dead            uint64          `json:"dead" doc:"Since its start"`
	FailedAttempts  uint64          `json:"failed_attempts" doc:"Since its start"`
}

func viewOfSidecar(s *Sidecar) sidecarView {
	v := sidecarView{
		ID: s.ID, TokenID: s.Credential, Hostname: s.Hostname, Version: s.Version, Apps: s.Apps, Connected: s.Connected,
		LastSeen: s.LastSeen, Ready: s.Ready, Stale: s.Stale, SnapshotVersion: s.SnapshotVersion,
		Rejections: []rejectionView{}, Pending: s.Pending, OldestAge: s.OldestAge.String(), Delivered: s.Delivered,
		Dead: s.Dead, FailedAttempts: s.FailedAttempts,
	}
	if !s.StartedAt.IsZero() {
		v.StartedAt = &s.StartedAt
	}
	for _, r := range s.Rejections {
		v.Rejections = append(v.Rejections, rejectionView(r))
	}
	return v
}

func (h *rest) registerSidecars() {
	register(h, forAdmin, huma.Operation{
		OperationID: "list-sidecars", Method: http.MethodGet, Path: "/v1/sidecars", Tags: []string{"sidecars"},
		Summary: "List the sidecars that are connected here, or were within a day, by id", Errors: []int{422},
	}, h.listSidecars)
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
