// Command sidehook is the one binary of the project: the sidecar, the control plane, both in one process for
// development, and the commands to use them from a terminal. It turns flags, files and signals into calls of
// internal/app, internal/client and the sidecar's gRPC service, and holds no logic of theirs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks to stop; from then on the default holds, so a second one ends the process at once.
	defer context.AfterFunc(ctx, stop)()
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, processes: production()}
	return c.run(ctx, os.Args[1:])
}
