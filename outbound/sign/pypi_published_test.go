//go:build with_pypi

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

// TestPublishedPythonPackageVerifies has the standardwebhooks package of PyPI verify what is signed here.
// scripts/setup-test installs it and sets the build tag.
func TestPublishedPythonPackageVerifies(t *testing.T) {
	type request struct {
		Secret  string            `json:"secret"`
		Headers map[string]string `json:"headers"`
		Body    []byte            `json:"body"`
		holds   bool
	}
	old, fresh, other := sidehook.NewKey(), sidehook.NewKey(), sidehook.NewKey()
	now := time.Now()
	secrets := []sidehook.Secret{
		{ID: "old", Key: old, NotAfter: now.Add(time.Hour)},
		{ID: "pair", Key: sidehook.NewEd25519Key()},
		{ID: "new", Key: fresh},
	}
	const body = `{"type":"person.created","data":{"name":"Kênh <b>&` + "\u2028" + `😀\n","n":[1.5,-3,1e21]}}`
	signed := func(at time.Time) map[string]string {
		value, err := standard(t, secrets, "evt_1", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{
			sign.HeaderID: "evt_1", sign.HeaderTimestamp: strconv.FormatInt(at.Unix(), 10), sign.HeaderSignature: value,
		}
	}
	requests := []request{
		{old.Reveal(), signed(now), []byte(body), true},
		{fresh.Reveal(), signed(now), []byte(body), true},
		{other.Reveal(), signed(now), []byte(body), false},
		{fresh.Reveal(), signed(now), []byte(body + " "), false},
		{fresh.Reveal(), signed(now.Add(-6 * time.Minute)), []byte(body), false},
	}
	var lines strings.Builder
	for _, r := range requests {
		if err := json.NewEncoder(&lines).Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-B", "testdata/python/verify.py")
	cmd.Stdin, cmd.Stderr = strings.NewReader(lines.String()), t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3 (run scripts/setup-test first?): %v", err)
	}
	var want any
	if err := json.Unmarshal([]byte(body), &want); err != nil {
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
