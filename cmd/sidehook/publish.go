package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	"github.com/sidehook/sidehook/internal/config"
)

const (
	envAddress = "SIDEHOOK_ADDRESS" // of the sidecar
	maxCount   = 100_000_000
)

// publishOptions are the flags of sidehook publish.
type publishOptions struct {
	output
	address string
	timeout time.Duration
	file    string
	count   int
	rate    float64
	event   eventFlags
}

func (c *cli) publishCommand() *cobra.Command {
	var o publishOptions
	cmd := &cobra.Command{
		Use:     "publish --type TYPE [--data DATA]",
		GroupID: groupUse,
		Short:   "Emit an event to the local sidecar",
		Long: `Emit an event to the local sidecar and print what became of it, once it is durable:

  accepted    stored; its deliveries are on their way
  duplicate   an event with this id was taken before; nothing was stored again
  unmatched   no webhook wants it; it was counted and not stored
  held        stored until the sidecar gets its first configuration

With --count it emits many like it, with --file those of a file with one CloudEvent (JSON) on each line.
The exit code is 0 when all were taken.`,
		Example: `  sidehook publish --type person.created --data '{"id":7,"name":"An"}'
  sidehook publish --type livestream.channel.live --data @live.json --subject channel/12
  echo '{"a":1}' | sidehook publish --type test.ping --data -
  sidehook publish --type load.test --data '{}' --count 10000 --rate 500
  sidehook publish --file events.ndjson`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.publish(cmd, &o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.address, "address", "", "the sidecar: HOST:PORT or unix:PATH (default "+
		config.DefaultPorts().GRPC+", or "+envAddress+")")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "longest wait for the answer to a single event")
	flags.StringVar(&o.file, "file", "", "emit the CloudEvents of a file, one on each line; - for standard input")
	flags.IntVar(&o.count, "count", 1, "how many to emit; each gets an id of its own")
	flags.Float64Var(&o.rate, "rate", 0, "events per second (default as fast as the sidecar takes them)")
	o.event.register(cmd)
	o.output.register(cmd)
	return cmd
}

func (c *cli) publish(cmd *cobra.Command, o *publishOptions) error {
	if err := o.check(cmd); err != nil {
		return err
	}
	events, closeEvents, err := c.events(cmd, o)
	if err != nil {
		return err
	}
	defer closeEvents()
	s, err := dialSidecar(first(o.address, c.getenv(envAddress), config.DefaultPorts().GRPC), c.processes.version())
	if err != nil {
		return err
	}
	defer s.close()
	r := newReport(o.format, c.stdout, c.stderr)
	ctx := cmd.Context()
	if o.single() {
		err = publishOne(ctx, s, events, r, o.timeout)
	} else {
		err = publishMany(ctx, s, events, r, o.rate)
	}
	if err = s.explain(err); err != nil && r.empty() {
		return err
	}
	r.finish()
	switch {
	case err != nil:
		return err
	case r.refused > 0:
		return errSilent
	}
	return nil
}

// check refuses flags that contradict each other.
func (o *publishOptions) check(cmd *cobra.Command) error {
	if err := o.output.check(cmd); err != nil {
		return err
	}
	changed := cmd.Flags().Changed
	if o.file != "" {
		for _, name := range append([]string{"count", "type"}, eventFlagNames...) {
			if changed(name) {
				return usagef(cmd, "--%s cannot be used with --file: the file says what each event is", name)
			}
		}
	} else if o.event.eventType == "" {
		return usagef(cmd, "--type is required, for example --type person.created")
	}
	switch {
	case o.count < 1 || o.count > maxCount:
		return usagef(cmd, "--count must be 1 to %d", maxCount)
	case changed("rate") && !(o.rate > 0 && o.rate <= 1e6):
		return usagef(cmd, "--rate must be more than 0 and at most 1000000")
	case o.timeout <= 0:
		return usagef(cmd, "--timeout must be more than 0s")
	}
	return nil
}

func (o *publishOptions) single() bool { return o.file == "" && o.count == 1 }

// events opens what is to be emitted.
func (c *cli) events(cmd *cobra.Command, o *publishOptions) (eventSource, func(), error) {
	if o.file == "" {
		event, err := o.event.event(cmd, c.stdin)
		if err != nil {
			return nil, nil, err
		}
		return repeated(event, o.event.id != "", o.count), func() {}, nil
	}
	if o.file == "-" {
		return fromLines(c.stdin), func() {}, nil
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the events: %w", err)
	}
	return fromLines(f), func() { _ = f.Close() }, nil // only read
}

// publishOne emits the only event of a source and waits for its result.
func publishOne(ctx context.Context, s *sidecarConn, events eventSource, r *report, timeout time.Duration) error {
	late := fmt.Errorf("the sidecar at %s has not answered within %s", s.address, timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	for e, err := range events {
		if err != nil {
			return err
		}
		resp, err := s.events.Publish(ctx, &eventsv1.PublishRequest{Events: []*eventsv1.Event{e.event}})
		if err != nil {
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case status.Code(err) == codes.DeadlineExceeded: // the sidecar's clock has noticed first
				return late
			}
			return err
		}
		if len(resp.GetResults()) != 1 {
			return fmt.Errorf("the sidecar answered with %d results for one event: %w", len(resp.GetResults()),
				io.ErrUnexpectedEOF)
		}
		r.result(e.line, resp.GetResults()[0])
	}
	return nil
}
