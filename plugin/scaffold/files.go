package scaffold

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"text/template"
)

// File is one to write.
type File struct {
	Name string
	Data []byte
	Mode fs.FileMode
}

// sources are programs that are tested where they are, and copies of such that a test compares with the originals.
//
//go:embed starter/main.go starter/main_test.go
//go:embed node/uppercase.mjs node/serve.mjs node/package.json node/package-lock.json node/transform.proto
//go:embed templates
var sources embed.FS

var templates = template.Must(template.ParseFS(sources, "templates/*"))

// goVersion is the oldest Go that builds Sidehook, as its go.mod says.
const goVersion = "1.26.0"

// Files returns what Write writes, in the order of reading.
func Files(o Options) ([]File, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Language == Node {
		return nodeFiles(o)
	}
	return goFiles(o)
}

func goFiles(o Options) ([]File, error) {
	mod := struct{ Name, Go, Module, Version, Replace string }{o.Name, goVersion, Module, "v0.0.0", ""}
	switch {
	case o.Replace != "":
		path, err := replacement(o.Dir, o.Replace)
		if err != nil {
			return nil, err
		}
		mod.Replace = path
	case Released(o.Version):
		mod.Version = o.Version
	}
	c := collector{replacer: strings.NewReplacer("starter", o.Name)}
	c.source("main.go", "starter/main.go", 0o644)
	c.source("main_test.go", "starter/main_test.go", 0o644)
	c.template("go.mod", "go.mod.tmpl", mod)
	c.template("README.md", "README.go.tmpl", mod)
	c.template(".gitignore", "gitignore.go.tmpl", mod)
	return c.files, c.err
}

func nodeFiles(o Options) ([]File, error) {
	c := collector{replacer: strings.NewReplacer(
		"sidehook-uppercase", "sidehook-"+strings.ToLower(o.Name), // a package's name has small letters only
		"node-uppercase", o.Name,
		"uppercase.mjs", "main.mjs",
		"this file is what makes it this one", "this file is the work: put your own into transform",
	)}
	c.source("main.mjs", "node/uppercase.mjs", 0o755)
	c.source("serve.mjs", "node/serve.mjs", 0o644)
	c.source("transform.proto", "node/transform.proto", 0o644)
	c.source("package.json", "node/package.json", 0o644)
	c.source("package-lock.json", "node/package-lock.json", 0o644)
	c.template("README.md", "README.node.tmpl", o)
	c.template(".gitignore", "gitignore.node.tmpl", o)
	return c.files, c.err
}

// collector makes files until something fails.
type collector struct {
	replacer *strings.Replacer
	files    []File
	err      error
}

// source adds a file of sources under another name and with its own words for the example's.
func (c *collector) source(name, from string, mode fs.FileMode) {
	if c.err != nil {
		return
	}
	text, err := sources.ReadFile(from)
	if err != nil {
		c.err = fmt.Errorf("make %s: %w", name, err)
		return
	}
	c.files = append(c.files, File{name, []byte(c.replacer.Replace(string(text))), mode})
}

func (c *collector) template(name, from string, data any) {
	if c.err != nil {
		return
	}
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, from, data); err != nil {
		c.err = fmt.Errorf("make %s: %w", name, err)
		return
	}
	c.files = append(c.files, File{name, []byte(b.String()), 0o644})
}
