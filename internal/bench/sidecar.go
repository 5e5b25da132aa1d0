package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const app = "bench"

// hook is a webhook of a row.
type hook struct {
	URL         string
	Event       string // pattern
	Transformer string
	Timeout     time.Duration
	Schedule    []time.Duration // of retries
	NoRetry     bool
	Ordered     bool   // by key
	Filter      string // CEL

	answer int // status that its endpoint answers with
}

// sidecarSpec says how a sidecar is configured, beyond what every one is.
type sidecarSpec struct {
	hooks       []hook
	transformer string // program of the transformer named so in hooks
	overXDS     bool   // its configuration comes from a configServer, not from a file
	durability  string
	door        string   // doorTCP or doorUnix
	env         []string // more of its environment
	limits      string   // more of the configuration
	resolv      string   // instead of /etc/resolv.conf, as withResolver has it
	hangs       bool     // an endpoint never answers, so the sidecar could not end in peace: it is killed
}

// The doors of a sidecar for events by gRPC.
const (
	doorTCP  = "tcp"
	doorUnix = "unix"
)

const transformerName = "redact"

// secretKey signs every delivery; any key costs the same.
const secretKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// sidecar is a running `sidehook sidecar`.
type sidecar struct {
	dir               string
	grpc, unix, admin string
	cmd               *exec.Cmd
	log               *os.File
	hangs             bool
	config            *configServer // nil: it has a file
	took              time.Duration // from exec to ready
	out               chan struct{} // its output has ended
}

// writeConfig writes the files that startSidecar starts with. The address is that of a configServer; empty: there is none.
func writeConfig(dir string, spec sidecarSpec, address string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "kind: sidecar\ndata_dir: state\napps: [%s]\n", app)
	if address != "" {
		fmt.Fprintf(&b, "control_plane: {address: %q, token: bench}\n", address)
	} else {
		b.WriteString("config_file: webhooks.yaml\n")
	}
	unix := `"off"`
	if spec.door == doorUnix {
		unix = `""` // the default place
	}
	fmt.Fprintf(&b, "listen: {grpc: 127.0.0.1:0, unix: %s, http: \"off\", admin: 127.0.0.1:0}\n", unix)
	fmt.Fprintf(&b, "outbound: {allow_loopback: true}\n")
	b.WriteString(spec.limits)
	if spec.durability != "" {
		fmt.Fprintf(&b, "durability: %s\n", spec.durability)
	}
	if spec.transformer != "" {
		program, err := filepath.Abs(spec.transformer)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "transformers:\n  - {name: %s, command: %q, env: {REDACT_KEYS: \"email,phone\"}}\n", transformerName, program)
	}
	if spec.resolv != "" {
		if err := os.WriteFile(filepath.Join(dir, resolvName), []byte(spec.resolv), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "sidecar.yaml"), []byte(b.String()), 0o600); err != nil {
		return err
	}
	if address != "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "webhooks.yaml"), []byte(webhooksYAML(spec.hooks)), 0o600)
}

func webhooksYAML(hooks []hook) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apps:\n  - id: %s\n    webhooks:\n", app)
	for i, h := range hooks {
		fmt.Fprintf(&b, "      - {id: w%d, name: w%d, url: %q, events: [%q], secrets: [{id: s, key: %s}]", i, i, h.URL, h.Event, secretKey)
		if h.Transformer != "" {
			fmt.Fprintf(&b, ", transformer: %s", h.Transformer)
		}
		if h.Timeout > 0 {
			fmt.Fprintf(&b, ", timeout: %s", h.Timeout)
		}
		if h.NoRetry {
			b.WriteString(", automatic_retry: false")
		}
		if h.Ordered {
			b.WriteString(", ordering: key")
		}
		if h.Filter != "" {
			fmt.Fprintf(&b, ", filter: %q", h.Filter)
		}
		if len(h.Schedule) > 0 {
			waits := make([]string, len(h.Schedule))
			for i, w := range h.Schedule {
				waits[i] = w.String()
			}
			fmt.Fprintf(&b, ", retry_policy: {schedule: [%s]}", strings.Join(waits, ", "))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// readyTimeout bounds the start of a sidecar.
const readyTimeout = 60 * time.Second

// startSidecar starts the binary on the files in dir, with more of an environment, and returns when it is ready for events.
func startSidecar(ctx context.Context, binary, dir string, env ...string) (*sidecar, error) {
	program, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	s := &sidecar{dir: dir, out: make(chan struct{})}
	if s.log, err = os.OpenFile(filepath.Join(dir, "sidecar.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, "sidecar", "--config", filepath.Join(dir, "sidecar.yaml"))
	if _, err := os.Stat(filepath.Join(dir, resolvName)); err == nil {
		if s.cmd, err = withResolver(filepath.Join(dir, resolvName), s.cmd); err != nil {
			return nil, errors.Join(err, s.log.Close())
		}
	}
	s.cmd.Stderr = s.log
	s.cmd.Env = append(os.Environ(), env...)
	attr := s.cmd.SysProcAttr
	if attr == nil {
		attr = new(syscall.SysProcAttr)
	}
	attr.Setpgid, attr.Pdeathsig = true, syscall.SIGKILL // the bench stops it, not the terminal
	s.cmd.SysProcAttr = attr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s (build it with make build): %w", binary, err), s.log.Close())
	}
	banner := make(chan struct{})
	go s.read(out, banner)
	startCtx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("the sidecar was not ready within %s", readyTimeout))
	defer cancel()
	if err := s.awaitReady(startCtx, banner); err != nil {
		return nil, errors.Join(err, s.stop(), s.lastLines())
	}
	s.took = time.Since(began)
	return s, nil
}

// read takes the addresses from the output, and closes banner when all are there.
func (s *sidecar) read(out io.Reader, banner chan struct{}) {
	defer close(s.out)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, addr, _ := strings.Cut(strings.TrimSpace(lines.Text()), "  ")
		addr = strings.TrimSpace(addr)
		switch what {
		case "events (gRPC)":
			s.grpc = addr
		case "events (unix socket)":
			s.unix = addr
		case "admin": // the last one
			s.admin = addr
			close(banner)
		}
	}
}

func (s *sidecar) awaitReady(ctx context.Context, banner <-chan struct{}) error {
	select {
	case <-banner: // every listener is open
	case <-s.out:
		return errors.New("the sidecar ended before it was ready")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for {
		ready, err := s.ready(ctx)
		if ready || err != nil {
			return err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *sidecar) ready(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/ready", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// pending is how many deliveries have not ended.
func (s *sidecar) pending() (int64, error) {
	resp, err := http.Get("http://" + s.admin + "/ready")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var body struct{ Pending int64 }
	err = json.NewDecoder(resp.Body).Decode(&body)
	return body.Pending, err
}

func (s *sidecar) pid() int { return s.cmd.Process.Pid }

// stop drains the sidecar and waits for its end.
func (s *sidecar) stop() error {
	if s.cmd == nil {
		return nil
	}
	end := syscall.SIGTERM
	if s.hangs {
		end = syscall.SIGKILL
	}
	if err := s.cmd.Process.Signal(end); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kill := time.AfterFunc(30*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	<-s.out // before Wait, which closes the pipe
	err := s.cmd.Wait()
	if s.hangs {
		err = nil
	}
	if s.config != nil {
		err = errors.Join(err, s.config.stop())
	}
	return errors.Join(err, s.log.Close())
}

// written is what the process caused to be written to a disk in its whole life; it has ended.
func (s *sidecar) written() int64 {
	const block = 512
	return s.cmd.ProcessState.SysUsage().(*syscall.Rusage).Oublock * block
}

// lastLines is the end of the log, as an error.
func (s *sidecar) lastLines() error {
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err
	}
	const most = 2000
	return fmt.Errorf("its log ends with:\n%s", text[max(0, len(text)-most):])
}

// record has perf profile the sidecar into a file until the returned function is called.
func (s *sidecar) record(file string) (stop func() error, err error) {
	perf := exec.Command("perf", "record", "-q", "-F", "999", "-g", "-p", fmt.Sprint(s.pid()), "-o", file)
	perf.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := perf.Start(); err != nil {
		return nil, fmt.Errorf("profile the sidecar: %w", err)
	}
	return func() error {
		err := perf.Process.Signal(os.Interrupt)
		_ = perf.Wait() // it ends by the signal, which it reports as a failure
		return err
	}, nil
}
