package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupAttributes gives the process a group of its own, and lets it die with the thread that started it.
func groupAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitEnd waits for the process, kills what is left of its group, and reaps it, in this order.
func (r *childRunner) awaitEnd() {
	pid := r.cmd.Process.Pid
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	killGroup(pid)
	r.state = r.cmd.Wait()
	r.running = false
}

// killGroup kills every process of the group; gone already is as good.
func killGroup(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) }

// openFilePath names the open file itself, for exec.
func openFilePath(f *os.File, path string) string {
	if isScript(f) {
		return path
	}
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
}

// residentBytes reads the second field of /proc/PID/statm, in pages.
func residentBytes(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
