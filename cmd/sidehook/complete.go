package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// completeWait bounds how long a Tab may take.
const completeWait = time.Second

// ask connects and offers what find gives, nothing when the control plane cannot be asked.
func (r *remote) ask(cmd *cobra.Command, find func(context.Context, *client.Client) ([]cobra.Completion, error)) (
	[]cobra.Completion, cobra.ShellCompDirective,
) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	c, err := r.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	found, err := find(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeApps offers the apps.
func (r *remote) completeApps(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return r.ask(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		apps, err := c.Apps(ctx)
		out := make([]cobra.Completion, len(apps))
		for i, a := range apps {
			out[i] = cobra.CompletionWithDesc(printable(a.ID), printable(a.DisplayName))
		}
		return out, err
	})
}

// completeWebhooks offers the webhooks of the app.
func (w *webhooks) completeWebhooks(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return w.ask(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		app, err := w.app(ctx, c, w.named)
		if err != nil {
			return nil, err
		}
		all, err := c.Webhooks(ctx, app)
		out := make([]cobra.Completion, len(all))
		for i, wh := range all {
			out[i] = cobra.CompletionWithDesc(printable(wh.ID), printable(wh.Name))
		}
		return out, err
	})
}

// completeTypes offers the event types of the app.
func (e *eventTypes) completeTypes(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.ask(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		app, err := e.app(ctx, c, e.named)
		if err != nil {
			return nil, err
		}
		all, err := c.EventTypes(ctx, app, "")
		out := make([]cobra.Completion, len(all))
		for i, t := range all {
			out[i] = cobra.CompletionWithDesc(printable(t.Type), printable(sidehook.InLanguage(t.Name, e.language)))
		}
		return out, err
	})
}

// completeCatalogues offers the built-in catalogues.
func (e *eventTypes) completeCatalogues(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return e.ask(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		all, err := c.Catalogues(ctx)
		out := make([]cobra.Completion, len(all))
		for i, a := range all {
			out[i] = cobra.CompletionWithDesc(printable(a.Name), printable(sidehook.InLanguage(a.Title, e.language)))
		}
		return out, err
	})
}
