package schema

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// pattern is a regular expression that counts the steps of its matching. Go's expressions take time linear in the text,
// times their size: that is bounded, since a{1000} alone makes a large machine.
type pattern struct {
	*regexp.Regexp
	c    *checker
	size int
}

// MatchString implements jsonschema.Regexp.
func (p *pattern) MatchString(s string) bool {
	p.c.spend(1 + len(s)*p.size/64)
	return p.Regexp.MatchString(s)
}

func (c *checker) compilePattern(text string) (jsonschema.Regexp, error) {
	if p := c.patterns[text]; p != nil {
		return p, nil
	}
	if len(text) > MaxPattern {
		return nil, fmt.Errorf("must be at most %d bytes", MaxPattern)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			return nil, fmt.Errorf("%s: `%.60s` (RE2 syntax)", se.Code, se.Expr)
		}
		return nil, err
	}
	size := sizeOf(parsed)
	if size > MaxPattern {
		return nil, fmt.Errorf("repeats too much: it makes more than %d steps", MaxPattern)
	}
	if c.size += size; c.size > MaxPatterns {
		return nil, fmt.Errorf("all patterns together repeat too much: they make more than %d steps", MaxPatterns)
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	p := &pattern{Regexp: compiled, c: c, size: size}
	c.patterns[text] = p
	return p, nil
}

// sizeOf is about how many instructions an expression is compiled to.
func sizeOf(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n = 1 + len(re.Rune)/16
	}
	for _, sub := range re.Sub {
		// Saturates: the number of parts and the bytes of an expression are bounded, products of repeats are not.
		n = min(n+sizeOf(sub), 1<<20)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), 1<<20)
	}
	return n
}
