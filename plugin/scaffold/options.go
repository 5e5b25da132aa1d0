package scaffold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
)

// Module is the module that a transformer in Go imports.
const Module = "github.com/sidehook/sidehook"

// The languages of Options.
const (
	Go   = "go"
	Node = "node"
)

// Languages lists them, the default first.
func Languages() []string { return []string{Go, Node} }

// Options say what to write.
type Options struct {
	// Name of the transformer; see CheckName. Required.
	Name string
	// Dir is where to write. It is made when it is missing, and must be empty but for hidden files. Default: Name.
	Dir string
	// Language is one of Languages. Default Go.
	Language string
	// Version of Sidehook that a transformer in Go is built with. One that is not Released is not written, and go.mod
	// must be told where a checkout is.
	Version string
	// Replace is the folder of a checkout of Sidehook to build with in place of a released version. Default none. Go
	// alone knows it.
	Replace string
}

// check fills the defaults and says what is wrong.
func (o *Options) check() error {
	if err := CheckName(o.Name); err != nil {
		return err
	}
	if o.Dir == "" {
		o.Dir = o.Name
	}
	if o.Language == "" {
		o.Language = Go
	}
	if !slices.Contains(Languages(), o.Language) {
		return fmt.Errorf("there is nothing to start from in %q; the languages are %s", o.Language, strings.Join(Languages(), " and "))
	}
	if o.Replace == "" {
		return nil
	}
	if o.Language != Go {
		return fmt.Errorf("a checkout to build with is for the language %s alone", Go)
	}
	return checkCheckout(o.Replace)
}

// reserved are names that Go refuses in a module path, because Windows has no such folders.
var reserved = regexp.MustCompile(`^(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])$`)

// CheckName says why a name cannot be that of a new transformer: it is none that configuration takes, or none for a folder
// and a module.
func CheckName(name string) error {
	switch {
	case !sidehook.ValidName(name):
		return fmt.Errorf("name %.80q: it must be 1 to %d of A-Z a-z 0-9 _ -", name, sidehook.MaxNameLen)
	case name[0] == '-' || name[0] == '_':
		return fmt.Errorf("name %q: it must begin with a letter or digit, because a folder and a program get it too", name)
	case reserved.MatchString(name):
		return fmt.Errorf("name %q: it is reserved on Windows, so that Go refuses it; choose another", name)
	}
	return nil
}

// checkCheckout says why a folder is no checkout of Sidehook.
func checkCheckout(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s is no checkout of Sidehook: it has no go.mod", dir)
	case err != nil:
		return fmt.Errorf("%s is no checkout of Sidehook: %w", dir, err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "module" {
			if fields[1] != Module {
				return fmt.Errorf("%s is no checkout of Sidehook: its module is %s, not %s", dir, fields[1], Module)
			}
			return nil
		}
	}
	return fmt.Errorf("%s is no checkout of Sidehook: its go.mod names no module", dir)
}

var (
	tag = regexp.MustCompile(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`)
	// between are what git describe and Go make of a commit without a tag of its own: it may never have been published.
	between = regexp.MustCompile(`(-[0-9]+-g[0-9a-f]+|[.-][0-9]{14}-[0-9a-f]{12}|-dirty)$`)
)

// Released reports whether a version of Sidehook is one that Go can fetch: a tag, and nothing between two of them.
func Released(version string) bool { return tag.MatchString(version) && !between.MatchString(version) }
