package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/internal/process"
)

// Limits and defaults of a Spec.
const (
	DefaultTimeout = 2 * time.Second
	MinTimeout     = 10 * time.Millisecond
	MaxTimeout     = 60 * time.Second
	MaxSpecs       = 64
)

// Spec says how to run one transformer.
type Spec struct {
	// Name is what webhooks call it by: 1 to 64 of A-Z a-z 0-9 _ -.
	Name string
	// Command is the executable: a path, or a name that is looked up in PATH.
	Command string
	Args    []string
	// Env is the environment, as KEY=value; nothing of the sidecar's own is passed on.
	Env []string
	// SHA256 is the checksum, in hex, that the file of Command must have at each start; empty does not look. It covers
	// the file alone, not a script that is among Args.
	SHA256 string
	// Timeout bounds one call to the process, and the wait for it; 0 means DefaultTimeout.
	Timeout time.Duration
	// MaxMemory is how many resident bytes the process may have before it is started anew; 0 means no limit. Looked at
	// once a second, on Linux only.
	MaxMemory int64
}

// Options make a Host.
type Options struct {
	// Specs are the transformers, by unique name.
	Specs []Spec
	// Dir is a folder of this host alone, made with mode 0700; sockets live in it and everything in it is swept at
	// start. At most MaxDir bytes, because a socket's address is short.
	Dir string
	// Logger takes what happens to the processes and the lines that they write; nil discards.
	Logger *slog.Logger
	// StartTimeout bounds a process's time from start to its first healthy answer; 0 means 10 s.
	StartTimeout time.Duration
	// StopGrace is how long a process that is asked to end may take before it is killed; 0 means 2 s.
	StopGrace time.Duration
	// MinBackoff and MaxBackoff bound the wait before a process is started again; 0 means 100 ms and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// HealthInterval is how often an idle process is asked whether it lives; 0 means 5 s.
	HealthInterval time.Duration
}

// MaxDir is how long Options.Dir may be as an absolute path, in bytes.
const MaxDir = process.MaxSocketDir - len("/00")

const (
	defaultStopGrace      = 2 * time.Second
	defaultMinBackoff     = 100 * time.Millisecond
	defaultMaxBackoff     = 30 * time.Second
	defaultHealthInterval = 5 * time.Second
)

// Host runs transformers. It is safe for concurrent use.
type Host struct {
	opts  Options
	units map[string]*unit
	order []*unit

	mu      sync.Mutex
	started bool
	stopped bool
	cancel  context.CancelCauseFunc // tells the supervisors to stop
	hurry   context.CancelCauseFunc // tells them to stop waiting for anything
	running sync.WaitGroup
	done    chan struct{} // closed when every supervisor has returned
}

var _ sidehook.Transformers = (*Host)(nil)

// New checks the options; nothing is started. The error is a *sidehook.FieldError when an option is wrong.
func New(opts Options) (*Host, error) {
	if err := opts.fill(); err != nil {
		return nil, err
	}
	h := &Host{opts: opts, units: make(map[string]*unit, len(opts.Specs)), done: make(chan struct{})}
	for i, spec := range opts.Specs {
		field := "specs[" + strconv.Itoa(i) + "]"
		sum, err := spec.fill()
		if err != nil {
			return nil, sidehook.Under(field, err)
		}
		if h.units[spec.Name] != nil {
			return nil, sidehook.Fieldf(field+".name", "%s is given twice", spec.Name)
		}
		u := newUnit(spec, sum, filepath.Join(opts.Dir, strconv.Itoa(i)), &h.opts)
		h.units[spec.Name] = u
		h.order = append(h.order, u)
	}
	return h, nil
}

func (o *Options) fill() error {
	if o.Dir == "" {
		return sidehook.Fieldf("dir", "is required: a folder for sockets under the data folder")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("dir: %w", err)
	}
	if len(dir) > MaxDir {
		return sidehook.Fieldf("dir", "%s is %d bytes long; the address of a socket leaves room for %d: choose a data "+
			"folder with a shorter path", dir, len(dir), MaxDir)
	}
	if len(o.Specs) > MaxSpecs {
		return sidehook.Fieldf("specs", "must be at most %d", MaxSpecs)
	}
	o.Dir = dir
	o.Specs = slices.Clone(o.Specs)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	orDefault(&o.StartTimeout, process.DefaultStartTimeout)
	orDefault(&o.StopGrace, defaultStopGrace)
	orDefault(&o.MinBackoff, defaultMinBackoff)
	orDefault(&o.MaxBackoff, defaultMaxBackoff)
	orDefault(&o.HealthInterval, defaultHealthInterval)
	return nil
}

func orDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// fill checks a spec, sets its defaults, and reads its checksum.
func (s *Spec) fill() (*[sha256.Size]byte, error) {
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	switch {
	case !sidehook.ValidName(s.Name):
		return nil, sidehook.Fieldf("name", "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
	case s.Command == "":
		return nil, sidehook.Fieldf("command", "is required: the path of the transformer's executable")
	case strings.ContainsRune(s.Command, 0):
		return nil, sidehook.Fieldf("command", "must not have NUL bytes")
	case s.Timeout < MinTimeout || s.Timeout > MaxTimeout:
		return nil, sidehook.Fieldf("timeout", "must be %s to %s", MinTimeout, MaxTimeout)
	case s.MaxMemory < 0:
		return nil, sidehook.Fieldf("max_memory", "must not be negative")
	}
	for i, a := range s.Args {
		if strings.ContainsRune(a, 0) {
			return nil, sidehook.Fieldf("args["+strconv.Itoa(i)+"]", "must not have NUL bytes")
		}
	}
	for i, kv := range s.Env {
		if err := checkEnv(kv); err != nil {
			return nil, sidehook.Under("env["+strconv.Itoa(i)+"]", err)
		}
	}
	return parseSum(s.SHA256)
}

func checkEnv(kv string) error {
	key, _, ok := strings.Cut(kv, "=")
	switch {
	case !ok || key == "" || strings.ContainsRune(kv, 0):
		return sidehook.Fieldf("", "must be KEY=value")
	case strings.HasPrefix(key, "PLUGIN_") || key == plugin.CookieKey:
		return sidehook.Fieldf("", "%s is set by the sidecar and cannot be changed", key)
	}
	return nil
}

func parseSum(s string) (*[sha256.Size]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size {
		return nil, sidehook.Fieldf("sha256", "must be %d hex digits, as sha256sum prints", 2*sha256.Size)
	}
	return (*[sha256.Size]byte)(b), nil
}

// Start checks that every command is there and has its checksum, sweeps the socket folder, and starts the processes in
// the background: Status and Ready tell how they do. A process that crashes or never answers is no error of Start.
// When Start fails nothing runs. The context bounds Start alone.
func (h *Host) Start(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.started || h.stopped {
		return errors.New("transformers were started before; make a new host")
	}
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("start transformers: %w", err)
	}
	var errs []error
	for _, u := range h.order {
		if err := process.Check(u.spec.Command, u.sum); err != nil {
			errs = append(errs, fmt.Errorf("transformer %s: %w", u.spec.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := h.sweep(); err != nil {
		return fmt.Errorf("transformers' socket folder: %w", err)
	}
	h.started = true
	life, cancel := context.WithCancelCause(context.Background())
	patience, hurry := context.WithCancelCause(context.Background())
	h.cancel, h.hurry = cancel, hurry
	for _, u := range h.order {
		h.running.Go(func() { u.supervise(life, patience) })
	}
	go func() { // ends with the supervisors
		h.running.Wait()
		close(h.done)
	}()
	return nil
}

// sweep makes the socket folder and removes what processes of an earlier host left: numbered folders only, so that a
// wrong Dir does no harm.
func (h *Host) sweep() error {
	if err := os.MkdirAll(h.opts.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Chmod(h.opts.Dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(h.opts.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 16); err != nil || !e.IsDir() {
			continue
		}
		if err := os.RemoveAll(filepath.Join(h.opts.Dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Installed reports whether the host has a transformer of that name, whatever its state.
func (h *Host) Installed(name string) bool { return h.units[name] != nil }

// Begin implements sidehook.Transformers.
func (h *Host) Begin(name string, e *sidehook.Event, w *sidehook.Webhook) sidehook.Transforming {
	u := h.units[name]
	if u == nil {
		return notInstalled(name)
	}
	return u.begin(e, w)
}

// Ahead implements sidehook.Transformers.
func (h *Host) Ahead(name string, e *sidehook.Event, w *sidehook.Webhook) sidehook.Transforming {
	u := h.units[name]
	if u == nil {
		return nil
	}
	if c := u.ahead(e, w); c != nil { // a nil *call would be an answer
		return c
	}
	return nil
}

// notInstalled is the answer of a transformer that the host does not have.
type notInstalled string

// Wait implements sidehook.Transforming.
func (name notInstalled) Wait(context.Context) (*sidehook.Transformed, error) {
	return nil, unavailable(string(name), errors.New("it is not installed on this sidecar"))
}

// Transform is Begin and Wait in one.
func (h *Host) Transform(ctx context.Context, name string, e *sidehook.Event, w *sidehook.Webhook) (*sidehook.Transformed, error) {
	return h.Begin(name, e, w).Wait(ctx)
}

// Ready waits until the transformer runs, or the context ends.
func (h *Host) Ready(ctx context.Context, name string) error {
	return h.Await(ctx, name, func(s Status) bool { return s.State == Running })
}

// Await waits until the condition holds of the transformer's status, which it is asked at each change of state, or the
// context ends. The counts in that status are not filled in.
func (h *Host) Await(ctx context.Context, name string, holds func(s Status) bool) error {
	u := h.units[name]
	if u == nil {
		return unavailable(name, errors.New("it is not installed on this sidecar"))
	}
	return u.await(ctx, holds)
}

// Status tells how each transformer does, in the order of Options.Specs.
func (h *Host) Status() []Status {
	out := make([]Status, len(h.order))
	for i, u := range h.order {
		out[i] = u.status()
	}
	return out
}

// Stop takes no more calls, lets those under way finish, asks the processes to end, and kills the groups of those that
// do not in time. It may be called more than once. It does not block past the end of ctx; then every group has been sent
// SIGKILL and the error says so.
func (h *Host) Stop(ctx context.Context) error {
	h.mu.Lock()
	h.stopped = true
	started := h.started
	h.mu.Unlock()
	if !started {
		return nil
	}
	h.cancel(sidehook.ErrStopping)
	stop := context.AfterFunc(ctx, func() { h.hurry(context.Cause(ctx)) })
	defer stop()
	// Killing and reaping take time too, so patience ends before ctx does.
	if deadline, ok := ctx.Deadline(); ok {
		timer := time.AfterFunc(time.Until(deadline)*3/4, func() { h.hurry(errors.New("the time to stop is short")) })
		defer timer.Stop()
	}
	select {
	case <-h.done:
		h.hurry(nil)
		return nil
	case <-ctx.Done():
		for _, u := range h.order {
			u.killNow()
		}
		return fmt.Errorf("transformers were killed and had not ended in time: %w", context.Cause(ctx))
	}
}

// unavailable wraps why a transformer could not be asked.
func unavailable(name string, why error) error {
	return fmt.Errorf("%w: %s: %w", sidehook.ErrTransformerUnavailable, name, why)
}
