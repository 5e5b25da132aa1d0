package host

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/plugin/internal/process"
	"google.golang.org/grpc"
)

const (
	// describeTimeout bounds Describe (transform.proto).
	describeTimeout = 5 * time.Second
	// maxTimeouts is how many calls in a row may stay without an answer before the process is killed.
	maxTimeouts = 3
	// maxSick is how many health checks in a row may fail before the process is killed.
	maxSick = 2
	// healthTimeout bounds one health check.
	healthTimeout = 2 * time.Second
	// memoryInterval is how often resident memory is looked at.
	memoryInterval = time.Second
	// abandonTime is how long a supervisor waits, when it may not wait, for a process that it has killed.
	abandonTime = 250 * time.Millisecond
)

// unit is one transformer: its supervisor, the process of the moment, and the calls that wait for it.
//
// States: Stopped → Starting → Running → Backoff → Starting → …; from anywhere → Stopping → Stopped.
// The supervisor alone changes the state. current is set exactly while calls may be sent.
type unit struct {
	spec Spec
	sum  *[sha256.Size]byte
	dir  string
	opts *Options
	log  *slog.Logger

	mu      sync.Mutex
	stat    Status
	changed chan struct{} // closed and replaced at each change of stat
	current *instance
	held    *process.Process // the process that must not outlive us; also set while starting ends and stopping
	sending                  // batch.go

	suspects suspects
	perItem  atomic.Int64 // what an item took in the latest call, in nanoseconds; 0: there was none
	count    counters
	lines    *logLines
}

type counters struct {
	calls, transformed, dropped, failed, unavailable, timeouts, batches atomic.Int64
}

// instance is one run of the process.
type instance struct {
	proc  *process.Process
	conn  grpc.ClientConnInterface
	ctx   context.Context // ends with the run; its cause says why
	end   context.CancelCauseFunc
	began time.Time
	// senders are the goroutines that have a call under way.
	senders sync.WaitGroup
	// timeouts counts calls in a row that stayed without an answer.
	timeouts atomic.Int32
	// heard counts answers; while it grows the process needs no health check.
	heard atomic.Uint64
}

// condemn ends the run: the process is killed, and why is what Status will say.
func (i *instance) condemn(why error) {
	i.end(why)
	i.proc.Kill()
}

func newUnit(spec Spec, sum *[sha256.Size]byte, dir string, opts *Options) *unit {
	log := opts.Logger.With("transformer", spec.Name)
	return &unit{
		spec: spec, sum: sum, dir: dir, opts: opts, log: log,
		stat:    Status{Name: spec.Name, State: Stopped, Since: time.Now()},
		changed: make(chan struct{}),
		lines:   newLogLines(log),
	}
}

// supervise keeps the process running until life ends; then it stops it, with patience for as long as that context
// lasts.
func (u *unit) supervise(life, patience context.Context) {
	b := backoff{min: u.opts.MinBackoff, max: u.opts.MaxBackoff}
	for first := true; ; first = false {
		if life.Err() != nil {
			break
		}
		u.update(func(s *Status) {
			s.State, s.NextStart = Starting, time.Time{}
			if !first {
				s.Restarts++
			}
		})
		lived, err := u.run(life, patience)
		if life.Err() != nil {
			break
		}
		wait := b.next(lived)
		u.update(func(s *Status) {
			s.State, s.PID, s.LastError, s.LastErrorAt = Backoff, 0, err.Error(), time.Now()
			s.Failures, s.CrashLooping, s.NextStart = b.failures, b.looping(), time.Now().Add(wait)
		})
		u.log.Error("transformer is not running", "error", err, "lived", lived, "failures", b.failures,
			"crash_looping", b.looping(), "next_start_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-life.Done():
			timer.Stop()
		}
	}
	u.update(func(s *Status) { s.State, s.PID, s.NextStart = Stopped, 0, time.Time{} })
}

// run is one run of the process, from start to end; lived is how long it answered. The error says why it ended.
func (u *unit) run(life, patience context.Context) (lived time.Duration, err error) {
	proc, err := process.Start(life, process.Command{
		Path: u.spec.Command, Args: u.spec.Args, Env: u.spec.Env, SHA256: u.sum, SocketDir: u.dir,
		StartTimeout: u.opts.StartTimeout, MaxReceive: maxReceive, Log: u.lines.log,
	})
	if err != nil {
		return 0, fmt.Errorf("start: %w", err)
	}
	u.hold(proc)
	defer u.hold(nil)
	i := &instance{proc: proc, conn: proc.Conn(), began: time.Now()}
	i.ctx, i.end = context.WithCancelCause(context.Background())
	defer i.end(errEnded)
	if err := u.describe(life, i); err != nil {
		proc.Kill()
		u.awaitEnd(patience, proc)
		return 0, fmt.Errorf("start: %w", err)
	}
	u.open(i)
	u.log.Info("transformer runs", "pid", proc.PID())
	err = u.watch(life, i)
	u.close(i, err)
	switch {
	case life.Err() != nil:
		u.stop(patience, i)
	case proc.Err() == nil: // it lives, and must not
		i.condemn(err)
		u.awaitEnd(patience, proc)
	}
	// The senders' calls end with i.ctx, or with the connection to a process that ended by itself; then i.ctx is left
	// alone, so that they see a crash, which may be an event's doing.
	i.senders.Wait()
	return time.Since(i.began), err
}

var errEnded = errors.New("the process has ended")

func (u *unit) hold(p *process.Process) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held = p
}

// killNow kills the process without waiting for it.
func (u *unit) killNow() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held != nil {
		u.held.Kill()
	}
}

// awaitEnd waits for a process that has been killed. The kernel may take its time, so without patience it is left to
// be reaped in the background.
func (u *unit) awaitEnd(patience context.Context, proc *process.Process) {
	select {
	case <-proc.Done():
		return
	case <-patience.Done():
	}
	timer := time.NewTimer(abandonTime)
	defer timer.Stop()
	select {
	case <-proc.Done():
	case <-timer.C:
		u.log.Error("transformer was killed and has not ended yet", "pid", proc.PID())
	}
}

func (u *unit) describe(life context.Context, i *instance) error {
	ctx, cancel := context.WithTimeout(life, describeTimeout)
	defer cancel()
	d, err := i.proc.Client().Describe(ctx, &transformv1.DescribeRequest{})
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	u.update(func(s *Status) {
		s.ReportedName, s.Version, s.Description = plain(d.GetName()), plain(d.GetVersion()), plain(d.GetDescription())
	})
	return nil
}

// watch returns why the run is over: the process ended, was condemned, or life ended.
func (u *unit) watch(life context.Context, i *instance) error {
	memory := time.NewTicker(memoryInterval)
	defer memory.Stop()
	health := time.NewTicker(u.opts.HealthInterval)
	defer health.Stop()
	sick, heard := 0, uint64(0)
	for {
		select {
		case <-life.Done():
			return context.Cause(life)
		case <-i.proc.Done():
			if cause := context.Cause(i.ctx); cause != nil {
				return cause // condemned; that it was killed says less
			}
			return i.proc.Err()
		case <-memory.C:
			if rss := i.proc.RSS(); u.spec.MaxMemory > 0 && rss > u.spec.MaxMemory {
				return fmt.Errorf("it used %d bytes of memory; the limit is %d", rss, u.spec.MaxMemory)
			}
		case <-health.C:
			if now := i.heard.Load(); now != heard {
				heard, sick = now, 0
				continue
			}
			err := u.checkHealth(life, i)
			if err == nil {
				sick = 0
				continue
			}
			if sick++; sick >= maxSick {
				return fmt.Errorf("it does not answer: %w", err)
			}
		}
	}
}

func (u *unit) checkHealth(life context.Context, i *instance) error {
	ctx, cancel := context.WithTimeout(life, healthTimeout)
	defer cancel()
	return i.proc.Health(ctx)
}

// stop ends a run in good order: calls under way finish, the process is asked to end, and after the grace it is killed.
func (u *unit) stop(patience context.Context, i *instance) {
	ctx, cancel := context.WithTimeoutCause(patience, u.opts.StopGrace, errors.New("the time to stop was over"))
	defer cancel()
	idle := make(chan struct{})
	go func() { // ends with the senders, which i.end ends
		i.senders.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-i.proc.Done():
	case <-ctx.Done():
	}
	if err := i.proc.Stop(ctx); err != nil {
		u.log.Warn("transformer did not stop in good order", "error", err)
	}
	i.end(errEnded)
	u.awaitEnd(patience, i.proc)
	<-idle
}
