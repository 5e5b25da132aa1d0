package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// TestPrivateAddressesAreBlocked: a sidecar that was not told to reach this host or private networks does not, in any
// spelling of such an address, and says why in the history.
func TestPrivateAddressesAreBlocked(t *testing.T) {
	e := newEndpoint(t, "private")
	own, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1.2.3", "0.0.0.0", "10.0.0.1", "192.168.1.1",
		"172.16.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
	}
	text := "apps:\n  - id: demo\n    webhooks:\n"
	for i, host := range hosts {
		text += fmt.Sprintf("      - {id: w%d, url: \"http://%s:%s/in\", events: [\"*\"], automatic_retry: false, secrets: [{id: s, key: %s}]}\n",
			i, host, own.Port(), e.secret.Reveal())
	}
	pl := newPlace(t, "config_file: webhooks.yaml", "")
	pl.write("webhooks.yaml", text)
	s := pl.open()
	if n := publish(t, s.grpc, "person.created", "evt_blocked")[0].GetDeliveries(); int(n) != len(hosts) {
		t.Fatalf("%d deliveries, want %d", n, len(hosts))
	}
	s.awaitIdle()
	all := s.deliveries("app=demo")
	if len(all) != len(hosts) {
		t.Errorf("the history has %d deliveries, want %d", len(all), len(hosts))
	}
	for _, d := range all {
		var i int
		if _, err := fmt.Sscanf(d.Webhook, "w%d", &i); err != nil {
			t.Fatal(err)
		}
		if d.State != "dead" || len(d.Attempts) != 1 {
			t.Errorf("%s: %+v", hosts[i], d)
			continue
		}
		if a := d.Attempts[0]; a.Status != 0 || !strings.Contains(a.Error, "which deliveries may not go to") {
			t.Errorf("%s: the attempt says status %d, %q", hosts[i], a.Status, a.Error)
		} else if hosts[i] == "localhost" && !strings.Contains(a.Error, "resolves to") {
			t.Errorf("a name is blocked without saying what it resolves to: %q", a.Error)
		}
	}
	if n := len(e.first()); n > 0 {
		t.Errorf("%d requests reached the private address", n)
	}
	s.stop(syscall.SIGTERM)
}
