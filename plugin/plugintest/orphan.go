//go:build unix

package plugintest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/internal/process"
)

// orphanTime is how long a transformer may outlive the process that started it.
const orphanTime = 10 * time.Second

// orphan: a transformer whose sidecar is killed ends by itself. A shell plays the sidecar, so that no signal of the
// kernel helps; standard output comes to its end when the last process that holds it is gone.
func (v *verifier) orphan(ctx context.Context) (string, error) {
	dir := v.socketDir("o")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	out, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer out.Close()
	shell := exec.Command("/bin/sh", append([]string{"-c", `"$0" "$@" & wait`, v.Command}, v.Args...)...)
	shell.Env = append([]string{"TMPDIR=" + dir}, v.Env...)
	shell.Env = append(shell.Env, plugin.CookieKey+"="+plugin.CookieValue, "PLUGIN_PROTOCOL_VERSIONS=1",
		"PLUGIN_MIN_PORT=0", "PLUGIN_MAX_PORT=0", goplugin.EnvUnixSocketDir+"="+dir)
	shell.Stdout = write
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = shell.Start()
	write.Close()
	if err != nil {
		return "", fmt.Errorf("start a shell: %w", err)
	}
	began, err := handshakeThenKill(ctx, shell, out)
	if err == nil {
		_ = out.SetReadDeadline(began.Add(orphanTime)) // pipes of os.Pipe take deadlines
		_, err = io.Copy(io.Discard, out)
	}
	if err != nil {
		// The transformer still holds the group's id, so that the group cannot be another's.
		_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "", fmt.Errorf("it still ran %s after the process that started it was killed: watch the parent process id "+
			"(getppid) and end when it changes", orphanTime)
	}
	if err != nil {
		return "", err
	}
	return "ended " + time.Since(began).Round(time.Millisecond).String() + " after it", nil
}

// handshakeThenKill waits until the transformer serves and kills the shell.
func handshakeThenKill(ctx context.Context, shell *exec.Cmd, out *os.File) (time.Time, error) {
	_ = out.SetReadDeadline(time.Now().Add(process.DefaultStartTimeout)) // pipes of os.Pipe take deadlines
	stop := context.AfterFunc(ctx, func() { _ = out.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	lines := bufio.NewReader(out)
	var err error
	for line := ""; err == nil && !strings.Contains(line, "|grpc"); {
		line, err = lines.ReadString('\n')
	}
	killErr := shell.Process.Kill()
	_ = shell.Wait() // it was killed
	if err != nil {
		return time.Time{}, fmt.Errorf("no handshake when started by a shell: %w", err)
	}
	return time.Now(), killErr
}
