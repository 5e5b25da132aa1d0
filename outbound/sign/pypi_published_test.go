//go:build with_pypi || with_v1a

package sign_test

import (
	"bytes"
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

// pythonRequest is a question to a program in testdata/python.
type pythonRequest struct {
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    []byte            `json:"body"`
	holds   bool
}

const pythonBody = `{"type":"person.created","data":{"name":"Kênh <b>&` + "\u2028" + `😀\n","n":[1.5,-3,1e21]}}`

// signedAt gives the headers of a request with pythonBody.
func signedAt(t *testing.T, secrets []sidehook.Secret, at time.Time) map[string]string {
	t.Helper()
	value, err := standard(t, secrets, "evt_1", at, []byte(pythonBody))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		sign.HeaderID: "evt_1", sign.HeaderTimestamp: strconv.FormatInt(at.Unix(), 10), sign.HeaderSignature: value,
	}
}

// askPython has a program answer every request, and compares.
func askPython(t *testing.T, cmd *exec.Cmd, requests []pythonRequest) {
	t.Helper()
	var lines strings.Builder
	for _, r := range requests {
		if err := json.NewEncoder(&lines).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Dir, cmd.Stdin, cmd.Stderr = "testdata/python", strings.NewReader(lines.String()), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v (run scripts/setup-test first?): %v", cmd, err)
	}
	var want any
	if err := json.Unmarshal([]byte(pythonBody), &want); err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(bytes.NewReader(out))
	for i, r := range requests {
		var got struct {
			Payload any
			Error   string
		}
		if err := answers.Decode(&got); err != nil {
			t.Fatalf("answer %d: %v", i+1, err)
		}
		if r.holds && (got.Error != "" || !reflect.DeepEqual(got.Payload, want)) || !r.holds && got.Error == "" {
			t.Errorf("request %d: the package answers %+v, want it to hold: %t", i+1, got, r.holds)
		}
	}
}
