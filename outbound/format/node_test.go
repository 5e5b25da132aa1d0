//go:build with_node

package format_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

// TestNodePrintsTwentyBodiesTheSame has JavaScript itself parse and print the bodies again, as the documented receiver
// of Twenty does before it checks the signature. The cases with what is kept as published are left out: see
// appendJavaScript.
func TestNodePrintsTwentyBodiesTheSame(t *testing.T) {
	kept := map[string]bool{"javascript_text": true, "escaped": true}
	var bodies bytes.Buffer
	bodies.WriteByte('[')
	for _, c := range cases {
		if !kept[c.name] {
			if bodies.Len() > 1 {
				bodies.WriteByte(',')
			}
			bodies.Write(request(t, sidehook.FormatTwenty, &c.event).Body)
		}
	}
	e := sidehook.Event{
		App: "a", ID: "1", Source: "/", Type: "t", Time: at,
		Data: []byte(strings.NewReplacer(`"10": 1, "2"`, `"x"`, "12345678901234567890, 1e400, ", "").Replace(escaped())),
	}
	bodies.WriteByte(',')
	bodies.Write(request(t, sidehook.FormatTwenty, &e).Body)
	bodies.WriteByte(']')
	cmd := exec.Command("node", "-e", `process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0, "utf8"))))`)
	want := bodies.String()
	cmd.Stdin, cmd.Stderr = &bodies, t.Output()
	got, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("JavaScript prints\n%s\nwhat was sent as\n%s", got, want)
	}
}

func escaped() string {
	for _, c := range cases {
		if c.name == "escaped" {
			return string(c.event.Data)
		}
	}
	return ""
}
