//go:build unix && !linux

package process

import (
	"os"
	"syscall"
)

// groupAttributes gives the process a group of its own. There is no parent-death signal here: the SDK watches its
// parent.
func groupAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// awaitEnd waits for the process and reaps it. There is no portable way to wait without reaping, so what is left of the
// group is killed just after; a group that has already gone is no error.
func (r *childRunner) awaitEnd() {
	state := r.cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	killGroup(r.cmd.Process.Pid)
	r.state = state
	r.running = false
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

func openFilePath(_ *os.File, path string) string { return path }

func residentBytes(int) int64 { return 0 }
