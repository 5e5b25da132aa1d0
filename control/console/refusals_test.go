package console

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// refusalFormats are the formats that the words and the service make their refusals of.
func refusalFormats(t *testing.T) map[string]string {
	t.Helper()
	formats := make(map[string]string)
	for _, dir := range []string{"../..", ".."} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			name := filepath.Base(file)
			if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "rest") { // REST words its own
				continue
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if format, at := refusalCall(t, set, n); format != "" {
					formats[format] = at
				}
				return true
			})
		}
	}
	return formats
}

func refusalCall(t *testing.T, set *token.FileSet, n ast.Node) (format, at string) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) < 2 {
		return "", ""
	}
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	if name != "Fieldf" && name != "conflictf" {
		return "", ""
	}
	at = set.Position(call.Pos()).String()
	literal, ok := call.Args[1].(*ast.BasicLit)
	if !ok {
		t.Errorf("%s: the format is no literal, and cannot be translated", at)
		return "", ""
	}
	format, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return format, at
}

var verb = regexp.MustCompile(`%(\[\d+\])?[-+# 0-9.]*[a-zA-Z%]`)

// verbs are those of a format, in the order of their arguments.
func verbs(format string) []string {
	found := verb.FindAllString(format, -1)
	slices.SortStableFunc(found, func(a, b string) int { return strings.Compare(number(a), number(b)) })
	for i := range found {
		found[i] = regexp.MustCompile(`\[\d+\]`).ReplaceAllString(found[i], "")
	}
	return found
}

func number(verb string) string {
	return regexp.MustCompile(`\[\d+\]`).FindString(verb)
}

func TestRefusalsAreTranslated(t *testing.T) {
	texts, err := loadTexts()
	if err != nil {
		t.Fatal(err)
	}
	formats := refusalFormats(t)
	if len(formats) < 80 {
		t.Fatalf("only %d refusals were found", len(formats))
	}
	for format, at := range formats {
		vietnamese, ok := texts.refusals[format]
		if !ok {
			t.Errorf("%s: locales/refusals.vi.yaml lacks %q", at, format)
			continue
		}
		if !slices.Equal(verbs(format), verbs(vietnamese)) {
			t.Errorf("%s: %q has other verbs than %q", at, vietnamese, format)
		}
	}
	for format := range texts.refusals {
		if formats[format] == "" && !strings.Contains(format, "410 Gone") && format != "disabled by an operator" {
			t.Logf("locales/refusals.vi.yaml has %q, which nobody says", format)
		}
	}
	if got := texts.refusal("vi", "must be at most %d bytes", []any{7}, "must be at most 7 bytes"); got != "tối đa 7 byte" {
		t.Errorf("refusal is %q", got)
	}
	if got := texts.refusal("vi", "unheard of %d", []any{7}, "unheard of 7"); got != "unheard of 7" {
		t.Errorf("an untranslated refusal is %q", got)
	}
}

func TestVerbsAreComparedByArgument(t *testing.T) {
	if got := fmt.Sprint(verbs("%[2]s %[1]d")); got != "[%d %s]" {
		t.Errorf("verbs are %s", got)
	}
}
