package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// terminal is a person beside a running "sidehook dev".
type terminal struct {
	*process
	t           *testing.T
	env         []string
	rest, admin string
}

func startDev(t *testing.T, dir string) *terminal {
	t.Helper()
	args := []string{"dev", "--data", dir, "--transformer", "redact=" + programs.redact}
	for _, listener := range []string{"grpc", "http", "admin", "xds", "rest", "inbox"} {
		args = append(args, "--listen-"+listener, "127.0.0.1:0")
	}
	d := &terminal{process: startSidehook(t, args...), t: t}
	d.rest = d.says(`(http://127\.0\.0\.1:\d+)/v1 `)
	d.admin = d.says(`sidecar +http://(127\.0\.0\.1:\d+)/`)
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	d.env = []string{
		"SIDEHOOK_SERVER=" + d.rest, "SIDEHOOK_ADDRESS=" + d.says(`(127\.0\.0\.1:\d+) \(gRPC\)`),
		"SIDEHOOK_TOKEN=" + strings.TrimSpace(string(token)),
	}
	return d
}

func (d *terminal) run(args ...string) string {
	d.t.Helper()
	return command(d.t, d.env, args...)
}

// create makes a webhook to an endpoint and waits until the sidecar has it.
func (d *terminal) create(e *endpoint, more ...string) client.Webhook {
	d.t.Helper()
	var w client.Webhook
	args := append([]string{"webhook", "create", "--name", e.name, "--url", e.url, "-o", "json"}, more...)
	if err := json.Unmarshal([]byte(d.run(args...)), &w); err != nil {
		d.t.Fatal(err)
	}
	key, err := sidehook.ParseKey(w.Secret)
	if err != nil {
		d.t.Fatal(err)
	}
	e.useSecret(d.t, key)
	d.awaitKnown(w.ID)
	return w
}

func (d *terminal) awaitKnown(id string) {
	d.t.Helper()
	s := &sidecar{process: d.process, admin: d.admin}
	await(d.t, "the sidecar has the webhook", func() error {
		phase, err := phaseOf(s, id)
		if err == nil && phase != "idle" {
			err = errors.New("it is " + phase)
		}
		return err
	})
}

// TestTerminal goes through the day of somebody who tries Sidehook with the commands alone, over two runs of dev.
func TestTerminal(t *testing.T) {
	dir := filepath.Join(shortDir(t), "data")
	d := startDev(t, dir)
	crm, mail := newEndpoint(t, "crm"), newEndpoint(t, "mail")
	first := d.create(crm, "--event", "person.*", "--header", "X-Api-Key=abc")
	d.create(mail, "--event", "*", "--transformer", "redact")

	file := filepath.Join(filepath.Dir(dir), "data.json")
	if err := os.WriteFile(file, []byte(`{"n":"evt_file","email":"alice@example.com"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	said := d.run("publish", "--type", "person.created", "--id", "evt_file", "--data", "@"+file)
	if !strings.Contains(said, "accepted") {
		t.Errorf("publish says %q", said)
	}
	crm.awaitArrival(t, "evt_file")
	mail.awaitArrival(t, "evt_file")
	if got := crm.captured(); got.header.Get("X-Api-Key") != "abc" || !strings.Contains(string(got.body), "alice@") {
		t.Errorf("crm got %v %s", got.header, got.body)
	}
	if got := mail.captured(); strings.Contains(string(got.body), "alice@") || got.header.Get("X-Redacted") != "1" {
		t.Errorf("the transformer did not see %v %s", got.header, got.body)
	}
	if list := d.run("webhook", "list"); !strings.Contains(list, first.ID) || !strings.Contains(list, "mail") ||
		strings.Contains(list, first.Secret) {
		t.Errorf("webhook list: %s", list)
	}
	if list := d.run("sidecars"); !strings.Contains(list, "ready") && !strings.Contains(list, "yes") {
		t.Errorf("sidecars: %s", list)
	}

	d.run("webhook", "disable", first.ID)
	n := 0
	await(t, "events go to one webhook only", func() error {
		n++
		id := fmt.Sprintf("evt_left_%d", n)
		said := d.run("publish", "--type", "person.left", "--id", id, "--data", `{"n":"`+id+`"}`, "-o", "json")
		if !strings.Contains(said, `"deliveries":1`) &&
			!strings.Contains(said, `"deliveries": 1`) {
			return errors.New(said)
		}
		return nil
	})
	d.stop(os.Interrupt)

	// What was made is there after a restart; what was published before is known.
	d = startDev(t, dir)
	d.run("webhook", "enable", first.ID)
	d.awaitKnown(first.ID)
	if said := d.run("publish", "--type", "person.created", "--id", "evt_file", "--data", "@"+file); !strings.Contains(said, "duplicate") {
		t.Errorf("a repeat was %s", said)
	}
	d.run("publish", "--type", "person.created", "--id", "evt_next", "--data", `{"n":"evt_next"}`)
	crm.awaitArrival(t, "evt_next")
	d.run("webhook", "delete", first.ID)
	if list := d.run("webhook", "list"); strings.Contains(list, first.ID) {
		t.Errorf("after delete: %s", list)
	}
	_, said, err := tryCommand(t, d.env, "webhook", "get", first.ID)
	if err == nil || !strings.Contains(said, first.ID) {
		t.Errorf("a webhook that is gone: %v, %s", err, said)
	}
	d.stop(os.Interrupt)
	mail.check(t)
	expectNoneLeft(t, filepath.Base(programs.sidehook), filepath.Base(programs.redact))
}

// TestConfigCheck: what config check accepts starts (the other tests show that), and what it refuses does not, with the
// same words.
func TestConfigCheck(t *testing.T) {
	pl := newPlace(t, "config_file: webhooks.yaml", "")
	pl.write("webhooks.yaml", "apps: [{id: demo}]\n")
	command(t, nil, "config", "check", pl.config, filepath.Join(pl.dir, "webhooks.yaml"))

	wrong := pl.write("wrong.yaml", "kind: sidecar\ndata_dir: data\nconfig_file: webhooks.yaml\nlisten:\n  grcp: 127.0.0.1:0\n")
	for _, args := range [][]string{{"config", "check", wrong}, {"sidecar", "--config", wrong}} {
		out, errs, err := tryCommand(t, nil, args...)
		if err == nil || !strings.Contains(out+errs, "wrong.yaml:5") || !strings.Contains(out+errs, "grcp") {
			t.Errorf("%v: %v, %s%s", args, err, out, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(pl.dir, "data")); err == nil {
		t.Error("a sidecar with a wrong configuration made its folder")
	}
}
