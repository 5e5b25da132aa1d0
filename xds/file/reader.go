package file

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/sidehook/sidehook"
)

// reader walks a parsed file, and gathers what is wrong and where every field stands.
type reader struct {
	file     string
	problems []Problem
	places   map[string]position // of every field that was read, by path
}

func (r *reader) fail(at position, field, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{
			File: r.file, Line: at.line, Column: at.column, Field: field, Reason: fmt.Sprintf(format, args...),
		})
	}
}

// failAs reports an error of validation, whose field is below path, at the nearest place that the file has for it.
func (r *reader) failAs(path string, err error) {
	var fe *sidehook.FieldError
	if !errors.As(err, &fe) {
		r.fail(r.places[path], path, "%s", err)
		return
	}
	field := path
	if fe.Field != "" {
		field += "." + fe.Field
	}
	for at := field; ; at = at[:max(strings.LastIndexAny(at, ".["), 0)] {
		if p, ok := r.places[at]; ok || at == "" {
			r.fail(p, field, "%s", fe.Reason)
			return
		}
	}
}

// Nesting that no file of ours has, but that costs the parser a time that grows with its square.
const maxNesting = 100

// tooDeep returns the line where flow brackets or markers on one line nest beyond reason, 0 for none. It does not know
// quotes, and need not: it errs for text with a hundred unclosed brackets.
func tooDeep(text []byte) (line int) {
	line = 1
	open, markers := 0, 0
	for i, c := range text {
		switch c {
		case '\n':
			line++
			markers = 0
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		case '-', '?', '!', '&', ':':
			if i+1 < len(text) && (text[i+1] == ' ' || c == '!' || c == '&') {
				markers++
			}
		}
		if open > maxNesting || markers > 4*maxNesting {
			return line
		}
	}
	return 0
}

// document parses text and returns its only document, nil after a problem.
func (r *reader) document(text []byte) (root ast.Node) {
	if line := tooDeep(text); line > 0 {
		r.fail(position{line, 1}, "", "is nested too deeply")
		return nil
	}
	defer func() { // a parser that panics on some text refuses that text, no more
		if p := recover(); p != nil {
			r.fail(position{}, "", "is not YAML that can be read")
			root = nil
		}
	}()
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			r.fail(positionOf(syntax.Token), "", "is not valid YAML: %s", syntax.Message)
		} else {
			r.fail(position{}, "", "is not valid YAML")
		}
		return nil
	}
	var docs []ast.Node
	for _, d := range parsed.Docs {
		if d.Body != nil && d.Body.Type() != ast.CommentType {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 1:
		return docs[0]
	case 0:
		r.fail(position{}, "", `is empty; it must have the key "apps" (apps: [] for none)`)
	default:
		r.fail(positionOf(docs[1].GetToken()), "", "has more than one YAML document; put all apps into one")
	}
	return nil
}

// fields are the keys that a mapping may have, each with what reads its value.
type fields map[string]func(n ast.Node, path string)

// mapping reads a mapping, key by key in the order of the file.
func (r *reader) mapping(n ast.Node, path string, known fields) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.wrong(n, path, "must be a mapping")
		return
	}
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		at := positionOf(v.Key.GetToken())
		text, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.fail(at, path, "has a key that is not plain text")
			continue
		}
		key := text.Value
		field := key
		if path != "" {
			field = path + "." + key
		}
		read := known[key]
		switch {
		case read == nil:
			r.fail(at, path, "%.60q is not known here; known are %s", key, known)
			continue
		case seen[key]:
			r.fail(at, field, "is given twice")
			continue
		}
		seen[key] = true
		r.places[field] = at
		if v.Value == nil || v.Value.Type() == ast.NullType {
			continue // as if it were not there
		}
		read(v.Value, field)
	}
}

func (f fields) String() string {
	keys := make([]string, 0, len(f))
	for key := range f {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return strings.Join(keys, ", ")
}

// list reads a sequence.
func (r *reader) list(n ast.Node, path string, each func(n ast.Node, path string)) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.wrong(n, path, "must be a list")
		return
	}
	for i, v := range s.Values {
		item := path + "[" + strconv.Itoa(i) + "]"
		r.places[item] = positionOf(v.GetToken())
		each(v, item)
	}
}

func (r *reader) wrong(n ast.Node, path, reason string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		reason = "anchors, aliases and tags are not supported; " + reason
	}
	r.fail(positionOf(n.GetToken()), path, "%s", reason)
}

// text reads a scalar that is text. Numbers and the like have to be quoted, so that 1e3 or 007 is never misread.
func (r *reader) text(into *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		switch n := n.(type) {
		case *ast.StringNode:
			*into = n.Value
		case *ast.LiteralNode:
			*into = n.Value.Value
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
			r.wrong(n, path, "must be text; put it into quotes")
		default:
			r.wrong(n, path, "must be text")
		}
	}
}

func (r *reader) boolean(into *bool) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			r.wrong(n, path, "must be true or false")
			return
		}
		*into = b.Value
	}
}

func (r *reader) duration(into *time.Duration) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var text string
		before := len(r.problems)
		if r.text(&text)(n, path); len(r.problems) > before {
			return
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			r.wrong(n, path, "must be a duration such as 15s, 5m or 2h")
			return
		}
		*into = d
	}
}

func (r *reader) time(into *time.Time) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var text string
		before := len(r.problems)
		if r.text(&text)(n, path); len(r.problems) > before {
			return
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			r.wrong(n, path, "must be a time such as 2026-01-31T09:00:00Z (RFC 3339)")
			return
		}
		*into = t.UTC()
	}
}

func (r *reader) texts(into *[]string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		r.list(n, path, func(n ast.Node, path string) {
			var s string
			r.text(&s)(n, path)
			*into = append(*into, s)
		})
	}
}
