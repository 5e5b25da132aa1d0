//go:build with_node

package sign_test

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"reflect"
	"strconv"
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
		value, err := sign.Standard(nil, secrets, "evt_1", now, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		req := nodeRequest{Body: []byte(body), Headers: map[string]string{
			sign.HeaderID: "evt_1", sign.HeaderTimestamp: strconv.FormatInt(now.Unix(), 10),
			sign.HeaderSignature: string(value),
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

type nodeRequest struct {
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
