package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sidehook/sidehook/internal/client"
)

// attempt runs a command that may fail.
func (d *devProcess) attempt(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sidehook", args...)
	cmd.Dir = filepath.Dir(d.dir)
	cmd.Env = append(os.Environ(), envServer+"="+d.rest, envAddress+"="+d.grpc)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// until repeats a command until its output is as wanted.
func (d *devProcess) until(t *testing.T, ok func(string) bool, args ...string) string {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		said := d.command(t, args...)
		if ok(said) {
			return said
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("sidehook %s says %s", strings.Join(args, " "), said)
		}
	}
}

// TestDeliveriesFromATerminal: what an endpoint's trouble looks like, and what can be done about it.
func TestDeliveriesFromATerminal(t *testing.T) {
	var answer atomic.Int32
	answer.Store(500)
	got := make(chan string, 100)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(int(answer.Load()))
		_, _ = io.WriteString(w, "so \x1b[31mit\nis")
		got <- r.Header.Get("Webhook-Id")
	}))
	defer endpoint.Close()
	d := startDev(t)
	if list := d.command(t, "delivery", "list"); list != "There is no such delivery.\n" {
		t.Errorf("empty: %s", list)
	}
	var made client.Webhook
	decode(t, d.command(t, "webhook", "create", "--name", "CRM", "--url", endpoint.URL, "--event", "person.*",
		"--automatic-retry=false", "-o", "json"), &made)

	code, out, errs := d.attempt(t, "webhook", "test", made.ID, "--event-type", "person.created", "--data", `{"n":"<1>"}`)
	if code != exitFailure || errs != "" || !strings.HasPrefix(out, "The receiver refused it after ") || !strings.Contains(out, "500") ||
		!strings.Contains(out, "> POST "+endpoint.URL) || !strings.Contains(out, "> webhook-id: ") && !strings.Contains(out, "> Webhook-Id: ") ||
		!strings.Contains(out, `"n":"<1>"`) || !strings.Contains(out, "Response:\n    so \uFFFD[31mit\n    is\n") {
		t.Errorf("a failing test ended with %d and said\n%s%s", code, out, errs)
	}
	test := <-got

	id := d.publishUntilAccepted(t)
	for <-got != id { // earlier tries of publishUntilAccepted
	}
	table := d.until(t, func(s string) bool { return strings.Count(s, " dead ") == 2 }, "delivery", "list", "--state", "dead", "--since", "1h")
	fields := strings.Fields(strings.Split(table, "\n")[1])
	if !strings.HasPrefix(fields[0], "dlv_") || fields[1] != "dead" || fields[3] != made.ID || !strings.Contains(table, "500") {
		t.Errorf("list: %s", table)
	}
	var list client.DeliveryList
	decode(t, d.command(t, "delivery", "list", "--webhook", made.ID, "--event-type", "person.created", "-o", "json"), &list)
	if len(list.Data) != 2 || list.Data[0].EventID != id || list.Data[1].EventID != test || len(list.Missing) != 0 {
		t.Errorf("list as JSON: %+v", list)
	}
	if none := d.command(t, "delivery", "list", "--until", "1h"); none != "There is no such delivery.\n" {
		t.Errorf("before an hour ago: %s", none)
	}
	if one := d.command(t, "delivery", "list", "--limit", "1"); !strings.Contains(one, "There are older ones") {
		t.Errorf("the first of two: %s", one)
	}
	dlv := list.Data[0].ID
	shown := d.command(t, "delivery", "show", dlv)
	if !strings.Contains(shown, "Attempt 1: dead") || !strings.Contains(shown, "\nEvent\n") || !strings.Contains(shown, "Response:\n    so \uFFFD[31mit") ||
		!strings.Contains(shown, "\nRequest") {
		t.Errorf("show: %s", shown)
	}
	if ids := d.command(t, "__complete", "delivery", "show", ""); !strings.HasPrefix(ids, dlv+"\tdead person.created\n") {
		t.Errorf("completion offers %s", ids)
	}
	d.until(t, func(s string) bool {
		return strings.Contains(s, "Failed attempts:") && strings.Contains(s, "Last error:")
	}, "webhook", "get", made.ID)

	answer.Store(200)
	d.command(t, "delivery", "retry", dlv)
	if again := <-got; again != id {
		t.Errorf("the retry sent %s, want %s", again, id)
	}
	d.until(t, func(s string) bool {
		return strings.Contains(s, "State:") && strings.Contains(s, "Attempt 2: delivered")
	}, "delivery", "show", dlv)
	if said := d.command(t, "webhook", "replay", made.ID, "--since", "1h"); said != "1 delivery is queued once more.\n" {
		t.Errorf("replay: %s", said)
	}
	if again := <-got; again != test {
		t.Errorf("the replay sent %s, want %s", again, test)
	}
	d.until(t, func(s string) bool { return s == "There is no such delivery.\n" }, "delivery", "list", "--state", "dead")
	if out := d.command(t, "webhook", "test", made.ID, "--event-type", "person.created"); !strings.HasPrefix(out, "The receiver took it after ") || !strings.Contains(out, ": 200.\n") {
		t.Errorf("a good test said %s", out)
	}
	<-got

	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"delivery", "list", "--state", "lost"}, exitFailure, "state: must be "},
		{[]string{"delivery", "list", "--since", "yesterday"}, exitUsage, "--since must be how long ago"},
		{[]string{"delivery", "list", "--limit", "0"}, exitUsage, "--limit must be 1 to"},
		{[]string{"delivery", "show", "dlv_x"}, exitFailure, "is not a delivery id"},
		{[]string{"delivery", "show", strings.Replace(dlv, "dlv_", "dlv_zz", 1)[:len(dlv)]}, exitFailure, "not found"},
		{[]string{"webhook", "test", made.ID}, exitUsage, "--event-type is required"},
		{[]string{"webhook", "test", made.ID, "--event-type", "x", "--data", "{"}, exitUsage, "--data is not valid JSON"},
		{[]string{"webhook", "test", "wh_none", "--event-type", "x"}, exitFailure, "not found"},
		{[]string{"webhook", "replay", made.ID, "--state", "pending"}, exitFailure, "delivered"},
		{[]string{"sidecars", "drain", "none"}, exitFailure, "not found"},
	} {
		code, _, errs := d.attempt(t, c.args...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v ended with %d and said %s", c.args, code, errs)
		}
	}

	sidecar := strings.Fields(strings.Split(d.command(t, "sidecars"), "\n")[1])[0]
	if ids := d.command(t, "__complete", "sidecars", "drain", ""); !strings.HasPrefix(ids, sidecar+"\t") {
		t.Errorf("completion offers %s", ids)
	}
	if said := d.command(t, "sidecars", "drain", sidecar); said != "Sidecar "+sidecar+" refuses events; 0 deliveries are left.\n" {
		t.Errorf("drain: %s", said)
	}
	if code, _, errs := d.attempt(t, "publish", "--type", "person.created", "--timeout", "5s"); code != exitFailure {
		t.Errorf("a drained sidecar took an event: %s", errs)
	}
}
