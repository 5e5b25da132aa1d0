package client

import (
	"context"
	"time"
)

// Sidecar is what the control plane knows of one.
type Sidecar struct {
	ID              string      `json:"id"`
	Hostname        string      `json:"hostname"`
	Version         string      `json:"version"`
	Apps            []string    `json:"apps"`
	Connected       bool        `json:"connected"`
	Ready           bool        `json:"ready"`
	Stale           bool        `json:"stale"`
	SnapshotVersion string      `json:"snapshot_version"`
	Pending         uint64      `json:"pending"`
	OldestAge       string      `json:"oldest_age,omitempty"` // as "1m30s"
	Rejections      []Rejection `json:"rejections,omitempty"`
	LastSeen        time.Time   `json:"last_seen,omitzero"`
}

// Rejection is a piece of configuration that a sidecar refused.
type Rejection struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
}

// Sidecars lists the sidecars that have reported.
func (c *Client) Sidecars(ctx context.Context) ([]Sidecar, error) {
	return all[Sidecar](ctx, c, "sidecars")
}
