package client

import (
	"context"
	"net/http"
	"time"
)

// Token lets its bearer use the API (kinds admin and app) or get configuration as a sidecar (kind sidecar).
type Token struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"`
	// Apps that it is for; empty for admin.
	Apps      []string  `json:"apps,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	// Token (sht_…) is answered once, by CreateToken.
	Token string `json:"token,omitempty"`
}

// TokenFields are what CreateToken sets.
type TokenFields struct {
	// Kind is admin, app or sidecar.
	Kind string `json:"kind"`
	// Name is for people; required.
	Name string `json:"name"`
	// Apps: exactly one for app, one or more for sidecar, none for admin.
	Apps []string `json:"apps,omitempty"`
}

// CreateToken creates a token; only this answer shows it.
func (c *Client) CreateToken(ctx context.Context, fields TokenFields) (*Token, error) {
	t := new(Token)
	return t, c.do(ctx, http.MethodPost, []string{"tokens"}, nil, fields, t)
}

// Tokens lists the tokens, without the tokens themselves.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) { return all[Token](ctx, c, "tokens") }

// RevokeToken makes a token useless at once.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	if err := names("token", id); err != nil {
		return err
	}
	return c.do(ctx, http.MethodDelete, []string{"tokens", id}, nil, nil, nil)
}
