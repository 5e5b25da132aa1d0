package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

func (c *cli) appCommand() *cobra.Command {
	group, r := c.manage(c.group(&cobra.Command{
		Use:     "app",
		Aliases: []string{"apps"},
		Short:   "Create, list and remove apps",
		Long:    `Create, list and remove apps. An app owns webhooks and events; sidecars serve one or more.`,
		Example: `  sidehook app create crm --display-name "CRM"
  sidehook app list`,
	}))
	group.AddCommand(r.appCreateCommand(), r.appListCommand(), r.appDeleteCommand())
	return group
}

func (r *remote) appCreateCommand() *cobra.Command {
	var settings client.AppSettings
	cmd := &cobra.Command{
		Use:     "create ID",
		Short:   "Create an app, or replace the settings of one",
		Example: `  sidehook app create crm --display-name "CRM" --https-only`,
		Args:    takes("the app's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			app, err := c.PutApp(cmd.Context(), args[0], settings)
			if err != nil {
				return fmt.Errorf("cannot create app %s: %w", args[0], err)
			}
			return r.print(r.cli.stdout, app, func(out io.Writer) {
				fmt.Fprintf(out, "App %s is there.\n", printable(app.ID))
			})
		},
	}
	cmd.Flags().StringVar(&settings.DisplayName, "display-name", "", "name for people")
	cmd.Flags().BoolVar(&settings.HTTPSOnly, "https-only", false, "refuse webhooks with http:// URLs")
	cmd.Flags().StringVar(&settings.Publish, "publish", "",
		"events whose type is not in the app's catalogue: lenient takes and counts them, strict refuses them (default lenient)")
	_ = cmd.RegisterFlagCompletionFunc("publish", cobra.FixedCompletions([]cobra.Completion{
		string(sidehook.PublishLenient), string(sidehook.PublishStrict),
	}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (r *remote) appListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the apps",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			apps, err := c.Apps(cmd.Context())
			if err != nil {
				return fmt.Errorf("cannot list the apps: %w", err)
			}
			return r.print(r.cli.stdout, apps, func(out io.Writer) {
				if len(apps) == 0 {
					fmt.Fprintln(out, "There is no app yet; see sidehook app create --help")
					return
				}
				rows := make([][]string, len(apps))
				for i, a := range apps {
					rows[i] = []string{a.ID, a.DisplayName, yesNo(a.HTTPSOnly), a.Publish, timeCell(a.CreatedAt)}
				}
				printTable(out, []string{"ID", "NAME", "HTTPS ONLY", "PUBLISH", "CREATED"}, rows)
			})
		},
	}
}

func (r *remote) appDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID",
		Short: "Remove an app that has no webhooks",
		Args:  takes("the app's ID"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return r.completeApps(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.DeleteApp(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("cannot delete app %s: %w", args[0], err)
			}
			return r.print(r.cli.stdout, map[string]string{"deleted": args[0]}, func(out io.Writer) {
				fmt.Fprintf(out, "Deleted app %s.\n", args[0])
			})
		},
	}
}
