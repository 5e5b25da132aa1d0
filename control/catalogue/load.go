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
}

type entry struct {
	Type        string            `yaml:"type"`
	Product     string            `yaml:"product"`
	Name        map[string]string `yaml:"name"`
	Description map[string]string `yaml:"description"`
	// The sample has the fields of the groups, and then those of Sample, a JSON object.
	With   []string `yaml:"with"`
	Sample string   `yaml:"sample"`
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
		c.EventTypes = append(c.EventTypes, sidehook.EventType{
			Type: e.Type, Product: e.Product, Name: e.Name, Description: e.Description, Sample: sample,
		})
	}
	return c, nil
}

// sample joins the JSON objects of an entry, in order, into one without spaces.
func (d *document) sample(e *entry) ([]byte, error) {
	var fields [][]byte
	add := func(what, object string) error {
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(object)); err != nil {
			return fmt.Errorf("%s is not JSON: %w", what, err)
		}
		inner, ok := bytes.CutPrefix(compact.Bytes(), []byte("{"))
		if !ok {
			return fmt.Errorf("%s is not a JSON object", what)
		}
		if inner = bytes.TrimSuffix(inner, []byte("}")); len(inner) > 0 {
			fields = append(fields, inner)
		}
		return nil
	}
	for _, name := range e.With {
		group, ok := d.Groups[name]
		if !ok {
			return nil, fmt.Errorf("there is no group %q", name)
		}
		if err := add("group "+name, group); err != nil {
			return nil, err
		}
	}
	if e.Sample != "" {
		if err := add("sample", e.Sample); err != nil {
			return nil, err
		}
	}
	return slices.Concat([]byte{'{'}, bytes.Join(fields, []byte{','}), []byte{'}'}), nil
}
