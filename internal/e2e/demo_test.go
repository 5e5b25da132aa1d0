package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func demoCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(programs.demo, append([]string{
		"-bin", programs.sidehook, "-transformer", programs.redact, "-free-ports", "-pace", "20ms",
		"-data", filepath.Join(shortDir(t), "data"),
	}, args...)...)
}

// TestDemo: the demo ends with code 0 when everything has arrived, and shows what it promises.
func TestDemo(t *testing.T) {
	p := startProgram(t, demoCommand(t, "-once"))
	<-p.exited
	if p.err != nil {
		t.Fatalf("the demo ended with %v:\n%s", p.err, tail(p.log.String()))
	}
	said := p.out.String()
	for _, want := range []string{
		"livestream.channel.live", "livestream.channel.end", "dai.ads.transcode.complete", "mediaVOD.job.complete",
		"person.created", "payment_received", "call",
		"signature holds", "the endpoint answered 503", "attempt 3", "fields hidden by the transformer",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("the demo does not show %q", want)
		}
	}
	if strings.Contains(said, "Where to look next") {
		t.Error("the demo says where to look, and nothing runs any more")
	}
	m := regexp.MustCompile(`(\d+) of (\d+) deliveries arrived and were verified; 2 attempts failed and were repeated`).FindStringSubmatch(said)
	if m == nil || m[1] != m[2] {
		t.Errorf("the demo sums up as %q", m)
	}
	if strings.Contains(said, "alice@example.com") {
		t.Error("a field that the transformer hides is on the screen")
	}
	expectNoneLeft(t, filepath.Base(programs.sidehook), filepath.Base(programs.redact))
}

// TestDemoStopsOnInterrupt: Ctrl-C ends the demo with code 0 and leaves no process behind.
func TestDemoStopsOnInterrupt(t *testing.T) {
	p := startProgram(t, demoCommand(t))
	p.says(`(Where to look next)`)
	p.says(`(Ctrl-C stops them)`)
	p.stop(os.Interrupt)
	expectNoneLeft(t, filepath.Base(programs.sidehook), filepath.Base(programs.redact))
}

// TestDemoStopsInTheMiddle: Ctrl-C is no failure at any time.
func TestDemoStopsInTheMiddle(t *testing.T) {
	p := startProgram(t, demoCommand(t))
	p.says(`(livestream\.channel\.live)`)
	p.stop(os.Interrupt)
	expectNoneLeft(t, filepath.Base(programs.sidehook), filepath.Base(programs.redact))
}

// expectNoneLeft waits until no process of these programs, which are built for this run alone, is left.
func expectNoneLeft(t *testing.T, names ...string) {
	t.Helper()
	dir := filepath.Dir(programs.sidehook)
	await(t, "no process is left", func() error {
		for _, name := range names {
			if left := running(filepath.Join(dir, name)); len(left) > 0 {
				return errors.New("still running: " + strings.Join(left, ", "))
			}
		}
		return nil
	})
}

// running lists the processes of a program, by what the kernel says they execute.
func running(program string) (pids []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == program { // a process may end meanwhile
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}
