package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook/internal/app"
	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/internal/inbox"
)

// inboxFlags are how the bins of --bin start; the page changes them later.
type inboxFlags struct {
	bins, hosts []string
	listen      string
	secretFile  string
	delay       time.Duration
	settings    inbox.Settings
	log         config.Log
}

func (c *cli) inboxCommand() *cobra.Command {
	var f inboxFlags
	cmd := &cobra.Command{
		Use:     "inbox",
		GroupID: groupRun,
		Short:   "Run a receiver that shows what arrives",
		Long: `Run a small receiver for webhooks on this host, with a page that shows what arrived and whether its
signature holds, and answers as you choose: a status, a delay, some failures first. Deliveries go to
/in/NAME; a bin of that name is made when the first one comes, or in the page. Everything is kept in memory.

Whoever can reach it can read what arrived, so keep it on this host.`,
		Example: `  sidehook inbox
  sidehook webhook create --name Test --url http://127.0.0.1:4480/in/test --event '*'

  # A bin that checks signatures, and answers 503 three times before it takes anything
  sidehook inbox --bin crm --secret-file crm.secret --fail-first 3

  # Make a bin by the API
  curl -d '{"name":"slow","delay":"5s","status":202}' http://127.0.0.1:4480/bins`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runInbox(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", config.DefaultPorts().Inbox, "address to listen on; port 0 picks a free one")
	flags.StringArrayVar(&f.bins, "bin", nil, "name of a bin to make at once; may be repeated")
	flags.StringVar(&f.secretFile, "secret-file", "", "with --bin: file with the key to check signatures by, - for the standard input: whsec_…, whpk_…, or plain text")
	flags.StringVar(&f.settings.Signing.Scheme, "scheme", inbox.SchemeAuto, "with --bin: the signing scheme, as standard, twenty or github; auto goes by the headers")
	flags.IntVar(&f.settings.Status, "status", 0, "with --bin: status to answer, 200 to 599 (default 200)")
	flags.IntVar(&f.settings.FailFirst, "fail-first", 0, "with --bin: how many arrivals to fail before the others; -1 for all")
	flags.IntVar(&f.settings.FailStatus, "fail-status", 0, "with --fail-first: status to fail with, 300 to 599 (default 503)")
	flags.DurationVar(&f.delay, "delay", 0, fmt.Sprintf("with --bin: time to wait before each answer, at most %v", inbox.MaxDelay))
	flags.StringVar(&f.settings.RetryAfter, "retry-after", "", "with --bin: Retry-After of answers from 300: seconds or an HTTP date")
	flags.StringArrayVar(&f.hosts, "allow-host", nil, "a name that the page may be opened under, besides loopback names and addresses; may be repeated")
	logFlags(cmd, &f.log)
	return cmd
}

// binFlags are of no use without --bin.
var binFlags = []string{"secret-file", "scheme", "status", "fail-first", "fail-status", "delay", "retry-after"}

func (c *cli) runInbox(cmd *cobra.Command, f *inboxFlags) error {
	if err := checkLog(cmd, f.log); err != nil {
		return err
	}
	for _, name := range binFlags {
		if len(f.bins) == 0 && cmd.Flags().Changed(name) {
			return usagef(cmd, "--%s needs --bin, which names the bin that it is for", name)
		}
	}
	secret, err := readSecret(cmd, f.secretFile, c.stdin)
	if err != nil {
		return err
	}
	if secret != "" {
		f.settings.Secrets = []string{secret}
	}
	if f.delay != 0 {
		f.settings.Delay = f.delay.String()
	}
	return c.processes.inbox(cmd.Context(), app.InboxOptions{
		Addr: f.listen, AllowedHosts: f.hosts, Bins: f.bins, Settings: f.settings, Log: f.log.New(c.stderr), Out: c.stdout,
	})
}
