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

func (w *webhooks) testCommand() *cobra.Command {
	var eventType, data string
	cmd := &cobra.Command{
		Use:   "test ID --event-type TYPE",
		Short: "Send a test event to a webhook alone, and show what comes back",
		Long: `Send a test event to a webhook alone, as a sidecar sends everything: transformed, formatted, signed, recorded.
Its data is the sample of the app's catalogue unless --data gives some. The exit code is 1 unless the receiver answers 2xx.`,
		Example: `  sidehook webhook test wh_… --event-type person.created
  sidehook webhook test wh_… --event-type person.created --data @person.json`,
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			if eventType == "" {
				return usagef(cmd, "--event-type is required: which event to send, such as person.created")
			}
			sample, err := readJSON(cmd, "data", data, w.cli.stdin, "")
			if err != nil {
				return err
			}
			got, err := onWebhook(w, cmd, args[0], "test", func(ctx context.Context, c *client.Client, app, id string) (*client.TestResult, error) {
				return c.TestWebhook(ctx, app, id, eventType, sample)
			})
			if err != nil {
				return err
			}
			if err := w.print(w.cli.stdout, got, func(out io.Writer) { printTest(out, got) }); err != nil {
				return err
			}
			if !got.Succeeded {
				return errSilent // what came back has been shown
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&eventType, "event-type", "", "type of the event to send")
	cmd.Flags().StringVar(&data, "data", "", "its data, any JSON; @FILE reads a file, - standard input (default the catalogue's sample)")
	_ = cmd.RegisterFlagCompletionFunc("event-type", func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return (&eventTypes{remote: w.remote, named: w.named, language: "en"}).completeTypes(cmd, nil, typed)
	})
	return cmd
}

func printTest(out io.Writer, r *client.TestResult) {
	verdict := "The receiver took it"
	switch {
	case !r.Succeeded && r.Status == 0:
		verdict = "It did not arrive"
	case !r.Succeeded:
		verdict = "The receiver refused it"
	}
	fmt.Fprintf(out, "%s after %s: %s.\n", verdict, latencyCell(r.LatencyMS), printable(describeResponse(r.Status, r.Error)))
	printPairs(out, "Delivery", r.DeliveryID, "Event", r.EventID, "Sidecar", r.Sidecar, "Outcome", r.Outcome)
	fmt.Fprintf(out, "\n> POST %s\n", printable(r.Request.URL))
	for _, h := range r.Request.Headers {
		fmt.Fprintf(out, "> %s: %s\n", printable(h.Key), printable(h.Value))
	}
	fmt.Fprintln(out)
	printBody(out, "Request", r.Request.Body, r.Request.BodyBase64)
	if r.Status != 0 {
		fmt.Fprintf(out, "Status: %s\n", strconv.Itoa(r.Status))
	}
	printBody(out, "Response", r.Response, r.ResponseBase64)
}

func (w *webhooks) replayCommand() *cobra.Command {
	var f client.ReplayFields
	var when span
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Deliver finished deliveries of a webhook once more",
		Long: `Queue deliveries of a webhook once more that have come to an end: dead and dropped ones, or those that --state
names. Receivers get the same webhook-id as before. What has left the sidecars' history cannot be replayed.`,
		Example: `  sidehook webhook replay wh_… --since 24h
  sidehook webhook replay wh_… --since "2026-01-31 15:00" --until "2026-01-31 16:00" --state delivered --event-type person.created`,
		Args:              takes("the webhook's ID or name"),
		ValidArgsFunction: w.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if f.Since, f.Until, err = when.read(cmd, time.Now()); err != nil {
				return err
			}
			got, err := onWebhook(w, cmd, args[0], "replay", func(ctx context.Context, c *client.Client, app, id string) (*client.Replayed, error) {
				return c.ReplayWebhook(ctx, app, id, f)
			})
			if err != nil {
				return err
			}
			w.warnMissing(got.Missing, "its deliveries are not replayed, or it is not known")
			return w.print(w.cli.stdout, got, func(out io.Writer) {
				if got.Deliveries == 1 {
					fmt.Fprintln(out, "1 delivery is queued once more.")
					return
				}
				fmt.Fprintf(out, "%d deliveries are queued once more.\n", got.Deliveries)
			})
		},
	}
	finals := deliveryStates[1:]
	when.register(cmd)
	cmd.Flags().StringArrayVar(&f.States, "state", nil, "which ends to take: "+strings.Join(finals, ", ")+"; may be repeated (default dead and dropped)")
	cmd.Flags().StringVar(&f.EventType, "event-type", "", "only those of events of this type")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(finals, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
