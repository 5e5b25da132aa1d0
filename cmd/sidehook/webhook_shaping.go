package main

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// shapingFlags are what orders and bounds the deliveries of a webhook, as flags.
type shapingFlags struct {
	ordering, rateLimit string
	filter              string
	historySample       float64
}

func (f *shapingFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	orderings := []string{string(sidehook.OrderingNone), string(sidehook.OrderingKey)}
	flags.StringVar(&f.ordering, "ordering", "",
		"key: events of one ordering key one at a time, in the order accepted; none: as they come (default none)")
	flags.StringVar(&f.rateLimit, "rate-limit", "",
		`attempts per second from one sidecar, with a burst after a colon, such as 10 or 0.5:3; "none" for no limit`)
	flags.StringVar(&f.filter, "filter", "",
		`CEL expression that an event must meet besides --event, such as 'data.amount > 100'; "" for none`)
	flags.Float64Var(&f.historySample, "history-sample", 1,
		"share, 0 to 1, of successful deliveries whose attempt is kept in the history")
	_ = cmd.RegisterFlagCompletionFunc("ordering", cobra.FixedCompletions(orderings, cobra.ShellCompDirectiveNoFileComp))
}

func (f *shapingFlags) read(cmd *cobra.Command, out *client.WebhookFields) error {
	changed := cmd.Flags().Changed
	if changed("ordering") {
		out.Ordering = &f.ordering
	}
	if changed("filter") {
		out.Filter = &f.filter
	}
	if changed("history-sample") {
		out.HistorySample = &f.historySample
	}
	if changed("rate-limit") {
		limit, err := parseRate(cmd, f.rateLimit)
		if err != nil {
			return err
		}
		out.RateLimit = &limit
	}
	return nil
}

// parseRate reads RATE or RATE:BURST; nil for no limit.
func parseRate(cmd *cobra.Command, text string) (*client.RateLimit, error) {
	if text == "none" {
		return nil, nil
	}
	rate, burst, hasBurst := strings.Cut(text, ":")
	var limit client.RateLimit
	var err error
	if limit.PerSecond, err = strconv.ParseFloat(rate, 64); err == nil && hasBurst {
		limit.Burst, err = strconv.Atoi(burst)
	}
	if err != nil || math.IsNaN(limit.PerSecond) || math.IsInf(limit.PerSecond, 0) { // which JSON has no words for
		return nil, usagef(cmd, `--rate-limit must be attempts per second such as 10, with a burst as in 10:20, or "none"; %q is neither`, text)
	}
	return &limit, nil
}

func describeRate(l *client.RateLimit) string {
	if l == nil {
		return "none"
	}
	return strconv.FormatFloat(l.PerSecond, 'g', -1, 64) + "/s, burst " + strconv.Itoa(l.Burst)
}

func describeSample(share float64) string {
	if share == 1 {
		return "all"
	}
	return strconv.FormatFloat(share*100, 'g', 6, 64) + "% of successes"
}

// describeStatus says why and since when a webhook is disabled.
func describeStatus(w *client.Webhook) string {
	status := w.Status
	if w.DisabledReason != "" {
		status += " (" + w.DisabledReason + ")"
	}
	if !w.DisabledAt.IsZero() {
		status += " since " + timeCell(w.DisabledAt)
	}
	return status
}

// describeMissed says how to deliver what an enabled webhook missed, empty when it missed nothing.
func describeMissed(app string, w *client.Webhook) string {
	if w == nil || w.Missed == nil {
		return ""
	}
	many := strconv.Itoa(w.Missed.Deliveries) + " deliveries"
	switch {
	case w.Missed.More:
		many = "More than " + many
	case w.Missed.Deliveries == 1:
		many = "1 delivery"
	}
	return "\n" + many + " came while it was disabled. Deliver them with\n  sidehook webhook replay " + w.ID + " --app " +
		app + " --state dropped --since " + w.Missed.Since.UTC().Format(time.RFC3339)
}
