package host_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/plugin/host"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of a test; none should come near it.
const patience = 30 * time.Second

func spec(mode string, more ...func(*host.Spec)) host.Spec {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	s := host.Spec{Name: "t", Command: exe, Env: []string{modeEnv + "=" + mode}}
	for _, f := range more {
		f(&s)
	}
	return s
}

func timeout(d time.Duration) func(*host.Spec) { return func(s *host.Spec) { s.Timeout = d } }

// socketDir is short, whatever the name of the test.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "p")
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type rig struct {
	*host.Host
	t   testing.TB
	dir string
	log *logBuffer
}

func start(t testing.TB, s host.Spec, more ...func(*host.Options)) *rig {
	t.Helper()
	log := &logBuffer{}
	o := host.Options{
		Specs: []host.Spec{s}, Dir: socketDir(t), Logger: slog.New(slog.NewTextHandler(log, nil)),
		MinBackoff: 5 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
	}
	for _, f := range more {
		f(&o)
	}
	h, err := host.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &rig{h, t, o.Dir, log}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return r
}

func (r *rig) ready() *rig {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Ready(ctx, "t"); err != nil {
		r.t.Fatal(err, r.log)
	}
	return r
}

// until waits until the status is as wished.
func (r *rig) until(what string, ok func(s host.Status) bool) host.Status {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last host.Status
	if err := r.Await(ctx, "t", func(s host.Status) bool { last = s; return ok(s) }); err != nil {
		r.t.Fatalf("waiting for %s: %v\nstatus %+v\n%s", what, err, last, r.log)
	}
	return last
}

func event(typ string) *sidehook.Event {
	return &sidehook.Event{
		App: "demo", ID: "evt_" + typ, Source: "/x", Type: typ, Time: time.Unix(1, 0).UTC(),
		DataContentType: "application/json", Data: []byte(`{"a":"b"}`),
	}
}

var webhook = &sidehook.Webhook{App: "demo", ID: "wh_1", Name: "n", URL: "https://example.com", Format: "standard"}

func (r *rig) ask(typ string) (*sidehook.Transformed, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.Transform(ctx, "t", event(typ), webhook)
}

// mustWork asks until the transformer answers, as the delivery engine would, each time it runs again.
func (r *rig) mustWork() {
	r.t.Helper()
	r.ready()
	for {
		got, err := r.ask("up")
		if err == nil {
			if string(got.Event.Data) != `{"A":"B"}` {
				r.t.Fatalf("data %s", got.Event.Data)
			}
			return
		}
		if !errors.Is(err, sidehook.ErrTransformerUnavailable) {
			r.t.Fatal(err)
		}
		r.ready()
	}
}

func wantUnavailable(t testing.TB, err error, words ...string) {
	t.Helper()
	if !errors.Is(err, sidehook.ErrTransformerUnavailable) {
		t.Fatalf("error is not ErrTransformerUnavailable: %v", err)
	}
	wantWords(t, err.Error(), words...)
}

func wantWords(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// awaitGone waits until a process that is not our child has ended.
func awaitGone(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience/time.Millisecond))
		if n == 1 {
			return
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Fatalf("process %d still runs", pid)
}

// freeze stops a child of ours with a signal, and returns when all its threads stand still.
func freeze(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			t.Fatal(err)
		}
	}
}

func TestTransform(t *testing.T) {
	r := start(t, spec("good")).ready()
	original := event("up")
	ctx := t.Context()
	got, err := r.Transform(ctx, "t", original, webhook)
	if err != nil {
		t.Fatal(err)
	}
	want := event("up")
	want.Data = []byte(`{"A":"B"}`)
	if diff := cmp.Diff(&sidehook.Transformed{Event: want}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(event("up"), original); diff != "" {
		t.Errorf("the shared event was changed: %s", diff)
	}

	got, err = r.ask("keep")
	if err != nil {
		t.Fatal(err)
	}
	want = event("keep")
	want.Type = "kept"
	headers := []sidehook.Header{{Key: "X-A", Value: "1"}, {Key: "X-B", Value: "2"}}
	if diff := cmp.Diff(&sidehook.Transformed{Event: want, Headers: headers}, got); diff != "" {
		t.Error(diff)
	}

	got, err = r.ask("drop")
	if err != nil || !got.Drop || got.DropReason != "not wanted" {
		t.Errorf("drop: %+v, %v", got, err)
	}
	if _, err := r.Transform(ctx, "other", original, webhook); err == nil {
		t.Error("a transformer that is not installed answered")
	} else {
		wantUnavailable(t, err, "other", "not installed")
	}
	if !r.Installed("t") || r.Installed("other") {
		t.Error("Installed")
	}
	s := r.Status()[0]
	if s.State != host.Running || s.PID == 0 || s.RSS == 0 || s.ReportedName != "actor" || s.Version != "1.2.3" ||
		s.Calls != 3 || s.Transformed != 2 || s.Dropped != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestFailures(t *testing.T) {
	r := start(t, spec("good")).ready()
	for typ, reason := range map[string]string{
		"fail:x":              "cannot: x",
		"panic:now":           "panic in the transformer: boom now",
		"nothing":             "neither a result nor an error",
		"huge":                "limit is 1048576",
		"header:Content-Type": "set by Sidehook",
		"odd-header":          "not a legal header name",
	} {
		_, err := r.ask(typ)
		var f *sidehook.TransformFailure
		if !errors.As(err, &f) || !strings.Contains(f.Reason, reason) || f.Transformer != "t" {
			t.Errorf("%s: %v", typ, err)
		}
	}
	r.mustWork()
	if s := r.Status()[0]; s.Restarts != 0 || s.Failed != 6 {
		t.Errorf("status %+v", s)
	}
}

func TestBadResults(t *testing.T) {
	r := start(t, spec("raw")).ready()
	for typ, reason := range map[string]string{
		"none":     "answered 0 results to 1 items",
		"unset":    "neither rewritten, nor drop, nor failure",
		"huge":     "over the limit of 1048576",
		"gigantic": "too large",
		"not-json": "not valid JSON",
		"type":     "type: must be",
		"media":    "is not a media type",
		"crlf":     "line breaks",
		"reserved": "set by Sidehook",
		"twice":    "given twice",
		"many":     "at most 20",
	} {
		_, err := r.ask(typ)
		var f *sidehook.TransformFailure
		if !errors.As(err, &f) || !strings.Contains(f.Reason, reason) {
			t.Errorf("%s: %v", typ, err)
		}
	}
	_, err := r.ask("status:13")
	wantUnavailable(t, err, "Internal", "raw status")
	if s := r.Status()[0]; s.Restarts != 0 || strings.Contains(s.ReportedName, "\x1b") || len(s.Version) > 500 {
		t.Errorf("status %+v", s)
	}
}

func TestTooLargeAnswerFailsItsItemAlone(t *testing.T) {
	r := start(t, spec("raw")).ready()
	var wg sync.WaitGroup
	for n := range 64 {
		typ := "ok"
		if n == 32 {
			typ = "gigantic"
		}
		wg.Go(func() {
			_, err := r.ask(typ)
			if _, failed := errors.AsType[*sidehook.TransformFailure](err); failed != (typ == "gigantic") || err != nil && !failed {
				t.Errorf("%s: %v", typ, err)
			}
		})
	}
	wg.Wait()
}

func TestNoInheritedEnvironment(t *testing.T) {
	t.Setenv("SIDEHOOK_TEST_SECRET", "s3cret")
	r := start(t, spec("good", func(s *host.Spec) { s.Env = append(s.Env, "MINE=1") })).ready()
	got, err := r.ask("env")
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Env  []string
		Arg0 string
	}
	if err := json.Unmarshal(got.Event.Data, &body); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(body.Env, func(kv string) bool { return strings.HasPrefix(kv, "SIDEHOOK_TEST_SECRET") }) {
		t.Error("the sidecar's environment was passed on")
	}
	if !slices.Contains(body.Env, "MINE=1") || slices.ContainsFunc(body.Env, func(kv string) bool {
		return strings.HasPrefix(kv, "PATH=") || strings.HasPrefix(kv, "HOME=")
	}) {
		t.Errorf("environment %q", body.Env)
	}
}

func TestSocketsArePrivate(t *testing.T) {
	r := start(t, spec("good")).ready()
	sockets := 0
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		if info.Mode()&fs.ModeSocket != 0 {
			sockets++
		}
		return nil
	})
	if err != nil || sockets != 1 {
		t.Errorf("%d sockets, %v", sockets, err)
	}
}

func TestChecksum(t *testing.T) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(exe)
	right := spec("good", func(s *host.Spec) { s.SHA256 = hex.EncodeToString(sum[:]) })
	r := start(t, right).ready()
	r.mustWork()
	// The checksum is looked at again, and holds, at a restart.
	if _, err := r.ask("crash"); err == nil {
		t.Error("it crashed and answered")
	}
	r.until("a restart", func(s host.Status) bool { return s.State == host.Running && s.Restarts == 1 })
	r.mustWork()

	wrong := right
	wrong.SHA256 = strings.Repeat("0", 64)
	h, err := host.New(host.Options{Specs: []host.Spec{wrong}, Dir: socketDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err == nil {
		t.Error("started with a wrong checksum")
	} else {
		wantWords(t, err.Error(), "transformer t", "checksum does not match", hex.EncodeToString(sum[:]))
	}
}

// TestChecksumOfReplacedFile replaces the approved file while the transformer runs: it is not started again.
func TestChecksumOfReplacedFile(t *testing.T) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "plug")
	install := func(b []byte) {
		t.Helper()
		// By rename, as installers do; written by another process, so that no fork of this one holds it open for writing.
		cmd := exec.Command("sh", "-c", `cat > "$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1"`, "sh", path)
		cmd.Stdin = bytes.NewReader(b)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	install(exe)
	sum := sha256.Sum256(exe)
	r := start(t, spec("good", func(s *host.Spec) {
		s.Command, s.SHA256 = path, hex.EncodeToString(sum[:])
	})).ready()
	install([]byte("#!/bin/sh\necho evil > " + filepath.Join(dir, "evil") + "\n"))
	if _, err := r.ask("crash"); err == nil {
		t.Error("it crashed and answered")
	}
	s := r.until("refusals", func(s host.Status) bool { return s.State == host.Backoff && s.Failures >= 3 })
	wantWords(t, s.LastError, "checksum does not match")
	if _, err := os.Stat(filepath.Join(dir, "evil")); err == nil {
		t.Error("the file that was not approved ran")
	}
}

func TestMissingCommand(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"/nonexistent/redact", "no-such-transformer-command", plain} {
		h, err := host.New(host.Options{Specs: []host.Spec{{Name: "t", Command: command}}, Dir: socketDir(t)})
		if err != nil {
			t.Fatal(err)
		}
		err = h.Start(t.Context())
		if err == nil {
			t.Errorf("%s: started", command)
			continue
		}
		wantWords(t, err.Error(), "transformer t", command)
		if err := h.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestCrash(t *testing.T) {
	r := start(t, spec("good")).ready()
	_, err := r.ask("crash")
	wantUnavailable(t, err, "exited with status 3", "about to crash")
	s := r.until("a restart", func(s host.Status) bool { return s.State == host.Running && s.Restarts == 1 })
	wantWords(t, s.LastError, "exited with status 3")
	r.mustWork()
}

func TestBadStarts(t *testing.T) {
	for mode, words := range map[string][]string{
		"mute":      {"not ready within 300ms"},
		"late-mute": {"not ready within 300ms"},
		"garbage":   {"not ready within 300ms"},
		"elsewhere": {"/run/elsewhere.sock", "PLUGIN_UNIX_SOCKET_DIR"},
		"tcp":       {"127.0.0.1:1", "PLUGIN_UNIX_SOCKET_DIR"},
		"exit":      {"exited with status 7", "cannot read my settings", "is it a Sidehook transformer"},
		"old":       {"99"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			wait := 300 * time.Millisecond
			if !strings.Contains(words[0], "not ready") {
				wait = patience
			}
			r := start(t, spec(mode), func(o *host.Options) { o.StartTimeout = wait })
			s := r.until("a failed start", func(s host.Status) bool { return s.State == host.Backoff && s.LastError != "" })
			wantWords(t, s.LastError, words...)
			_, err := r.ask("up")
			wantUnavailable(t, err)
			s = r.until("another try", func(s host.Status) bool { return s.Restarts >= 2 })
			if s.PID != 0 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestCrashLoopIsVisible(t *testing.T) {
	r := start(t, spec("exit"), func(o *host.Options) { o.MinBackoff, o.MaxBackoff = time.Millisecond, 20*time.Millisecond })
	s := r.until("a crash loop", func(s host.Status) bool { return s.CrashLooping && s.State == host.Backoff })
	if s.Failures <= 5 || s.NextStart.IsZero() {
		t.Errorf("status %+v", s)
	}
	_, err := r.ask("up")
	wantUnavailable(t, err, "exited with status 7")
}

func TestHealsAfterAFailedStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "once")
	r := start(t, spec("once", func(s *host.Spec) { s.Env = append(s.Env, "ONCE_FILE="+file) }))
	r.until("a start", func(s host.Status) bool { return s.State == host.Running && s.Restarts == 1 })
	r.mustWork()
}

func TestPoisonOutput(t *testing.T) {
	for _, mode := range []string{"poison-stderr", "stray-stdout"} {
		r := start(t, spec(mode)).ready()
		r.mustWork()
		if s := r.Status()[0]; s.Restarts != 0 {
			t.Errorf("%s: status %+v", mode, s)
		}
		want := map[string]string{"poison-stderr": "@message", "stray-stdout": "starting up…"}[mode]
		wantWords(t, r.log.String(), want)
	}
}

// TestNoiseDoesNotBlock writes far more than a pipe holds, with the SDK and without: go-plugin alone replaces the
// streams by others.
func TestNoiseDoesNotBlock(t *testing.T) {
	for _, mode := range []string{"good", "raw"} {
		r := start(t, spec(mode)).ready()
		for _, typ := range []string{"noise:20", "noise:3000", "noise:3000"} { // the first fits the limit of lines
			if _, err := r.ask(typ); err != nil {
				t.Fatal(mode, err)
			}
		}
		if err := r.Stop(t.Context()); err != nil { // then all that it wrote is in the log
			t.Fatal(err)
		}
		wantWords(t, r.log.String(), "noise on")
		if n := strings.Count(r.log.String(), "noise on"); n < 40 || n > 2000 {
			t.Errorf("%s: %d lines in the log", mode, n)
		}
	}
}

// TestFrozenProcess stops the process with a signal: calls time out, the process is killed and started again.
func TestFrozenProcess(t *testing.T) {
	r := start(t, spec("good", timeout(100*time.Millisecond))).ready()
	pid := r.Status()[0].PID
	freeze(t, pid)
	for range 3 {
		_, err := r.ask("up")
		wantUnavailable(t, err, "no answer within 100ms")
	}
	s := r.until("a restart", func(s host.Status) bool { return s.State == host.Running && s.PID != pid })
	wantWords(t, s.LastError, "3 times in a row")
	awaitGone(t, pid)
	r.mustWork()
}

// TestFrozenWhileIdle relies on the health check.
func TestFrozenWhileIdle(t *testing.T) {
	r := start(t, spec("good"), func(o *host.Options) { o.HealthInterval = 20 * time.Millisecond }).ready()
	pid := r.Status()[0].PID
	freeze(t, pid)
	s := r.until("a restart", func(s host.Status) bool { return s.State == host.Running && s.PID != pid })
	wantWords(t, s.LastError, "does not answer")
	r.mustWork()
}

// TestHangingItemFailsAlone: the SDK answers for it, and the other items of the batch keep their answers.
func TestHangingItemFailsAlone(t *testing.T) {
	r := start(t, spec("good", timeout(500*time.Millisecond))).ready()
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			if n == 20 {
				_, err := r.ask("hang")
				var f *sidehook.TransformFailure
				if !errors.As(err, &f) || !strings.Contains(f.Reason, "did not answer in time") {
					t.Errorf("hang: %v", err)
				}
				return
			}
			if _, err := r.ask("up"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := r.Status()[0]; s.Restarts != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestEveryslotHangs: with its one slot taken for good the transformer is in trouble, no event is to blame, and it is
// started again.
func TestEverySlotHangs(t *testing.T) {
	r := start(t, spec("one", timeout(200*time.Millisecond))).ready()
	if _, err := r.ask("hang"); err == nil {
		t.Error("it hung and answered")
	}
	_, err := r.ask("up")
	wantUnavailable(t, err)
	for range 10 {
		if _, err := r.ask("up"); err == nil {
			break
		}
		r.ready()
	}
	s := r.until("a restart", func(s host.Status) bool { return s.State == host.Running && s.Restarts == 1 })
	wantWords(t, s.LastError, "times in a row")
	r.mustWork()
}

// TestKillerEventIsFoundOut: an event that crashes the process each time fails in the end, and the others go through.
func TestKillerEventIsFoundOut(t *testing.T) {
	r := start(t, spec("good")).ready()
	r.mustWork()
	var f *sidehook.TransformFailure
	for n := range 10 {
		_, err := r.ask("crash")
		if errors.As(err, &f) {
			if n < 2 {
				t.Errorf("found guilty after %d times", n+1)
			}
			break
		}
		wantUnavailable(t, err)
		r.mustWork()
	}
	if f == nil {
		t.Fatal("never found out")
	}
	wantWords(t, f.Reason, "with this event alone", "exited with status 3")
	r.mustWork()
	if _, err := r.ask("crash"); !errors.As(err, &f) {
		t.Errorf("forgotten at its next attempt: %v", err)
	}
}

// TestBrokenTransformerBlamesNoEvent: it crashes on everything, so that no event fails, however often it is offered.
func TestBrokenTransformerBlamesNoEvent(t *testing.T) {
	r := start(t, spec("good"))
	for range 8 {
		r.ready()
		_, err := r.ask("crash")
		wantUnavailable(t, err)
	}
}

func TestCallerGivesUp(t *testing.T) {
	r := start(t, spec("good", timeout(time.Second))).ready()
	cause := errors.New("the sidecar drains")
	ctx, cancel := context.WithCancelCause(t.Context())
	began := make(chan struct{})
	var err error
	var wg sync.WaitGroup
	wg.Go(func() {
		close(began)
		_, err = r.Transform(ctx, "t", event("obey"), webhook)
	})
	<-began
	cancel(cause)
	wg.Wait()
	wantUnavailable(t, err)
	if !errors.Is(err, cause) {
		t.Errorf("cause is lost: %v", err)
	}
	r.mustWork()
}

// TestAheadOfAFrozenProcess: of a process that has not answered yet no more is taken ahead than one call carries; when it
// has shown that it is quick, more.
func TestAheadOfAFrozenProcess(t *testing.T) {
	r := start(t, spec("good", timeout(time.Minute))).ready()
	pid := r.Status()[0].PID
	freeze(t, pid)
	const most = 64
	answers := make([]sidehook.Transforming, most)
	for i := range answers {
		if answers[i] = r.Ahead("t", event("up"), webhook); answers[i] == nil {
			t.Fatalf("only %d were taken", i)
		}
	}
	if r.Ahead("t", event("up"), webhook) != nil {
		t.Errorf("more than %d were taken", most)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	awaitAll := func() {
		t.Helper()
		for i, a := range answers {
			if got, err := a.Wait(ctx); err != nil || string(got.Event.Data) != `{"A":"B"}` {
				t.Fatalf("answer %d: %+v, %v", i, got, err)
			}
		}
	}
	awaitAll()
	answers = answers[:0]
	for range 2 * most {
		if a := r.Ahead("t", event("up"), webhook); a != nil {
			answers = append(answers, a)
		}
	}
	if len(answers) <= most {
		t.Errorf("%d were taken by a quick one", len(answers))
	}
	awaitAll()
}

// TestNothingAheadOfASlowOne: what took long for one item says that there is enough to do; the next says something else.
func TestNothingAheadOfASlowOne(t *testing.T) {
	r := start(t, spec("good", timeout(time.Second))).ready()
	if _, err := r.ask("obey"); err == nil {
		t.Fatal("an item that took all the time was answered")
	}
	if r.Ahead("t", event("up"), webhook) != nil {
		t.Error("a slow one was asked ahead")
	}
	r.mustWork()
	a := r.Ahead("t", event("up"), webhook)
	if a == nil {
		t.Fatal("a quick one was not asked ahead")
	}
	if _, err := a.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if r.Ahead("other", event("up"), webhook) != nil {
		t.Error("one that is not installed was asked ahead")
	}
}

func TestMemoryLimit(t *testing.T) {
	r := start(t, spec("hog", func(s *host.Spec) { s.MaxMemory = 150 << 20 }), // which takes a while to fill
		func(o *host.Options) { o.StartTimeout = patience })
	s := r.until("a kill", func(s host.Status) bool { return s.State == host.Backoff && s.LastError != "" })
	wantWords(t, s.LastError, "memory", "limit is 157286400")
}

func TestConcurrentCalls(t *testing.T) {
	r := start(t, spec("good")).ready()
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for n := range 50 {
				e := event("up")
				e.Data = fmt.Appendf(nil, `{"k":"%d-%d-x"}`, worker, n)
				got, err := r.Transform(t.Context(), "t", e, webhook)
				if err != nil {
					t.Error(err)
					return
				}
				if want := bytes.ToUpper(e.Data); !bytes.Equal(got.Event.Data, want) {
					t.Errorf("got %s, want %s", got.Event.Data, want)
				}
			}
		})
	}
	wg.Wait()
	if err := r.Stop(t.Context()); err != nil { // then the last call is booked
		t.Fatal(err)
	}
	if s := r.Status()[0]; s.Transformed != 3200 || s.Batches >= 3200 || s.UnderWay != 0 || s.Waiting != 0 {
		t.Errorf("status %+v", s)
	}
}

// TestChaos crashes the process under load: every call gets one of the two kinds of answer, and it goes on.
func TestChaos(t *testing.T) {
	r := start(t, spec("good", timeout(time.Second)), func(o *host.Options) { o.MinBackoff, o.MaxBackoff = 1, 2 }).ready()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, err := r.ask("up")
				if err == nil && string(got.Event.Data) != `{"A":"B"}` {
					t.Errorf("data %s", got.Event.Data)
				}
				if err != nil && !errors.Is(err, sidehook.ErrTransformerUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	for n := range int64(8) {
		s := r.until("a run", func(s host.Status) bool { return s.State == host.Running && s.Restarts >= n })
		_ = syscall.Kill(s.PID, syscall.SIGKILL)
	}
	close(stop)
	wg.Wait()
	r.mustWork()
}

func TestStopLeavesNothing(t *testing.T) {
	for _, mode := range []string{"good", "stubborn"} {
		r := start(t, spec(mode), func(o *host.Options) { o.StopGrace = 300 * time.Millisecond }).ready()
		pid := r.Status()[0].PID
		got, err := r.ask("child")
		if err != nil {
			t.Fatal(err)
		}
		child, err := strconv.Atoi(string(got.Event.Data))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !gone(pid) {
			t.Errorf("%s: the process %d is still there", mode, pid)
		}
		awaitGone(t, child)
		assertNoSockets(t, r.dir)
		if s := r.Status()[0]; s.State != host.Stopped || s.PID != 0 {
			t.Errorf("status %+v", s)
		}
		_, err = r.ask("up")
		wantUnavailable(t, err, "stopped")
		if err := r.Stop(t.Context()); err != nil {
			t.Errorf("second Stop: %v", err)
		}
	}
}

func assertNoSockets(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left behind", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestStopWaitsForCalls: a call under way when the stop begins is answered.
func TestStopWaitsForCalls(t *testing.T) {
	r := start(t, spec("good", timeout(time.Second)), func(o *host.Options) { o.StopGrace = patience }).ready()
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { _, err = r.ask("obey") })
	for r.Status()[0].UnderWay == 0 {
		r.until("anything", func(host.Status) bool { return true })
	}
	if err := r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	var f *sidehook.TransformFailure
	if !errors.As(err, &f) {
		t.Errorf("the call under way was cut off: %v", err)
	}
}

func TestStopOfFrozenProcessIsBounded(t *testing.T) {
	r := start(t, spec("good")).ready()
	pid := r.Status()[0].PID
	freeze(t, pid)
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Errorf("killing needs no more than a quarter of the time: %v", err)
	}
	if !gone(pid) {
		t.Error("the frozen process is still there")
	}
	assertNoSockets(t, r.dir)
}

func TestStopWithoutTime(t *testing.T) {
	r := start(t, spec("good")).ready()
	pid := r.Status()[0].PID
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Stop(ctx); err == nil {
		t.Error("Stop without time says that all is well")
	}
	awaitGone(t, pid)
}

func TestStopWhileStarting(t *testing.T) {
	r := start(t, spec("mute"))
	r.until("the start", func(s host.Status) bool { return s.State == host.Starting })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// TestKilledSidecarLeavesNoOrphan kills a sidecar so that it cannot clean up; the next one sweeps what it left.
func TestKilledSidecarLeavesNoOrphan(t *testing.T) {
	dir := socketDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{modeEnv + "=sidecar", "SIDECAR_DIR=" + dir}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed, as intended
	awaitGone(t, pid)

	stale, err := filepath.Glob(filepath.Join(dir, "*", "plugin*"))
	if err != nil || len(stale) != 1 {
		t.Fatalf("expected the socket that the killed transformer left: %v, %v", stale, err)
	}
	r := start(t, spec("good"), func(o *host.Options) { o.Dir = dir }).ready()
	r.mustWork()
	if _, err := os.Lstat(stale[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was not swept: %v", stale[0], err)
	}
}

func TestOptions(t *testing.T) {
	good := host.Spec{Name: "t", Command: "/bin/true"}
	with := func(f func(*host.Spec)) []host.Spec { s := good; f(&s); return []host.Spec{s} }
	for name, c := range map[string]struct {
		o     host.Options
		field string
	}{
		"no dir":      {host.Options{Specs: []host.Spec{good}}, "dir"},
		"long dir":    {host.Options{Dir: "/" + strings.Repeat("d", 100)}, "dir"},
		"name":        {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Name = "a b" })}, "specs[0].name"},
		"twice":       {host.Options{Dir: "/d", Specs: []host.Spec{good, good}}, "specs[1].name"},
		"command":     {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Command = "" })}, "specs[0].command"},
		"nul":         {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Args = []string{"a\x00"} })}, "specs[0].args[0]"},
		"env":         {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Env = []string{"X"} })}, "specs[0].env[0]"},
		"plugin env":  {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Env = []string{"PLUGIN_CLIENT_CERT=x"} })}, "specs[0].env[0]"},
		"cookie":      {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Env = []string{"SIDEHOOK_TRANSFORMER=x"} })}, "specs[0].env[0]"},
		"sum":         {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.SHA256 = "abc" })}, "specs[0].sha256"},
		"timeout":     {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.Timeout = time.Hour })}, "specs[0].timeout"},
		"memory":      {host.Options{Dir: "/d", Specs: with(func(s *host.Spec) { s.MaxMemory = -1 })}, "specs[0].max_memory"},
		"no such one": {host.Options{Dir: "/d", Specs: make([]host.Spec, host.MaxSpecs+1)}, "specs"},
	} {
		_, err := host.New(c.o)
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("%s: %v, want field %s", name, err, c.field)
		}
	}
}
