//go:build with_node

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

// TestPublishedNodePackageVerifies: the standardwebhooks package for Node accepts what a sidecar sends. The receiver is
// the one of outbound/sign; scripts/setup-test installs its package and sets the build tag.
func TestPublishedNodePackageVerifies(t *testing.T) {
	requests, secrets := requestsOfSidecar(t)
	type question struct {
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
		holds   bool
	}
	var questions []question
	var lines strings.Builder
	for _, r := range requests {
		headers := map[string]string{}
		for name := range r.header {
			headers[strings.ToLower(name)] = r.header.Get(name)
		}
		for _, key := range secrets {
			questions = append(questions, question{key.Reveal(), headers, r.body, true})
		}
		questions = append(questions,
			question{sidehook.NewKey().Reveal(), headers, r.body, false},
			question{secrets[0].Reveal(), headers, []byte(`{"type":"person.deleted"}`), false})
	}
	for _, q := range questions {
		line, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	cmd := exec.CommandContext(t.Context(), "node", "verify.mjs")
	cmd.Dir = "../../outbound/sign/testdata/node"
	cmd.Stdin, cmd.Stderr = strings.NewReader(lines.String()), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node (run scripts/setup-test first?): %v", err)
	}
	answers := json.NewDecoder(strings.NewReader(string(out)))
	for i, q := range questions {
		var answer struct {
			Payload struct{ Data struct{ N string } }
			Error   string
		}
		if err := answers.Decode(&answer); err != nil {
			t.Fatalf("answer %d of %d: %v", i+1, len(questions), err)
		}
		if q.holds && (answer.Error != "" || answer.Payload.Data.N != "evt_signed") || !q.holds && answer.Error == "" {
			t.Errorf("question %d: the package answers %+v, want it to hold: %t", i+1, answer, q.holds)
		}
	}
}
