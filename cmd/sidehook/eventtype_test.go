package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook/internal/client"
)

// TestEventTypes: a catalogue is imported, edited, moved and made strict from a terminal.
func TestEventTypes(t *testing.T) {
	d := startDev(t)
	if list := d.command(t, "event-type", "list"); !strings.Contains(list, "no event type yet") {
		t.Errorf("empty: %s", list)
	}
	if all := d.command(t, "event-type", "catalogues", "--language", "vi"); !strings.Contains(all, "Nền tảng Sigma Streaming") ||
		!strings.Contains(all, "Livestream, DAI, Media VOD") {
		t.Errorf("catalogues: %s", all)
	}
	if names := d.command(t, "__complete", "event-type", "import", ""); !strings.HasPrefix(names,
		"apiserver\tLive API server\nmultisite\tUltimate Multisite\nomicall\tOMICall\nsigma\tSigma streaming platform\ntwenty\t") {
		t.Errorf("completion offers %s", names)
	}
	if said := d.command(t, "event-type", "import", "sigma"); said != "Event types of app demo: 8 added, 0 changed, 0 removed, 0 kept.\n" {
		t.Errorf("import: %s", said)
	}
	for language, want := range map[string]string{"vi": "Event khi kênh bắt đầu live", "en": "A channel went live"} {
		list := d.command(t, "event-type", "list", "--product", "Livestream", "--language", language)
		if strings.Count(list, "\n") != 4 || !strings.Contains(list, want) {
			t.Errorf("list in %s: %s", language, list)
		}
	}
	if types := d.command(t, "__complete", "event-type", "get", ""); !strings.Contains(types, "livestream.channel.live\tChannel live\n") {
		t.Errorf("completion offers %s", types)
	}

	// put changes what the flags name, and nothing else.
	d.command(t, "event-type", "put", "livestream.channel.live", "--name", "vi=Lên sóng", "--sample", `{"id": "<1>"}`)
	var got client.EventType
	decode(t, d.command(t, "event-type", "get", "livestream.channel.live", "-o", "json"), &got)
	if got.Name["vi"] != "Lên sóng" || got.Name["en"] != "Channel live" || got.Product != "Livestream" ||
		!json.Valid(got.Sample) || !strings.Contains(string(got.Sample), "<1>") {
		t.Errorf("after put: %+v %s", got, got.Sample)
	}
	shown := d.command(t, "event-type", "get", "livestream.channel.live")
	if !strings.Contains(shown, "Name (vi):") || !strings.Contains(shown, "Sample:\n  {\n    \"id\": \"<1>\"\n  }\nSchema:\n  {\n    \"type\": \"object\",\n") {
		t.Errorf("get: %s", shown)
	}
	d.command(t, "event-type", "put", "livestream.channel.live", "--name", "en=", "--sample", "")
	if list := d.command(t, "event-type", "get", "livestream.channel.live"); strings.Contains(list, "(en): Channel live") || strings.Contains(list, "Sample") {
		t.Errorf("after taking away: %s", list)
	}
	d.command(t, "event-type", "put", "shop/order:paid", "--product", "Shop")

	// What list prints, replace takes.
	file := filepath.Join(filepath.Dir(d.dir), "catalogue.json")
	if err := os.WriteFile(file, []byte(d.command(t, "event-type", "list", "-o", "json")), 0o600); err != nil {
		t.Fatal(err)
	}
	d.command(t, "app", "create", "other")
	if said := d.command(t, "event-type", "replace", file, "--app", "other"); !strings.Contains(said, "9 added") {
		t.Errorf("replace: %s", said)
	}
	d.command(t, "event-type", "delete", "shop/order:paid", "--app", "other")
	if said := d.command(t, "event-type", "replace", file, "--app", "other"); !strings.Contains(said, "1 added, 0 changed, 0 removed, 8 kept") {
		t.Errorf("replace again: %s", said)
	}
	d.command(t, "app", "create", "other", "--publish", "strict")
	if list := d.command(t, "app", "list"); !strings.Contains(list, "strict") {
		t.Errorf("apps: %s", list)
	}
}

// TestStrictPublish: once an app is strict, its sidecar refuses what the catalogue does not have.
func TestStrictPublish(t *testing.T) {
	d := startDev(t)
	d.command(t, "event-type", "import", "apiserver")
	d.command(t, "app", "create", "demo", "--publish", "strict")
	said := ""
	for deadline := time.Now().Add(20 * time.Second); said == "" && time.Now().Before(deadline); {
		cmd := exec.CommandContext(t.Context(), "sidehook", "publish", "--type", "chanel_live", "--address", d.grpc)
		if out, err := cmd.CombinedOutput(); err != nil {
			said = string(out)
		}
	}
	if !strings.Contains(said, `type: "chanel_live" is not among the event types of app demo, which takes no others`) {
		t.Errorf("the refusal says %q", said)
	}
	if out := d.command(t, "publish", "--type", "channel_stop", "--data", sampleOf(t, d, "channel_stop")); !strings.Contains(out, "unmatched") {
		t.Errorf("a known type was %s", out)
	}
}

// sampleOf is the sample of an event type of the app.
func sampleOf(t *testing.T, d *devProcess, typ string) string {
	t.Helper()
	var e client.EventType
	decode(t, d.command(t, "event-type", "get", typ, "-o", "json"), &e)
	return string(e.Sample)
}

// TestPublishAgainstSchema: a schema given at the terminal is what the sidecar checks data against, over both of its
// doors for events.
func TestPublishAgainstSchema(t *testing.T) {
	d := startDev(t)
	file := filepath.Join(t.TempDir(), "order.schema.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"required": ["customer"], "properties": {"customer": {"required": ["email"]}}}`)
	d.command(t, "event-type", "put", "order.paid", "--schema", file)
	shown := d.command(t, "event-type", "show", "order.paid")
	if !strings.Contains(shown, "Schema:\n  {\n    \"required\": [\n") {
		t.Errorf("show: %s", shown)
	}
	d.command(t, "event-type", "put", "order.paid", "--product", "Shop") // the schema stays
	d.command(t, "app", "create", "demo", "--publish", "strict")
	said := ""
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(said, "customer") && time.Now().Before(deadline); {
		cmd := exec.CommandContext(t.Context(), "sidehook", "publish", "--type", "order.paid", "--data", `{"customer":{}}`, "--address", d.grpc)
		if out, err := cmd.CombinedOutput(); err != nil {
			said = string(out)
		}
	}
	if !strings.Contains(said, "data: /customer/email: is required (schema of order.paid in app demo)") {
		t.Errorf("the refusal says %q", said)
	}
	resp, err := http.Post(d.http+"/v1/events", "application/cloudevents+json", strings.NewReader(
		`{"specversion":"1.0","id":"1","source":"/shop","type":"order.paid","app":"demo","data":{"customer":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	problem, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusUnprocessableEntity ||
		!strings.Contains(string(problem), "/customer/email: is required") || !strings.Contains(string(problem), "data") {
		t.Errorf("over HTTP: %d %s %v", resp.StatusCode, problem, err)
	}

	write(`{"type": "text"}`)
	cmd := exec.CommandContext(t.Context(), "sidehook", "event-type", "put", "order.paid", "--schema", file)
	cmd.Dir, cmd.Env = filepath.Dir(d.dir), append(os.Environ(), envServer+"="+d.rest)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "/type: must be object") {
		t.Errorf("a schema that is none: %v %s", err, out)
	}
	d.command(t, "event-type", "put", "order.paid", "--schema", "")
	if shown := d.command(t, "event-type", "get", "order.paid"); strings.Contains(shown, "Schema") {
		t.Errorf("after taking it away: %s", shown)
	}
}
