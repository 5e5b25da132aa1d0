// Package process starts one transformer through go-plugin and holds it: the operating system's process, the lines it
// writes, and the gRPC connection to it. It knows nothing of events and never starts anything a second time; package
// host does both, and package plugintest probes with it.
//
// go-plugin's client finds, starts and shakes hands; everything after that is done here, because its client has no
// deadlines (Ping, Shutdown), keeps goroutines of failed connections, and parses standard error in a way that can panic.
package process

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/emptypb"
)

// MaxSocketDir is how long Command.SocketDir may be in bytes: with go-plugin's file name behind it, it must fit the 107
// bytes of a Unix socket's address.
const MaxSocketDir = 107 - len("/plugin4294967295")

// DefaultStartTimeout bounds the time from start to the first healthy answer.
const DefaultStartTimeout = 10 * time.Second

// DefaultMaxReceive bounds one answer of the transformer, in bytes.
const DefaultMaxReceive = 8 << 20

// Command says what to start.
type Command struct {
	// Path of the executable; a name without a slash is looked up in PATH.
	Path string
	Args []string
	// Env is the whole environment of the process but for what the handshake needs and TMPDIR, which is SocketDir
	// unless given.
	Env []string
	// SHA256 that the file at Path must have; nil does not look.
	SHA256 *[sha256.Size]byte
	// SocketDir is made with mode 0700 and emptied before the start and after the end.
	SocketDir string
	// StartTimeout defaults to DefaultStartTimeout.
	StartTimeout time.Duration
	// MaxReceive defaults to DefaultMaxReceive.
	MaxReceive int
	// Log takes each line that the process writes, at most MaxLine bytes; it is called from several goroutines. Stream
	// is "stdout" or "stderr".
	Log func(stream, line string)
}

// Process is a transformer that runs, or ran.
type Process struct {
	cmd    Command
	runner *childRunner
	conn   *grpc.ClientConn
	stdio  sync.WaitGroup
	cancel context.CancelFunc
	done   chan struct{}
}

// Start starts the process, shakes hands and waits for the first healthy answer. When it fails nothing is left behind.
// The context bounds the start alone.
func Start(ctx context.Context, c Command) (*Process, error) {
	c.fill()
	ctx, cancel := context.WithTimeoutCause(ctx, c.StartTimeout,
		fmt.Errorf("it was not ready within %s", c.StartTimeout))
	defer cancel()
	if err := emptyDir(c.SocketDir); err != nil {
		return nil, fmt.Errorf("socket folder: %w", err)
	}
	exe, err := openExecutable(c.Path, c.SHA256)
	if err != nil {
		return nil, err
	}
	defer exe.Close()

	r := newChildRunner(c, exe)
	addr, err := shakeHands(ctx, r, c)
	if err != nil {
		return nil, r.abandon(err)
	}
	conn, err := dial(addr, c.MaxReceive)
	if err != nil {
		return nil, r.abandon(err)
	}
	life, stop := context.WithCancel(context.Background())
	p := &Process{cmd: c, runner: r, conn: conn, cancel: stop, done: make(chan struct{})}
	p.stdio.Go(func() { followStdio(life, conn, r.logLine) })
	go p.reap()
	if err := p.Health(ctx); err != nil {
		p.Kill()
		<-p.done
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("it shook hands and then did not answer: %w%s", err, r.lastWords())
	}
	return p, nil
}

func (c *Command) fill() {
	if c.StartTimeout <= 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.MaxReceive <= 0 {
		c.MaxReceive = DefaultMaxReceive
	}
	if c.Log == nil {
		c.Log = func(string, string) {}
	}
}

// shakeHands lets go-plugin start r's process and read its address. It returns when go-plugin has, which is soon after
// the context ends, because the process is killed then.
func shakeHands(ctx context.Context, r *childRunner, c Command) (address, error) {
	config := &goplugin.ClientConfig{
		HandshakeConfig:  plugin.Handshake(),
		Plugins:          goplugin.PluginSet{plugin.ServiceName: &goplugin.NetRPCUnsupportedPlugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off}),
		StartTimeout:     c.StartTimeout + time.Second, // ctx ends before it
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: c.SocketDir},
		RunnerFunc: func(_ hclog.Logger, spec *exec.Cmd, tmp string) (runner.Runner, error) {
			// One folder per transformer is enough, and a shorter path.
			if err := os.Remove(tmp); err != nil {
				return nil, err
			}
			return r, r.prepare(spec.Env)
		},
	}
	stop := context.AfterFunc(ctx, r.kill)
	defer stop()
	var err error
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("go-plugin panicked: %v", p)
			}
		}()
		_, err = goplugin.NewClient(config).Start()
	}()
	if err == nil && ctx.Err() == nil {
		return r.address(), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return address{}, cause
	}
	return address{}, r.explain(err)
}

// reap closes the connection when the process has ended, and then says that it is done.
func (p *Process) reap() {
	<-p.runner.exited
	p.cancel()
	_ = p.conn.Close() // the peer is gone; there is nothing to lose
	p.stdio.Wait()
	_ = emptyDir(p.cmd.SocketDir) // emptied again before the next start
	close(p.done)
}

// Client speaks to the transformer.
func (p *Process) Client() transformv1.TransformerServiceClient {
	return transformv1.NewTransformerServiceClient(p.conn)
}

// Conn is the connection to the transformer, for callers that encode by themselves.
func (p *Process) Conn() grpc.ClientConnInterface { return p.conn }

// PID is the process id.
func (p *Process) PID() int { return p.runner.pid() }

// Done is closed when the process has ended, with everything in its process group, and its lines are logged.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended, with the last lines that it wrote to standard error; nil while it runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s%s", p.runner.exitText(), p.runner.lastWords())
	default:
		return nil
	}
}

// Health asks the process whether it serves.
func (p *Process) Health(ctx context.Context) error {
	answer, err := grpc_health_v1.NewHealthClient(p.conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	if s := answer.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("health check: service %q is %s, not SERVING", goplugin.GRPCServiceName, s)
	}
	return nil
}

// Stop asks the process to end and waits for it; when ctx ends first, the process group is killed. The error says that
// it had to be.
func (p *Process) Stop(ctx context.Context) error {
	err := p.conn.Invoke(ctx, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	if isUnimplemented(err) {
		p.Kill()
		<-p.done
		return fmt.Errorf("it has no plugin.GRPCController/Shutdown, so it was killed: %w", err)
	}
	// Any other error is the connection that the process closed while it answered, or the end of ctx.
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("it did not end when asked, so it was killed: %w", context.Cause(ctx))
	}
}

// Kill kills the process group. It does not wait; Done does.
func (p *Process) Kill() { p.runner.kill() }

// RSS is the resident memory of the process in bytes; 0 when it cannot be told.
func (p *Process) RSS() int64 { return residentBytes(p.PID()) }

// emptyDir makes dir, private to this user, and removes what is in it.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if info.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// childEnv is the environment of the process: what the handshake needs wins over what the operator gave.
func childEnv(given, handshake []string, tmp string) []string {
	env := []string{"TMPDIR=" + tmp}
	env = append(env, given...)
	for _, kv := range handshake {
		if !strings.HasPrefix(kv, goplugin.EnvUnixSocketDir+"=") {
			env = append(env, kv)
		}
	}
	return append(env, goplugin.EnvUnixSocketDir+"="+tmp)
}
