package host_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sidehook/sidehook/plugin"
)

// passOn is the transformer of the benchmark: what is measured is the way to it and back.
type passOn struct{}

func (passOn) Describe() plugin.Description {
	return plugin.Description{Name: "pass-on", Version: "1.0.0", Text: "Delivers what it is shown."}
}

func (passOn) Transform(_ context.Context, item *plugin.Item) (*plugin.Result, error) {
	return plugin.Rewrite(item.Event.Data).WithHeader("X-Seen", "1"), nil
}

// BenchmarkTransform measures the way of a delivery through a real process. The rate depends on what else the machine
// does; CPU time of the two processes, which it reports for each delivery, much less.
func BenchmarkTransform(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) {
			r := start(b, spec("pass-on")).ready()
			e := event("up")
			e.Data = []byte(`{"k":"` + strings.Repeat("v", 1000) + `"}`)
			b.ReportAllocs()
			here, there := cpuOf(b, os.Getpid()), cpuOf(b, r.Status()[0].PID)
			b.ResetTimer()
			var wg sync.WaitGroup
			for n := range callers {
				wg.Go(func() {
					for range (b.N + callers - 1 - n) / callers {
						if _, err := r.Transform(b.Context(), "t", e, webhook); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			s := r.Status()[0]
			here, there = cpuOf(b, os.Getpid())-here, cpuOf(b, s.PID)-there
			b.ReportMetric(float64(here.Nanoseconds())/float64(b.N), "cpu-ns-here/op")
			b.ReportMetric(float64(there.Nanoseconds())/float64(b.N), "cpu-ns-there/op")
			b.ReportMetric(float64(s.Transformed)/float64(s.Batches), "items/call")
		})
	}
}

// cpuOf is the CPU time that a process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	if pid == os.Getpid() {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
