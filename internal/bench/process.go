package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// usage is what a process has used so far, as /proc tells.
type usage struct {
	cpu        time.Duration
	writeBytes int64 // caused to be written to a disk
}

// clockTick is the unit of CPU times in /proc/PID/stat: USER_HZ is 100 wherever Go runs on Linux.
const clockTick = 10 * time.Millisecond

func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The name in parentheses may hold anything; fields are counted after it (proc(5): utime is 14, stime 15).
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	written, err := procNumber(fmt.Sprintf("/proc/%d/io", pid), "write_bytes:")
	return usage{cpu: time.Duration(ticks) * clockTick, writeBytes: written}, err
}

// cpuOf is the CPU time of processes together.
func cpuOf(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		u, err := usageOf(pid)
		if err != nil {
			return 0, err
		}
		sum += u.cpu
	}
	return sum, nil
}

// memory is what a process has in RAM, in bytes.
type memory struct{ anon, rss int64 }

func memoryOf(pid int) (memory, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	anon, err := procNumber(path, "RssAnon:")
	if err != nil {
		return memory{}, err
	}
	rss, err := procNumber(path, "VmRSS:")
	return memory{anon: anon << 10, rss: rss << 10}, err
}

// procNumber is the number after key in a file of /proc.
func procNumber(path, key string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == key {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s does not tell %s", path, key)
}

// watchMemory samples a process until stop is called, which returns the most it saw.
func watchMemory(pid int) (stop func() (memory, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	var most memory
	var failed error
	var watch sync.WaitGroup
	watch.Go(func() {
		for failed == nil && ctx.Err() == nil {
			var m memory
			if m, failed = memoryOf(pid); failed == nil {
				most = memory{anon: max(most.anon, m.anon), rss: max(most.rss, m.rss)}
				_ = pause(ctx, 50*time.Millisecond) // its end is seen above
			}
		}
	})
	return func() (memory, error) {
		cancel()
		watch.Wait()
		return most, failed
	}
}
