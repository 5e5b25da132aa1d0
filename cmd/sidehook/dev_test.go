package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook/internal/client"
)

// devProcess is a running "sidehook dev".
type devProcess struct {
	dir               string
	grpc, http        string
	rest, inbox, said string
}

// startDev starts the process on free ports, and stops it as Ctrl-C does when the test ends.
func startDev(t *testing.T) *devProcess {
	t.Helper()
	d := &devProcess{dir: filepath.Join(t.TempDir(), devDataDir)}
	args := []string{"dev", "--data", d.dir, "--log-level", "warn"}
	for _, name := range []string{"grpc", "http", "admin", "xds", "rest", "inbox"} {
		args = append(args, "--listen-"+name, "127.0.0.1:0")
	}
	cmd := exec.Command("sidehook", args...)
	var logged bytes.Buffer
	cmd.Stderr = &logged
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("interrupt: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("sidehook dev ended with %v; it logged:\n%s", err, &logged)
		}
	})
	guard := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer guard.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		d.said += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	for pattern, to := range map[string]*string{
		`(127\.0\.0\.1:\d+) \(gRPC\)`:         &d.grpc,
		`(http://127\.0\.0\.1:\d+)/v1/events`: &d.http,
		`(http://127\.0\.0\.1:\d+)/v1 `:       &d.rest,
		`inbox +(http://127\.0\.0\.1:\d+)/`:   &d.inbox,
	} {
		m := regexp.MustCompile(pattern).FindStringSubmatch(d.said)
		if m == nil {
			t.Fatalf("sidehook dev does not say %s:\n%s\nit logged:\n%s", pattern, d.said, &logged)
		}
		*to = m[1]
	}
	return d
}

// command runs a command against the process, and fails the test when the command does.
func (d *devProcess) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sidehook", args...)
	cmd.Dir = filepath.Dir(d.dir) // the token is found in ./sidehook-data
	cmd.Env = append(os.Environ(), envServer+"="+d.rest, envAddress+"="+d.grpc)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sidehook %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// TestDev is the way of a newcomer: dev in one terminal, the other commands in a second one.
func TestDev(t *testing.T) {
	d := startDev(t)

	if apps := d.command(t, "app", "list"); !strings.Contains(apps, "demo") {
		t.Errorf("apps: %s", apps)
	}
	var created client.Webhook
	decode(t, d.command(t, "webhook", "create", "--name", "Try", "--url", d.inbox+"/in/try", "--event", "person.*", "-o", "json"), &created)
	if created.ID == "" || !strings.HasPrefix(created.Secret, "whsec_") {
		t.Fatalf("created %+v", created)
	}
	if list := d.command(t, "webhook", "list"); !strings.Contains(list, created.ID) {
		t.Errorf("webhooks: %s", list)
	}
	if ids := d.command(t, "__complete", "webhook", "get", ""); !strings.HasPrefix(ids, created.ID+"\tTry\n") {
		t.Errorf("completion offers %s", ids)
	}

	id := d.publishUntilAccepted(t)
	d.awaitArrival(t, "try", id)

	// One id is delivered once.
	if again := d.command(t, "publish", "--type", "person.created", "--id", id); !strings.Contains(again, "duplicate") {
		t.Errorf("a repeat was %s", again)
	}
	if many := d.command(t, "publish", "--type", "person.left", "--count", "600"); many != "600 events: 600 accepted; 600 deliveries\n" {
		t.Errorf("many: %s", many)
	}
	if other := d.command(t, "publish", "--type", "payment.received"); !strings.Contains(other, "unmatched") {
		t.Errorf("an event that nobody wants was %s", other)
	}

	var sidecars []client.Sidecar
	decode(t, d.command(t, "sidecars", "-o", "json"), &sidecars)
	if len(sidecars) != 1 || !sidecars[0].Connected || len(sidecars[0].Apps) != 1 {
		t.Errorf("sidecars: %+v", sidecars)
	}
	d.command(t, "webhook", "delete", created.ID)
	if list := d.command(t, "webhook", "list"); strings.Contains(list, created.ID) {
		t.Errorf("the webhook is still there: %s", list)
	}
}

// publishUntilAccepted emits events until the sidecar knows the webhook, and returns the id of the first it accepted.
func (d *devProcess) publishUntilAccepted(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var res outcome
		decode(t, d.command(t, "publish", "--type", "person.created", "--data", `{"id":7}`, "-o", "json"), &res)
		if res.Disposition == "accepted" && res.Deliveries == 1 {
			return res.ID
		}
	}
	t.Fatal("the webhook did not reach the sidecar")
	return ""
}

// awaitArrival waits until the inbox shows the event.
func (d *devProcess) awaitArrival(t *testing.T, bin, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.inbox+"/bins/"+bin+"/stream?after=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	defer http.DefaultClient.CloseIdleConnections()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") && strings.Contains(lines.Text(), id) {
			return
		}
	}
	t.Fatalf("the event %s did not arrive: %v", id, lines.Err())
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}
