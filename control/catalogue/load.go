package catalogue

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"github.com/sidehook/sidehook"
)

//go:embed data/*.yaml
var data embed.FS

// builtIn reads the embedded catalogues when somebody first asks. They are part of the program and tested with it, so a
// bad one is a bug.
var builtIn = sync.OnceValue(func() map[string]*Catalogue {
	files, err := data.ReadDir("data")
	if err != nil {
		panic("catalogue: " + err.Error())
	}
	all := make(map[string]*Catalogue, len(files))
	for _, f := range files {
		text, err := data.ReadFile("data/" + f.Name())
		if err != nil {
			panic("catalogue: " + err.Error())
		}
		name := strings.TrimSuffix(f.Name(), path.Ext(f.Name()))
		if all[name], err = parse(name, text); err != nil {
			panic("catalogue: " + err.Error())
		}
	}
	return all
})

// document is a catalogue as its file has it.
type document struct {
	Title      map[string]string `yaml:"title"`
	EventTypes []entry           `yaml:"event_types"`
	// Groups are JSON objects whose fields several samples share, by name.
	Groups map[string]string `yaml:"groups"`
	// Schemas are parts of JSON Schemas, by name: {"required": […], "properties": {…}}.
	Schemas map[string]string `yaml:"schemas"`
}

type entry struct {
	Type        string            `yaml:"type"`
	Product     string            `yaml:"product"`
	Name        map[string]string `yaml:"name"`
	Description map[string]string `yaml:"description"`
	// The sample has the fields of the groups, and then those of Sample, a JSON object.
	With   []string `yaml:"with"`
	Sample string   `yaml:"sample"`
	// Schema names the parts that make its JSON Schema; none for no schema.
	Schema []string `yaml:"schema"`
}

func parse(name string, text []byte) (*Catalogue, error) {
	var doc document
	if err := yaml.UnmarshalWithOptions(text, &doc, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := &Catalogue{Name: name, Title: doc.Title}
	for i, e := range doc.EventTypes {
		sample, err := doc.sample(&e)
		if err != nil {
			return nil, fmt.Errorf("%s: event_types[%d] %s: %w", name, i, e.Type, err)
		}
		schema, err := doc.schema(&e)
		if err != nil {
			return nil, fmt.Errorf("%s: event_types[%d] %s: %w", name, i, e.Type, err)
		}
		c.EventTypes = append(c.EventTypes, sidehook.EventType{
			Type: e.Type, Product: e.Product, Name: e.Name, Description: e.Description, Sample: sample, Schema: schema,
		})
	}
	return c, nil
}

// sample joins the JSON objects of an entry, in order, into one without spaces.
func (d *document) sample(e *entry) ([]byte, error) {
	var fields fieldList
	for _, name := range e.With {
		group, ok := d.Groups[name]
		if !ok {
			return nil, fmt.Errorf("there is no group %q", name)
		}
		if err := fields.add("group "+name, group); err != nil {
			return nil, err
		}
	}
	if e.Sample != "" {
		if err := fields.add("sample", e.Sample); err != nil {
			return nil, err
		}
	}
	return fields.object(), nil
}

// schema joins parts of JSON Schemas, in order, into one; nil for no parts. What a part does not speak of is free: a
// product's payloads grow.
func (d *document) schema(e *entry) ([]byte, error) {
	if len(e.Schema) == 0 {
		return nil, nil
	}
	required := []string{}
	var properties fieldList
	for _, name := range e.Schema {
		text, ok := d.Schemas[name]
		if !ok {
			return nil, fmt.Errorf("there is no part %q of a schema", name)
		}
		var part struct {
			Required   []string        `json:"required"`
			Properties json.RawMessage `json:"properties"`
		}
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&part); err != nil {
			return nil, fmt.Errorf("part %s of a schema: %w", name, err)
		}
		required = append(required, part.Required...)
		if err := properties.add("properties of part "+name, string(part.Properties)); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(required)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(`{"type":"object","required":`), text, []byte(`,"properties":`), properties.object(),
		[]byte{'}'}), nil
}

// fieldList are the members of JSON objects, without spaces.
type fieldList [][]byte

func (m *fieldList) add(what, object string) error {
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(object)); err != nil {
		return fmt.Errorf("%s is not JSON: %w", what, err)
	}
	inner, ok := bytes.CutPrefix(compact.Bytes(), []byte("{"))
	if !ok {
		return fmt.Errorf("%s is not a JSON object", what)
	}
	if inner = bytes.TrimSuffix(inner, []byte("}")); len(inner) > 0 {
		*m = append(*m, inner)
	}
	return nil
}

func (m fieldList) object() []byte {
	return slices.Concat([]byte{'{'}, bytes.Join(m, []byte{','}), []byte{'}'})
}
