package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/client"
)

// The kinds of token.
const (
	tokenAdmin   = "admin"
	tokenApp     = "app"
	tokenSidecar = "sidecar"
)

func (c *cli) tokenCommand() *cobra.Command {
	group, r := c.manage(c.group(&cobra.Command{
		Use:     "token",
		Aliases: []string{"tokens"},
		Short:   "Create, list and revoke tokens",
		Long: `Create, list and revoke tokens:

  admin     may do everything
  app       may manage the webhooks of one app
  sidecar   gets the configuration of its apps; what a sidecar's control_plane.token_file holds`,
		Example: `  sidehook token create --kind sidecar --app crm --app live --name edge-1
  sidehook token list`,
	}))
	group.AddCommand(r.tokenCreateCommand(), r.tokenListCommand(), r.tokenRevokeCommand())
	return group
}

func (r *remote) tokenCreateCommand() *cobra.Command {
	var fields client.TokenFields
	cmd := &cobra.Command{
		Use:   "create --kind KIND --name NAME",
		Short: "Create a token and print it, once",
		Example: `  sidehook token create --kind sidecar --app crm --name edge-1
  sidehook token create --kind app --app crm --name "CRM team" -o json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkToken(cmd, fields); err != nil {
				return err
			}
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			t, err := c.CreateToken(cmd.Context(), fields)
			if err != nil {
				return fmt.Errorf("cannot create the token: %w", err)
			}
			return r.print(r.cli.stdout, t, func(out io.Writer) {
				fmt.Fprintf(out, "Token %s: %s\n", printable(t.ID), printable(t.Token))
				fmt.Fprintln(out, "Keep it in a file that only its user can read. It is not shown again.")
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&fields.Kind, "kind", "", "admin, app or sidecar")
	flags.StringArrayVar(&fields.Apps, "app", nil, "app that it is for; may be repeated for a sidecar")
	flags.StringVar(&fields.Name, "name", "", "name for people")
	_ = cmd.RegisterFlagCompletionFunc("app", r.completeApps)
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(
		[]cobra.Completion{tokenAdmin, tokenApp, tokenSidecar}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func checkToken(cmd *cobra.Command, f client.TokenFields) error {
	switch {
	case f.Kind == "":
		return usagef(cmd, "--kind is required: admin, app or sidecar")
	case !slices.Contains([]string{tokenAdmin, tokenApp, tokenSidecar}, f.Kind):
		return usagef(cmd, "--kind %q must be admin, app or sidecar", f.Kind)
	case f.Name == "":
		return usagef(cmd, "--name is required, so that you know later whose token it is")
	case f.Kind == tokenAdmin && len(f.Apps) > 0:
		return usagef(cmd, "--app is not for --kind admin, which may do everything")
	case f.Kind == tokenApp && len(f.Apps) != 1:
		return usagef(cmd, "--kind app needs exactly one --app")
	case f.Kind == tokenSidecar && len(f.Apps) == 0:
		return usagef(cmd, "--kind sidecar needs at least one --app")
	}
	return nil
}

func (r *remote) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the tokens, without the tokens themselves",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return fmt.Errorf("cannot list the tokens: %w", err)
			}
			return r.print(r.cli.stdout, tokens, func(out io.Writer) {
				rows := make([][]string, len(tokens))
				for i, t := range tokens {
					rows[i] = []string{t.ID, t.Kind, t.Name, ellipsis(strings.Join(t.Apps, " "), 40), timeCell(t.CreatedAt)}
				}
				printTable(out, []string{"ID", "KIND", "NAME", "APPS", "CREATED"}, rows)
			})
		},
	}
}

func (r *remote) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a token useless at once",
		Args:  takes("the token's ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := r.connect(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.RevokeToken(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("cannot revoke token %s: %w", args[0], err)
			}
			return r.print(r.cli.stdout, map[string]string{"revoked": args[0]}, func(out io.Writer) {
				fmt.Fprintf(out, "Token %s is revoked.\n", args[0])
			})
		},
	}
}
