package docstest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait; a test that passes waits for events alone.
const patience = 30 * time.Second

// shell is a bash for the commands of one page, with the processes that they started.
type shell struct {
	t      *testing.T
	dir    string
	ports  *ports
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

const marker = "#docstest#"

// openShell starts bash in a new folder, where bin/ is what make build makes and sidehook/ is this checkout.
func openShell(t *testing.T) *shell {
	t.Helper()
	dir, err := os.MkdirTemp("", "d") // shorter than t.TempDir: sockets live below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary folder
	if err := os.Symlink(binaries, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(root, filepath.Join(dir, "sidehook")); err != nil { // a checkout
		t.Fatal(err)
	}
	tools := t.TempDir()
	linkCurl(t, tools)
	s := &shell{t: t, dir: dir, ports: choosePorts(t)}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"PATH="+tools+string(os.PathListSeparator)+os.Getenv("PATH"),
		"SIDEHOOK_SERVER=http://"+s.ports.in("127.0.0.1:4471"), "SIDEHOOK_ADDRESS="+s.ports.in("127.0.0.1:4460"),
		"SIDEHOOK_TOKEN=", "SIDEHOOK_APP=")
	cmd.Stderr = os.Stderr
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.stdout = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stdin.Close()
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("bash: %v", err)
		}
	})
	s.send("set -o pipefail")
	return s
}

// send has bash run a line of ours.
func (s *shell) send(line string) {
	s.t.Helper()
	if _, err := io.WriteString(s.stdin, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command of a page and returns what it printed and its exit code.
func (s *shell) run(text string) (string, int) {
	s.t.Helper()
	script := filepath.Join(s.dir, ".command")
	if err := os.WriteFile(script, []byte(s.ports.in(text)+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.send(`. ./.command </dev/null 2>&1; printf '\n` + marker + ` %d\n' $?`)
	var out strings.Builder
	for {
		line, err := s.stdout.ReadString('\n')
		if err != nil {
			s.t.Fatalf("bash ended: %v", err)
		}
		if code, ok := strings.CutPrefix(line, marker); ok {
			var status int
			if _, err := fmt.Sscan(code, &status); err != nil {
				s.t.Fatalf("bash printed %q", line)
			}
			return s.ports.out(strings.TrimSuffix(out.String(), "\n")), status
		}
		out.WriteString(line)
	}
}

// longRunning are the commands that stay; what is beside them runs in other terminals.
var longRunning = regexp.MustCompile(`^bin/sidehook (dev|control|sidecar)\b`)

// start starts such a command and returns when it says that it runs. It is stopped as Ctrl-C does when the page ends.
func (s *shell) start(text string) {
	s.t.Helper()
	if strings.HasPrefix(text, "bin/sidehook dev") {
		for name, port := range listeners {
			text += " --listen-" + name + " " + port
		}
	}
	fields := strings.Fields(s.ports.in(text))
	cmd := exec.Command(fields[0], fields[1:]...)
	cmd.Dir = s.dir
	cmd.Path = filepath.Join(s.dir, fields[0])
	logged, err := os.Create(filepath.Join(s.t.TempDir(), "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stderr = logged
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	runs := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(out)
		if lines.Scan() && strings.Contains(lines.Text(), "is running") {
			close(runs)
		}
		_, copyErr := io.Copy(io.Discard, out) // until it ends
		ended <- errors.Join(cmd.Wait(), copyErr)
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended, which is found next
		guard := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer guard.Stop()
		if err := <-ended; err != nil {
			s.t.Errorf("%s ended with %v; it logged:\n%s", text, err, contents(logged))
		}
		logged.Close()
	})
	select {
	case <-runs:
	case err := <-ended:
		ended <- err
		s.t.Fatalf("%s ended; it logged:\n%s", text, contents(logged))
	case <-time.After(patience):
		s.t.Fatalf("%s does not say that it runs; it logged:\n%s", text, contents(logged))
	}
}

func contents(f *os.File) string {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// listeners are the addresses that the pages speak of, by the names that the flags of dev give them.
var listeners = map[string]string{
	"grpc": "127.0.0.1:4460", "http": "127.0.0.1:4461", "admin": "127.0.0.1:4462",
	"xds": "127.0.0.1:4470", "rest": "127.0.0.1:4471", "inbox": "127.0.0.1:4480",
}

// ports stands for the addresses of the pages with others that are free.
type ports struct{ forth, back *strings.Replacer }

// chosen are the ports that a page of this run was given: pages are tested side by side.
var chosen sync.Map

// choosePorts finds free ports below the range that systems take theirs from, so that no other test is given one of
// them meanwhile.
func choosePorts(t *testing.T) *ports {
	t.Helper()
	var forth, back []string
	for _, documented := range listeners {
		for tries := 0; ; tries++ {
			port := 10_000 + rand.IntN(20_000)
			addr := fmt.Sprintf("127.0.0.1:%d", port)
			var lc net.ListenConfig
			lis, err := lc.Listen(context.Background(), "tcp", addr)
			if err != nil {
				if tries > 100 {
					t.Fatalf("no free port: %v", err)
				}
				continue
			}
			lis.Close()
			if _, taken := chosen.LoadOrStore(port, true); taken {
				continue
			}
			forth, back = append(forth, documented, addr), append(back, addr, documented)
			break
		}
	}
	return &ports{strings.NewReplacer(forth...), strings.NewReplacer(back...)}
}

func (p *ports) in(s string) string  { return p.forth.Replace(s) }
func (p *ports) out(s string) string { return p.back.Replace(s) }
