package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/client"
)

// maxCompletions of deliveries, of which there can be very many.
const maxCompletions = 50

// completeDeliveries offers the newest deliveries of the app.
func (d *deliveries) completeDeliveries(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return d.ask(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		app, err := d.app(ctx, c, d.named)
		if err != nil {
			return nil, err
		}
		list, err := c.Deliveries(ctx, app, client.DeliveryFilter{}, maxCompletions)
		if err != nil {
			return nil, err
		}
		out := make([]cobra.Completion, len(list.Data))
		for i := range list.Data {
			x := &list.Data[i]
			out[i] = cobra.CompletionWithDesc(printable(x.ID), printable(x.State+" "+x.EventType))
		}
		return out, nil
	})
}

// completeSidecars offers the sidecars that are connected.
func (r *remote) completeSidecars(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return r.ask(cmd, func(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
		all, err := c.Sidecars(ctx)
		var out []cobra.Completion
		for _, s := range all {
			if s.Connected {
				out = append(out, cobra.CompletionWithDesc(printable(s.ID), printable(s.Hostname)))
			}
		}
		return out, err
	})
}
