package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/plugin/plugintest"
)

func (c *cli) pluginCommand() *cobra.Command {
	cmd := c.group(&cobra.Command{
		Use:     "plugin",
		GroupID: groupUse,
		Short:   "Help to write transformers",
		Long: `Help to write transformers: programs that rewrite deliveries before they are signed. A sidecar starts them
and talks to them by gRPC.`,
		Example: `  sidehook plugin init redact
  sidehook plugin verify redact/redact`,
	})
	cmd.AddCommand(c.pluginInitCommand(), c.pluginVerifyCommand())
	return cmd
}

func (c *cli) pluginVerifyCommand() *cobra.Command {
	var timeout time.Duration
	var env []string
	cmd := &cobra.Command{
		Use:   "verify [flags] PROGRAM [ARGS...]",
		Short: "Check that a program is a sound transformer",
		Long: `Start a program as a sidecar would and check it: the handshake, what it says of itself, what it answers to
events of many shapes, deadlines, large and concurrent calls, and that it ends when it is asked to or when the
sidecar dies. Nothing is inherited from the environment, as in a sidecar.`,
		Example: `  sidehook plugin verify bin/transformers/redact
  sidehook plugin verify --env LEVEL=2 /usr/bin/node shout.mjs`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "PROGRAM is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			program, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("find %s: %w", args[0], err)
			}
			report, err := plugintest.Verify(cmd.Context(), plugintest.Options{
				Command: program, Args: args[1:], Env: env, Timeout: timeout,
			})
			if err != nil {
				return fmt.Errorf("cannot verify %s: %w", args[0], err)
			}
			if err := report.WriteText(c.stdout); err != nil {
				return fmt.Errorf("print the report: %w", err)
			}
			if report.Err() != nil {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after PROGRAM are its own
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "time for one call; default 2s, as in a sidecar")
	cmd.Flags().StringArrayVar(&env, "env", nil, "NAME=VALUE of its environment; may be repeated")
	return cmd
}
