package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// write puts contents into a file of its own and returns the path.
func write(t *testing.T, contents string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f.yaml")
	if err := os.WriteFile(path, []byte(contents), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines gives problems without the name of their file.
func lines(problems []Problem) []string {
	out := make([]string, len(problems))
	for i, p := range problems {
		p.File = "f"
		out[i] = p.String()
	}
	return out
}

const plane = "control_plane: {token: t}\n"

func TestSidecarProblems(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     []string
	}{
		{"empty", "", []string{`f:1:1: is empty; start it with "kind: sidecar" or "kind: control"`}},
		{"only a comment", "# nothing\n", []string{`f:1:1: is empty; start it with "kind: sidecar" or "kind: control"`}},
		{"a list", "- a\n", []string{`f:1:1: must be a mapping that starts with "kind: sidecar" or "kind: control"`}},
		{"two documents", "kind: sidecar\n---\nkind: sidecar\n", []string{`f:3:5: has several documents; remove what follows "---"`}},
		{"no kind", "id: a\n", []string{`f:1:1: kind: is required; start the file with "kind: sidecar" or "kind: control"`}},
		{"unknown kind", "kind: proxy\n", []string{`f:1:7: kind: must be sidecar or control`}},
		{"no source", "kind: sidecar\n", []string{
			`f:1:1: says nothing of where webhooks come from; add control_plane, or config_file for a file of them`,
		}},
		{"misspelt key", "kind: sidecar\n" + plane + "durabilty: disk\n", []string{
			`f:3:1: durabilty: unknown key; did you mean "durability"?`,
		}},
		{"misspelt inner key", "kind: sidecar\n" + plane + "listen:\n  gprc: 127.0.0.1:1\n", []string{
			`f:4:3: listen.gprc: unknown key; did you mean "grpc"?`,
		}},
		{"far key", "kind: sidecar\n" + plane + "log:\n  colour: red\n", []string{
			`f:4:3: log.colour: unknown key; the keys here are level and format`,
		}},
		{"dotted key", "kind: sidecar\n" + plane + "listen.grpc: a\n", []string{
			`f:3:1: listen.grpc: unknown key; the keys here are kind, id, data_dir, apps, durability, control_plane, ` +
				`config_file, listen, outbound, transformers, limits, shutdown_timeout and log`,
		}},
		{"key twice", "kind: sidecar\n" + plane + "id: a\nid: b\n", []string{
			`f:4:1: id: is given twice, first on line 3; remove one`,
		}},
		{"terminal escape", "kind: sidecar\n" + plane + "\"\\e[2J\": 1\nid: \"\\e[2J\"\n", []string{
			"f:3:1: \uFFFD[2J: unknown key; the keys here are kind, id, data_dir, apps, durability, control_plane, " +
				`config_file, listen, outbound, transformers, limits, shutdown_timeout and log`,
			`f:4:5: id: must be 1 to 64 of A-Z a-z 0-9 _ -`,
		}},
		{"anchors", "kind: sidecar\n" + plane + "id: &a x\nlog: {level: *a}\n", []string{
			`f:3:5: id: anchors and aliases (& and *) are not supported; write the value out, or quote it`,
			`f:4:14: log.level: anchors and aliases (& and *) are not supported; write the value out, or quote it`,
		}},
		{"merge", "kind: sidecar\n" + plane + "log:\n  <<: {level: info}\n", []string{
			`f:4:3: log: merge keys (<<) are not supported; write the keys out`,
		}},
		{"tag", "kind: sidecar\n" + plane + "id: !!str x\n", []string{
			`f:3:5: id: tags (!) are not supported; remove the tag, or quote the value`,
		}},
		{"wrong types", "kind: sidecar\n" + plane + "id: 12\napps: demo\nlog: text\nlimits: [1]\ntransformers: {}\noutbound: {max_in_flight: many, allow_private: 1, per_webhook: 1.5}\n", []string{
			`f:3:5: id: must be text; put it in quotes`,
			`f:4:7: apps: must be a list, such as [a, b]`,
			`f:5:6: log: must be a mapping with the keys level and format`,
			`f:6:9: limits: must be a mapping with the keys payload, queue, history, history_age, min_free_disk, dedupe_window and dedupe_events`,
			`f:7:15: transformers: must be a list, such as [a, b]`,
			`f:8:27: outbound.max_in_flight: must be a whole number`,
			`f:8:48: outbound.allow_private: must be true or false`,
			`f:8:64: outbound.per_webhook: must be a whole number`,
		}},
		{"whole number too large", "kind: sidecar\n" + plane + "limits: {dedupe_events: 99999999999999999999}\n", []string{
			`f:3:25: limits.dedupe_events: must be a whole number`,
		}},
		{"sizes", "kind: sidecar\n" + plane + "limits: {payload: 256, queue: 1 XB, history: 99999999TiB, min_free_disk: -1B}\n", []string{
			`f:3:19: limits.payload: must be a size such as "256KiB", "64MB" or "10GiB"`,
			`f:3:31: limits.queue: must be a size such as "256KiB", "64MB" or "10GiB"`,
			`f:3:46: limits.history: is too large`,
			`f:3:74: limits.min_free_disk: must be a size such as "256KiB", "64MB" or "10GiB"`,
		}},
		{"ranges", "kind: sidecar\n" + plane + "limits: {payload: 1MiB, queue: 1B, history_age: 1s, dedupe_window: -1s, dedupe_events: 0}\nshutdown_timeout: 11m\noutbound: {max_in_flight: 10, per_webhook: 11}\n", []string{
			`f:3:19: limits.payload: must be 1KiB to 704KiB`,
			`f:3:32: limits.queue: must be 1MiB to 16TiB`,
			`f:3:49: limits.history_age: must be 1m to 8760h`,
			`f:3:68: limits.dedupe_window: must be 0s to 168h`,
			`f:3:88: limits.dedupe_events: must be 1 to 100000000`,
			`f:4:19: shutdown_timeout: must be 1s to 10m`,
			`f:5:44: outbound.per_webhook: must be 1 to 10`,
		}},
		{"durations", "kind: sidecar\n" + plane + "shutdown_timeout: 15\nlimits: {dedupe_window: 1d}\n", []string{
			`f:3:19: shutdown_timeout: must be a duration with a unit, such as "500ms", "15s", "5m" or "72h"`,
			`f:4:25: limits.dedupe_window: must be a duration with a unit, such as "500ms", "15s", "5m" or "72h"`,
		}},
		{"words", "kind: sidecar\n" + plane + "durability: dsk\nlog: {level: loud, format: jsn}\n", []string{
			`f:3:13: durability: "dsk" is not known; did you mean "disk"?`,
			`f:4:14: log.level: must be debug or info or warn or error`,
			`f:4:28: log.format: "jsn" is not known; did you mean "json"?`,
		}},
		{"apps", "kind: sidecar\n" + plane + "apps: [a, a, 'x y', ~, '']\n", []string{
			`f:3:11: apps[1]: "a" is given twice; remove one`,
			`f:3:14: apps[2]: must be 1 to 64 of A-Z a-z 0-9 _ -`,
			`f:3:21: apps[3]: is empty; remove it`,
			`f:3:24: apps[4]: must be 1 to 64 of A-Z a-z 0-9 _ -`,
		}},
		{"both sources", "kind: sidecar\n" + plane + "config_file: .\n", []string{
			`f:3:14: config_file: cannot stand beside control_plane; remove one of the two`,
			`f:3:14: config_file: DIR is a folder, not a file`,
		}},
		{"no credential", "kind: sidecar\ncontrol_plane: {address: 127.0.0.1:4470}\n", []string{
			`f:2:1: control_plane: has no credential; add token_file; sidehook token create makes the token. A client certificate does not stand in for it`,
		}},
		{"empty token", "kind: sidecar\ncontrol_plane: {token: ''}\n", []string{
			`f:2:1: control_plane: has an empty token; write it, or name the file that holds it in token_file`,
		}},
		{"token of two lines", "kind: sidecar\ncontrol_plane: {token: \"a\\nb\"}\n", []string{
			`f:2:24: control_plane.token: must be one line`,
		}},
		{"half a certificate", "kind: sidecar\ncontrol_plane: {token: t, tls: {cert_file: /nowhere/c}}\n", []string{
			`f:2:44: control_plane.tls.cert_file: needs key_file beside it`,
			`f:2:44: warning: control_plane.tls.cert_file: /nowhere/c cannot be found on this machine`,
		}},
		{"addresses", "kind: sidecar\n" + plane + "listen: {grpc: localhost, http: '127.0.0.1:70000', admin: '127.0.0.1:http'}\n", []string{
			`f:3:16: listen.grpc: "localhost" is not an address such as 127.0.0.1:4460`,
			`f:3:33: listen.http: has a port that is not 0 to 65535`,
			`f:3:59: listen.admin: has a port that is not 0 to 65535`,
		}},
		{"one address twice", "kind: sidecar\n" + plane + "listen: {http: '127.0.0.1:4460'}\n", []string{
			`f:3:16: listen.http: 127.0.0.1:4460 is the address of listen.grpc too; give each its own`,
		}},
		{"no way in", "kind: sidecar\n" + plane + "listen: {grpc: 'off', http: 'off', unix: 'off'}\n", []string{
			`f:3:1: listen: has every way to publish turned off; turn on grpc, unix or http`,
		}},
		{"long socket", "kind: sidecar\n" + plane + "listen: {unix: /" + strings.Repeat("x", 107) + "}\n", []string{
			`f:3:16: listen.unix: is over 107 bytes, the longest a socket's path can be; choose a shorter one, or "off"`,
		}},
		{"open to others", "kind: sidecar\ncontrol_plane: {token: t, address: 'control.internal:4470'}\nlisten: {admin: ':4462'}\n", []string{
			`f:2:36: warning: control_plane.address: is another host and there is no tls: the token and the secrets travel in the clear`,
			`f:3:17: warning: listen.admin: :4462 can be reached from other hosts, and nobody is asked who they are; use 127.0.0.1`,
		}},
		{"networks", "kind: sidecar\n" + plane + "outbound: {allow_cidrs: [10.0.0.1/8, 10.0.0.0, 'fd00::/8']}\n", []string{
			`f:3:26: outbound.allow_cidrs[0]: 10.0.0.1/8 has bits beyond its length; did you mean 10.0.0.0/8?`,
			`f:3:38: outbound.allow_cidrs[1]: "10.0.0.0" is not a network such as 10.20.0.0/16`,
		}},
		{"denied networks", "kind: sidecar\n" + plane + "outbound: {deny_cidrs: [10.0.0.1/8, x]}\n", []string{
			`f:3:25: outbound.deny_cidrs[0]: 10.0.0.1/8 has bits beyond its length; did you mean 10.0.0.0/8?`,
			`f:3:37: outbound.deny_cidrs[1]: "x" is not a network such as 10.20.0.0/16`,
		}},
		{"TLS of hosts", "kind: sidecar\n" + plane + `outbound:
  tls:
    - {ca_file: .}
    - {hosts: [a b, "*.x.test:443"], cert_file: /nowhere/c, min_version: ssl3}
    - {hosts: ["*"], min_version: 1.3}
    - {hosts: ["*"]}
`, []string{
			`f:5:7: outbound.tls[0].hosts: is required: the hosts that this is for, such as ["*.example.com"]`,
			`f:5:17: outbound.tls[0].ca_file: DIR is a folder, not a file`,
			`f:6:16: outbound.tls[1].hosts[0]: "a b" is not a host, such as example.com, *.example.com, 192.0.2.7 or 10.0.0.0/8`,
			`f:6:21: outbound.tls[1].hosts[1]: "*.x.test:443" is not a host, such as example.com, *.example.com, 192.0.2.7 or 10.0.0.0/8`,
			`f:6:49: outbound.tls[1].cert_file: needs key_file beside it`,
			`f:6:49: warning: outbound.tls[1].cert_file: /nowhere/c cannot be found on this machine`,
			`f:6:74: outbound.tls[1].min_version: must be 1.2 or 1.3`,
			`f:7:35: outbound.tls[2].min_version: must be text; put it in quotes`,
			`f:8:7: warning: outbound.tls[3]: changes nothing: it has neither ca_file, cert_file nor a min_version above 1.2`,
		}},
		{"no proxy's URL", "kind: sidecar\n" + plane + "outbound: {proxy: {no_proxy: [x y]}}\n", []string{
			`f:3:12: outbound.proxy.url: is required: the URL of the proxy, such as http://proxy.example.com:3128`,
			`f:3:31: outbound.proxy.no_proxy[0]: "x y" is not a host, such as example.com, *.example.com, 192.0.2.7 or 10.0.0.0/8`,
		}},
		{"a proxy of no known kind", "kind: sidecar\n" + plane + "outbound: {proxy: {url: 'ftp://u:hush@p.test'}}\n", []string{
			`f:3:25: outbound.proxy.url: must begin with http://, https:// or socks5://`,
		}},
		{"a login in the clear", "kind: sidecar\n" + plane + "outbound: {proxy: {url: 'http://u:hush@p.test:3128'}}\n", []string{
			`f:3:25: warning: outbound.proxy.url: sends its login in the clear; use https:// if the proxy speaks it`,
		}},
		{"transformers", "kind: sidecar\n" + plane + `transformers:
  - name: redact
    command: redact
  - name: redact
    command: /nowhere/x
    timeout: 0s
    sha256: abc
  - env: {A: 1, "B=C": x}
  - redact
`, []string{
			`f:5:14: transformers[0].command: must be a path such as ./redact; PATH is not searched`,
			`f:6:11: transformers[1].name: "redact" is given twice; names are unique`,
			`f:7:14: warning: transformers[1].command: /nowhere/x cannot be found on this machine`,
			`f:8:14: transformers[1].timeout: must be 10ms to 1m`,
			`f:9:13: transformers[1].sha256: must be 64 hexadecimal digits, as sha256sum prints them`,
			`f:10:5: transformers[2].name: is required`,
			`f:10:5: transformers[2].command: is required: the path of the program`,
			`f:10:5: transformers[2].env: "B=C" is not a variable that a process can have`,
			`f:10:14: transformers[2].env.A: must be text; put it in quotes`,
			`f:11:5: transformers[3]: must be a mapping with the keys name, command, args, env, sha256 and timeout`,
		}},
		{"deep", "kind: sidecar\nid: " + strings.Repeat("[", 100) + "\n", []string{`f:2:1: is nested too deeply`}},
		{"large", strings.Repeat("# \n", 100_000), []string{`f: is over the limit of 128KiB`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.in)
			_, got, err := Check(path)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(strings.Join(lines(got), "\n"), filepath.Dir(path), "DIR")
			if diff := cmp.Diff(strings.Join(tc.want, "\n"), text); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestControlProblems(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     []string
	}{
		{"defaults", "kind: control\n", nil},
		{"misspelt key", "kind: control\nlisten: {rset: a}\n", []string{`f:2:10: listen.rset: unknown key; did you mean "rest"?`}},
		{"one address twice", "kind: control\nlisten: {rest: '127.0.0.1:4470'}\n", []string{
			`f:2:16: listen.rest: 127.0.0.1:4470 is the address of listen.xds too; give each its own`,
		}},
		{"open to others", "kind: control\nlisten:\n  xds: 0.0.0.0:4470\n  rest: '[::]:4471'\n", []string{
			`f:3:8: warning: listen.xds: 0.0.0.0:4470 can be reached from other hosts and there is no xds_tls: tokens and secrets travel in the clear`,
			`f:4:9: warning: listen.rest: [::]:4471 can be reached from other hosts without TLS; use 127.0.0.1 behind a proxy that has it`,
		}},
		{"empty certificate", "kind: control\nxds_tls: {client_ca_file: /nowhere/ca}\n", []string{
			`f:2:1: xds_tls: needs cert_file and key_file; remove it for a plain listener`,
			`f:2:27: warning: xds_tls.client_ca_file: /nowhere/ca cannot be found on this machine`,
		}},
		{"limits", "kind: control\nlimits: {webhooks_per_app: 0}\n", []string{`f:2:28: limits.webhooks_per_app: must be 1 to 100000`}},
		{"disabled never", "kind: control\nauto_disable_after: 0s\n", nil},
		{"disabled at the earliest without a word", "kind: control\nauto_disable_after: 1h\n", nil},
		{"disabled in haste", "kind: control\nauto_disable_after: 90s\n", []string{
			`f:2:21: warning: auto_disable_after: a receiver that is restarted can be away for 1m30s: its webhooks would be disabled`,
		}},
		{"disabled at once", "kind: control\nauto_disable_after: 999ms\n", []string{`f:2:21: auto_disable_after: must be 1s to 8760h`}},
		{"a sidecar's key", "kind: control\noutbound: {}\n", []string{
			`f:2:1: outbound: unknown key; the keys here are kind, data_dir, listen, xds_tls, limits, auto_disable_after, admin_token_file, dialects, apiserver, omicall, shutdown_timeout and log`,
		}},
		{"dialects", "kind: control\ndialects: [apiserver, omicall]\napiserver: {delete_by_get: true}\nomicall: {instance_id: stg}\n", nil},
		{"no such dialect", "kind: control\ndialects: [apisever, omicall, omicall]\nomicall: {instance_id: 'a b'}\n", []string{
			`f:2:12: dialects[0]: "apisever" is not known; did you mean "apiserver"?`,
			`f:2:31: dialects[2]: "omicall" is given twice`,
			`f:3:24: omicall.instance_id: must be 1 to 64 of A-Z a-z 0-9 _ -`,
		}},
		{"settings of a dialect that is off", "kind: control\napiserver: {delete_by_get: true}\n", []string{
			`f:2:1: warning: apiserver: is not used: apiserver is not among the dialects`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, got, err := Check(write(t, tc.in))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Join(tc.want, "\n"), strings.Join(lines(got), "\n")); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSyntaxErrorsHaveTheirLine(t *testing.T) {
	for in, line := range map[string]int{
		"kind: sidecar\n\tid: x\n":        2,
		"kind: sidecar\nid: \"x\n":        2,
		"kind: sidecar\nlog: {level: a\n": 2,
		"kind: [sidecar\nid: x\n":         1,
	} {
		_, got, err := Check(write(t, in))
		if err != nil || len(got) != 1 || !strings.HasPrefix(got[0].Reason, "is not valid YAML: ") {
			t.Errorf("%q: %v, %v", in, lines(got), err)
			continue
		}
		if got[0].Line < line || got[0].Line > line+1 || got[0].Column < 1 {
			t.Errorf("%q: reported at %d:%d, want near line %d", in, got[0].Line, got[0].Column, line)
		}
	}
}

func TestLoadSidecar(t *testing.T) {
	path := write(t, `
kind: sidecar
id: edge-1
data_dir: data
apps: [crm, live]
durability: process
config_file: webhooks.yaml
listen: {grpc: 127.0.0.1:0, unix: 'off', admin: localhost:9}
outbound:
  max_in_flight: 8
  per_webhook: 2
  allow_loopback: true
  allow_cidrs: [10.0.0.0/8]
  deny_cidrs: [10.1.0.0/16]
  http2: false
  tls:
    - {hosts: ["*.corp.test", 10.0.0.0/8], cert_file: c.pem, key_file: c.key, min_version: "1.3"}
    - {hosts: ["*"], ca_file: ca.pem}
  proxy: {url: "http://user:hush@127.0.0.1:3128", no_proxy: ["*.svc"]}
transformers:
  - {name: redact, command: bin/redact, args: [-v], env: {KEYS: "a,b"}, timeout: 500ms}
  - {name: other, command: /bin/other}
limits: {payload: 64KiB, queue: 1 GiB, dedupe_window: 0s}
log: {level: debug, format: json}
`)
	dir := filepath.Dir(path)
	got, err := LoadSidecar(path)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultSidecar()
	want.ID = "edge-1"
	want.DataDir = filepath.Join(dir, "data")
	want.Apps = []string{"crm", "live"}
	want.Durability = DurabilityProcess
	want.ConfigFile = filepath.Join(dir, "webhooks.yaml")
	want.Listen = SidecarListen{GRPC: "127.0.0.1:0", Unix: "off", HTTP: "127.0.0.1:4461", Admin: "localhost:9"}
	want.Outbound = Outbound{
		MaxInFlight: 8, PerWebhook: 2, AllowLoopback: true, AllowCIDRs: []string{"10.0.0.0/8"},
		DenyCIDRs:       []string{"10.1.0.0/16"},
		AllowedPrefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		DeniedPrefixes:  []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		TLS: []OutboundTLS{
			{
				Hosts: []string{"*.corp.test", "10.0.0.0/8"}, CertFile: filepath.Join(dir, "c.pem"),
				KeyFile: filepath.Join(dir, "c.key"), MinVersion: "1.3",
			},
			{Hosts: []string{"*"}, CAFile: filepath.Join(dir, "ca.pem"), MinVersion: "1.2"},
		},
		Proxy: &OutboundProxy{URL: NewSecret("http://user:hush@127.0.0.1:3128"), NoProxy: []string{"*.svc"}},
	}
	want.Transformers = []Transformer{
		{
			Name: "redact", Command: filepath.Join(dir, "bin/redact"), Args: []string{"-v"},
			Env: map[string]string{"KEYS": "a,b"}, Timeout: 500 * time.Millisecond,
		},
		{Name: "other", Command: "/bin/other", Timeout: 2 * time.Second},
	}
	want.Limits.Payload, want.Limits.Queue, want.Limits.DedupeWindow = 64*KiB, GiB, 0
	want.Log = Log{Level: "debug", Format: "json"}
	opts := []cmp.Option{
		cmpopts.IgnoreFields(Sidecar{}, "Warnings"),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b Secret) bool { return a == b }),
	}
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got.Warnings) != 6 || Fatal(got.Warnings) {
		t.Errorf("warnings %v, want one for each of the six files that are not there", lines(got.Warnings))
	}
}

func TestLoadDefaults(t *testing.T) {
	s, err := LoadSidecar(write(t, "kind: sidecar\n"+plane))
	if err != nil {
		t.Fatal(err)
	}
	if s.ControlPlane.Address != "127.0.0.1:4470" || s.Listen.Unix != "/var/lib/sidehook/sidehook.sock" ||
		s.Limits.Payload != 256*KiB || s.ControlPlane.TLS != nil || len(s.Warnings) != 0 {
		t.Errorf("got %+v", s)
	}
	c, err := LoadControl(write(t, "kind: control\nlog:\nxds_tls: ~\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.AdminTokenFile != "/var/lib/sidehook-control/admin.token" || c.Listen.REST != "127.0.0.1:4471" ||
		c.Limits.WebhooksPerApp != 10 || c.XDSTLS != nil || c.Log != DefaultLog() {
		t.Errorf("got %+v", c)
	}
}

func TestLoadRefusesTheOtherKind(t *testing.T) {
	var problems *Error
	_, err := LoadControl(write(t, "kind: sidecar\n"))
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "kind: is sidecar, but this is for control") {
		t.Errorf("LoadControl: %v", err)
	}
	_, err = LoadSidecar(write(t, "kind: control\n"))
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "kind: is control, but this is for sidecar") {
		t.Errorf("LoadSidecar: %v", err)
	}
	if _, err = LoadSidecar(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err = LoadSidecar(t.TempDir()); err == nil || errors.As(err, &problems) {
		t.Errorf("a folder: %v", err)
	}
}

func TestCheckTellsKinds(t *testing.T) {
	for in, want := range map[string]string{
		"kind: sidecar\n":            KindSidecar,
		"kind: control\n":            KindControl,
		"apps:\n  - id: demo\n":      KindWebhooks,
		"apps: []\n":                 KindWebhooks,
		"apps: [demo]\n":             "", // a sidecar's file without its kind
		"kind: webhooks\napps: []\n": "",
		"{}\n":                       "",
		": : :\n":                    "",
	} {
		kind, problems, err := Check(write(t, in))
		if err != nil || kind != want {
			t.Errorf("%q: %q, %v, want %q", in, kind, err, want)
		}
		if kind == "" && len(problems) == 0 {
			t.Errorf("%q: neither a kind nor a problem", in)
		}
	}
}

func TestExamples(t *testing.T) {
	s, err := LoadSidecar(write(t, ExampleSidecar))
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultSidecar()
	want.Apps = []string{"demo"}
	want.ControlPlane = &ControlPlane{Address: "127.0.0.1:4470", TokenFile: "/etc/sidehook/sidecar.token"}
	want.Listen.Unix = "/var/lib/sidehook/sidehook.sock"
	if diff := cmp.Diff(want, s, cmpopts.IgnoreFields(Sidecar{}, "Warnings"), cmpopts.EquateEmpty(),
		cmp.Comparer(func(a, b Secret) bool { return a == b })); diff != "" {
		t.Errorf("the example does not show the defaults (-want +got):\n%s", diff)
	}
	for _, w := range s.Warnings {
		if !strings.HasSuffix(w.Reason, "cannot be found on this machine") {
			t.Errorf("warning: %s", w)
		}
	}
	c, err := LoadControl(write(t, ExampleControl))
	if err != nil {
		t.Fatal(err)
	}
	wantControl := DefaultControl()
	wantControl.AdminTokenFile = filepath.Join(wantControl.DataDir, "admin.token")
	if diff := cmp.Diff(wantControl, c); diff != "" {
		t.Errorf("the example does not show the defaults (-want +got):\n%s", diff)
	}
	for text, kind := range map[string]reflect.Type{
		ExampleSidecar: reflect.TypeFor[Sidecar](), ExampleControl: reflect.TypeFor[Control](),
	} {
		for _, key := range keysOf(kind) {
			if !strings.Contains(text, key+":") {
				t.Errorf("the example of %s does not show %s", kind.Name(), key)
			}
		}
	}
}

// TestExampleCommentsAreValid turns every commented-out block of the example on.
func TestExampleCommentsAreValid(t *testing.T) {
	in := strings.ReplaceAll(ExampleSidecar, "transformers: []\n", "")
	in = strings.ReplaceAll(in, "  tls: []\n", "")
	in = strings.ReplaceAll(in, "  # tls:\n  #   ", "  tls:\n    ")
	in = strings.ReplaceAll(in, "  # proxy:\n  #   ", "  proxy:\n    ")
	in = strings.ReplaceAll(in, "  #   ", "    ")
	for _, line := range []string{"transformers:", "  - name", "    command", "    args", "    env", "    sha256", "    timeout"} {
		in = strings.ReplaceAll(in, "\n# "+line, "\n"+line)
	}
	s, err := LoadSidecar(write(t, in))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Transformers) != 1 || s.ControlPlane.TLS == nil || s.ControlPlane.TLS.ServerName == "" ||
		len(s.Outbound.TLS) != 1 || s.Outbound.TLS[0].MinVersion != "1.3" || s.Outbound.Proxy == nil || len(s.Outbound.Proxy.NoProxy) != 2 {
		t.Errorf("the blocks did not come on: %+v", s)
	}
	c, err := LoadControl(write(t, strings.NewReplacer("# xds_tls", "xds_tls", "#   c", "  c", "#   k", "  k").Replace(ExampleControl)))
	if err != nil {
		t.Fatal(err)
	}
	if c.XDSTLS == nil || c.XDSTLS.ClientCAFile == "" {
		t.Errorf("the block did not come on: %+v", c)
	}
}

// keysOf lists every key of a struct and of those within it.
func keysOf(t reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == secretType {
		return nil
	}
	names, fields := yamlFields(t)
	for _, name := range names {
		names = append(names, keysOf(t.Field(fields[name]).Type)...)
	}
	return names
}

func TestSecretsDoNotPrint(t *testing.T) {
	s, err := LoadSidecar(write(t, "kind: sidecar\ncontrol_plane: {token: hush-hush}\noutbound: {proxy: {url: 'http://u:hush@127.0.0.1'}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.ControlPlane.Token.Reveal() != "hush-hush" {
		t.Fatalf("token is %q", s.ControlPlane.Token.Reveal())
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", s.ControlPlane.Token, "all", s.ControlPlane)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", s.ControlPlane.Token, "all", s.ControlPlane)
	fmt.Fprintf(&out, "%v %+v %#v %+v", s.Outbound.Proxy, *s.Outbound.Proxy, *s.Outbound.Proxy, s)
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", s.ControlPlane, *s.ControlPlane, *s.ControlPlane, s.ControlPlane.Token,
		s.ControlPlane.Token, s.ControlPlane.Token)
	if strings.Contains(out.String(), "hush") || strings.Contains(out.String(), "68757368") {
		t.Errorf("the token was printed: %s", out.String())
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]Size{
		"0B": 0, "1B": 1, "512B": 512, "1KB": 1000, "256KiB": 256 << 10, "64MB": 64_000_000, "10GiB": 10 << 30,
		"10 GiB": 10 << 30, "2TB": 2e12, "8388607TiB": 8388607 << 40,
	} {
		got, err := ParseSize(in)
		if err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", in, got, err, want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q: its text %q reads as %d, %v", in, got, again, err)
		}
	}
	for _, in := range []string{"", "1", "KiB", "-1B", "+1B", "1.5GiB", "1  KiB", "1kb", "1K", "8388608TiB", "9999999999999999999B", "1 1B", "0x1B"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("%q was read as %d", in, got)
		}
	}
	if s := (256 * KiB).String(); s != "256KiB" {
		t.Errorf("256 KiB is written %s", s)
	}
}

func TestSuggest(t *testing.T) {
	keys := []string{"listen", "limits", "log", "apps", "grpc", "http"}
	for in, want := range map[string]string{
		"listn": "listen", "limit": "limits", "lgo": "log", "aps": "apps", "gprc": "grpc", "htpp": "http",
		"outbound": "", "": "", "x": "", "zzz": "", strings.Repeat("listen", 20): "",
	} {
		if got := suggest(in, keys); got != want {
			t.Errorf("suggest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := Log{Level: "warn", Format: "json"}.New(&out)
	log.Info("no")
	log.Warn("yes")
	if got := out.String(); strings.Contains(got, "no") || !strings.Contains(got, `"msg":"yes"`) {
		t.Errorf("logged %s", got)
	}
	for _, bad := range []Log{{"loud", "text"}, {"info", "xml"}, {}} {
		if bad.Validate() == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
	if err := DefaultLog().Validate(); err != nil {
		t.Error(err)
	}
}
