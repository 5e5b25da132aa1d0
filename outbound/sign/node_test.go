//go:build with_node

package sign_test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/sign"
)

// TestPublishedNodePackageVerifies has a Node process verify what is signed here with the standardwebhooks package.
// scripts/setup-test installs the package and sets the build tag.
func TestPublishedNodePackageVerifies(t *testing.T) {
	receiver := startReceiver(t)
	old, fresh, other := sidehook.NewKey(), sidehook.NewKey(), sidehook.NewKey()
	now := time.Now()
	secrets := []sidehook.Secret{{ID: "old", Key: old, NotAfter: now.Add(time.Hour)}, {ID: "new", Key: fresh}}
	for _, body := range []string{
		`{}`, `{"type":"person.created","timestamp":"2026-03-01T12:30:45Z","data":{"name":"Kênh <b>&` + "\u2028" + `😀\n"}}`,
	} {
		value, err := standard(t, secrets, "evt_1", now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		req := nodeRequest{Scheme: "standard", Body: []byte(body), Headers: map[string]string{
			sign.HeaderID: "evt_1", sign.HeaderTimestamp: strconv.FormatInt(now.Unix(), 10), sign.HeaderSignature: value,
		}}
		for name, k := range map[string]sidehook.Key{"old": old, "new": fresh} {
			req.Secret = k.Reveal()
			got := receiver(req)
			var want any
			if err := json.Unmarshal([]byte(body), &want); err != nil {
				t.Fatal(err)
			}
			if got.Error != "" || !reflect.DeepEqual(got.Payload, want) {
				t.Errorf("%s secret: got %+v, want payload %v", name, got, want)
			}
		}
		req.Secret = other.Reveal()
		if got := receiver(req); got.Error == "" {
			t.Error("a secret that never signed verifies")
		}
		req.Secret, req.Body = fresh.Reveal(), []byte(body+" ")
		if got := receiver(req); got.Error == "" {
			t.Error("a changed body verifies")
		}
	}
}

// TestNodeReceiversVerify has receivers that use Node's own crypto verify the schemes that the package does not know.
func TestNodeReceiversVerify(t *testing.T) {
	receiver := startReceiver(t)
	pair := sidehook.NewEd25519Key()
	at := time.UnixMilli(twentyVector.ms)
	shown := sidehook.NewKey()
	bodies := []string{
		twentyVector.body, `{}`,
		`{"event":"person.updated","data":{"name":"Kênh <b>&` + "\u2028" + `😀\n\"","n":[1.5,-3,1e+21]},"timestamp":"2026-03-01T12:30:45Z"}`,
	}
	for scheme, c := range map[string]struct {
		webhook       sidehook.Webhook
		key           sidehook.Key
		secret, other string // as the receiver has them
	}{
		"v1a": {
			sidehook.Webhook{Signing: sidehook.Signing{Scheme: sidehook.SchemeStandardEd25519}},
			pair, pair.PublicKey(),
			sidehook.NewEd25519Key().PublicKey(),
		},
		"twenty":         {sidehook.Webhook{Format: sidehook.FormatTwenty}, imported(t, "your-secret"), "your-secret", "another-secret"},
		"twenty-printed": {sidehook.Webhook{Format: sidehook.FormatTwenty}, shown, shown.Reveal(), "another-secret"},
	} {
		s := signer(t, &c.webhook, sidehook.Secret{Key: c.key})
		for _, body := range bodies {
			req := nodeRequest{Scheme: scheme, Secret: c.secret, Body: []byte(body)}
			req.Headers = headersOf(t, s, &sign.Request{ID: "evt_1", At: at, Body: req.Body})
			req.Headers[sign.HeaderID] = "evt_1"
			var want any
			if err := json.Unmarshal([]byte(body), &want); err != nil {
				t.Fatal(err)
			}
			if got := receiver(req); got.Error != "" || !reflect.DeepEqual(got.Payload, want) {
				t.Errorf("%s: got %+v, want payload %v", scheme, got, want)
			}
			req.Secret = c.other
			if got := receiver(req); got.Error == "" {
				t.Errorf("%s: another secret verifies", scheme)
			}
			req.Secret, req.Body = c.secret, []byte(strings.Replace(body, "}", `,"x":1}`, 1))
			if got := receiver(req); got.Error == "" {
				t.Errorf("%s: a changed body verifies", scheme)
			}
		}
	}
}

type nodeRequest struct {
	Scheme  string            `json:"scheme"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
}

type nodeAnswer struct {
	Payload any    `json:"payload"`
	Error   string `json:"error"`
}

// startReceiver runs testdata/node/verify.mjs until the test ends and returns a function that asks it.
func startReceiver(t *testing.T) func(nodeRequest) nodeAnswer {
	t.Helper()
	cmd := exec.Command("node", "verify.mjs")
	cmd.Dir = "testdata/node"
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	t.Cleanup(func() {
		_ = in.Close() // the end of its input ends it; Wait tells whether it ended well
		if err := cmd.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return func(req nodeRequest) nodeAnswer {
		t.Helper()
		if err := json.NewEncoder(in).Encode(req); err != nil {
			t.Fatal(err)
		}
		line, err := answers.ReadBytes('\n')
		if err != nil {
			t.Fatalf("node gave no answer (run scripts/setup-test first?): %v", err)
		}
		var answer nodeAnswer
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatalf("node answered %q: %v", line, err)
		}
		return answer
	}
}
