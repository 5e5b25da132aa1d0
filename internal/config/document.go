package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxFileSize bounds a file. The parser takes seconds for a hostile one of this size, and would take minutes for more.
const MaxFileSize = 128 * KiB

// document is a parsed file and what has been found wrong with it so far.
type document struct {
	file     string
	root     *ast.MappingNode // nil when the file has no usable mapping; problems then say why
	problems []Problem
	// places holds where each key that the file gives stands, by field path.
	places map[string]place
}

// place counts lines and columns from 1.
type place struct{ line, column int }

// readDocument parses a file. The error is one of reading it; everything about its contents is a problem.
func readDocument(path string) (*document, error) {
	b, err := readStart(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return parseDocument(path, b), nil
}

// readStart reads a file up to a little beyond MaxFileSize.
func readStart(path string) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, int64(MaxFileSize)+1))
}

func parseDocument(file string, b []byte) *document {
	d := &document{file: file, places: make(map[string]place)}
	if Size(len(b)) > MaxFileSize {
		d.fail(place{}, "", "is over the limit of %s", MaxFileSize)
		return d
	}
	if line := tooDeep(b); line > 0 {
		d.fail(place{line, 1}, "", "is nested too deeply")
		return d
	}
	parsed, err := parseYAML(b)
	if err != nil {
		at := place{}
		reason := err.Error()
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			reason = syntax.Message
			at = placeOf(syntax.Token)
		}
		d.fail(at, "", "is not valid YAML: %s", reason)
		return d
	}
	d.root = d.onlyMapping(parsed)
	return d
}

// parseYAML contains panics of the parser, so that a file can at worst be refused.
func parseYAML(b []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	// Duplicate keys are reported by mapping, together with everything else.
	return parser.ParseBytes(b, 0, parser.AllowDuplicateMapKey())
}

// onlyMapping returns the mapping that the file consists of.
func (d *document) onlyMapping(f *ast.File) *ast.MappingNode {
	var bodies []ast.Node
	for _, doc := range f.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.NullType {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) == 0 {
		d.fail(place{1, 1}, "", `is empty; start it with "kind: sidecar" or "kind: control"`)
		return nil
	}
	if len(bodies) > 1 {
		d.fail(placeOf(bodies[1].GetToken()), "", `has several documents; remove what follows "---"`)
		return nil
	}
	m, ok := bodies[0].(*ast.MappingNode)
	if !ok {
		d.fail(placeOf(bodies[0].GetToken()), "", `must be a mapping that starts with "kind: sidecar" or "kind: control"`)
		return nil
	}
	return m
}

// value returns the node of a key of the top level, nil for none.
func (d *document) value(key string) ast.Node {
	if d.root == nil {
		return nil
	}
	for _, kv := range d.root.Values {
		if keyText(kv) == key {
			return kv.Value
		}
	}
	return nil
}

func (d *document) fail(at place, field, format string, args ...any) {
	d.add(at, field, false, format, args)
}

func (d *document) add(at place, field string, warning bool, format string, args []any) {
	d.problems = append(d.problems, Problem{
		File: d.file, Line: at.line, Column: at.column, Field: clean(field, 120),
		Reason: clean(fmt.Sprintf(format, args...), 400), Warning: warning,
	})
}

// clean makes text that may come from the file fit to print: bounded, and without anything that moves a terminal.
func clean(s string, longest int) string {
	if len(s) > longest {
		s = s[:longest] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// err returns the problems as an error when the file cannot be used.
func (d *document) err() error {
	sortProblems(d.problems)
	if Fatal(d.problems) {
		return &Error{Problems: d.problems}
	}
	return nil
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// placeOfNode is where a value begins: for a mapping that is its first key, not the colon after it.
func placeOfNode(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return placeOf(m.Values[0].Key.GetToken())
	}
	return placeOf(n.GetToken())
}

// maxDepth bounds nesting: far more than the schema has, far less than what exhausts the recursive parser.
const maxDepth = 64

// tooDeep returns the line on which brackets or block indicators nest beyond maxDepth, 0 for none. It errs on the safe side:
// brackets in text and comments count too.
func tooDeep(b []byte) int {
	depth := 0
	for i, line := range strings.Split(string(b), "\n") {
		opened := strings.Count(line, "[") + strings.Count(line, "{")
		closed := strings.Count(line, "]") + strings.Count(line, "}")
		blocks := len(line) - len(strings.TrimLeft(line, " -?:"))
		if depth+opened > maxDepth || blocks > 4*maxDepth {
			return i + 1
		}
		depth = max(0, depth+opened-closed)
	}
	return 0
}
