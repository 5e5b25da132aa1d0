package treetest

import (
	"go/ast"
	"go/parser"
	"iter"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// topFolders are all that stand at the root. One more is a decision about the layout: make it in the design first.
var topFolders = []string{
	".ci", "api", "bench", "cmd", "control", "docs", "examples", "ingest", "internal", "outbound", "plugin", "scripts", "storage",
	"xds",
}

// notOurs are folders at the root that are not in the repository.
var notOurs = []string{".git", ".idea", ".vscode", "bin", "bench-results", "data"}

func TestTopFolders(t *testing.T) {
	entries, err := os.ReadDir(root())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(topFolders, e.Name()) && !slices.Contains(notOurs, e.Name()) {
			t.Errorf("the folder %s has no place at the root: they are %v", e.Name(), topFolders)
		}
	}
}

func folderOf(file string) string { return path.Dir(file) }

func importsOf(t *testing.T, file string) iter.Seq[string] {
	_, f := parse(t, file, parser.ImportsOnly)
	return func(yield func(string) bool) {
		for _, spec := range f.Imports {
			if p, err := strconv.Unquote(spec.Path.Value); err != nil || !yield(p) {
				return
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, pkg := range loaded(t) {
		dir, _ := rel(pkg.PkgPath)
		var comments []string
		for _, file := range pkg.GoFiles {
			_, f := parse(t, path.Join(dir, path.Base(file)), parser.PackageClauseOnly|parser.ParseComments)
			doc := f.Doc
			if within(dir, "api") && len(f.Comments) > 0 {
				doc = f.Comments[0] // the generator puts its own comment between the .proto file's and the clause
			}
			if text := doc.Text(); text != "" {
				comments = append(comments, text)
			}
		}
		want := "Package " + pkg.Name + " "
		switch {
		case pkg.Name == "main":
			want = "Command " + path.Base(dir) + " "
		case within(dir, "api"):
			want = "Package sidehook."
		}
		switch {
		case len(comments) == 0:
			t.Errorf("%s: no package comment: say what it is for and what it is not", dir)
		case !within(dir, "api") && len(comments) > 1:
			t.Errorf("%s: %d files have a package comment, want one", dir, len(comments))
		case !strings.HasPrefix(comments[0], want):
			t.Errorf("%s: the package comment begins %.40q, want %q", dir, comments[0], want)
		}
	}
}

// TestTestsAwaitEvents holds tests to two habits: they wait for what they want to see instead of letting time pass,
// except in a synctest bubble, whose clock is not the real one; and they run: what not every machine can run is behind
// a build tag that scripts/setup-test sets, and says so when it does not.
func TestTestsAwaitEvents(t *testing.T) {
	for _, file := range goFiles(t) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		bubble := slices.Contains(slices.Collect(importsOf(t, file)), "testing/synctest")
		fset, f := parse(t, file, parser.SkipObjectResolution)
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			on, _ := sel.X.(*ast.Ident)
			switch {
			case on == nil:
			case on.Name == "time" && sel.Sel.Name == "Sleep" && !bubble:
				t.Errorf("%s sleeps: await the event instead", fset.Position(call.Pos()))
			case slices.Contains([]string{"t", "b", "f", "tb"}, on.Name) && strings.HasPrefix(sel.Sel.Name, "Skip"):
				t.Errorf("%s skips: leave the file out with a build tag that scripts/setup-test sets", fset.Position(call.Pos()))
			}
			return true
		})
	}
}
