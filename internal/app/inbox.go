package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/sidehook/sidehook/internal/inbox"
)

const inboxShutdown = 5 * time.Second

// InboxOptions of RunInbox.
type InboxOptions struct {
	Addr string
	// AllowedHosts are names that the pages may be reached under besides loopback names and addresses.
	AllowedHosts []string
	// Bins to make at once, with Settings, which may be the zero value.
	Bins     []string
	Settings inbox.Settings
	Log      *slog.Logger
	Out      io.Writer
}

// RunInbox runs a receiver that shows what arrives until ctx ends.
func RunInbox(ctx context.Context, o InboxOptions) error {
	parts := stack{log: o.Log}
	failed := make(chan error, 1)
	box := inbox.New(inbox.Options{Logger: o.Log.With("part", "inbox"), AllowedHosts: o.AllowedHosts})
	for _, name := range o.Bins {
		if err := box.Put(name, o.Settings); err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	actual, err := serveInbox(&parts, o.Addr, box, failed)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "sidehook inbox is running\n  %-31s http://%s/in/NAME\n  %-31s http://%s/\n",
		"webhooks go to", actual, "look at", actual)
	for _, name := range o.Bins {
		fmt.Fprintf(o.Out, "  %-31s http://%s/in/%s\n", "bin "+name, actual, name)
	}
	return runUntil(ctx, failed, inboxShutdown, parts.stop)
}

func startInbox(parts *stack, addr string, log *slog.Logger, failed chan<- error) (string, error) {
	return serveInbox(parts, addr, inbox.New(inbox.Options{Logger: log.With("part", "inbox")}), failed)
}

func serveInbox(parts *stack, addr string, box *inbox.Inbox, failed chan<- error) (string, error) {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("inbox: %w", err)
	}
	srv := newHTTPServer(box.Handler())
	srv.RegisterOnShutdown(box.Close) // ends the event streams, which Shutdown would wait for
	serveHTTP(parts, "inbox", lis, srv, func(err error) { offer(failed, err) })
	return lis.Addr().String(), nil
}
