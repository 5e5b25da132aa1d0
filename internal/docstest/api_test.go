package docstest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
)

const apiPage = "docs/api.md"

// openAPI is what these tests look at of the API's own description.
type openAPI struct {
	Paths      map[string]map[string]operation
	Components struct {
		Schemas map[string]struct{ Properties map[string]json.RawMessage }
	}
}

type operation struct {
	RequestBody struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	}
}

// TestManagementAPI compares the tables of operations and of a webhook's fields with the API's own description.
func TestManagementAPI(t *testing.T) {
	s := openShell(t)
	s.start("bin/sidehook dev")
	var api openAPI
	if err := s.get(t.Context(), "http://127.0.0.1:4471/openapi.json", "", &api); err != nil {
		t.Fatal(err)
	}
	var offered []string
	for path, methods := range api.Paths {
		for method := range methods {
			offered = append(offered, strings.ToUpper(method)+" "+path)
		}
	}
	page := read(t, apiPage)
	var documented []string
	for _, row := range rows(page.section(t, "## Management")) {
		if operation := code(row[0]); strings.Contains(operation, " /v1/") {
			documented = append(documented, operation)
		}
	}
	compare(t, "the table of operations in "+apiPage, documented, "/openapi.json", offered)

	ref := api.Paths["/v1/apps/{app}/webhooks"]["post"].RequestBody.Content["application/json"].Schema.Ref
	schema := api.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]]
	fields := slices.DeleteFunc(slices.Collect(maps.Keys(schema.Properties)), func(f string) bool { return f == "$schema" })
	documented = nil
	text, _, _ := strings.Cut(page.section(t, "### Webhooks"), "\n#### ") // what follows is about formats and changes
	for _, row := range rows(text) {
		documented = append(documented, code(row[0]))
	}
	compare(t, "the table of a webhook's fields in "+apiPage, documented, "/openapi.json", fields)
}

func TestFormats(t *testing.T) {
	var documented []string
	for _, row := range rows(read(t, apiPage).section(t, "#### Formats")) {
		documented = append(documented, code(row[0]))
	}
	compare(t, "the table of formats in "+apiPage, documented, "the root package", sidehook.Formats())
}
