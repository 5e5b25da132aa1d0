package docstest

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sidehook/sidehook/internal/config"
)

const operating = "docs/operating.md"

// TestConfigurationKeys: the page, the struct that is read and the example that is printed have the same keys, and the
// defaults of the page are those of the example, which the tests of internal/config compare with the code.
func TestConfigurationKeys(t *testing.T) {
	for heading, c := range map[string]struct {
		kind   string
		fields reflect.Type
	}{
		"### Keys of a sidecar":       {"sidecar", reflect.TypeFor[config.Sidecar]()},
		"### Keys of a control plane": {"control", reflect.TypeFor[config.Control]()},
	} {
		example, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "sidehook"), "config", "example", c.kind).Output()
		if err != nil {
			t.Fatal(err)
		}
		documented := map[string]string{}
		for _, row := range rows(read(t, operating).section(t, heading)) {
			if len(row) != 3 {
				t.Errorf("%s: row %q", heading, row)
				continue
			}
			documented[code(row[0])] = row[2]
		}
		known := keys(c.fields, "")
		compare(t, heading, slices.Collect(maps.Keys(documented)), "internal/config", known)
		for _, key := range known {
			last := key[strings.LastIndexByte(key, '.')+1:]
			if !regexp.MustCompile(`(?m)\b` + last + `:`).Match(example) {
				t.Errorf("the example of a %s does not mention %s", c.kind, key)
			}
		}
		defaults := map[string]string{}
		var tree map[string]any
		if err := yaml.Unmarshal(example, &tree); err != nil {
			t.Fatal(err)
		}
		flatten(tree, "", defaults)
		for key, value := range defaults {
			// Paths below /etc are for the reader to choose, and so are apps; an empty value means a default in words.
			if value == "" || strings.HasPrefix(value, "/etc/") || key == "kind" {
				continue
			}
			if got := code(documented[key]); got != value {
				t.Errorf("%s: the default of %s is %q, but the example says %q", heading, key, got, value)
			}
		}
	}
}

// keys are the paths of the fields of a configuration.
func keys(t reflect.Type, prefix string) []string {
	var all []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" || name == "" {
			continue
		}
		inner, list := f.Type, ""
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct {
			inner, list = inner.Elem(), "[]"
		}
		if below := keysOf(inner, prefix+name+list+"."); below != nil {
			all = append(all, below...)
		} else {
			all = append(all, prefix+name)
		}
	}
	return all
}

// keysOf is keys of a struct that has any, nil for everything else.
func keysOf(t reflect.Type, prefix string) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	return keys(t, prefix)
}

// flatten gives the scalars of a YAML tree by path.
func flatten(tree map[string]any, prefix string, into map[string]string) {
	for name, value := range tree {
		switch v := value.(type) {
		case map[string]any:
			flatten(v, prefix+name+".", into)
		case []any:
		default:
			into[prefix+name] = fmt.Sprint(v)
		}
	}
}

// TestAdminEndpointsAndMetrics compares the tables with a sidecar that runs.
func TestAdminEndpointsAndMetrics(t *testing.T) {
	s := openShell(t)
	s.start("bin/sidehook dev --transformer redact=bin/transformers/redact")
	for _, c := range []string{ // an attempt, so that its histogram is there
		`bin/sidehook webhook create --name A --url http://127.0.0.1:4480/in/a --event '*'`,
		`bin/sidehook publish --type a.b`,
	} {
		s.check(page{}, command{text: c})
	}
	page := read(t, operating)

	index, err := s.fetch(t.Context(), "http://127.0.0.1:4462/", "")
	if err != nil {
		t.Fatal(err)
	}
	var offered, documented []string
	for _, m := range regexp.MustCompile(`(?m)^(GET|POST) +(/\S*)`).FindAllStringSubmatch(index, -1) {
		offered = append(offered, m[1]+" "+m[2])
	}
	for _, row := range rows(page.section(t, "## Admin endpoint")) {
		if request := code(row[0]); request != "GET /" {
			documented = append(documented, request)
		}
	}
	compare(t, "the table of the admin endpoint", documented, "its index", offered)
	for _, request := range documented {
		path, ok := strings.CutPrefix(request, "GET ")
		if !ok || strings.Contains(path, "{") {
			continue
		}
		if _, err := s.fetch(t.Context(), "http://127.0.0.1:4462"+path, ""); err != nil {
			t.Error(err)
		}
	}

	exposition, err := s.fetch(t.Context(), "http://127.0.0.1:4462/metrics", "")
	if err != nil {
		t.Fatal(err)
	}
	var exposed, described []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (sidehook_\S+)`).FindAllStringSubmatch(exposition, -1) {
		exposed = append(exposed, m[1])
	}
	for _, row := range rows(page.section(t, "## Metrics")) {
		name := code(row[0])
		described = append(described, name)
		for label := range strings.SplitSeq(strings.Trim(row[1], "`"), ", ") {
			if label != "" && !regexp.MustCompile(`(?m)^`+name+`\w*\{([^}]*,)?`+label+`="`).MatchString(exposition) {
				t.Errorf("%s has no label %s", name, label)
			}
		}
	}
	compare(t, "the table of metrics", described, "/metrics", exposed)
	for _, m := range regexp.MustCompile(`sidehook_[a-z_]+`).FindAllString(page.section(t, "## Alerts"), -1) {
		if !slices.Contains(exposed, m) {
			t.Errorf("an alert asks for %s, which is no metric", m)
		}
	}
}

// compare reports what only one of two lists has.
func compare(t *testing.T, pageName string, onPage []string, codeName string, inCode []string) {
	t.Helper()
	if len(inCode) == 0 {
		t.Errorf("%s has nothing: looking in the wrong place", codeName)
	}
	for _, x := range inCode {
		if !slices.Contains(onPage, x) {
			t.Errorf("%s does not have %s, which %s has", pageName, x, codeName)
		}
	}
	for _, x := range onPage {
		if !slices.Contains(inCode, x) {
			t.Errorf("%s has %s, which %s does not have", pageName, x, codeName)
		}
	}
}
