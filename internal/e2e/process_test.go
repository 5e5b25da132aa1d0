package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a program that runs. It is killed at the end of the test at the latest.
type process struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	out    output // what it says
	log    output // what it logs
	exited chan struct{}
	err    error // how it ended; set before exited is closed
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// startSidehook starts the binary.
func startSidehook(t *testing.T, args ...string) *process {
	t.Helper()
	return startProgram(t, exec.Command(programs.sidehook, args...))
}

func startProgram(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: strings.Join(cmd.Args[1:], " "), cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended already in most tests
		<-p.exited
		if t.Failed() {
			t.Logf("%q (process %d) said:\n%s\nand logged:\n%s", p.name, cmd.Process.Pid, &p.out, tail(p.log.String()))
		}
	})
	return p
}

// tail is the end of a log, or all from where it shows a race or a panic.
func tail(log string) string {
	for _, sign := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if _, after, ok := strings.Cut(log, sign); ok {
			return sign + after[:min(len(after), 20_000)]
		}
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// says waits until the process has said what the pattern describes, and returns its first group.
func (p *process) says(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	await(p.t, fmt.Sprintf("%q says %s", p.name, pattern), func() error {
		over := !p.running() // asked first: the last words may come with the end
		m := re.FindStringSubmatch(p.out.String())
		if m == nil {
			if over {
				p.t.Fatalf("%q ended (%v) without saying %s", p.name, p.err, pattern)
			}
			return errors.New("not yet")
		}
		found = m[len(m)-1]
		return nil
	})
	return found
}

// kill is SIGKILL: the process gets no chance to do anything. It fails the test when the process had ended before.
func (p *process) kill() {
	p.t.Helper()
	_ = p.cmd.Process.Kill()
	<-p.exited
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("%q ended by itself: %v", p.name, p.err)
	}
}

// stop sends a signal that asks for an orderly end and waits for it. It fails the test when the exit code is not 0.
func (p *process) stop(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%q ended by itself: %v, %v", p.name, err, p.err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("%q does not stop on %s", p.name, sig)
	}
	if p.err != nil {
		p.t.Fatalf("%q ended with %v after %s", p.name, p.err, sig)
	}
}

// command runs a command to its end, and fails the test when the command does.
func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, errs, err := tryCommand(t, env, args...)
	if err != nil {
		t.Fatalf("sidehook %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

// tryCommand runs a command to its end.
func tryCommand(t *testing.T, env []string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), programs.sidehook, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}
