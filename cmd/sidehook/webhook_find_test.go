package main

import (
	"strings"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestWebhooksByName: wherever a webhook's ID is expected its name does too; an ID comes first.
func TestWebhooksByName(t *testing.T) {
	d := startDev(t)
	create := func(name string) (w client.Webhook) {
		decode(t, d.command(t, "webhook", "create", "--name", name, "--url", d.inbox+"/in/crm", "--event", "person.*", "-o", "json"), &w)
		return w
	}
	crm := create("CRM của tôi")
	imposter := create(crm.ID)
	said := d.command(t, "webhook", "create", "--name", "Third", "--url", d.inbox+"/in/crm", "--event", "person.*")
	if !strings.Contains(said, "It is not shown here again; the console can show it.") {
		t.Errorf("create: %s", said)
	}
	for _, args := range [][]string{
		{"webhook", "get", "CRM của tôi"},
		{"webhook", "get", crm.ID},
		{"webhook", "update", "CRM của tôi", "--event", "person.created"},
		{"webhook", "disable", "CRM của tôi"},
		{"webhook", "enable", "CRM của tôi"},
		{"webhook", "test", "CRM của tôi", "--event-type", "person.created"},
	} {
		var got client.Webhook
		out := d.command(t, append(args, "-o", "json")...)
		if args[1] == "test" {
			continue // it is recorded, see below
		}
		if decode(t, out, &got); got.ID != crm.ID {
			t.Errorf("%v is about %s, not %s", args, got.ID, crm.ID)
		}
	}
	list := d.command(t, "delivery", "list", "--webhook", "CRM của tôi")
	if !strings.Contains(list, "person.created") || list != d.command(t, "delivery", "list", "--webhook", crm.ID) {
		t.Errorf("deliveries: %s", list)
	}
	if said := d.command(t, "webhook", "replay", "CRM của tôi", "--state", "delivered"); said != "1 delivery is queued once more.\n" {
		t.Errorf("replay: %s", said)
	}
	if code, _, errs := d.attempt(t, "webhook", "get", "No such one"); code != exitFailure ||
		!strings.Contains(errs, `app demo has no webhook with the id or name "No such one"; see sidehook webhook list`) {
		t.Errorf("an unknown name: %d, %s", code, errs)
	}
	if code, _, errs := d.attempt(t, "webhook", "replay", "crm"); code != exitFailure || !strings.Contains(errs, "not found") {
		t.Errorf("an unknown id: %d, %s", code, errs)
	}
	if said := d.command(t, "webhook", "delete", crm.ID); said != "Deleted webhook "+crm.ID+".\n" {
		t.Errorf("delete: %s", said)
	}
	var left client.Webhook
	if decode(t, d.command(t, "webhook", "get", crm.ID, "-o", "json"), &left); left.ID != imposter.ID {
		t.Errorf("the name of the one that is left leads to %s", left.ID)
	}
}
