package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sidehook/sidehook"
	configv1 "github.com/sidehook/sidehook/api/config/v1"
	"github.com/sidehook/sidehook/internal/app"
	"github.com/sidehook/sidehook/internal/client"
	"github.com/sidehook/sidehook/xds"
)

// TestBadResourceIsRefusedByName pushes configuration that the management API would never let through, and some that
// only a sidecar can judge. It is refused by name where people look, all else applies, and what was live before stays.
func TestBadResourceIsRefusedByName(t *testing.T) {
	plane := newPlane(t)
	ctl := plane.inside()
	s := plane.newSidecar().open()
	s.awaitReady()
	steady, changed, late := newEndpoint(t, "steady"), newEndpoint(t, "changed"), newEndpoint(t, "late")
	plane.webhook(steady, "person.*")
	victim := plane.webhook(changed, "person.*")
	s.awaitWebhooks(2)

	const brokenName = "apps/demo/webhooks/broken"
	victimName := xds.WebhookName(sidehook.WebhookKey{App: "demo", ID: victim.ID})
	pushRaw(t, ctl, victimName, &configv1.Webhook{
		App: "demo", Id: victim.ID, Name: "changed", Url: "ftp://example.com/", Events: []string{"*"},
	})
	pushRaw(t, ctl, brokenName, &configv1.Webhook{App: "demo", Id: "broken", Name: "broken", Url: changed.url})
	foreign, err := plane.api.CreateWebhook(t.Context(), "demo", client.WebhookFields{
		Name: new("foreign"), URL: new(changed.url), Events: &[]string{"*"}, Transformer: new("absent"),
	})
	if err != nil {
		t.Fatal(err)
	}
	foreignName := xds.WebhookName(sidehook.WebhookKey{App: "demo", ID: foreign.ID})
	plane.webhook(late, "person.*")
	s.awaitWebhooks(3)
	rejected := expectRejected(t, plane, s, victimName, brokenName, foreignName)
	for name, field := range map[string]string{victimName: "url", brokenName: "events", foreignName: "transformer"} {
		if reason := rejected[name]; !strings.Contains(reason, field) {
			t.Errorf("%s was refused because %q, which does not name %s", name, reason, field)
		}
	}
	publish(t, s.grpc, "person.created", "evt_meanwhile")
	for _, e := range []*endpoint{steady, changed, late} {
		e.awaitArrival(t, "evt_meanwhile")
	}

	if _, err := plane.api.UpdateWebhook(t.Context(), "demo", victim.ID, client.WebhookFields{
		Events: &[]string{"person.*", "payment.*"},
	}); err != nil {
		t.Fatal(err)
	}
	expectRejected(t, plane, s, brokenName, foreignName)
	ctl.Pusher.Set("demo", nil, []string{brokenName})
	expectRejected(t, plane, s, foreignName)
	if err := plane.api.DeleteWebhook(t.Context(), "demo", foreign.ID); err != nil {
		t.Fatal(err)
	}
	expectRejected(t, plane, s)
	publish(t, s.grpc, "payment.received", "evt_mended")
	changed.awaitArrival(t, "evt_mended")
	s.stop(syscall.SIGTERM)
}

func pushRaw(t *testing.T, ctl *app.Control, name string, w *configv1.Webhook) {
	t.Helper()
	body, err := anypb.New(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := ctl.Pusher.SetRaw("demo", xds.WebhookType, name, body); err != nil {
		t.Fatal(err)
	}
}

// expectRejected waits until the control plane, the configuration dump and the metrics agree on what is refused, and
// returns the reasons.
func expectRejected(t *testing.T, plane *plane, s *sidecar, names ...string) map[string]string {
	t.Helper()
	slices.Sort(names)
	reasons := map[string]string{}
	plane.awaitSidecar(fmt.Sprintf("the control plane knows that %v are refused", names), func(sc client.Sidecar) bool {
		clear(reasons)
		for _, r := range sc.Rejections {
			reasons[r.Resource] = r.Reason
		}
		return slices.Equal(sorted(reasons), names)
	})
	var dump struct {
		Source struct{ Rejections []client.Rejection }
	}
	if _, err := getJSON("http://"+s.admin+"/config_dump", &dump); err != nil {
		t.Fatal(err)
	}
	dumped := map[string]string{}
	for _, r := range dump.Source.Rejections {
		dumped[r.Resource] = r.Reason
	}
	if !slices.Equal(sorted(dumped), names) {
		t.Errorf("/config_dump shows the refusals %v, want %v", dumped, names)
	}
	if n := s.metric("sidehook_config_rejected_resources"); n != strconv.Itoa(len(names)) {
		t.Errorf("/metrics counts %s refusals, want %d", n, len(names))
	}
	return reasons
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
