package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
)

// FuzzParse: no file makes the reader panic or hang, everything that is refused has a reason in printable text, and
// every problem stands inside the file.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		ExampleSidecar, ExampleControl, "", "kind: sidecar", "kind: control\nlisten: {xds: a}", "kind: sidecar\nid: &a [*a]",
		"kind: sidecar\n? {a: b}\n: c\n", "kind: sidecar\nid: |\n  x\n", "kind: sidecar\n<<: *x\n", "apps:\n- id: x\n",
		"kind: sidecar\r\nlog: {level: !!int 1}\r\n", "kind: sidecar\nlimits: {payload: 0x10}\n", "--- \n...\n---\n",
		"kind: sidecar\ntransformers: [{env: {a: b, a: c}}, ~, 1]\n", "\xff\xfe", "kind: \"\\x00\"\n", "%YAML 1.2\n---\nkind: control\n",
		"kind: sidecar\nid: " + strings.Repeat("[", 200), "{kind: sidecar, apps: [a, b}", "kind: sidecar\n- a\n",
		"kind: sidecar\nlog:\n - level\n",
		"kind: sidecar\noutbound: {tls: [{hosts: ['*.a', 10.0.0.0/8], min_version: '1.3'}, ~], proxy: {url: 'http://u:p@h:1', no_proxy: [x]}}\n",
		"kind: sidecar\noutbound: {deny_cidrs: [x], tls: {}, proxy: []}\n", "kind: sidecar\nshutdown_timeout: 9223372036854775807ns\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		guard := time.AfterFunc(10*time.Second, func() { panic(fmt.Sprintf("hangs on %q", in)) })
		defer guard.Stop()
		for _, load := range []func(d *document) error{
			func(d *document) error { _, err := d.sidecar(); return err },
			func(d *document) error { _, err := d.control(); return err },
		} {
			d := parseDocument("/nowhere/f.yaml", []byte(in))
			_ = d.detect()
			err := load(d)
			if err != nil && !Fatal(d.problems) {
				t.Fatalf("refused without a reason: %v", err)
			}
			last := strings.Count(in, "\n") + strings.Count(in, "\r") + 2
			for _, p := range d.problems {
				if p.Reason == "" || p.Line > last || p.Line < 0 {
					t.Errorf("%+v for a file of %d lines", p, last)
				}
				if strings.ContainsFunc(p.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q would disturb a terminal", p)
				}
			}
		}
	})
}
