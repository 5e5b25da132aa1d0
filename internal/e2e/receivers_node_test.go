//go:build with_node

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// TestNodeReceiversVerifyOffTheWire: receivers as products have them, in a process of their own, accept what a sidecar
// sends them, first attempt and retry, with the secret that they have.
func TestNodeReceiversVerifyOffTheWire(t *testing.T) {
	pair, shared := sidehook.NewEd25519Key(), sidehook.NewKey()
	secrets := map[string]string{
		"twenty": "your-secret", "printed": shared.Reveal(), "hub": "It's a Secret to Everybody", "stamped": "mật khẩu dài",
		"pair": pair.PublicKey(),
	}
	argument, err := json.Marshal(secrets)
	if err != nil {
		t.Fatal(err)
	}
	node := startProgram(t, exec.Command("node", "testdata/receivers.mjs", string(argument)))
	url := node.says(`listening (\S+)`)

	pl := newPlace(t, "config_file: webhooks.yaml", allowLoopback)
	pl.write("webhooks.yaml", strings.NewReplacer("URL", url, "SHARED", shared.Reveal(), "PAIR", pair.Reveal()).Replace(`apps:
  - id: demo
    webhooks:
      - {id: twenty, url: "URL/twenty", events: ["*"], format: twenty, retry_policy: {schedule: [1s]}, secrets: [{key: your-secret}]}
      - {id: printed, url: "URL/printed", events: ["*"], format: twenty, retry_policy: {schedule: [1s]}, secrets: [{key: SHARED}]}
      - id: hub
        url: URL/hub
        events: ["*"]
        format: multisite
        signing: {scheme: hmac, header: X-Hub-Signature-256, prefix: "sha256="}
        retry_policy: {schedule: [1s]}
        secrets: [{key: "It's a Secret to Everybody"}]
      - id: stamped
        url: URL/stamped
        events: ["*"]
        format: apiserver
        signing: {scheme: hmac, header: X-Signature, algorithm: sha512, encoding: base64, prefix: "v0=",
          template: "v0:{timestamp}:{body}", timestamp_header: X-Time}
        retry_policy: {schedule: [1s]}
        secrets: [{key: mật khẩu dài}]
      - id: pair
        url: URL/pair
        events: ["*"]
        format: omicall
        signing: {scheme: standard-ed25519}
        retry_policy: {schedule: [1s]}
        secrets: [{key: PAIR}]
`))
	s := pl.open()
	_, err = eventsv1.NewEventServiceClient(dialEvents(t, s.grpc)).Publish(t.Context(), &eventsv1.PublishRequest{
		Events: []*eventsv1.Event{{
			App: "demo", Id: "evt_1", Source: "/people", Type: "person.created",
			Data: []byte("{ \"name\": \"A \\u0026 <b> \\u2028 K\u00eanh\", \"n\": [1.0, 1e2] }\n"),
		}},
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for name := range secrets {
		expectRetry(t, node, name)
	}
}

// expectRetry waits for both requests to a receiver and compares them.
func expectRetry(t *testing.T, node *process, name string) {
	t.Helper()
	type arrival struct {
		Holds   bool
		Error   string
		Headers map[string]string
		Body    string
	}
	var both [2]arrival
	for i, first := range []bool{true, false} {
		line := node.says(fmt.Sprintf(`(\{"name":"%s","first":%t.*)\n`, name, first))
		if err := json.Unmarshal([]byte(line), &both[i]); err != nil {
			t.Fatal(err)
		}
		if a := both[i]; !a.Holds || a.Headers["webhook-id"] != "evt_1" || a.Headers["sidehook-attempt"] != fmt.Sprint(i+1) {
			t.Errorf("%s: request %d does not hold: %+v", name, i+1, a)
		}
	}
	if both[0].Body != both[1].Body {
		t.Errorf("%s: the retry sent %s instead of %s", name, both[1].Body, both[0].Body)
	}
	for _, header := range []string{
		"x-twenty-webhook-timestamp", "x-twenty-webhook-nonce", "x-twenty-webhook-signature", "x-time", "x-signature",
		"webhook-timestamp", "webhook-signature",
	} {
		if value := both[0].Headers[header]; value != "" && value == both[1].Headers[header] {
			t.Errorf("%s: the retry has the %s of the first attempt", name, header)
		}
	}
}
