package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// cli is what commands need of the world around them.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	processes      processes
}

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // it was tried and did not work
	exitUsage   = 2 // the command line makes no sense
)

// usageError is a mistake in the command line.
type usageError struct {
	err     error
	command string // whose help explains it
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...), command: cmd.CommandPath()}
}

// errSilent ends a command with exitFailure when everything has been said already.
var errSilent = errors.New("failed")

// run executes a command line and returns the exit code.
func (c *cli) run(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(c.stderr, "sidehook: %s\nSee %q.\n", usage, usage.command+" --help")
		return exitUsage
	case errors.Is(err, errSilent):
		return exitFailure
	}
	fmt.Fprintf(c.stderr, "sidehook: %s\n", advise(err))
	return exitFailure
}

func (c *cli) root() *cobra.Command {
	root := c.group(&cobra.Command{
		Use:   "sidehook",
		Short: "Deliver webhooks from inside a service mesh",
		Long: `Sidehook delivers webhooks from inside a service mesh. A sidecar runs next to each service, takes its
events on localhost, makes them durable, and delivers them, signed, to every webhook that wants them. A
control plane keeps the webhooks and pushes them to the sidecars.`,
		Example: `  sidehook dev                      # everything in one process, to try it
  sidehook webhook create --name CRM --url http://127.0.0.1:4480/in/crm --event 'person.*'
  sidehook publish --type person.created --data '{"id":7}'`,
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetIn(c.stdin)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%w", err) })
	root.CompletionOptions.DisableDescriptions = false
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupUse, Title: "Use a sidecar:"},
		&cobra.Group{ID: groupManage, Title: "Manage a control plane:"},
	)
	root.AddCommand(
		c.devCommand(), c.controlCommand(), c.sidecarCommand(), c.inboxCommand(),
		c.publishCommand(), c.pluginCommand(),
		c.webhookCommand(), c.deliveryCommand(), c.eventTypeCommand(), c.appCommand(), c.tokenCommand(), c.sidecarsCommand(),
		c.configCommand(), c.versionCommand(),
	)
	root.SetHelpCommand(helpCommand())
	root.InitDefaultCompletionCmd("completion") // now, so that it obeys the same rules as the others
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			c.group(cmd)
		}
	}
	return root
}

// The groups that the root's help shows.
const (
	groupRun    = "run"
	groupUse    = "use"
	groupManage = "manage"
)

// group makes a command that only holds others show its help, and refuse what is none of them.
func (c *cli) group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef(cmd, "unknown command %q; did you mean %s?", args[0], strings.Join(near, " or "))
		}
		return usagef(cmd, "unknown command %q", args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// takes makes a command want exactly the named arguments.
func takes(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(what):
			return usagef(cmd, "%s is missing", what[len(args)])
		case len(args) > len(what):
			return usagef(cmd, "unexpected argument %q", args[len(what)])
		}
		return nil
	}
}
