package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/client"
)

func (c *cli) sidecarsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sidecars",
		Short: "List the sidecars and how they are, drain one",
		Long: `List the sidecars that have reported to the control plane: whether they are connected and ready, whether
their configuration is current, and how many deliveries wait.`,
		Args: takes(),
	}
	cmd, r := c.manage(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := r.connect(cmd)
		if err != nil {
			return err
		}
		defer c.Close()
		all, err := c.Sidecars(cmd.Context())
		if err != nil {
			return fmt.Errorf("cannot list the sidecars: %w", err)
		}
		return r.print(r.cli.stdout, all, func(out io.Writer) { printSidecars(out, all) })
	}
	cmd.AddCommand(r.drainCommand())
	return cmd
}

func (r *remote) drainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drain ID",
		Short: "Make a sidecar refuse events, while it delivers what it has",
		Long: `Make a sidecar refuse events from now on, while it delivers what it has, for example before its host goes away.
Its restart undoes it.`,
		Example:           `  sidehook sidecars drain sc_…`,
		Args:              takes("the sidecar's ID"),
		ValidArgsFunction: r.completeSidecars,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			pending, err := c.Drain(cmd.Context(), args[0])
			if err != nil {
				return fmt.Errorf("cannot drain sidecar %s: %w", args[0], err)
			}
			return r.print(r.cli.stdout, map[string]int{"pending": pending}, func(out io.Writer) {
				fmt.Fprintf(out, "Sidecar %s refuses events; %d deliveries are left.\n", printable(args[0]), pending)
			})
		},
	}
}

func printSidecars(out io.Writer, all []client.Sidecar) {
	if len(all) == 0 {
		fmt.Fprintln(out, "No sidecar has reported yet.")
		return
	}
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{
			s.ID, ellipsis(s.Hostname, 40), ellipsis(s.Version, 20), ellipsis(strings.Join(s.Apps, " "), 30), sidecarState(s), count(s.Pending),
			oldest(s), timeCell(s.LastSeen),
		}
	}
	printTable(out, []string{"ID", "HOST", "VERSION", "APPS", "STATE", "PENDING", "OLDEST", "LAST SEEN"}, rows)
	for _, s := range all {
		for _, rej := range s.Rejections {
			fmt.Fprintf(out, "%s refuses %s: %s\n", printable(s.ID), printable(rej.Resource), printable(rej.Reason))
		}
		for _, t := range s.Transformers {
			if t.State == "failing" || t.State == "missing" {
				fmt.Fprintf(out, "%s: transformer %s is %s%s\n", printable(s.ID), printable(t.Name), t.State, because(t.Error))
			}
		}
	}
}

// because adds a reason, where there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + printable(reason)
}

func oldest(s client.Sidecar) string {
	if s.Pending == 0 || s.OldestAge == "" {
		return "-"
	}
	return s.OldestAge
}

// sidecarState says in a word or two how a sidecar is; the worst thing counts.
func sidecarState(s client.Sidecar) string {
	switch {
	case !s.Connected:
		return "gone"
	case s.Draining:
		return "draining"
	case !s.Ready:
		return "not ready"
	case s.Stale:
		return "stale"
	case len(s.Rejections) > 0:
		return "ready, refuses some"
	}
	return "ready"
}
