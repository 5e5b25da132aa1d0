package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// drainTime is how long the lines of a process that has ended are still read. Only a process that left the group and
// kept the pipe open makes it run out.
const drainTime = 200 * time.Millisecond

// handshakeLine is what go-plugin expects as the first line; this package finds it among other output.
var handshakeLine = regexp.MustCompile(`^[0-9]{1,9}\|[0-9]{1,9}\|(unix|tcp)\|[^|]+\|(grpc|netrpc)(\|.*)?$`)

type address struct{ network, path string }

// childRunner is the process for go-plugin (its runner.Runner).
//
// Standard output is read here to the end, and go-plugin is given the handshake line alone: output before it does no
// harm, and no line is too long. Standard error is read here too and go-plugin is given none of it, because its parser
// panics on some JSON.
//
// The process is started, awaited and reaped on one goroutine that keeps its thread, because Linux sends the
// parent-death signal when the thread that started the process ends. The group is killed after the process has ended
// and before it is reaped: until then its id cannot belong to anyone else.
type childRunner struct {
	command Command
	cmd     *exec.Cmd
	out     *os.File // our ends of the pipes
	err     *os.File

	forGoPlugin *io.PipeReader
	handshake   *io.PipeWriter
	shaken      bool // only the reader of standard output touches it
	addr        atomic.Pointer[address]

	mu      sync.Mutex
	running bool // started and not yet reaped: the group may be signalled
	doomed  bool // kill was called: do not start any more

	words  tail
	exited chan struct{} // closed when reaped and both pipes are read; never when the start failed
	failed atomic.Bool   // the start itself failed, or was never tried
	state  error         // of exec.Cmd.Wait; read after exited
}

func newChildRunner(c Command, exe *executable) *childRunner {
	r := &childRunner{command: c, cmd: exec.Command(exe.path, c.Args...), exited: make(chan struct{})}
	r.cmd.Args[0] = exe.name
	r.cmd.SysProcAttr = groupAttributes()
	r.failed.Store(true)
	r.forGoPlugin, r.handshake = io.Pipe()
	return r
}

// prepare takes the environment that go-plugin wants the process to have.
func (r *childRunner) prepare(handshakeEnv []string) error {
	r.cmd.Env = childEnv(r.command.Env, handshakeEnv, r.command.SocketDir)
	return nil
}

// Start implements runner.Runner.
func (r *childRunner) Start(context.Context) error {
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		outRead.Close()
		outWrite.Close()
		return err
	}
	r.out, r.err = outRead, errRead
	r.cmd.Stdout, r.cmd.Stderr = outWrite, errWrite
	started := make(chan error, 1)
	go r.own(started)
	err = <-started
	outWrite.Close()
	errWrite.Close()
	if err != nil {
		outRead.Close()
		errRead.Close()
		return fmt.Errorf("cannot start %s: %w", r.cmd.Args[0], err)
	}
	return nil
}

// own is the life of the process, on one thread.
func (r *childRunner) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r.mu.Lock()
	err := errDoomed
	if !r.doomed {
		err = r.cmd.Start()
	}
	r.running = err == nil
	r.failed.Store(err != nil)
	r.mu.Unlock()
	started <- err
	if err != nil {
		return
	}
	var readers sync.WaitGroup
	readers.Go(func() { r.read("stdout", r.out) })
	readers.Go(func() { r.read("stderr", r.err) })

	r.awaitEnd()
	_ = r.handshake.Close() // go-plugin sees the end of output
	_ = r.forGoPlugin.CloseWithError(io.EOF)
	deadline := time.Now().Add(drainTime)
	_ = r.out.SetReadDeadline(deadline) // pipes of os.Pipe take deadlines
	_ = r.err.SetReadDeadline(deadline)
	readers.Wait()
	r.out.Close()
	r.err.Close()
	close(r.exited)
}

// read logs one of the pipes line by line, and picks the handshake out of standard output.
func (r *childRunner) read(stream string, f *os.File) {
	lines := &lineWriter{emit: func(line string) {
		if stream == "stdout" && !r.shaken && handshakeLine.MatchString(line) {
			r.shaken = true
			_, _ = io.WriteString(r.handshake, line+"\n") // fails only when the process has ended
			_ = r.handshake.Close()
			return
		}
		r.logLine(stream, line)
	}}
	_, _ = io.Copy(lines, f) // ends with the process, or with the deadline after it
	lines.Flush()
}

func (r *childRunner) logLine(stream, line string) {
	if stream == "stderr" {
		r.words.add(line)
	}
	r.command.Log(stream, line)
}

var errDoomed = errors.New("it was stopped before it was started")

// kill kills the group, if the process has not been reaped, and keeps it from being started, if it has not been.
func (r *childRunner) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doomed = true
	if r.running {
		killGroup(r.cmd.Process.Pid)
	}
}

// abandon ends a process whose start came to nothing, waits for it, and returns the error with its last words.
func (r *childRunner) abandon(err error) error {
	if !r.failed.Load() {
		r.kill()
		<-r.exited
	}
	_ = emptyDir(r.command.SocketDir) // emptied again before the next start
	return fmt.Errorf("%w%s", err, r.lastWords())
}

// explain turns go-plugin's error of a failed handshake into what happened.
func (r *childRunner) explain(err error) error {
	if r.failed.Load() {
		return err
	}
	r.kill()
	<-r.exited
	if r.addr.Load() == nil && endedEarly(err) {
		return fmt.Errorf("it ended without a handshake (%s); is it a Sidehook transformer for this machine?", r.exitText())
	}
	return fmt.Errorf("handshake: %w", err)
}

// endedEarly tells go-plugin's two ways to say that no handshake line came before the end of output.
func endedEarly(err error) bool {
	return strings.Contains(err.Error(), "Unrecognized remote plugin message") ||
		strings.Contains(err.Error(), "exited before we could connect")
}

func (r *childRunner) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd.Process == nil {
		return 0
	}
	return r.cmd.Process.Pid
}

func (r *childRunner) address() address { return *r.addr.Load() }

// exitText says how the process ended; call it after exited.
func (r *childRunner) exitText() string {
	var exit *exec.ExitError
	switch {
	case r.state == nil:
		return "exited with status 0"
	case errors.As(r.state, &exit):
		return strings.Replace(exit.ProcessState.String(), "exit status", "exited with status", 1)
	}
	return r.state.Error()
}

func (r *childRunner) lastWords() string { return r.words.text() }

// PluginToHost implements runner.AddrTranslator. The address must be a socket in the private folder: a transformer
// must not send the sidecar anywhere else.
func (r *childRunner) PluginToHost(network, path string) (string, string, error) {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	want, wantErr := filepath.EvalSymlinks(r.command.SocketDir)
	if network != "unix" || err != nil || wantErr != nil || dir != want {
		return "", "", fmt.Errorf("it listens on %s %.120q; it must listen on a Unix socket in the folder that "+
			"PLUGIN_UNIX_SOCKET_DIR names", network, path)
	}
	if _, err := net.ResolveUnixAddr("unix", path); err != nil {
		return "", "", err
	}
	r.addr.Store(&address{network, path})
	return network, path, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (r *childRunner) HostToPlugin(network, path string) (string, string, error) {
	return network, path, nil
}

// Wait implements runner.AttachedRunner.
func (r *childRunner) Wait(context.Context) error {
	<-r.exited
	return nil
}

// Kill implements runner.AttachedRunner.
func (r *childRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

// Stdout implements runner.Runner.
func (r *childRunner) Stdout() io.ReadCloser { return r.forGoPlugin }

// Stderr implements runner.Runner.
func (r *childRunner) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (r *childRunner) Name() string { return r.cmd.Args[0] }

// ID implements runner.Runner.
func (r *childRunner) ID() string { return strconv.Itoa(r.pid()) }

// Diagnose implements runner.Runner; explain says more.
func (r *childRunner) Diagnose(context.Context) string { return "" }
