package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/xds/file"
)

func (c *cli) configCommand() *cobra.Command {
	group := c.group(&cobra.Command{
		Use:     "config",
		GroupID: groupRun,
		Short:   "Check configuration files, or print one to start from",
		Example: `  sidehook config example sidecar > sidecar.yaml
  sidehook config check sidecar.yaml`,
	})
	group.AddCommand(c.configCheckCommand(), c.configExampleCommand())
	return group
}

func (c *cli) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE…",
		Short: "Say what is wrong in configuration files, with line and field",
		Long: `Check files for a sidecar, a control plane, or a sidecar's webhooks (config_file). Every problem is printed
with its line, column and field. The exit code is 0 when all files can be used; warnings do not count.`,
		Example: `  sidehook config check sidecar.yaml webhooks.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "FILE is missing")
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt),
		RunE: func(cmd *cobra.Command, args []string) error {
			good := true
			for _, path := range args {
				usable, err := c.checkFile(path)
				if err != nil {
					return err
				}
				good = good && usable
			}
			if !good {
				return errSilent
			}
			return nil
		},
	}
}

// checkFile prints the problems of a file and reports whether it can be used.
func (c *cli) checkFile(path string) (bool, error) {
	kind, problems, err := config.Check(path)
	if err != nil {
		return false, err
	}
	if kind == config.KindWebhooks {
		return c.checkWebhooks(path)
	}
	for _, p := range problems {
		fmt.Fprintln(c.stdout, p)
	}
	if config.Fatal(problems) {
		return false, nil
	}
	fmt.Fprintf(c.stdout, "%s: ok (%s)\n", path, kind)
	return true, nil
}

// checkWebhooks does the same for a file of webhooks.
func (c *cli) checkWebhooks(path string) (bool, error) {
	resources, err := file.Load(path)
	var bad *file.Error
	switch {
	case errors.As(err, &bad):
		fmt.Fprintln(c.stdout, bad)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot check %s: %w", path, err)
	}
	n := 0
	for _, r := range resources {
		if r.Webhook != nil {
			n++
		}
	}
	fmt.Fprintf(c.stdout, "%s: ok (%s: %d)\n", path, config.KindWebhooks, n)
	return true, nil
}

func (c *cli) configExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "example sidecar|control",
		Short:     "Print a commented file to start from",
		Example:   `  sidehook config example control > control.yaml`,
		Args:      takes("sidecar or control"),
		ValidArgs: []string{config.KindSidecar, config.KindControl},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case config.KindSidecar:
				fmt.Fprint(c.stdout, config.ExampleSidecar)
			case config.KindControl:
				fmt.Fprint(c.stdout, config.ExampleControl)
			default:
				return usagef(cmd, "there is no example of %q; say sidecar or control", args[0])
			}
			return nil
		},
	}
}
