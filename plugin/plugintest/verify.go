// Package plugintest is the conformance suite for authors of transformers. Run belongs into an author's own tests,
// Verify behind a command; both start the real program as a sidecar would and report what a sidecar would trip over.
// It says nothing about whether a transformer does the right thing with an event: only its own tests can.
package plugintest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/plugin/host"
)

// Options say what to verify, and with what.
type Options struct {
	// Command, Args and Env as in host.Spec.
	Command string
	Args    []string
	Env     []string
	// Events are asked one by one, besides the suite's own; each must be a valid event.
	Events []*sidehook.Event
	// Timeout is the time for one call, as in host.Spec; 0 means host.DefaultTimeout.
	Timeout time.Duration
	// Progress, when not nil, is called after each check.
	Progress func(Check)
}

// Check is one thing that was looked at.
type Check struct {
	// Name is short and stable, such as "handshake".
	Name string
	// Err says what is wrong and how to mend it; nil when the check passed.
	Err error
	// Note is what else is worth knowing.
	Note string
	Took time.Duration
}

// Report is the outcome of Verify.
type Report struct{ Checks []Check }

// Err joins what is wrong; nil when the transformer conforms.
func (r *Report) Err() error {
	var errs []error
	for _, c := range r.Checks {
		if c.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c.Name, c.Err))
		}
	}
	return errors.Join(errs...)
}

// WriteText prints the report, a line for each check.
func (r *Report) WriteText(w io.Writer) error {
	for _, c := range r.Checks {
		if _, err := fmt.Fprintln(w, c); err != nil {
			return err
		}
	}
	return nil
}

func (c Check) String() string {
	verdict, text := "ok  ", c.Note
	if c.Err != nil {
		verdict, text = "FAIL", c.Err.Error()
	}
	s := fmt.Sprintf("%s  %-12s %6s", verdict, c.Name, c.Took.Round(time.Millisecond))
	if text != "" {
		s += "  " + text
	}
	return s
}

// Run verifies the command as subtests of t, with the default options.
func Run(t *testing.T, command string, args ...string) {
	t.Helper()
	RunWith(t, Options{Command: command, Args: args})
}

// RunWith is Run with Options.
func RunWith(t *testing.T, o Options) {
	t.Helper()
	report, err := Verify(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range report.Checks {
		t.Run(c.Name, func(t *testing.T) {
			if c.Err != nil {
				t.Error(c.Err)
			}
			if c.Note != "" {
				t.Log(c.Note)
			}
		})
	}
}

// verifier is one run of the suite.
type verifier struct {
	Options
	dir string // for sockets
}

// Verify runs the suite. The error is of the suite itself: the command cannot be started at all, the context ended. What
// is wrong with the transformer stands in the report. A check whose ground is missing is not made: without a handshake
// there is nothing more to look at.
func Verify(ctx context.Context, o Options) (*Report, error) {
	if o.Timeout == 0 {
		o.Timeout = host.DefaultTimeout
	}
	for i, e := range o.Events {
		if err := e.Validate(0); err != nil {
			return nil, sidehook.Under(fmt.Sprintf("events[%d]", i), err)
		}
	}
	dir, err := os.MkdirTemp("", "sidehook-verify")
	if err != nil {
		return nil, fmt.Errorf("socket folder: %w", err)
	}
	defer os.RemoveAll(dir)
	v := &verifier{Options: o, dir: dir}
	if err := v.checkCommand(); err != nil {
		return nil, err
	}
	report := &Report{}
	for _, c := range []struct {
		name string
		run  func(context.Context) (note string, err error)
		must bool // nothing more makes sense without it
	}{
		{"handshake", v.handshake, true},
		{"describe", v.describe, true},
		{"events", v.events, false},
		{"order", v.order, false},
		{"odd data", v.oddData, false},
		{"large data", v.largeData, false},
		{"deadline", v.deadline, false},
		{"concurrency", v.concurrency, false},
		{"shutdown", v.shutdown, false},
		{"orphan", v.orphan, false},
	} {
		began := time.Now()
		note, err := c.run(ctx)
		if cause := context.Cause(ctx); cause != nil {
			return report, fmt.Errorf("verification was cut short: %w", cause)
		}
		check := Check{Name: c.name, Err: err, Note: note, Took: time.Since(began)}
		report.Checks = append(report.Checks, check)
		if o.Progress != nil {
			o.Progress(check)
		}
		if err != nil && c.must {
			break
		}
	}
	return report, nil
}

// socketDir is a folder for one process.
func (v *verifier) socketDir(name string) string { return filepath.Join(v.dir, name) }
