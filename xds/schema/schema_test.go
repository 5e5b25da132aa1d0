package schema_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds/schema"
)

const order = `{
	"type": "object", "required": ["id", "customer"], "additionalProperties": false,
	"properties": {
		"id": {"type": "integer", "minimum": 1},
		"total": {"type": "number", "multipleOf": 0.01},
		"state": {"enum": ["paid", "open"]},
		"at": {"type": "string", "format": "date-time"},
		"customer": {"$ref": "#/$defs/person"},
		"lines": {"type": "array", "uniqueItems": true, "items": {"type": "object", "required": ["sku"],
			"properties": {"sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}}}},
		"pay": {"oneOf": [{"required": ["card"]}, {"required": ["bank"]}]}
	},
	"$defs": {"person": {"type": "object", "required": ["email"], "properties": {"boss": {"$ref": "#/$defs/person"}}}}
}`

func compile(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheck(t *testing.T) {
	s := compile(t, order)
	for data, want := range map[string]string{
		`{"id":1,"customer":{"email":"a@b"}}`:                                      "",
		`{"id":1.0,"total":19.99,"customer":{"email":"","boss":{"email":""}}}`:     "",
		`{"id":123456789012345678901,"customer":{"email":""},"at":"yesterday"}`:    "", // a format is a remark
		`{"id":1,"customer":{}}`:                                                   "/customer/email: is required",
		`{"id":1,"customer":{"email":1,"boss":{"boss":{}}}}`:                       "/customer/boss/boss/email: is required (and 1 more)",
		`{"id":"1","customer":{"email":""}}`:                                       "/id: must be integer, not string",
		`{"id":0,"customer":{"email":""}}`:                                         "/id: minimum: got 0, want 1",
		`{"id":1,"total":0.001,"customer":{"email":""}}`:                           "/total: multipleOf: got 0.001, want 0.01",
		`{"id":1,"state":"secret","customer":{"email":""}}`:                        "/state: is not among the values it may have",
		`{"id":1,"a/b~\u0007":1,"customer":{"email":""}}`:                          "/a~1b~0?: is none of the properties there are",
		`{"id":1,"customer":{"email":""},"pay":{}}`:                                "/pay: fits none of the alternatives",
		`{"id":1,"customer":{"email":""},"pay":{"card":1,"bank":1}}`:               "/pay: fits more than one of the alternatives",
		`{"id":1,"customer":{"email":""},"lines":[{"sku":"x"}]}`:                   "/lines/0/sku: does not match the pattern ^[A-Z]{2}-[0-9]+$",
		`{"id":1,"customer":{"email":""},"lines":[{"sku":"AB-1"},{"sku":"AB-1"}]}`: "/lines: elements 0 and 1 are the same",
		`7`:        "must be object, not number",
		``:         "there is no data",
		`{"id":`:   "is not valid JSON",
		`{} {}`:    "is more than one JSON value",
		"\"\xff\"": "is not UTF-8",
		`{"id":1e100000,"customer":{"email":""}}`:                            "has a number with too many digits, or too large an exponent",
		`[` + strings.Repeat("9", 101) + `]`:                                 "has a number with too many digits, or too large an exponent",
		strings.Repeat("[", 65) + strings.Repeat("]", 65):                    "is nested more than 64 deep",
		`"` + strings.Repeat("[", 65) + `\"` + strings.Repeat("{", 65) + `"`: "must be object, not string",
	} {
		got := ""
		if err := s.Check([]byte(data)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.60s: %q, want %q", data, got, want)
		}
	}
	if err := compile(t, "true").Check([]byte(`{}`)); err != nil {
		t.Error(err)
	}
	if err := compile(t, "false").Check([]byte(`{}`)); err == nil || err.Error() != "must not be there" {
		t.Error(err)
	}
}

// TestDrafts: a schema of an older draft means what that draft says.
func TestDrafts(t *testing.T) {
	tuple := `"items": [{"type": "string"}]}`
	old := compile(t, `{"$schema": "http://json-schema.org/draft-07/schema#", `+tuple)
	if err := old.Check([]byte(`[1]`)); err == nil || err.Error() != "/0: must be string, not number" {
		t.Error(err)
	}
	if err := old.Check([]byte(`["x"]`)); err != nil {
		t.Error(err)
	}
	if _, err := schema.Compile([]byte(`{` + tuple)); err == nil {
		t.Error("2020-12 has no items list")
	}
}

func TestBadSchemas(t *testing.T) {
	chain := make([]string, 200)
	for i := range chain {
		chain[i] = fmt.Sprintf(`"d%d": {"$ref": "#/$defs/d%d"}`, i, i+1)
	}
	for text, want := range map[string]string{
		``:                                       "is not valid JSON",
		`[]`:                                     "must be a JSON object",
		`"x"`:                                    "must be a JSON object",
		`{} {}`:                                  "is more than one JSON value",
		"{\"title\":\"\xff\"}":                   "is not UTF-8",
		`{"type":"text"}`:                        "/type: must be object, array, string",
		`{"properties":{"a":{"minimum":"1"}}}`:   "/properties/a/minimum: must be number, not string",
		`{"minimum":1e9999}`:                     "has a number with too many digits",
		`{"$ref":"file:///etc/passwd"}`:          "file:///etc/passwd is outside the schema; only references within the schema are followed",
		`{"$ref":"https://example.com/a.json"}`:  "https://example.com/a.json is outside the schema",
		`{"$ref":"other.json"}`:                  "other.json is outside the schema",
		`{"$ref":"#/$defs/x"}`:                   "there is nothing at /$defs/x",
		`{"$ref":"#x"}`:                          "there is no anchor x",
		`{"$schema":"https://example.com/mine"}`: "https://example.com/mine is outside the schema",
		`{"$id":"::"}`:                           "error in parsing id",
		`{"properties":{"a":{"pattern":"("}}}`:   "/properties/a/pattern",
		`{"pattern":"(?=x)"}`:                    "RE2",
		`{"pattern":"(a{100}){100}"}`:            "/pattern",
		`{"pattern":"(a{500}b{500}c{500})"}`:     "/pattern",
		`{"patternProperties":{"x{1000}":true}}`: "patternProperties",
		`{"allOf":[{"$ref":"#"}]}`:               "refers back to itself",
		`{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}`: "refers back to itself",
		`{"$dynamicRef":"#x","$dynamicAnchor":"x"}`:                                                            "are not supported; use $ref",
		`{"$ref":"https://json-schema.org/draft/2020-12/schema"}`:                                              "are not supported; use $ref",
		`{"$ref":"#/$defs/d0","$defs":{"d200":{},` + strings.Join(chain, ",") + `}}`:                           "apply one through the other",
		strings.Repeat(`{"not":`, 65) + "{}" + strings.Repeat("}", 65):                                         "is nested more than 64 deep",
		`{"enum":[` + strings.Repeat("0,", 5000) + `0]}`:                                                       "has more than 5000 JSON values",
		`{"title":"` + strings.Repeat("x", 64<<10) + `"}`:                                                      "must be at most 65536 bytes",
	} {
		_, err := schema.Compile([]byte(text))
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) || fe.Field != "" || !strings.Contains(fe.Reason, want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "event-type:") || len(err.Error()) > 500) {
			t.Errorf("%.80s: the error names what nobody knows, or is long: %v", text, err)
		}
	}
	many := make([]string, 10)
	for i := range many {
		many[i] = fmt.Sprintf(`{"pattern":"%d(ab?){400}"}`, i)
	}
	if _, err := schema.Compile([]byte(`{"anyOf":[` + strings.Join(many, ",") + `]}`)); err == nil {
		t.Error("many large patterns were taken")
	}
}

// TestFullSizedEvents: an ordinary event as large as one may be is within the steps of a check, which take about one for
// each of its bytes.
func TestFullSizedEvents(t *testing.T) {
	s := compile(t, `{"type":"object","properties":{"lines":{"type":"array","items":{"type":"object","required":["id","sku"],
		"properties":{"id":{"type":"integer"},"sku":{"type":"string","minLength":1},"name":{"type":"string"},
		"qty":{"type":"integer","minimum":0},"price":{"type":"number"},"currency":{"enum":["VND","USD"]},
		"tax":{"type":"number"},"note":{"type":["string","null"]}}}}}}`)
	line := `{"id":123456,"sku":"ABC-1234","name":"Some product of ours","qty":12,"price":120000,"currency":"VND","tax":0.1,"note":null}`
	lines := sidehook.DefaultMaxData/(len(line)+1) - 1
	if err := s.Check([]byte(`{"lines":[` + strings.Repeat(line+",", lines-1) + line + `]}`)); err != nil {
		t.Errorf("%d lines: %v", lines, err)
	}
}

// TestBombs: schemas and data made to take for ever are given up on. The limit is what ends them.
func TestBombs(t *testing.T) {
	double := func(keyword string) string {
		const levels = 19 // fewer than the limit of a chain
		defs := make([]string, levels)
		for i := range defs {
			part := fmt.Sprintf(keyword, i+1, i+1)
			defs[i] = fmt.Sprintf(`"d%d": {%s}`, i, part)
		}
		return `{"$ref":"#/$defs/d0","$defs":{"d19":{"type":"null"},` + strings.Join(defs, ",") + `}}`
	}
	deep := strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60)
	numbers := make([]string, 2000)
	for i := range numbers {
		numbers[i] = fmt.Sprint(i + 10)
	}
	for name, c := range map[string]struct{ schema, data string }{
		"allOf": {double(`"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]`), `1`},
		"anyOf": {double(`"anyOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]`), `1`},
		"if":    {double(`"if":{"$ref":"#/$defs/d%d"},"else":{"$ref":"#/$defs/d%d"}`), `1`},
		"hidden": { // where only yes or no is asked
			strings.Replace(double(`"dependentSchemas":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}`),
				`{"$ref":"#/$defs/d0"`, `{"not":{"$ref":"#/$defs/d0"}`, 1),
			`{"a":1,"b":2}`,
		},
		"dependentSchemas": {double(`"dependentSchemas":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}`), `{"a":1,"b":2}`},
		"recursion":        {`{"patternProperties":{"a":{"$ref":"#"},"^a":{"$ref":"#"}}}`, deep},
		"enum": {
			`{"items":{"enum":[` + strings.Join(numbers, ",") + `]}}`,
			`[` + strings.Repeat("1,", 100_000) + `1]`,
		},
		"pattern": {
			`{"items":{"pattern":"(a?){100}a{100}$"}}`,
			`["` + strings.Repeat("a", 200_000) + `"]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := compile(t, c.schema).Check([]byte(c.data))
			if err == nil || !strings.Contains(err.Error(), "more steps") {
				t.Errorf("%v, want an end", err)
			}
		})
	}
	// It is the check that is given up, not the schema.
	s := compile(t, `{"patternProperties":{"a":{"$ref":"#"},"^a":{"$ref":"#"}}}`)
	for range 3 {
		if err := s.Check([]byte(deep)); err == nil {
			t.Error("the bomb is taken")
		}
		if err := s.Check([]byte(`{"a":{"a":1}}`)); err != nil {
			t.Error(err)
		}
	}
}

func TestChecksAtOnce(t *testing.T) {
	s := compile(t, order)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				data, want := `{"id":1,"customer":{"email":""}}`, false
				if i%2 == 0 {
					data, want = `{"id":1,"customer":{}}`, true
				}
				if err := s.Check([]byte(data)); (err != nil) != want {
					t.Errorf("%s: %v", data, err)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzSchema(f *testing.F) {
	f.Add(order, `{"id":1,"customer":{"email":""},"lines":[{"sku":"AB-1"}]}`)
	f.Add(`{"$schema":"http://json-schema.org/draft-04/schema#","id":"x","items":[{"$ref":"#/items/0"}]}`, `[[1]]`)
	f.Add(`{"unevaluatedProperties":false,"allOf":[{"properties":{"a":true}}],"if":{"required":["a"]},"then":false}`, `{"a":1,"b":2}`)
	f.Add(`{"$ref":"#a","$defs":{"x":{"$anchor":"a","contains":{"const":1e3},"minContains":2}}}`, `[1000,1e3]`)
	f.Add(`{"pattern":"(?i)^\\p{L}{1,20}$","contentMediaType":"application/json","contentEncoding":"base64"}`, `"Ạ"`)
	f.Add(`{"$id":"https://example.com/a","$defs":{"b":{"$id":"b"}},"$ref":"b","uniqueItems":true}`, `[0,-0,0.0]`)
	f.Add(`{"dependencies":{"a":["b"],"c":{"type":"null"}},"$schema":"http://json-schema.org/draft-06/schema#"}`, `{"a":1,"c":2}`)
	f.Fuzz(func(t *testing.T, text, data string) {
		s, err := schema.Compile([]byte(text))
		var fe *sidehook.FieldError
		if err != nil {
			if !errors.As(err, &fe) || fe.Reason == "" {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if err := s.Check([]byte(data)); err != nil && err.Error() == "" {
			t.Errorf("%q against %q: an error without words", data, text)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	s := compile(b, order)
	lines := strings.Repeat(`{"sku":"AB-12345","quantity":3,"price":9.99},`, 20)
	var unique []string
	for i, l := range strings.SplitAfter(strings.TrimSuffix(lines, ","), "},") {
		unique = append(unique, strings.Replace(l, "12345", fmt.Sprint(12345+i), 1))
	}
	for name, data := range map[string]string{
		"small": `{"id":1,"customer":{"email":"a@example.com"}}`,
		"1KB":   `{"id":1,"customer":{"email":"a@example.com"},"lines":[` + strings.Join(unique, "") + `]}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := s.Check([]byte(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schema.Compile([]byte(order)); err != nil {
			b.Fatal(err)
		}
	}
}
