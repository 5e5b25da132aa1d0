package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestSigningFromATerminal: a receiver's own secret and scheme are met, changed and shown from a terminal.
func TestSigningFromATerminal(t *testing.T) {
	d := startDev(t)
	write := func(name, text string) string {
		path := filepath.Join(filepath.Dir(d.dir), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var made client.Webhook
	decode(t, d.command(t, "webhook", "create", "--name", "CRM", "--url", d.inbox+"/in/crm", "--event", "person.*",
		"--format", "twenty", "--secret-file", write("crm.secret", "your-secret\n"), "-o", "json"), &made)
	if made.Format != "twenty" || made.Signing.Scheme != "twenty" || made.Secret != "your-secret" {
		t.Errorf("created %+v", made)
	}
	id := d.publishUntilAccepted(t)
	d.awaitArrival(t, "crm", id)

	d.command(t, "webhook", "update", made.ID, "--signing-scheme", "hmac", "--signing-header", "X-Sig", "--signing-prefix", "v1=",
		"--signing-template", "{timestamp}.{body}", "--signing-timestamp-header", "X-Time", "--signing-encoding", "base64")
	if shown := d.command(t, "webhook", "get", made.ID); !strings.Contains(shown,
		"hmac sha256 of {timestamp}.{body} as base64 in X-Sig after v1=, timestamp in X-Time\n") {
		t.Errorf("get: %s", shown)
	}
	d.command(t, "webhook", "update", made.ID, "--signing-scheme", "default")
	var got client.Webhook
	decode(t, d.command(t, "webhook", "get", made.ID, "-o", "json"), &got)
	if got.Signing != (client.Signing{Scheme: "twenty"}) {
		t.Errorf("after default: %+v", got.Signing)
	}

	said := d.command(t, "webhook", "create", "--name", "Pair", "--url", d.inbox+"/in/pair", "--event", "x", "--signing-scheme", "standard-ed25519")
	if !strings.Contains(said, "Public key: whpk_") || strings.Contains(said, "Secret:") {
		t.Errorf("create: %s", said)
	}
	pair := strings.Fields(said)[2]
	if said := d.command(t, "webhook", "rotate", pair); !strings.Contains(said, "Public key: whpk_") {
		t.Errorf("rotate: %s", said)
	}
	if list := d.command(t, "webhook", "secrets", pair); strings.Count(list, "ed25519") != 2 || strings.Count(list, "whpk_") != 2 {
		t.Errorf("secrets: %s", list)
	}

	rotate := exec.CommandContext(t.Context(), "sidehook", "webhook", "rotate", made.ID, "--secret-file", "-")
	rotate.Dir, rotate.Env = filepath.Dir(d.dir), append(os.Environ(), envServer+"="+d.rest)
	rotate.Stdin = strings.NewReader("another-secret\n")
	if out, err := rotate.CombinedOutput(); err != nil || !strings.Contains(string(out), "Secret: another-secret\n") {
		t.Errorf("rotate from the standard input: %v %s", err, out)
	}

	for _, c := range []struct {
		want string
		args []string
	}{
		{"signing.scheme: ", []string{"update", made.ID, "--format", "standard"}},
		{"secret: must be 8 to 256", []string{"rotate", made.ID, "--secret-file", write("short", "hush")}},
		{"the file is empty", []string{"rotate", made.ID, "--secret-file", write("empty", "\n")}},
		{"over 4096 bytes", []string{"rotate", made.ID, "--secret-file", write("big", strings.Repeat("hush", 2000))}},
		{"no such file", []string{"rotate", made.ID, "--secret-file", "none"}},
		{"--signing-header needs --signing-scheme hmac", []string{"update", made.ID, "--signing-header", "X-Sig"}},
		{"signing.template: must have {body}", []string{
			"update", made.ID, "--signing-scheme", "hmac", "--signing-header", "X-Sig", "--signing-template", "x",
		}},
	} {
		cmd := exec.CommandContext(t.Context(), "sidehook", append([]string{"webhook"}, c.args...)...)
		cmd.Dir, cmd.Env = filepath.Dir(d.dir), append(os.Environ(), envServer+"="+d.rest)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) || strings.Contains(string(out), "hush") {
			t.Errorf("%v: %v, %s; want %q", c.args, err, out, c.want)
		}
	}
}
