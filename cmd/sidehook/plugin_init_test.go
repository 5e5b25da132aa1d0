package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/internal/config"
	"github.com/sidehook/sidehook/plugin/scaffold"
)

// initialized runs plugin init as a binary of that version in the current folder and returns what it prints.
func initialized(t *testing.T, version string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := &cli{
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: os.Getenv,
		processes: processes{version: func() string { return version }},
	}
	if code := c.run(t.Context(), append([]string{"plugin", "init"}, args...)); code != exitOK {
		t.Fatalf("plugin init %q ended with status %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// TestPluginInitKnowsItsVersion: a released binary names its own version, and asks for a checkout no more.
func TestPluginInitKnowsItsVersion(t *testing.T) {
	t.Chdir(t.TempDir())
	out := initialized(t, "v1.2.3", "redact")
	if !strings.Contains(out, "\n  cd redact\n  go mod tidy\n") || strings.Contains(out, "CHECKOUT") {
		t.Errorf("printed\n%s", out)
	}
	mod, err := os.ReadFile("redact/go.mod")
	if err != nil || !strings.Contains(string(mod), "\nrequire "+scaffold.Module+" v1.2.3\n") {
		t.Errorf("%v, go.mod is\n%s", err, mod)
	}
}

// TestPluginInitPrintsConfiguration: the lines for a sidecar's file are such, whatever name and folder are.
func TestPluginInitPrintsConfiguration(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct{ name, language, dir string }{
		{"redact", "go", "redact"},
		{"007", "go", "it's # a: [folder]"},
		{"null", "node", "x"},
	} {
		_, lines, ok := strings.Cut(initialized(t, "dev", c.name, "--lang", c.language, "--dir", c.dir), "In the configuration of a sidecar:\n")
		file := strings.Replace(config.ExampleSidecar, "\ntransformers: []\n", "\n"+strings.ReplaceAll("\n"+lines, "\n  ", "\n"), 1)
		if !ok || file == config.ExampleSidecar {
			t.Fatal("there is nothing to put in, or no place to put it")
		}
		path := filepath.Join(t.TempDir(), "sidecar.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := config.LoadSidecar(path)
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, lines)
			continue
		}
		if len(read.Transformers) != 1 || read.Transformers[0].Name != c.name ||
			!strings.Contains(read.Transformers[0].Command+strings.Join(read.Transformers[0].Args, " "), "/"+c.dir+"/") {
			t.Errorf("%+v: read as %+v", c, read.Transformers)
		}
	}
}

// TestShellWord: a shell reads one word, the same.
func TestShellWord(t *testing.T) {
	for _, text := range []string{"a/b-c_d.e", "", "two words", "it's", `a"b\c$d*~`, "é", "#x", "a;b", "-n"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '<%s>' `+shellWord(text)).Output()
		if want := "<" + text + ">"; err != nil || string(out) != want {
			t.Errorf("%q became %q, %v", text, out, err)
		}
	}
	if got := shellWord("services/redact"); got != "services/redact" {
		t.Errorf("a plain path became %s", got)
	}
}
