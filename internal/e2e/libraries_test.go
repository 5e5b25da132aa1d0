package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"syscall"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/sidehook/sidehook"
)

// requestsOfSidecar has a sidecar send a delivery that fails at first, signed with two secrets, and returns both requests
// as they came over the wire.
func requestsOfSidecar(t *testing.T) (requests []capture, secrets []sidehook.Key) {
	t.Helper()
	e := newEndpoint(t, "receiver")
	fails := true
	e.answer = func(*http.Request) int {
		if fails {
			fails = false
			return http.StatusBadGateway
		}
		return http.StatusOK
	}
	old := sidehook.NewKey()
	pl := newPlace(t, "config_file: webhooks.yaml", allowLoopback)
	pl.write("webhooks.yaml", fmt.Sprintf(`apps:
  - id: demo
    webhooks:
      - id: receiver
        url: %q
        events: ["*"]
        retry_policy: {schedule: [1s, 1s]}
        secrets: [{id: old, key: %s, not_after: 2099-01-01T00:00:00Z}, {id: new, key: %s}]
`, e.url, old.Reveal(), e.secret.Reveal()))
	s := pl.open()
	publish(t, s.grpc, "person.created", "evt_signed")
	e.awaitArrival(t, "evt_signed")
	s.stop(syscall.SIGTERM)
	return e.first(), []sidehook.Key{old, e.secret}
}

// TestPublishedGoLibraryVerifies: the Standard Webhooks library for Go accepts what a sidecar sends, first attempt and
// retry, with either secret of a rotation, and nothing else.
func TestPublishedGoLibraryVerifies(t *testing.T) {
	requests, secrets := requestsOfSidecar(t)
	if len(requests) != 2 {
		t.Fatalf("%d requests came, want the first attempt and its retry", len(requests))
	}
	for i, r := range requests {
		for _, key := range secrets {
			if err := verifier(t, key).Verify(r.body, r.header); err != nil {
				t.Errorf("request %d: %v", i+1, err)
			}
		}
		if err := verifier(t, sidehook.NewKey()).Verify(r.body, r.header); err == nil {
			t.Errorf("request %d holds with a secret that never signed", i+1)
		}
		if err := verifier(t, secrets[0]).Verify(append(bytes.Clone(r.body), ' '), r.header); err == nil {
			t.Errorf("request %d holds with another body", i+1)
		}
		if got := r.header.Get("Sidehook-Attempt"); got != fmt.Sprint(i+1) {
			t.Errorf("request %d says that it is attempt %s", i+1, got)
		}
	}
	first, retry := requests[0], requests[1]
	if !bytes.Equal(first.body, retry.body) {
		t.Errorf("the retry sent %s instead of %s", retry.body, first.body)
	}
	if first.header.Get("Webhook-Id") != retry.header.Get("Webhook-Id") {
		t.Error("the retry has another webhook-id")
	}
	if first.header.Get("Webhook-Timestamp") == retry.header.Get("Webhook-Timestamp") {
		t.Error("the retry, a second later, has the timestamp of the first attempt")
	}
}

func verifier(t *testing.T, key sidehook.Key) *standardwebhooks.Webhook {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return v
}
