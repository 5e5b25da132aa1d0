// Command bench measures a sidecar from outside: the rate, the latency and the cost of delivering events, against a
// bare net/http loop that posts to the same receiver in the same run (the yardstick). The receiver is a process of its
// own, and the sidecar is bin/sidehook, started as a user starts it. It is not a test: it fails only when a row could
// not be measured or an acknowledged event did not arrive, never because a goal is missed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// settings are what the flags say.
type settings struct {
	duration time.Duration // measured, after the warm-up
	warmUp   time.Duration
	window   int // undelivered events that a closed loop allows
	batch    int // events in a message of the stream
	payload  int // bytes of a delivery's body
	door     string
	binary   string
	plugin   string
	dir      string
	json     string
	profile  string
	scale    float64 // of the sizes in fleet and growth
}

func main() {
	role := flag.String("role", "", "internal: what a child process is")
	rows := flag.String("row", "", "rows to measure, separated by commas (default: all; see -list)")
	soakFor := flag.Duration("soak", 0, "instead of rows: run for so long, and fail when anything grows")
	list := flag.Bool("list", false, "list the rows and exit")
	var s settings
	flag.DurationVar(&s.duration, "duration", 10*time.Second, "how long a rate is measured, after the warm-up")
	flag.DurationVar(&s.warmUp, "warmup", 3*time.Second, "how long a rate runs before it is measured")
	flag.IntVar(&s.window, "window", 1000, "how many events of a closed loop may be undelivered")
	flag.IntVar(&s.batch, "batch", 64, "events in a message of the stream")
	flag.IntVar(&s.payload, "payload", 1024, "bytes of a delivery's body")
	flag.StringVar(&s.door, "door", "tcp", "where the sidecar takes the events: tcp or unix")
	flag.StringVar(&s.binary, "sidecar", "bin/sidehook", "the binary to measure")
	flag.StringVar(&s.plugin, "transformer", "bin/transformers/redact", "the transformer of the row plugin")
	flag.StringVar(&s.dir, "data", "data", "folder for the sidecar's data, on the disk to measure; emptied afterwards")
	flag.StringVar(&s.json, "json", "bench/results.json", "where the results go, in the place of those of the same rows; empty: nowhere")
	flag.StringVar(&s.profile, "profile", "", "folder for a profile of the sidecar by perf, for each row")
	flag.Float64Var(&s.scale, "scale", 1, "for trying out: the part of their sizes that the rows fleet and growth and the soak have")
	flag.Parse()

	switch *role {
	case roleReceiver:
		exit(runReceiver())
	case roleResolver:
		exit(becomeWithResolver(flag.Args()))
	}
	if *list {
		listRows()
		return
	}
	if s.door != doorTCP && s.door != doorUnix {
		exit(fmt.Errorf("-door: must be %s or %s", doorTCP, doorUnix))
	}
	chosen, err := chooseRows(*rows)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "bench:", errors.Join(err, unexpected(flag.Args())))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *soakFor > 0 {
		exit(soak(ctx, s, *soakFor))
	}
	exit(measureAll(ctx, s, chosen))
}

func unexpected(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected argument %q; name rows with -row", strings.Join(args, " "))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// measureAll measures the rows one after the other. A row that fails does not keep the others from running.
func measureAll(ctx context.Context, s settings, rows []row) (err error) {
	var before []result
	if s.json != "" {
		if before, err = readResults(s.json); err != nil {
			return err
		}
	}
	rep := &report{}
	if err := rep.machine(s); err != nil {
		return err
	}
	for _, r := range rows {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(os.Stderr, "%s: %s …\n", r.name, r.what)
		rep.begin()
		rowErr := measure(ctx, s, r, rep)
		switch {
		case rowErr != nil && ctx.Err() != nil:
			rep.drop(r.name) // stopped on the way, which says nothing of the row: what the file has of it stays
		case rowErr != nil:
			rep.void(r.name)
			err = errors.Join(err, fmt.Errorf("row %s is void: %w", r.name, rowErr))
		}
	}
	rep.print(os.Stdout)
	if s.json != "" {
		err = errors.Join(err, writeResults(s.json, mergeResults(before, rep.results)))
	}
	return errors.Join(err, context.Cause(ctx))
}

func measure(ctx context.Context, s settings, r row, rep *report) (err error) {
	b, err := newBench(ctx, s, r.name, rep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	began := time.Now()
	if err := r.run(b); err != nil {
		return err
	}
	b.add(took, time.Since(began).Seconds(), "s")
	return nil
}
