package client

import (
	"context"
	"net/http"
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
	Draining        bool        `json:"draining"`
	Stale           bool        `json:"stale"`
	SnapshotVersion string      `json:"snapshot_version"`
	Pending         uint64      `json:"pending"`
	OldestAge       string      `json:"oldest_age,omitempty"` // as "1m30s"
	Rejections      []Rejection `json:"rejections,omitempty"`
	LastSeen        time.Time   `json:"last_seen,omitzero"`
	// Transformers that it has installed or that its configuration names.
	Transformers []Transformer `json:"transformers,omitempty"`
}

// Transformer is how one fares on a sidecar: idle, running, failing or missing.
type Transformer struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	State    string `json:"state"`
	Error    string `json:"error,omitempty"`
	Restarts uint32 `json:"restarts"`
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

// Drain makes a sidecar refuse events while it delivers what it has, and returns how many deliveries that are.
func (c *Client) Drain(ctx context.Context, sidecar string) (pending int, err error) {
	if err := names("sidecar", sidecar); err != nil {
		return 0, err
	}
	var out struct {
		Pending int `json:"pending"`
	}
	err = c.do(ctx, http.MethodPost, []string{"sidecars", sidecar, "drain"}, nil, nil, &out)
	return out.Pending, err
}
