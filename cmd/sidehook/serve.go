package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/app"
	"github.com/sidehook/sidehook/internal/config"
)

// processes are what the binary can be. Each runs until ctx ends and then stops in order.
type processes struct {
	control func(ctx context.Context, cfg *config.Control, log *slog.Logger, out io.Writer) error
	sidecar func(ctx context.Context, cfg *config.Sidecar, log *slog.Logger, out io.Writer) error
	dev     func(ctx context.Context, o app.DevOptions) error
	inbox   func(ctx context.Context, o app.InboxOptions) error
	version func() string
}

func (c *cli) sidecarCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "sidecar --config FILE",
		GroupID: groupRun,
		Short:   "Run a sidecar",
		Long: `Run a sidecar: take events on localhost, keep them until they are delivered, and deliver them to every
webhook that wants them. Ctrl-C or SIGTERM stops it: it takes no more events, finishes what is in flight and
keeps the rest on disk.`,
		Example: `  sidehook config example sidecar > sidecar.yaml
  sidehook sidecar --config sidecar.yaml`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef(cmd, `--config is required; "sidehook config example sidecar" prints one to start from`)
			}
			cfg, err := config.LoadSidecar(file)
			if err != nil {
				return c.refused(err)
			}
			log := cfg.Log.New(c.stderr)
			warn(log, cfg.Warnings)
			return c.processes.sidecar(cmd.Context(), cfg, log, c.stdout)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func (c *cli) controlCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:     "control --config FILE",
		GroupID: groupRun,
		Short:   "Run a control plane",
		Long: `Run a control plane: keep apps, webhooks and secrets, answer the management API, and push every change to
the sidecars. At the first start it writes an admin token to the file that it names.`,
		Example: `  sidehook config example control > control.yaml
  sidehook control --config control.yaml`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef(cmd, `--config is required; "sidehook config example control" prints one to start from`)
			}
			cfg, err := config.LoadControl(file)
			if err != nil {
				return c.refused(err)
			}
			log := cfg.Log.New(c.stderr)
			warn(log, cfg.Warnings)
			return c.processes.control(cmd.Context(), cfg, log, c.stdout)
		},
	}
	configFlag(cmd, &file)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration file (YAML)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// refused prints the problems of a configuration file as config check does.
func (c *cli) refused(err error) error {
	var problems *config.Error
	if !errors.As(err, &problems) {
		return err
	}
	fmt.Fprintln(c.stderr, problems)
	return errSilent
}

func warn(log *slog.Logger, warnings []config.Problem) {
	for _, w := range warnings {
		log.Warn("configuration: "+w.Reason, "file", w.File, "line", w.Line, "field", w.Field)
	}
}

func (c *cli) devCommand() *cobra.Command {
	var dir string
	var transformers []string
	var l config.Log
	ports := config.DefaultPorts()
	cmd := &cobra.Command{
		Use:     "dev",
		GroupID: groupRun,
		Short:   "Run a control plane, a sidecar and an inbox in one process, to try things",
		Long: `Run a control plane, one sidecar for the app "demo" and an inbox in one process. They talk over their real
connections, so what works here works apart. Deliveries to this host are allowed. Everything is kept in the
data folder; remove it to start over.`,
		Example: `  sidehook dev
  sidehook dev --data /tmp/try --transformer redact=bin/transformers/redact`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkLog(cmd, l); err != nil {
				return err
			}
			ts, err := devTransformers(cmd, transformers)
			if err != nil {
				return err
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				return fmt.Errorf("find the data folder: %w", err)
			}
			return c.processes.dev(cmd.Context(), app.DevOptions{
				DataDir: abs, Transformers: ts, Ports: ports, Log: l.New(c.stderr), Out: c.stdout,
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dir, "data", devDataDir, "folder to keep everything in")
	_ = cmd.MarkFlagDirname("data")
	flags.StringArrayVar(&transformers, "transformer", nil, "NAME=PROGRAM that webhooks may name; may be repeated")
	for _, p := range []struct {
		flag  string
		value *string
		what  string
	}{
		{"grpc", &ports.GRPC, "the sidecar's events (gRPC)"},
		{"http", &ports.HTTP, "the sidecar's events (CloudEvents over HTTP)"},
		{"admin", &ports.Admin, "the sidecar's admin endpoint"},
		{"xds", &ports.XDS, "the control plane's configuration for sidecars"},
		{"rest", &ports.REST, "the control plane's management API"},
		{"inbox", &ports.Inbox, "the inbox"},
	} {
		flags.StringVar(p.value, "listen-"+p.flag, *p.value, "address of "+p.what+"; port 0 picks a free one")
	}
	logFlags(cmd, &l)
	return cmd
}

// devTransformers reads NAME=PROGRAM pairs.
func devTransformers(cmd *cobra.Command, pairs []string) ([]config.Transformer, error) {
	var ts []config.Transformer
	for _, pair := range pairs {
		name, program, ok := strings.Cut(pair, "=")
		if !ok || program == "" {
			return nil, usagef(cmd, "--transformer %q must be NAME=PROGRAM", pair)
		}
		if !sidehook.ValidName(name) {
			return nil, usagef(cmd, "--transformer %q: the name must be 1 to %d of A-Z a-z 0-9 _ -", pair, sidehook.MaxNameLen)
		}
		if slices.ContainsFunc(ts, func(t config.Transformer) bool { return t.Name == name }) {
			return nil, usagef(cmd, "--transformer %q: the name %s is given twice", pair, name)
		}
		abs, err := filepath.Abs(program)
		if err != nil {
			return nil, fmt.Errorf("find transformer %s: %w", name, err)
		}
		ts = append(ts, config.Transformer{Name: name, Command: abs, Timeout: config.DefaultTransformTimeout})
	}
	return ts, nil
}

func logFlags(cmd *cobra.Command, l *config.Log) {
	*l = config.DefaultLog()
	cmd.Flags().StringVar(&l.Level, "log-level", l.Level, "least important level to log: debug, info, warn or error")
	cmd.Flags().StringVar(&l.Format, "log-format", l.Format, "text or json")
}

func checkLog(cmd *cobra.Command, l config.Log) error {
	var fe *sidehook.FieldError
	if err := l.Validate(); errors.As(err, &fe) {
		return usagef(cmd, "--%s %s", strings.ReplaceAll(fe.Field, ".", "-"), fe.Reason)
	}
	return nil
}
