// Command demo shows the main job of Sidehook on one screen: it starts `sidehook dev`, makes webhooks through the
// control plane, emits a day of events from five products to the sidecar on localhost, and prints each event as it is
// accepted and each delivery as it arrives, with its signature verified. One endpoint fails first and recovers; one
// webhook runs through a transformer process that hides personal fields.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "bin", "bin/sidehook", "the sidehook binary")
	flag.StringVar(&o.transformer, "transformer", "bin/transformers/redact", "the example transformer")
	flag.StringVar(&o.dir, "data", "", "folder for data; default a temporary one, removed at the end")
	flag.BoolVar(&o.once, "once", false, "stop when everything has arrived, instead of waiting for Ctrl-C")
	flag.BoolVar(&o.freePorts, "free-ports", false, "listen on free ports instead of the usual ones")
	flag.DurationVar(&o.pace, "pace", 600*time.Millisecond, "pause between events")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

type options struct {
	binary, transformer, dir string
	once, freePorts          bool
	pace                     time.Duration
}

// patience bounds the waits of the demo for things that take a moment.
const patience = 60 * time.Second

func run(ctx context.Context, o options, out io.Writer) (err error) {
	d, err := startDev(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			err = nil // what Ctrl-C cut short; how the stop went is told below
		}
		err = errors.Join(err, d.stop())
	}()
	s := newScreen(out)
	s.title("Sidehook: service → gRPC on localhost → disk → match → transformer → signature → POST → receiver")

	receivers, err := d.prepare(ctx, s)
	if err != nil {
		return err
	}
	arrivals, err := d.watch(ctx, receivers)
	if err != nil {
		return err
	}
	defer arrivals.close()
	expected, err := d.emit(ctx, o, s, arrivals)
	if err != nil {
		return err
	}
	if err := arrivals.await(ctx, s, expected); err != nil {
		return err
	}
	s.summary(arrivals, expected)
	if o.once {
		return arrivals.verdict()
	}
	s.whereToLook(d)
	s.title("Everything has arrived. The processes go on running: look around, Ctrl-C stops them.")
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.exited:
		d.exited <- err
		return fmt.Errorf("sidehook dev ended by itself: %w", err)
	}
}
