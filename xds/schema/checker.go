package schema

import (
	"errors"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sidehook/sidehook"
)

// checker is a compiled schema that counts its steps: one check at a time.
type checker struct {
	compiled *jsonschema.Schema
	patterns map[string]*pattern // by their text
	size     int                 // of the patterns
	left     int                 // steps of the check that runs
}

// errSteps ends a check that takes too long. It is thrown through the library, which holds nothing that it would leave
// half done: what it builds while it validates is reached from its own stack only.
var errSteps = errors.New("takes more steps to check against the schema than one check may")

func newChecker(doc any) (*checker, error) {
	c := &checker{patterns: make(map[string]*pattern), left: MaxSteps}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(nothing{})
	compiler.UseRegexpEngine(c.compilePattern)
	if err := compiler.AddResource(location, doc); err != nil {
		return nil, compileError(err)
	}
	compiled, err := compiler.Compile(location)
	if err != nil {
		return nil, compileError(err)
	}
	c.compiled = compiled
	w := walk{c: c, chains: make(map[*jsonschema.Schema]int)}
	if _, err := w.visit(compiled); err != nil {
		return nil, err
	}
	for len(w.pending) > 0 {
		next := w.pending[len(w.pending)-1]
		w.pending = w.pending[:len(w.pending)-1]
		if _, err := w.visit(next); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *checker) spend(steps int) {
	if c.left -= steps; c.left < 0 {
		panic(errSteps)
	}
}

func (c *checker) check(value any) (err error) {
	c.left = MaxSteps
	defer func() {
		if r := recover(); r != nil {
			if r != errSteps {
				panic(r)
			}
			err = errSteps
		}
	}()
	return dataError(c.compiled.Validate(value))
}

// walk goes through all subschemas, makes each count its steps, and refuses those that apply themselves to one value
// again and again.
type walk struct {
	c *checker
	// chains has the longest chain of subschemas that apply to one value from each on; 0 while it is being found out.
	chains  map[*jsonschema.Schema]int
	pending []*jsonschema.Schema // apply to parts of a value
}

func (w *walk) visit(s *jsonschema.Schema) (chain int, err error) {
	if chain, ok := w.chains[s]; ok {
		if chain == 0 {
			return 0, placed(s.Location, "refers back to itself without going into a part of the value")
		}
		return chain, nil
	}
	w.chains[s] = 0
	if s.DynamicRef != nil || s.RecursiveRef != nil {
		return 0, placed(s.Location, "$dynamicRef and $recursiveRef are not supported; use $ref")
	}
	same, parts := sameValue(s), partsOfValue(s)
	for _, sub := range same {
		below, err := w.visit(sub)
		if err != nil {
			return 0, err
		}
		chain = max(chain, below)
	}
	if chain++; chain > MaxChain {
		return 0, placed(s.Location, "more than "+itoa(MaxChain)+" subschemas apply one through the other")
	}
	w.chains[s] = chain
	for _, sub := range parts {
		if _, seen := w.chains[sub]; !seen {
			w.pending = append(w.pending, sub)
		}
	}
	w.c.meter(s, same, parts)
	return chain, nil
}

// meter makes a subschema count the work of applying it, before it does any.
//
// Invariant: the library asks a subschema's format right after its type, const and enum, and before it goes on to others;
// what a value costs that fails before was counted with the subschema that asked, as weight. Formats themselves are
// remarks here, so theirs is not asked.
func (c *checker) meter(s *jsonschema.Schema, same, parts []*jsonschema.Schema) {
	if s.Bool != nil {
		return
	}
	once, each := 1, 0
	for _, sub := range same {
		once += weight(sub)
	}
	for _, sub := range parts {
		each = max(each, weight(sub))
	}
	// A part is looked at by patternProperties all at once, and else by a few subschemas at most.
	each *= 4 + len(s.PatternProperties)
	unique := s.UniqueItems
	s.Format = &jsonschema.Format{Validate: func(v any) error {
		switch v := v.(type) {
		case []any:
			c.spend(once + len(v)*max(each, 1))
			if unique { // compares each with some others, whole
				n, _ := measure(v)
				c.spend(10 * n)
			}
		case map[string]any:
			c.spend(once + len(v)*max(each, 1))
		default:
			c.spend(once)
		}
		return nil
	}}
}

// weight is what applying a subschema costs before it counts by itself.
func weight(s *jsonschema.Schema) int {
	n := 1
	if s.Const != nil {
		m, _ := measure(*s.Const)
		n += m
	}
	if s.Enum != nil {
		for _, v := range s.Enum.Values {
			m, _ := measure(v)
			n += m
		}
	}
	return n
}

// sameValue lists the subschemas that s applies to the value it is applied to.
func sameValue(s *jsonschema.Schema) []*jsonschema.Schema {
	var subs []*jsonschema.Schema
	for _, sub := range []*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else} {
		subs = appendSome(subs, sub)
	}
	subs = append(append(append(subs, s.AllOf...), s.AnyOf...), s.OneOf...)
	for _, d := range s.Dependencies {
		subs = appendSome(subs, d)
	}
	for _, sub := range s.DependentSchemas {
		subs = append(subs, sub)
	}
	return subs
}

// partsOfValue lists the subschemas that s applies to members, elements or names of the value it is applied to.
func partsOfValue(s *jsonschema.Schema) []*jsonschema.Schema {
	var subs []*jsonschema.Schema
	for _, sub := range []*jsonschema.Schema{
		s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.Items2020, s.UnevaluatedItems,
	} {
		subs = appendSome(subs, sub)
	}
	for _, sub := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		subs = appendSome(subs, sub)
	}
	subs = append(subs, s.PrefixItems...)
	for _, sub := range s.Properties {
		subs = append(subs, sub)
	}
	for _, sub := range s.PatternProperties {
		subs = append(subs, sub)
	}
	return subs
}

// appendSome appends what of a field of the library is a schema, or several.
func appendSome(subs []*jsonschema.Schema, field any) []*jsonschema.Schema {
	switch field := field.(type) {
	case *jsonschema.Schema:
		if field != nil {
			return append(subs, field)
		}
	case []*jsonschema.Schema:
		return append(subs, field...)
	}
	return subs
}

func itoa(n int) string { return strconv.Itoa(n) }

func placed(at, reason string) error {
	if at = pointerOf(at); at != "" {
		reason = at + ": " + reason
	}
	return sidehook.Fieldf("", "%s", reason)
}
