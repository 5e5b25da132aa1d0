// Package schema checks the data of events against the JSON Schema of their event type: the same way wherever a schema
// is taken in (management, xDS, a file) and where events are. It fetches nothing, and what a schema can make it do is
// bounded, since those who write schemas are not those who run the process. It is no general validator: formats are
// remarks, as the specification has it, and references stay within the schema.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sidehook/sidehook"
)

// Limits of a schema beside sidehook.MaxTypeSchemaLen.
const (
	// MaxValues bounds the JSON values of a schema: its objects, arrays, texts, numbers and so on.
	MaxValues = 5000
	// MaxDepth bounds how deep JSON nests: that of a schema, and that of data that is checked against one.
	MaxDepth = 64
	// MaxChain bounds how many subschemas apply to one value through references and combinations of one another.
	MaxChain = 100
	// MaxPattern bounds a regular expression in bytes, and what it is compiled to in steps of a machine.
	MaxPattern = 1000
	// MaxPatterns bounds what all regular expressions of a schema are compiled to.
	MaxPatterns = 4000
	// MaxSteps bounds the work of one check: about one for each subschema that is applied to a value.
	MaxSteps = 250_000
)

// copies is how many checks of one schema run at once. Each needs a compiled form of its own, because that counts the
// steps; a second is made when it is first needed.
const copies = 2

// Schema is a compiled JSON Schema, for any number of goroutines.
type Schema struct {
	doc  any
	idle chan *checker // nil in it: not compiled yet
}

// location is what a schema is called among its own references. The scheme is none that anybody could fetch.
const location = "event-type://schema/"

// Compile reads a schema: JSON Schema of the draft that $schema names, 2020-12 without. The error is a
// *sidehook.FieldError whose Field is empty and whose reason begins with the place in the schema.
func Compile(text []byte) (*Schema, error) {
	if len(text) > sidehook.MaxTypeSchemaLen {
		return nil, sidehook.Fieldf("", "must be at most %d bytes", sidehook.MaxTypeSchemaLen)
	}
	doc, err := decode(text, MaxValues)
	if err != nil {
		return nil, sidehook.Fieldf("", "%s", err.Error())
	}
	switch doc.(type) {
	case map[string]any, bool:
	default:
		return nil, sidehook.Fieldf("", "must be a JSON object (or true or false), as JSON Schema has it")
	}
	first, err := newChecker(doc)
	if err != nil {
		return nil, err
	}
	s := &Schema{doc: doc, idle: make(chan *checker, copies)}
	s.idle <- first
	for range copies - 1 {
		s.idle <- nil
	}
	return s, nil
}

// Check reports why data does not fit the schema: nil when it does, else an error whose text begins with the place in
// the data, a JSON pointer ("/customer/email: is required"). It quotes names of the data, but no values.
func (s *Schema) Check(data []byte) error {
	if len(data) == 0 {
		return errors.New("there is no data")
	}
	value, err := decode(data, 0)
	if err != nil {
		return err
	}
	c := <-s.idle
	// Invariant: as many go back as were taken, whatever happens in between.
	defer func() { s.idle <- c }()
	if c == nil {
		if c, err = newChecker(s.doc); err != nil { // cannot be: it was compiled before
			return err
		}
	}
	return c.check(value)
}

// decode reads one JSON value of at most that many values in it (0: any number), nested at most MaxDepth deep, whose
// numbers are of ordinary size: comparing others takes time and memory without end.
func decode(text []byte, maxValues int) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("is not UTF-8")
	}
	if Deeper(text, MaxDepth) {
		return nil, errors.New("is nested more than " + itoa(MaxDepth) + " deep")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, errors.New("is not valid JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("is more than one JSON value")
	}
	n, ok := measure(value)
	switch {
	case !ok:
		return nil, errors.New("has a number with too many digits, or too large an exponent")
	case maxValues > 0 && n > maxValues:
		return nil, errors.New("has more than " + itoa(maxValues) + " JSON values")
	}
	return value, nil
}

// Deeper reports whether the brackets of a JSON text nest more than limit deep, without reading it any further.
func Deeper(text []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// measure counts the values within v, itself included; ok is false when a number is not of ordinary size.
func measure(v any) (n int, ok bool) {
	n = 1
	switch v := v.(type) {
	case json.Number:
		return 1, ordinary(string(v))
	case []any:
		for _, e := range v {
			m, ok := measure(e)
			if !ok {
				return n, false
			}
			n += m
		}
	case map[string]any:
		for _, e := range v {
			m, ok := measure(e)
			if !ok {
				return n, false
			}
			n += m
		}
	}
	return n, true
}

// ordinary reports whether a JSON number has at most 100 characters and an exponent of at most three digits.
func ordinary(number string) bool {
	_, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	return len(number) <= 100 && len(strings.TrimLeft(exponent, "+-0")) <= 3
}

// nothing refuses to load what a schema refers to.
type nothing struct{}

func (nothing) Load(string) (any, error) { return nil, errRemote }

var errRemote = errors.New("only references within the schema are followed")

var _ jsonschema.URLLoader = nothing{}
