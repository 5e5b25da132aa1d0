package client

import (
	"context"
	"net/http"
	"time"
)

// App owns webhooks and events.
type App struct {
	ID          string    `json:"id"`
	DisplayName string    `json:"display_name"`
	HTTPSOnly   bool      `json:"https_only"`
	Publish     string    `json:"publish,omitempty"` // "lenient" or "strict"
	CreatedAt   time.Time `json:"created_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
}

// AppSettings are what PutApp sets.
type AppSettings struct {
	// DisplayName is for people.
	DisplayName string `json:"display_name,omitempty"`
	// HTTPSOnly refuses webhooks with http:// URLs.
	HTTPSOnly bool `json:"https_only"`
	// Publish is "lenient" (default) or "strict": refuse events whose type is not in the app's catalogue.
	Publish string `json:"publish,omitempty"`
}

// PutApp creates an app or replaces its settings.
func (c *Client) PutApp(ctx context.Context, id string, settings AppSettings) (*App, error) {
	if err := names("app", id); err != nil {
		return nil, err
	}
	app := new(App)
	return app, c.do(ctx, http.MethodPut, []string{"apps", id}, nil, settings, app)
}

// Apps lists the apps that the token may see.
func (c *Client) Apps(ctx context.Context) ([]App, error) { return all[App](ctx, c, "apps") }

// DeleteApp removes an app that has no webhooks.
func (c *Client) DeleteApp(ctx context.Context, id string) error {
	if err := names("app", id); err != nil {
		return err
	}
	return c.do(ctx, http.MethodDelete, []string{"apps", id}, nil, nil, nil)
}
