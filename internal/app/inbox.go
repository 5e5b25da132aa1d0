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

// RunInbox runs a receiver that shows what arrives until ctx ends.
func RunInbox(ctx context.Context, addr string, log *slog.Logger, out io.Writer) error {
	parts := stack{log: log}
	failed := make(chan error, 1)
	actual, err := startInbox(&parts, addr, log, failed)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "sidehook inbox is running\n  %-31s http://%s/in/NAME\n  %-31s http://%s/\n",
		"webhooks go to", actual, "look at", actual)
	return runUntil(ctx, failed, inboxShutdown, parts.stop)
}

func startInbox(parts *stack, addr string, log *slog.Logger, failed chan<- error) (string, error) {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("inbox: %w", err)
	}
	box := inbox.New(inbox.Options{Logger: log.With("part", "inbox")})
	srv := newHTTPServer(box.Handler())
	srv.RegisterOnShutdown(box.Close) // ends the event streams, which Shutdown would wait for
	serveHTTP(parts, "inbox", lis, srv, func(err error) { offer(failed, err) })
	return lis.Addr().String(), nil
}
