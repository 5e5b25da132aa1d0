package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDamagedQueue: a sidecar whose queue is damaged starts all the same; it says so in its log and in its metrics, keeps
// the damaged files, and delivers what was pending, and what comes from then on. What it says is gone with the next start.
func TestDamagedQueue(t *testing.T) {
	e := newEndpoint(t, "crm")
	pl := newPlace(t, "config_file: webhooks.yaml", allowLoopback)
	pl.write("webhooks.yaml", "apps:\n  - id: demo\n    webhooks:\n      - {id: crm, url: \""+e.url+
		"\", events: [\"*\"], secrets: [{id: s, key: "+e.secret.Reveal()+"}]}\n")
	refuse := true
	e.answer = func(r *http.Request) int {
		if refuse && r.Header.Get("webhook-id") == "evt_waits" {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	}
	s := pl.open()
	publish(t, s.grpc, "person.created", "evt_before")
	e.awaitArrival(t, "evt_before")
	publish(t, s.grpc, "person.created", "evt_waits")
	s.stop(syscall.SIGTERM)
	e.mu.Lock()
	refuse = false
	e.mu.Unlock()

	manifest := filepath.Join(pl.dir, "data", "queue", "MANIFEST")
	damaged, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(manifest, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	s = pl.open()
	if n := s.metric("sidehook_store_set_aside"); n != "1" {
		t.Errorf("sidehook_store_set_aside is %s", n)
	}
	aside, err := filepath.Glob(filepath.Join(pl.dir, "data", "queue.damaged-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside: %v, %v", aside, err)
	}
	if kept, err := os.ReadFile(filepath.Join(aside[0], "MANIFEST")); err != nil || string(kept) != string(damaged) {
		t.Errorf("what was set aside is not as it was: %v", err)
	}
	if log := s.log.String(); !strings.Contains(log, aside[0]) || !strings.Contains(log, "MANIFEST") {
		t.Errorf("the log does not name the folder and the file:\n%s", log)
	}
	if n := s.metric(`sidehook_store_rebuilt_deliveries{found="pending"}`); n != "1" {
		t.Errorf("the rebuild found %s pending deliveries, want 1", n)
	}
	e.awaitArrival(t, "evt_waits")
	publish(t, s.grpc, "person.created", "evt_after")
	e.awaitArrival(t, "evt_after")
	s.stop(syscall.SIGTERM)
	s = pl.open()
	if n := s.metric("sidehook_store_set_aside"); n != "0" {
		t.Errorf("sidehook_store_set_aside is %s after another start", n)
	}
	s.stop(syscall.SIGTERM)
}
