package client

import (
	"context"
	"net/http"
	"time"
)

// Webhook says who wants which events, and how they are delivered.
type Webhook struct {
	ID             string       `json:"id"`
	App            string       `json:"app"`
	Name           string       `json:"name"`
	URL            string       `json:"url"`
	Headers        []Header     `json:"headers"`
	Events         []string     `json:"events"`
	AutomaticRetry bool         `json:"automatic_retry"`
	Format         string       `json:"format"`
	Signing        Signing      `json:"signing"`
	Transformer    string       `json:"transformer,omitempty"`
	Timeout        string       `json:"timeout,omitempty"` // as "15s"
	RetryPolicy    *RetryPolicy `json:"retry_policy,omitempty"`
	Ordering       string       `json:"ordering"`
	RateLimit      *RateLimit   `json:"rate_limit,omitempty"` // nil: no limit
	Filter         string       `json:"filter,omitempty"`
	HistorySample  float64      `json:"history_sample"`
	Status         string       `json:"status"`
	DisabledReason string       `json:"disabled_reason,omitempty"`
	DisabledCause  string       `json:"disabled_cause,omitempty"` // gone or failing; empty: a person
	DisabledAt     time.Time    `json:"disabled_at,omitzero"`
	CreatedAt      time.Time    `json:"created_at,omitzero"`
	UpdatedAt      time.Time    `json:"updated_at,omitzero"`
	// Secret (whsec_…) is answered once, by CreateWebhook; PublicKey (whpk_…) instead of it when that is what the
	// receiver gets.
	Secret    string `json:"secret,omitempty"`
	PublicKey string `json:"public_key,omitempty"`
	// Missed is answered by EnableWebhook, when there is something.
	Missed *Missed `json:"missed,omitempty"`
	// Health is answered by Webhook and Webhooks.
	Health *Health `json:"health,omitempty"`
}

// Health is how a webhook fares on the sidecars that reported of it, since they started.
type Health struct {
	Delivered      uint64    `json:"delivered"`
	Dead           uint64    `json:"dead"`
	FailedAttempts uint64    `json:"failed_attempts"`
	LastSuccess    time.Time `json:"last_success,omitzero"`
	LastFailure    time.Time `json:"last_failure,omitzero"`
	LastError      string    `json:"last_error,omitempty"`
	Paused         string    `json:"paused,omitempty"` // why deliveries wait although they are due
	// FilterErrors counts events that the filter had no answer for, LastFilterError is what it said to the last of them.
	FilterErrors      uint64    `json:"filter_errors"`
	LastFilterError   string    `json:"last_filter_error,omitempty"`
	LastFilterErrorAt time.Time `json:"last_filter_error_at,omitzero"`
}

// Missed is what a webhook did not get while the control plane had disabled it.
type Missed struct {
	Deliveries int       `json:"deliveries"`
	More       bool      `json:"more,omitempty"` // there are more than that
	Since      time.Time `json:"since"`
}

// Header is added to every request of a webhook.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// RetryPolicy holds the waits before the second, third, … attempt, as "5s".
type RetryPolicy struct {
	Schedule []string `json:"schedule"`
}

// RateLimit bounds the attempts that a webhook gets from one sidecar.
type RateLimit struct {
	PerSecond float64 `json:"per_second"`
	Burst     int     `json:"burst,omitempty"` // 0 for PerSecond, rounded up
}

// Signing is how requests are signed. All but the scheme is for the scheme hmac.
type Signing struct {
	Scheme          string `json:"scheme,omitempty"`
	Algorithm       string `json:"algorithm,omitempty"`
	Encoding        string `json:"encoding,omitempty"`
	Header          string `json:"header,omitempty"`
	Prefix          string `json:"prefix,omitempty"`
	Template        string `json:"template,omitempty"`
	TimestampHeader string `json:"timestamp_header,omitempty"`
}

// WebhookFields are what a person sets. In CreateWebhook nil means the default, in UpdateWebhook it means unchanged.
type WebhookFields struct {
	Name           *string   `json:"name,omitempty"`
	URL            *string   `json:"url,omitempty"`
	Headers        *[]Header `json:"headers,omitempty"`
	Events         *[]string `json:"events,omitempty"`
	AutomaticRetry *bool     `json:"automatic_retry,omitempty"`
	Format         *string   `json:"format,omitempty"`
	Transformer    *string   `json:"transformer,omitempty"`
	Timeout        *string   `json:"timeout,omitempty"`
	// Secret that the receiver has already; for CreateWebhook alone.
	Secret *string `json:"secret,omitempty"`
	// Signing, as a whole; pointing to a nil pointer it is sent as null: as the format says.
	Signing **Signing `json:"signing,omitempty"`
	// RetryPolicy pointing to a nil pointer is sent as null: back to the default schedule.
	RetryPolicy **RetryPolicy `json:"retry_policy,omitempty"`
	Ordering    *string       `json:"ordering,omitempty"`
	// RateLimit pointing to a nil pointer is sent as null: no limit.
	RateLimit     **RateLimit `json:"rate_limit,omitempty"`
	Filter        *string     `json:"filter,omitempty"` // empty: none
	HistorySample *float64    `json:"history_sample,omitempty"`
}

// CreateWebhook creates a webhook; the answer has its first secret.
func (c *Client) CreateWebhook(ctx context.Context, app string, fields WebhookFields) (*Webhook, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	w := new(Webhook)
	return w, c.do(ctx, http.MethodPost, []string{"apps", app, "webhooks"}, nil, fields, w)
}

// Webhooks lists the webhooks of an app, the newest first.
func (c *Client) Webhooks(ctx context.Context, app string) ([]Webhook, error) {
	if err := names("app", app); err != nil {
		return nil, err
	}
	return all[Webhook](ctx, c, "apps", app, "webhooks")
}

// Webhook gets one webhook.
func (c *Client) Webhook(ctx context.Context, app, id string) (*Webhook, error) {
	w := new(Webhook)
	return w, c.webhook(ctx, http.MethodGet, app, id, "", nil, w)
}

// UpdateWebhook changes the fields that are set.
func (c *Client) UpdateWebhook(ctx context.Context, app, id string, fields WebhookFields) (*Webhook, error) {
	w := new(Webhook)
	return w, c.webhook(ctx, http.MethodPatch, app, id, "", fields, w)
}

// DeleteWebhook removes a webhook; its unfinished deliveries are dropped.
func (c *Client) DeleteWebhook(ctx context.Context, app, id string) error {
	return c.webhook(ctx, http.MethodDelete, app, id, "", nil, nil)
}

// EnableWebhook lets a webhook get deliveries again.
func (c *Client) EnableWebhook(ctx context.Context, app, id string) (*Webhook, error) {
	w := new(Webhook)
	return w, c.webhook(ctx, http.MethodPost, app, id, "enable", nil, w)
}

// DisableWebhook keeps new deliveries from a webhook; reason is for people and may be empty.
func (c *Client) DisableWebhook(ctx context.Context, app, id, reason string) (*Webhook, error) {
	in := struct {
		Reason string `json:"reason,omitempty"`
	}{reason}
	w := new(Webhook)
	return w, c.webhook(ctx, http.MethodPost, app, id, "disable", in, w)
}

// Secret is key material of a webhook, or a description of it.
type Secret struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	// NotAfter is when it stops signing; zero for never.
	NotAfter time.Time `json:"not_after,omitzero"`
	// Live says whether it is valid now.
	Live bool `json:"live"`
	// Kind is symmetric, ed25519 or text.
	Kind string `json:"kind"`
	// PublicKey (whpk_…) is what the receiver gets of a key pair.
	PublicKey string `json:"public_key,omitempty"`
	// Secret (whsec_…) is answered once, by RotateSecret.
	Secret string `json:"secret,omitempty"`
}

// RotateSecret makes a new secret. The old ones stay valid for overlap; the server's default when negative.
func (c *Client) RotateSecret(ctx context.Context, app, id string, overlap time.Duration) (*Secret, error) {
	return c.RotateSecretTo(ctx, app, id, overlap, "")
}

// RotateSecretTo is RotateSecret to a secret that the receiver has already; a new one when empty.
func (c *Client) RotateSecretTo(ctx context.Context, app, id string, overlap time.Duration, secret string) (*Secret, error) {
	in := struct {
		Overlap string `json:"overlap,omitempty"`
		Secret  string `json:"secret,omitempty"`
	}{Secret: secret}
	if overlap >= 0 {
		in.Overlap = overlap.String()
	}
	s := new(Secret)
	return s, c.webhook(ctx, http.MethodPost, app, id, "secrets", in, s)
}

// Secrets describes the secrets of a webhook, without their keys, the newest first. There are few, so the list has no
// pages.
func (c *Client) Secrets(ctx context.Context, app, id string) ([]Secret, error) {
	var p page[Secret]
	err := c.webhook(ctx, http.MethodGet, app, id, "secrets", nil, &p)
	return p.Data, err
}

func (c *Client) webhook(ctx context.Context, method, app, id, action string, in, out any) error {
	if err := names("app", app, "webhook", id); err != nil {
		return err
	}
	segments := []string{"apps", app, "webhooks", id}
	if action != "" {
		segments = append(segments, action)
	}
	return c.do(ctx, method, segments, nil, in, out)
}
