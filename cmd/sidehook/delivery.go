package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/client"
)

// deliveries are the commands on deliveries. They find their app as the commands on webhooks do.
type deliveries struct{ *webhooks }

func (c *cli) deliveryCommand() *cobra.Command {
	group, r := c.manage(c.group(&cobra.Command{
		Use:     "delivery",
		Aliases: []string{"deliveries"},
		Short:   "See what was delivered, and try again",
		Long: `See what was delivered and what came back, and try again. A delivery is one event for one webhook; its history
is on the sidecar that made it. The control plane asks the sidecars that are connected.`,
		Example: `  sidehook delivery list --state dead --since 24h
  sidehook delivery show dlv_…
  sidehook delivery retry dlv_…`,
	}))
	d := &deliveries{&webhooks{remote: r}}
	group.PersistentFlags().StringVar(&d.named, "app", "", "app (default "+envApp+", or the only app there is)")
	_ = group.RegisterFlagCompletionFunc("app", r.completeApps)
	group.AddCommand(d.listCommand(), d.showCommand(), d.retryCommand())
	return group
}

// deliveryStates are what --state takes.
var deliveryStates = []cobra.Completion{"pending", "delivered", "dead", "dropped"}

// span are the flags --since and --until.
type span struct{ since, until string }

func (s *span) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.since, "since", "", `only events accepted since: a time, or how long ago, such as 24h`)
	flags.StringVar(&s.until, "until", "", `only events accepted before, likewise`)
}

// timeLayouts are what --since and --until take besides a duration; those without a zone are local, as in tables.
var timeLayouts = []string{time.RFC3339Nano, time.DateTime, "2006-01-02 15:04", time.DateOnly}

func (s *span) read(cmd *cobra.Command, now time.Time) (since, until time.Time, err error) {
	if since, err = readWhen(cmd, "since", s.since, now); err != nil {
		return since, until, err
	}
	until, err = readWhen(cmd, "until", s.until, now)
	return since, until, err
}

// readWhen reads a time or how long ago it was; zero for nothing.
func readWhen(cmd *cobra.Command, flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef(cmd, `--%s must be how long ago, such as 24h or 90m, or a time such as "2026-01-31 15:04" or 2026-01-31T15:04:05Z; %q is neither`, flag, text)
}

// maxListed bounds --limit.
const maxListed = 10_000

func (d *deliveries) listCommand() *cobra.Command {
	var f client.DeliveryFilter
	var when span
	limit := 50
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List deliveries, newest first",
		Example: `  sidehook delivery list --state dead --since 24h
  sidehook delivery list --webhook wh_… --event-type person.created --limit 200
  sidehook delivery list --since "2026-01-31 15:00" --until "2026-01-31 16:00" -o json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.Since, f.Until, err = when.read(cmd, time.Now()); err != nil {
				return err
			}
			if limit < 1 || limit > maxListed {
				return usagef(cmd, "--limit must be 1 to %d", maxListed)
			}
			c, app, err := d.begin(cmd)
			if err != nil {
				return err
			}
			defer c.Close()
			if f.Webhook != "" {
				if f.Webhook, err = findWebhook(cmd.Context(), c, app, f.Webhook); err != nil {
					return err
				}
			}
			list, err := c.Deliveries(cmd.Context(), app, f, limit)
			if err != nil {
				return fmt.Errorf("cannot list the deliveries of %s: %w", app, err)
			}
			d.warnMissing(list.Missing, "the list lacks its deliveries")
			return d.print(d.cli.stdout, list, func(out io.Writer) { printDeliveries(out, list) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Webhook, "webhook", "", "only those of this webhook, by its ID or name")
	flags.StringVar(&f.State, "state", "", "only those in this state: "+strings.Join(deliveryStates, ", "))
	flags.StringVar(&f.EventType, "event-type", "", "only those of events of this type")
	flags.IntVar(&limit, "limit", limit, "how many to list at most")
	when.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(deliveryStates, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("webhook", func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return d.completeWebhooks(cmd, nil, typed)
	})
	return cmd
}

// warnMissing says which sidecars were not heard.
func (w *webhooks) warnMissing(missing []client.MissingSidecar, so string) {
	for _, m := range missing {
		fmt.Fprintf(w.cli.stderr, "warning: sidecar %s: %s; %s\n", printable(m.ID), printable(m.Reason), so)
	}
}

func printDeliveries(out io.Writer, list *client.DeliveryList) {
	if len(list.Data) == 0 {
		fmt.Fprintln(out, "There is no such delivery.")
		return
	}
	rows := make([][]string, len(list.Data))
	for i := range list.Data {
		x := &list.Data[i]
		rows[i] = []string{
			x.ID, x.State, ellipsis(x.EventType, 40), x.Webhook, strconv.Itoa(x.AttemptCount), ellipsis(lastAttempt(x), 50),
			timeCell(x.AcceptedAt),
		}
	}
	printTable(out, []string{"ID", "STATE", "EVENT TYPE", "WEBHOOK", "ATTEMPTS", "LAST", "ACCEPTED"}, rows)
	if list.NextCursor != "" {
		fmt.Fprintln(out, "There are older ones; see --limit and --until.")
	}
}

// lastAttempt says in a few words how the last attempt went.
func lastAttempt(d *client.Delivery) string {
	if len(d.Attempts) == 0 {
		return "-"
	}
	a := &d.Attempts[len(d.Attempts)-1]
	return describeResponse(a.Status, a.Error)
}

// describeResponse is a status, an error or both.
func describeResponse(status int, text string) string {
	switch code := strconv.Itoa(status); {
	case status == 0:
		return first(text, "-")
	case text == "" || strings.Contains(text, code):
		return first(text, code)
	default:
		return code + " " + text
	}
}

// onDelivery asks the control plane about a delivery. verb is for the error: what cannot be done to it.
func (d *deliveries) onDelivery(cmd *cobra.Command, id, verb string, ask func(ctx context.Context, c *client.Client, app string) error) error {
	c, app, err := d.begin(cmd)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := ask(cmd.Context(), c, app); err != nil {
		return fmt.Errorf("cannot %s delivery %s: %w", verb, id, err)
	}
	return nil
}

func (d *deliveries) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show ID",
		Aliases:           []string{"get"},
		Short:             "Show a delivery: its attempts, its event and its request",
		Example:           `  sidehook delivery show dlv_…`,
		Args:              takes("the delivery's ID"),
		ValidArgsFunction: d.completeDeliveries,
		RunE: func(cmd *cobra.Command, args []string) error {
			var got *client.Delivery
			err := d.onDelivery(cmd, args[0], "show", func(ctx context.Context, c *client.Client, app string) (err error) {
				got, err = c.Delivery(ctx, app, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return d.print(d.cli.stdout, got, func(out io.Writer) { printDelivery(out, got) })
		},
	}
}

func printDelivery(out io.Writer, d *client.Delivery) {
	printPairs(out,
		"ID", d.ID, "State", d.State, "Webhook", d.Webhook, "Sidecar", d.Sidecar, "Event", d.EventID, "Event type", d.EventType,
		"Accepted", timeCell(d.AcceptedAt), "Next attempt", timeCell(d.NextAttempt), "Attempts", strconv.Itoa(d.AttemptCount))
	for i := range d.Attempts {
		printAttempt(out, &d.Attempts[i])
	}
	if d.Event != nil {
		fmt.Fprintln(out, "\nEvent")
		printPairs(out, "  Source", d.Event.Source, "  Subject", d.Event.Subject, "  Time", timeCell(d.Event.Time),
			"  Data type", d.Event.DataContentType, "  Ordering key", d.Event.OrderingKey)
		printBody(out, "  Data", string(d.Event.Data), d.Event.DataBase64)
	}
	if d.Request != nil {
		title := "\nRequest"
		if d.Request.MadeAgain {
			title += " (made again from the event and the webhook as they are now)"
		}
		fmt.Fprintln(out, title)
		printPairs(out, "  Content type", d.Request.ContentType)
		printBody(out, "  Body", d.Request.Body, d.Request.BodyBase64)
	}
}

func printAttempt(out io.Writer, a *client.Attempt) {
	fmt.Fprintf(out, "\nAttempt %d: %s\n", a.Number, printable(a.Outcome))
	status := ""
	if a.Status != 0 {
		status = strconv.Itoa(a.Status)
	}
	printPairs(out, "  At", timeCell(a.At), "  Latency", latencyCell(a.LatencyMS), "  URL", a.URL, "  Status", status, "  Error", a.Error,
		"  Again at", timeCell(a.RetryAt))
	printHeaders(out, a.RequestHeaders)
	printBody(out, "  Response", a.Response, a.ResponseBase64)
}

func latencyCell(milliseconds float64) string {
	return time.Duration(milliseconds * float64(time.Millisecond)).String()
}

func printHeaders(out io.Writer, headers []client.Header) {
	for _, h := range headers {
		fmt.Fprintf(out, "  > %s: %s\n", printable(h.Key), printable(h.Value))
	}
}

// printBody writes a text with its lines, each made safe for a terminal; or how it is encoded.
func printBody(out io.Writer, title, text, encoded string) {
	switch {
	case encoded != "":
		fmt.Fprintf(out, "%s (base64):\n    %s\n", title, printable(encoded))
	case text != "":
		fmt.Fprintf(out, "%s:\n", title)
		for line := range strings.Lines(text) {
			fmt.Fprintf(out, "    %s\n", printable(strings.TrimRight(line, "\r\n")))
		}
	}
}

func (d *deliveries) retryCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "retry ID",
		Short: "Attempt a delivery once more, at once",
		Long: `Attempt a delivery once more, at once, whatever became of it: a finished one is queued again, a waiting one is
due now. The receiver gets the same webhook-id.`,
		Example:           `  sidehook delivery retry dlv_…`,
		Args:              takes("the delivery's ID"),
		ValidArgsFunction: d.completeDeliveries,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := d.onDelivery(cmd, args[0], "retry", func(ctx context.Context, c *client.Client, app string) error {
				return c.RetryDelivery(ctx, app, args[0])
			})
			if err != nil {
				return err
			}
			return d.print(d.cli.stdout, map[string]string{"retried": args[0]}, func(out io.Writer) {
				fmt.Fprintf(out, "Delivery %s is attempted again; see sidehook delivery show.\n", printable(args[0]))
			})
		},
	}
}
