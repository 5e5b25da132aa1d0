package main

import (
	"strings"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestShapingFromATerminal: order, rate and sampling are set, shown and taken back from a terminal.
func TestShapingFromATerminal(t *testing.T) {
	d := startDev(t)
	var made client.Webhook
	decode(t, d.command(t, "webhook", "create", "--name", "CRM", "--url", d.inbox+"/in/crm", "--event", "person.*",
		"--ordering", "key", "--rate-limit", "0.5:3", "--history-sample", "0.1", "-o", "json"), &made)
	if made.Ordering != "key" || *made.RateLimit != (client.RateLimit{PerSecond: 0.5, Burst: 3}) || made.HistorySample != 0.1 {
		t.Errorf("created %+v", made)
	}
	shown := d.command(t, "webhook", "get", made.ID)
	for _, want := range []string{"key", "0.5/s, burst 3", "10% of successes"} {
		if !strings.Contains(shown, want) {
			t.Errorf("get does not show %q: %s", want, shown)
		}
	}
	var got client.Webhook
	decode(t, d.command(t, "webhook", "update", made.ID, "--ordering", "none", "--rate-limit", "none", "--history-sample", "1",
		"-o", "json"), &got)
	if got.Ordering != "none" || got.RateLimit != nil || got.HistorySample != 1 {
		t.Errorf("updated %+v", got)
	}
	d.command(t, "webhook", "disable", made.ID, "--reason", "moving house")
	if shown := d.command(t, "webhook", "get", made.ID); !strings.Contains(shown, "disabled (moving house) since ") {
		t.Errorf("get: %s", shown)
	}
}
