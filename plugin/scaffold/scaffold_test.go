package scaffold_test

import (
	"errors"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sidehook/sidehook/plugin/plugintest"
	"github.com/sidehook/sidehook/plugin/scaffold"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repository is the root of this one.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// verify holds a program to the conformance suite.
func verify(t *testing.T, program string, args ...string) {
	t.Helper()
	report, err := plugintest.Verify(t.Context(), plugintest.Options{Command: program, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if len(report.Checks) < 8 {
		t.Errorf("only %d checks were made", len(report.Checks))
	}
}

// TestGoTransformerWorks takes the steps that are printed: what they build conforms, and its own tests pass.
func TestGoTransformerWorks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "in two", "words")
	names, err := scaffold.Write(scaffold.Options{Name: "hash", Dir: dir, Replace: repository(t)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"main.go", "main_test.go", "go.mod", "README.md", ".gitignore"}; !slices.Equal(names, want) {
		t.Errorf("wrote %q, want %q", names, want)
	}
	command(t, dir, "go", "mod", "tidy")
	command(t, dir, "go", "vet", ".")
	command(t, dir, "go", "build", "-o", "hash", ".")
	out := command(t, dir, "go", "test", "-v", ".")
	for _, want := range []string{"--- PASS: TestConformance/events", "--- PASS: TestTransform"} {
		if !strings.Contains(out, want) {
			t.Errorf("its tests do not say %q:\n%s", want, out)
		}
	}
	verify(t, filepath.Join(dir, "hash"))
}

// TestFilesSayTheName: with every name the sources are formatted Go, and no word of the example is left.
func TestFilesSayTheName(t *testing.T) {
	for _, name := range []string{"a", "Redact-2", "9", strings.Repeat("x", 64)} {
		for _, language := range scaffold.Languages() {
			files, err := scaffold.Files(scaffold.Options{Name: name, Language: language})
			if err != nil {
				t.Fatal(err)
			}
			said := 0
			for _, f := range files {
				text := string(f.Data)
				if strings.Contains(strings.ToLower(text), strings.ToLower(name)) {
					said++
				}
				for _, word := range []string{"starter", "node-uppercase", "uppercase.mjs", "sidehook-uppercase"} {
					if strings.Contains(text, word) {
						t.Errorf("%s: %s says %q", name, f.Name, word)
					}
				}
				if filepath.Ext(f.Name) != ".go" {
					continue
				}
				if formatted, err := format.Source(f.Data); err != nil || string(formatted) != text {
					t.Errorf("%s: %s is not formatted: %v", name, f.Name, err)
				}
			}
			if said < 3 {
				t.Errorf("only %d files in %s say %s", said, language, name)
			}
		}
	}
}

func goMod(t *testing.T, o scaffold.Options) string {
	t.Helper()
	files, err := scaffold.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name == "go.mod" {
			return string(f.Data)
		}
	}
	t.Fatal("there is no go.mod")
	return ""
}

// TestVersions: only a version that was published is required.
func TestVersions(t *testing.T) {
	for version, want := range map[string]string{
		"v1.2.3":        "v1.2.3",
		"v0.0.0":        "v0.0.0",
		"v1.2.3-rc.1":   "v1.2.3-rc.1",
		"v10.20.30-rc1": "v10.20.30-rc1",
		"":              "", "dev": "", "1.2.3": "", "v1.2": "", "v01.2.3": "", "9e5e2f9": "", "9e5e2f9-dirty": "", "v1.2.3-": "",
		"v1.2.3-dirty": "", "v1.2.3-4-g9e5e2f9": "", "v1.2.3-rc.1-4-g9e5e2f9-dirty": "", "v1.2.3+dirty": "",
		"v0.0.0-20261122001156-9e5e2f9abcde": "", "v1.2.4-0.20261122001156-9e5e2f9abcde": "", "v1.2.3\nreplace a => b": "",
	} {
		if got := scaffold.Released(version); got != (want != "") {
			t.Errorf("Released(%q) is %t", version, got)
		}
		mod := goMod(t, scaffold.Options{Name: "x", Version: version})
		if want == "" {
			want = "v0.0.0" // until it is replaced
		}
		if !strings.HasSuffix(mod, "\nrequire "+scaffold.Module+" "+want+"\n") {
			t.Errorf("%q: go.mod is\n%s", version, mod)
		}
	}
}

// TestReplace: a relative path is found from the folder that is written, links or not, and a strange one is quoted.
func TestReplace(t *testing.T) {
	root := t.TempDir()
	t.Chdir(root)
	for _, dir := range []string{"code/sidehook", "a b/sidehook", "real/deep"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{".", "code/sidehook", "a b/sidehook"} {
		write(t, filepath.Join(dir, "go.mod"), "// A comment.\nmodule "+scaffold.Module+" // and another\n")
	}
	if err := os.Symlink("real/deep", "link"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ dir, replace, want string }{
		{"x", ".", ".."},
		{"code/x", "code/sidehook", "../sidehook"},
		{"x/y/z", "./code/sidehook/", "../../../code/sidehook"},
		{"link/x", "code/sidehook", "../../../code/sidehook"},
		{".", "code/sidehook", "./code/sidehook"},
		{"x", "a b/sidehook", `"../a b/sidehook"`},
		{"x", filepath.Join(root, "code", "sidehook"), filepath.Join(root, "code", "sidehook")},
	} {
		mod := goMod(t, scaffold.Options{Name: "x", Dir: c.dir, Replace: c.replace, Version: "v1.2.3"})
		if want := " v0.0.0\n\nreplace " + scaffold.Module + " => " + c.want + "\n"; !strings.HasSuffix(mod, want) {
			t.Errorf("%s from %s: go.mod is\n%s\nwant %s", c.replace, c.dir, mod, want)
		}
	}
}

// TestRefusals: what is wrong is said, and nothing is written.
func TestRefusals(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "other/go.mod", "module example.com/other\n")
	write(t, "nameless/go.mod", "go 1.26\n")
	write(t, "file", "")
	for _, c := range []struct {
		o    scaffold.Options
		want string
	}{
		{scaffold.Options{}, "must be 1 to 64"},
		{scaffold.Options{Name: "../x"}, "must be 1 to 64"},
		{scaffold.Options{Name: "a.b"}, "must be 1 to 64"},
		{scaffold.Options{Name: "é"}, "must be 1 to 64"},
		{scaffold.Options{Name: strings.Repeat("x", 65)}, "must be 1 to 64"},
		{scaffold.Options{Name: "-x"}, "begin with a letter"},
		{scaffold.Options{Name: "_x"}, "begin with a letter"},
		{scaffold.Options{Name: "Con"}, "reserved"},
		{scaffold.Options{Name: "x", Language: "cobol"}, "the languages are go and node"},
		{scaffold.Options{Name: "x", Language: scaffold.Node, Replace: "."}, "for the language go alone"},
		{scaffold.Options{Name: "x", Replace: "."}, "it has no go.mod"},
		{scaffold.Options{Name: "x", Replace: "other"}, "its module is example.com/other"},
		{scaffold.Options{Name: "x", Replace: "nameless"}, "names no module"},
		{scaffold.Options{Name: "x", Replace: "file"}, "is no checkout"},
		{scaffold.Options{Name: "x", Dir: "file"}, "cannot write to file"},
		{scaffold.Options{Name: "x", Dir: "file/x"}, "cannot write to file/x"},
	} {
		if names, err := scaffold.Write(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %q, %v, want %q", c.o, names, err, c.want)
		}
	}
	if _, err := os.Stat("x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

// TestNothingIsOverwritten: only an empty folder is written to, or one with hidden files alone, and those stay.
func TestNothingIsOverwritten(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "full/main.go", "mine")
	if _, err := scaffold.Write(scaffold.Options{Name: "full"}); !errors.Is(err, scaffold.ErrNotEmpty) || !strings.Contains(err.Error(), "main.go") {
		t.Errorf("a folder with a file: %v", err)
	}
	if got := list(t, "full"); !slices.Equal(got, []string{"main.go"}) || read(t, "full/main.go") != "mine" {
		t.Errorf("it has now %q", got)
	}

	write(t, "hidden/.gitignore", "mine")
	if _, err := scaffold.Write(scaffold.Options{Name: "hidden"}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a folder with a .gitignore: %v", err)
	}
	if got := list(t, "hidden"); !slices.Equal(got, []string{".gitignore"}) || read(t, "hidden/.gitignore") != "mine" {
		t.Errorf("it has now %q", got)
	}

	write(t, "cloned/.git/config", "mine")
	if _, err := scaffold.Write(scaffold.Options{Name: "cloned"}); err != nil {
		t.Error(err)
	}
	if _, err := scaffold.Write(scaffold.Options{Name: "cloned"}); !errors.Is(err, scaffold.ErrNotEmpty) {
		t.Errorf("a second time: %v", err)
	}
}

// TestProgramsAreExecutable: a script can be named directly.
func TestProgramsAreExecutable(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := scaffold.Write(scaffold.Options{Name: "x", Language: scaffold.Node}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat("x/main.mjs")
	if err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
