package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// completeWait bounds how long a Tab may take.
const completeWait = time.Second

// completeApps offers the apps of the control plane, nothing when it cannot be asked.
func (r *remote) completeApps(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	c, err := r.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	apps, err := c.Apps(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := make([]cobra.Completion, len(apps))
	for i, a := range apps {
		out[i] = cobra.CompletionWithDesc(printable(a.ID), printable(a.DisplayName))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeWebhooks offers the webhooks of the app, nothing when they cannot be asked for.
func (w *webhooks) completeWebhooks(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
	defer cancel()
	c, err := w.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	app, err := w.app(ctx, c, w.named)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := c.Webhooks(ctx, app)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := make([]cobra.Completion, len(all))
	for i, wh := range all {
		out[i] = cobra.CompletionWithDesc(printable(wh.ID), printable(wh.Name))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
