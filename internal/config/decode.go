package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decode fills into, a pointer to a struct with yaml tags, from the document. It goes on after a problem, so that all
// are found, and leaves what it cannot read as it was. It records the place of every key that the file gives.
//
// The walk follows the Go type, never the file, so a hostile file cannot make it recurse.
func (d *document) decode(into any) {
	if d.root != nil {
		d.mapping(d.root, reflect.ValueOf(into).Elem(), "")
	}
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
)

func (d *document) node(n ast.Node, into reflect.Value, path string) {
	if _, null := n.(*ast.NullNode); null {
		return // "key:" with nothing after it keeps the default
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		d.fail(placeOfNode(n), path, "anchors and aliases (& and *) are not supported; write the value out, or quote it")
		return
	case *ast.TagNode:
		d.fail(placeOfNode(n), path, "tags (!) are not supported; remove the tag, or quote the value")
		return
	}
	switch into.Type() {
	case durationType:
		d.duration(n, into, path)
		return
	case sizeType:
		d.size(n, into, path)
		return
	case secretType:
		if s, ok := d.text(n, path); ok {
			into.Set(reflect.ValueOf(NewSecret(s)))
		}
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(into.Type().Elem())
		d.node(n, fresh.Elem(), path)
		into.Set(fresh)
	case reflect.Struct:
		d.mapping(n, into, path)
	case reflect.Map:
		d.texts(n, into, path)
	case reflect.Slice:
		d.sequence(n, into, path)
	case reflect.String:
		if s, ok := d.text(n, path); ok {
			into.SetString(s)
		}
	case reflect.Bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.fail(placeOfNode(n), path, "must be true or false")
			return
		}
		into.SetBool(b.Value)
	case reflect.Int:
		d.integer(n, into, path)
	default:
		panic("config: a field of kind " + into.Kind().String() + " at " + path) // a mistake in the structs
	}
}

// mapping fills a struct.
func (d *document) mapping(n ast.Node, into reflect.Value, path string) {
	names, fields := yamlFields(into.Type())
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.fail(placeOfNode(n), path, "must be a mapping with the keys %s", list(names))
		return
	}
	d.keys(m, path, func(kv *ast.MappingValueNode, key, field string) {
		i, known := fields[key]
		if !known {
			d.unknown(kv, key, field, names)
			return
		}
		d.places[field] = placeOfValue(kv)
		d.node(kv.Value, into.Field(i), field)
	})
}

// texts fills a map of strings.
func (d *document) texts(n ast.Node, into reflect.Value, path string) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.fail(placeOfNode(n), path, "must be a mapping of names to text")
		return
	}
	values := make(map[string]string, len(m.Values))
	d.keys(m, path, func(kv *ast.MappingValueNode, key, field string) {
		d.places[field] = placeOfValue(kv)
		if s, ok := d.text(kv.Value, field); ok {
			values[key] = s
		}
	})
	into.Set(reflect.ValueOf(values))
}

// keys calls do for each key of a mapping, with its text and path, and refuses a key that comes twice.
func (d *document) keys(m *ast.MappingNode, path string, do func(kv *ast.MappingValueNode, key, field string)) {
	seen := make(map[string]int, len(m.Values))
	for _, kv := range m.Values {
		at := placeOf(kv.Key.GetToken())
		key := keyText(kv)
		field := join(path, key)
		if _, merge := kv.Key.(*ast.MergeKeyNode); merge {
			d.fail(at, path, "merge keys (<<) are not supported; write the keys out")
			continue
		}
		if line, twice := seen[key]; twice {
			d.fail(at, field, "is given twice, first on line %d; remove one", line)
			continue
		}
		seen[key] = at.line
		do(kv, key, field)
	}
}

func (d *document) unknown(kv *ast.MappingValueNode, key, field string, names []string) {
	at := placeOf(kv.Key.GetToken())
	if near := suggest(key, names); near != "" {
		d.fail(at, field, "unknown key; did you mean %q?", near)
		return
	}
	d.fail(at, field, "unknown key; the keys here are %s", list(names))
}

func (d *document) sequence(n ast.Node, into reflect.Value, path string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(placeOfNode(n), path, "must be a list, such as [a, b]")
		return
	}
	items := reflect.MakeSlice(into.Type(), len(s.Values), len(s.Values))
	for i, v := range s.Values {
		item := fmt.Sprintf("%s[%d]", path, i)
		d.places[item] = placeOfNode(v)
		if _, null := v.(*ast.NullNode); null {
			d.fail(placeOfNode(v), item, "is empty; remove it")
			continue
		}
		d.node(v, items.Index(i), item)
	}
	into.Set(items)
}

// text reads a string. Numbers and booleans are refused rather than guessed at: YAML would turn 012 into 10.
func (d *document) text(n ast.Node, path string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.fail(placeOfNode(n), path, "must be text; put it in quotes")
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.fail(placeOfNode(n), path, "must be text; put it in quotes if it starts with &, * or !")
	default:
		d.fail(placeOfNode(n), path, "must be text")
	}
	return "", false
}

func (d *document) duration(n ast.Node, into reflect.Value, path string) {
	const want = `must be a duration with a unit, such as "500ms", "15s", "5m" or "72h"`
	s, ok := n.(*ast.StringNode)
	if !ok {
		d.fail(placeOfNode(n), path, want)
		return
	}
	v, err := time.ParseDuration(s.Value)
	if err != nil {
		d.fail(placeOfNode(n), path, want)
		return
	}
	into.SetInt(int64(v))
}

func (d *document) size(n ast.Node, into reflect.Value, path string) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		d.fail(placeOfNode(n), path, "%s", errSize)
		return
	}
	v, err := ParseSize(s.Value)
	if err != nil {
		d.fail(placeOfNode(n), path, "%s", err)
		return
	}
	into.SetInt(int64(v))
}

func (d *document) integer(n ast.Node, into reflect.Value, path string) {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		d.fail(placeOfNode(n), path, "must be a whole number")
		return
	}
	switch v := i.Value.(type) {
	case int64:
		if v >= math.MinInt && v <= math.MaxInt {
			into.SetInt(v)
			return
		}
	case uint64:
		if v <= math.MaxInt {
			into.SetInt(int64(v))
			return
		}
	}
	d.fail(placeOfNode(n), path, "is out of range")
}

// yamlFields lists the keys of a struct in order, and the field of each.
func yamlFields(t reflect.Type) ([]string, map[string]int) {
	names := make([]string, 0, t.NumField())
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			names = append(names, name)
			fields[name] = i
		}
	}
	return names, fields
}

// placeOfValue is where problems with the value of a key are shown: at a scalar itself, else at its key.
func placeOfValue(kv *ast.MappingValueNode) place {
	if _, scalar := kv.Value.(ast.ScalarNode); scalar && kv.Value.Type() != ast.NullType {
		return placeOf(kv.Value.GetToken())
	}
	return placeOf(kv.Key.GetToken())
}

func keyText(kv *ast.MappingValueNode) string {
	if s, ok := kv.Key.(*ast.StringNode); ok {
		return s.Value
	}
	if t := kv.Key.GetToken(); t != nil {
		return t.Value
	}
	return ""
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

var _ encoding.TextMarshaler = Secret{} // so that no encoder prints it
