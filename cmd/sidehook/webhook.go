package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// webhooks are the commands on webhooks.
type webhooks struct {
	*remote
	named string // --app
}

func (c *cli) webhookCommand() *cobra.Command {
	group, r := c.manage(c.group(&cobra.Command{
		Use:     "webhook",
		Aliases: []string{"webhooks"},
		Short:   "Create, change, test and remove webhooks",
		Long: `Create, change and remove webhooks: who wants which events, and how they are delivered. Every accepted
change is pushed to the sidecars at once. A webhook is meant by its ID or by its name.`,
		Example: `  sidehook webhook create --name CRM --url https://crm.example.com/in --event 'person.*'
  sidehook webhook list
  sidehook webhook disable wh_…
  sidehook webhook enable CRM`,
	}))
	w := &webhooks{remote: r}
	group.PersistentFlags().StringVar(&w.named, "app", "", "app (default "+envApp+", or the only app there is)")
	_ = group.RegisterFlagCompletionFunc("app", r.completeApps)
	group.AddCommand(
		w.createCommand(), w.listCommand(), w.getCommand(), w.updateCommand(),
		w.actCommand("delete", "Remove a webhook; its unfinished deliveries are dropped", w.delete),
		w.actCommand("enable", "Let a webhook get deliveries again", w.enable),
		w.disableCommand(), w.testCommand(), w.replayCommand(), w.rotateCommand(), w.secretsCommand(),
	)
	return group
}

// begin connects and finds the app.
func (w *webhooks) begin(cmd *cobra.Command) (*client.Client, string, error) {
	c, err := w.connect(cmd)
	if err != nil {
		return nil, "", err
	}
	app, err := w.app(cmd.Context(), c, w.named)
	return c, app, err
}

// webhookFlags are the fields of a webhook as flags.
type webhookFlags struct {
	name, url, format, transformer, retrySchedule string
	events, headers                               []string
	automaticRetry                                bool
	timeout                                       time.Duration
	signing                                       signingFlags
	shaping                                       shapingFlags
}

func (f *webhookFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name for people, unique within the app")
	flags.StringVar(&f.url, "url", "", "where deliveries go: http:// or https://")
	flags.StringArrayVar(&f.events, "event", nil, `event type or pattern such as "person.*", "*.created" or "*"; may be repeated`)
	flags.StringArrayVar(&f.headers, "header", nil, "NAME=VALUE to add to every request; may be repeated")
	flags.BoolVar(&f.automaticRetry, "automatic-retry", true, "try again when a delivery fails")
	flags.StringVar(&f.retrySchedule, "retry-schedule", "",
		`waits before the 2nd, 3rd, … attempt, such as 5s,5m,30m; "default" for the default schedule`)
	flags.StringVar(&f.format, "format", "", "shape of the requests: "+strings.Join(sidehook.Formats(), ", ")+" (default standard)")
	f.signing.register(cmd)
	f.shaping.register(cmd)
	flags.StringVar(&f.transformer, "transformer", "", "transformer of the sidecars to run first")
	flags.DurationVar(&f.timeout, "timeout", 0, "longest one attempt may take (default 15s)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(
		sidehook.Formats(), cobra.ShellCompDirectiveNoFileComp))
}

// fields gives what the flags set; what they leave alone stays nil.
func (f *webhookFlags) fields(cmd *cobra.Command) (client.WebhookFields, error) {
	var out client.WebhookFields
	changed := cmd.Flags().Changed
	for flag, field := range map[string]struct {
		to    **string
		value *string
	}{
		"name": {&out.Name, &f.name}, "url": {&out.URL, &f.url}, "format": {&out.Format, &f.format},
		"transformer": {&out.Transformer, &f.transformer},
	} {
		if changed(flag) {
			*field.to = field.value
		}
	}
	if changed("event") {
		out.Events = &f.events
	}
	if changed("automatic-retry") {
		out.AutomaticRetry = &f.automaticRetry
	}
	if changed("timeout") {
		text := f.timeout.String()
		out.Timeout = &text
	}
	if changed("header") {
		headers, err := parseHeaders(cmd, f.headers)
		if err != nil {
			return out, err
		}
		out.Headers = &headers
	}
	if changed("retry-schedule") {
		policy, err := parseSchedule(cmd, f.retrySchedule)
		if err != nil {
			return out, err
		}
		out.RetryPolicy = &policy
	}
	if err := f.shaping.read(cmd, &out); err != nil {
		return out, err
	}
	signing, err := f.signing.read(cmd)
	out.Signing = signing
	return out, err
}

// parseHeaders reads NAME=VALUE pairs; a single empty one means no headers.
func parseHeaders(cmd *cobra.Command, pairs []string) ([]client.Header, error) {
	headers := []client.Header{}
	if slices.Equal(pairs, []string{""}) {
		return headers, nil
	}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			// The pair is not repeated here: it may hold a credential.
			return nil, usagef(cmd, "--header must be NAME=VALUE, such as --header X-Api-Key=abc")
		}
		headers = append(headers, client.Header{Key: key, Value: value})
	}
	return headers, nil
}

// parseSchedule reads a list of waits; nil for the default one.
func parseSchedule(cmd *cobra.Command, list string) (*client.RetryPolicy, error) {
	if list == "default" {
		return nil, nil
	}
	waits := strings.Split(list, ",")
	for _, wait := range waits {
		if _, err := time.ParseDuration(wait); err != nil {
			return nil, usagef(cmd, `--retry-schedule must be a list of durations such as 5s,5m,30m, or "default"; %q is none`, wait)
		}
	}
	return &client.RetryPolicy{Schedule: waits}, nil
}

func (w *webhooks) createCommand() *cobra.Command {
	var f webhookFlags
	var secretFile string
	cmd := &cobra.Command{
		Use:   "create --name NAME --url URL --event TYPE…",
		Short: "Create a webhook and print its secret, once",
		Long: `Create a webhook. It gets events at once. The secret that is printed is what the receiver checks signatures
with; it is not shown here again, but the console can show it. A receiver that has a secret already keeps it with --secret-file.`,
		Example: `  sidehook webhook create --name CRM --url https://crm.example.com/in --event 'person.*' --event payment.received
  sidehook webhook create --name Ads --url https://ads.example.com/in --event '*' --header X-Api-Key=abc --transformer redact
  sidehook webhook create --name Sales --url https://sales.example.com/in --event '*.created' --format twenty --secret-file sales.secret`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, given := range map[string]bool{
				"name": f.name != "", "url": f.url != "", "event": len(f.events) > 0,
			} {
				if !given {
					return usagef(cmd, "--%s is required; --name, --url and at least one --event make a webhook", flag)
				}
			}
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			secret, err := readSecret(cmd, secretFile, w.cli.stdin)
			if err != nil {
				return err
			}
			if secret != "" {
				fields.Secret = &secret
			}
			c, app, err := w.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			created, err := c.CreateWebhook(cmd.Context(), app, fields)
			if err != nil {
				return fmt.Errorf("cannot create the webhook: %w", err)
			}
			return w.print(w.cli.stdout, created, func(out io.Writer) {
				fmt.Fprintf(out, "Created webhook %s in app %s.\n", printable(created.ID), printable(app))
				if created.PublicKey != "" {
					fmt.Fprintf(out, "Public key: %s\n", printable(created.PublicKey))
					fmt.Fprintln(out, "The receiver checks signatures with it. It is no secret; sidehook webhook secrets shows it again.")
					return
				}
				fmt.Fprintf(out, "Secret: %s\n", printable(created.Secret))
				fmt.Fprintln(out, "The receiver checks signatures with it. It is not shown here again; the console can show it.")
			})
		},
	}
	f.register(cmd)
	registerSecretFile(cmd, &secretFile)
	return cmd
}

func (w *webhooks) listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the webhooks of an app",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, app, err := w.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			all, err := c.Webhooks(cmd.Context(), app)
			if err != nil {
				return fmt.Errorf("cannot list the webhooks of %s: %w", app, err)
			}
			return w.print(w.cli.stdout, all, func(out io.Writer) { printWebhooks(out, app, all) })
		},
	}
}

func printWebhooks(out io.Writer, app string, all []client.Webhook) {
	if len(all) == 0 {
		fmt.Fprintf(out, "App %s has no webhook yet; see sidehook webhook create --help\n", printable(app))
		return
	}
	rows := make([][]string, len(all))
	for i, w := range all {
		rows[i] = []string{w.ID, w.Name, w.Status, ellipsis(strings.Join(w.Events, " "), 40), ellipsis(w.URL, 60)}
	}
	printTable(out, []string{"ID", "NAME", "STATUS", "EVENTS", "URL"}, rows)
}

func (w *webhooks) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "get ID",
		Short:             "Show a webhook",
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			got, err := onWebhook(w, cmd, args[0], "get", func(ctx context.Context, c *client.Client, app, id string) (*client.Webhook, error) {
				return c.Webhook(ctx, app, id)
			})
			if err != nil {
				return err
			}
			return w.print(w.cli.stdout, got, func(out io.Writer) { printWebhook(out, got) })
		},
	}
}

func printWebhook(out io.Writer, w *client.Webhook) {
	status := describeStatus(w)
	schedule := "default"
	if !w.AutomaticRetry {
		schedule = "none"
	} else if w.RetryPolicy != nil && len(w.RetryPolicy.Schedule) > 0 {
		schedule = strings.Join(w.RetryPolicy.Schedule, ", ")
	}
	pairs := []string{
		"ID", w.ID, "App", w.App, "Name", w.Name, "Status", status, "URL", w.URL,
		"Events", strings.Join(w.Events, ", "),
	}
	for _, h := range w.Headers {
		pairs = append(pairs, "Header", h.Key+": "+h.Value)
	}
	pairs = append(pairs,
		"Automatic retry", yesNo(w.AutomaticRetry), "Retry schedule", schedule, "Timeout", w.Timeout,
		"Format", w.Format, "Signing", describeSigning(w.Signing), "Transformer", w.Transformer,
		"Filter", w.Filter, "Ordering", w.Ordering, "Rate limit", describeRate(w.RateLimit), "History sample", describeSample(w.HistorySample),
		"Created", timeCell(w.CreatedAt), "Updated", timeCell(w.UpdatedAt))
	if h := w.Health; h != nil {
		pairs = append(pairs, "Delivered", count(h.Delivered), "Dead", count(h.Dead), "Failed attempts", count(h.FailedAttempts),
			"Last success", timeCell(h.LastSuccess), "Last failure", timeCell(h.LastFailure), "Last error", h.LastError,
			"Waits because", h.Paused)
		if h.FilterErrors > 0 {
			pairs = append(pairs, "Filter errors", count(h.FilterErrors), "Last filter error", h.LastFilterError,
				"Filter failed", timeCell(h.LastFilterErrorAt))
		}
	}
	printPairs(out, pairs...)
}

func (w *webhooks) updateCommand() *cobra.Command {
	var f webhookFlags
	cmd := &cobra.Command{
		Use:   "update ID [flags]",
		Short: "Change a webhook",
		Long: `Change the fields of a webhook that the flags name; the others stay. --event and --header replace the whole
list, the --signing flags all of signing; --header "" removes all headers, --transformer "" the transformer.`,
		Example: `  sidehook webhook update wh_… --url https://crm.example.com/v2/in
  sidehook webhook update wh_… --event person.created --event person.deleted --automatic-retry=false`,
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			fields, err := f.fields(cmd)
			if err != nil {
				return err
			}
			if fields == (client.WebhookFields{}) {
				return usagef(cmd, "say what to change, for example --url https://…")
			}
			got, err := onWebhook(w, cmd, args[0], "change", func(ctx context.Context, c *client.Client, app, id string) (*client.Webhook, error) {
				return c.UpdateWebhook(ctx, app, id, fields)
			})
			if err != nil {
				return err
			}
			return w.print(w.cli.stdout, got, func(out io.Writer) { printWebhook(out, got) })
		},
	}
	f.register(cmd)
	return cmd
}

// action does something to a webhook and says in a sentence what it did; result is for --output json.
type action func(ctx context.Context, c *client.Client, app, id string) (result any, done string, err error)

func (w *webhooks) actCommand(verb, short string, act action) *cobra.Command {
	return &cobra.Command{
		Use:               verb + " ID",
		Short:             short,
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			var done string
			result, err := onWebhook(w, cmd, args[0], verb, func(ctx context.Context, c *client.Client, app, id string) (result any, err error) {
				result, done, err = act(ctx, c, app, id)
				return result, err
			})
			if err != nil {
				return err
			}
			return w.print(w.cli.stdout, result, func(out io.Writer) { fmt.Fprintln(out, done) })
		},
	}
}

func (w *webhooks) delete(ctx context.Context, c *client.Client, app, id string) (any, string, error) {
	return map[string]string{"deleted": id}, "Deleted webhook " + id + ".", c.DeleteWebhook(ctx, app, id)
}

func (w *webhooks) enable(ctx context.Context, c *client.Client, app, id string) (any, string, error) {
	got, err := c.EnableWebhook(ctx, app, id)
	return got, "Webhook " + id + " is enabled." + describeMissed(app, got), err
}

func (w *webhooks) disableCommand() *cobra.Command {
	var reason string
	cmd := w.actCommand("disable", "Keep new deliveries from a webhook; what it has waits",
		func(ctx context.Context, c *client.Client, app, id string) (any, string, error) {
			got, err := c.DisableWebhook(ctx, app, id, reason)
			return got, "Webhook " + id + " is disabled.", err
		})
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	return cmd
}

func (w *webhooks) rotateCommand() *cobra.Command {
	var overlap time.Duration
	var secretFile string
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Give a webhook a new secret and print it, once",
		Long: `Give a webhook a new secret. Until the overlap ends the receiver can change over in its own time: under the
signing schemes standard and standard-ed25519 both the new and the old one sign; under twenty and hmac, which have room
for one signature, the old one signs, and then the new one.`,
		Example:           `  sidehook webhook rotate wh_… --overlap 48h`,
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			wanted := time.Duration(-1) // the control plane's default
			if cmd.Flags().Changed("overlap") {
				if wanted = overlap; wanted < 0 {
					return usagef(cmd, "--overlap must not be negative")
				}
			}
			secret, err := readSecret(cmd, secretFile, w.cli.stdin)
			if err != nil {
				return err
			}
			s, err := onWebhook(w, cmd, args[0], "rotate the secret of", func(ctx context.Context, c *client.Client, app, id string) (*client.Secret, error) {
				return c.RotateSecretTo(ctx, app, id, wanted, secret)
			})
			if err != nil {
				return err
			}
			return w.print(w.cli.stdout, s, func(out io.Writer) {
				if s.PublicKey != "" {
					fmt.Fprintf(out, "Public key: %s\n", printable(s.PublicKey))
					fmt.Fprintln(out, "Its signatures come beside those of the old secret until the overlap ends.")
					return
				}
				fmt.Fprintf(out, "Secret: %s\n", printable(s.Secret))
				fmt.Fprintln(out, "It takes over from the old one while the overlap lasts. It is not shown here again; the console can show it.")
			})
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "how long the old secret stays valid, up to 168h (default 24h)")
	registerSecretFile(cmd, &secretFile)
	return cmd
}

func (w *webhooks) secretsCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "secrets ID",
		Short:             "List the secrets of a webhook, without their keys",
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			secrets, err := onWebhook(w, cmd, args[0], "list the secrets of", func(ctx context.Context, c *client.Client, app, id string) ([]client.Secret, error) {
				return c.Secrets(ctx, app, id)
			})
			if err != nil {
				return err
			}
			return w.print(w.cli.stdout, secrets, func(out io.Writer) {
				rows := make([][]string, len(secrets))
				for i, s := range secrets {
					rows[i] = []string{s.ID, yesNo(s.Live), s.Kind, timeCell(s.CreatedAt), first(timeCell(s.NotAfter), "-"), s.PublicKey}
				}
				printTable(out, []string{"ID", "VALID", "KIND", "CREATED", "UNTIL", "PUBLIC KEY"}, rows)
			})
		},
	}
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }
