package config

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml/ast"
)

// Check reads a file of any kind and returns all its problems, warnings included, in the order of their lines. The
// error is one of reading it. A file of KindWebhooks is only recognised here: what is in it, xds/file checks.
func Check(path string) (kind string, problems []Problem, err error) {
	b, err := readStart(path)
	if err != nil {
		return "", nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if Size(len(b)) > MaxFileSize && looksLikeWebhooks(b) {
		return KindWebhooks, nil, nil // these may be larger
	}
	d := parseDocument(path, b)
	kind = d.detect()
	switch kind {
	case KindSidecar:
		_, _ = d.sidecar() // the error repeats the problems
	case KindControl:
		_, _ = d.control()
	case KindWebhooks:
		return kind, nil, nil
	default:
		if d.root != nil {
			d.kind("")
		}
	}
	sortProblems(d.problems)
	return kind, d.problems, nil
}

// detect says what kind of file it is, "" when that cannot be told.
func (d *document) detect() string {
	if s, ok := d.value("kind").(*ast.StringNode); ok && (s.Value == KindSidecar || s.Value == KindControl) {
		return s.Value
	}
	if d.value("kind") == nil && d.value("apps") != nil {
		if apps, ok := d.value("apps").(*ast.SequenceNode); !ok || len(apps.Values) == 0 {
			return KindWebhooks
		} else if _, entries := apps.Values[0].(*ast.MappingNode); entries {
			return KindWebhooks
		}
	}
	return ""
}

// looksLikeWebhooks tells a file of webhooks by its text, for one that is too large to parse here.
func looksLikeWebhooks(b []byte) bool {
	return startsLine(b, "apps:") && !startsLine(b, "kind:")
}

func startsLine(b []byte, key string) bool {
	return bytes.HasPrefix(b, []byte(key)) || bytes.Contains(b, []byte("\n"+key))
}

// kind checks that the file is of the wanted kind, any when empty, and reports whether it is worth reading on.
func (d *document) kind(want string) bool {
	if d.root == nil {
		return false
	}
	n := d.value("kind")
	if n == nil {
		kinds := `"kind: sidecar" or "kind: control"`
		if want != "" {
			kinds = `"kind: ` + want + `"`
		}
		d.fail(place{1, 1}, "kind", "is required; start the file with %s", kinds)
		return false
	}
	s, ok := n.(*ast.StringNode)
	switch {
	case !ok || s.Value != KindSidecar && s.Value != KindControl:
		d.fail(placeOfNode(n), "kind", "must be sidecar or control")
		return false
	case want != "" && s.Value != want:
		d.fail(placeOfNode(n), "kind", "is %s, but this is for %s; see sidehook config example %s", s.Value, want, want)
		return false
	}
	return true
}
