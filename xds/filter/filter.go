// Package filter compiles and asks the filters of webhooks: CEL expressions (Common Expression Language) over one event
// that say whether a webhook wants it, besides its patterns of types. It has no side effects and no state: who asks, and
// what becomes of an event that a filter refuses, is for others to decide.
//
// An expression sees these variables, and the functions and macros of CEL's standard library:
//
//	type, source, subject, app  string
//	time                        timestamp
//	data                        dyn: the event's data, decoded; null when there is none
//
// Whole numbers in data are ints, others doubles; CEL compares both with either.
package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"github.com/sidehook/sidehook"
)

// Bounds of an expression and of what asking it may take.
const (
	// MaxCost bounds one evaluation, in CEL's units: about one for each step, and one for each ten bytes of text that are
	// looked at or made.
	MaxCost = 50_000
	// maxDepth bounds how deeply an expression is nested.
	maxDepth = 50
	// maxPattern bounds the compiled size of a regular expression.
	maxPattern = 1000
)

// Filter is a compiled expression. It may be asked by many goroutines.
type Filter struct {
	text    string
	program cel.Program
}

// env is the same for every expression, takes a while to make, and is never changed.
var env = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("type", cel.StringType), cel.Variable("source", cel.StringType),
		cel.Variable("subject", cel.StringType), cel.Variable("app", cel.StringType),
		cel.Variable("time", cel.TimestampType), cel.Variable("data", cel.DynType),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(sidehook.MaxFilter), cel.ParserRecursionLimit(maxDepth),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateRegexProgramSizeLimit(maxPattern), cel.ValidateComprehensionNestingLimit(2), literalPatterns{},
		),
	)
})

// Compile compiles an expression. The error is a *sidehook.FieldError without a field: it names line and column.
func Compile(text string) (*Filter, error) {
	if strings.TrimSpace(text) == "" {
		return nil, sidehook.Fieldf("", "has no expression; leave it out for no filter")
	}
	if len(text) > sidehook.MaxFilter {
		return nil, sidehook.Fieldf("", "must be at most %d bytes", sidehook.MaxFilter)
	}
	e, err := env()
	if err != nil {
		return nil, fmt.Errorf("CEL environment: %w", err)
	}
	compiled, issues := e.Compile(text)
	if issues != nil && len(issues.Errors()) > 0 {
		return nil, firstIssue(issues)
	}
	if t := compiled.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, sidehook.Fieldf("", `gives a value of type %s; it must be true or false, as in type == "person.created"`, t)
	}
	program, err := e.Program(compiled, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(sizeCost{}),
		cel.CostLimit(MaxCost))
	if err != nil {
		return nil, sidehook.Fieldf("", "cannot be evaluated: %s", oneLine(err.Error()))
	}
	return &Filter{text: text, program: program}, nil
}

func firstIssue(issues *cel.Issues) error {
	first := issues.Errors()[0]
	message := oneLine(first.Message)
	if at := first.Location; at != nil && at.Line() > 0 {
		return sidehook.Fieldf("", "line %d, column %d: %s", at.Line(), at.Column()+1, message)
	}
	return sidehook.Fieldf("", "%s", message)
}

// maxReason bounds what is passed on of CEL's explanations, in bytes.
const maxReason = 300

func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// Matches asks the filter about an event. An error means that the expression has no answer for it: a part of data that
// is not there, say, or a cost over MaxCost. It never contains values of the event's data.
func (f *Filter) Matches(e *Event) (bool, error) {
	got, _, err := f.program.Eval(e)
	if err != nil {
		return false, errors.New(f.explain(oneLine(err.Error())))
	}
	match, ok := got.(types.Bool)
	if !ok {
		return false, fmt.Errorf("gives a value of type %s instead of true or false", got.Type().TypeName())
	}
	return bool(match), nil
}

// explanations are the beginnings of those of CEL's that are passed on; what they say behind a colon is, unless it stands in
// the expression, a value of the event.
var explanations = []string{
	"no such key", "no such attribute", "no such overload", "index out of bounds", "type conversion error from ",
	"division by zero", "divide by zero", "modulus by zero", "unsigned integer overflow", "integer overflow", "data is not JSON",
	outOfRange,
}

const (
	outOfRange   = "a number in data is out of range"
	costExceeded = "operation cancelled: actual cost limit exceeded"
)

// explain leaves out of an explanation what may be a value of the event's data.
func (f *Filter) explain(text string) string {
	if text == costExceeded {
		return text
	}
	known := slices.ContainsFunc(explanations, func(start string) bool { return strings.HasPrefix(text, start) })
	if !known {
		return "a value of the event is not what the expression needs"
	}
	what, detail, _ := strings.Cut(text, ": ")
	if strings.Contains(f.text, detail) {
		return text
	}
	return what
}

// literalPatterns refuses regular expressions that are not written out: what an event brings along must not be compiled.
type literalPatterns struct{}

// Name implements cel.ASTValidator.
func (literalPatterns) Name() string { return "sidehook.literal_patterns" }

// Validate implements cel.ASTValidator.
func (literalPatterns) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	root := ast.NavigateAST(a)
	for _, call := range ast.MatchDescendants(root, ast.FunctionMatcher(overloads.Matches)) {
		args := call.AsCall().Args()
		if pattern := args[len(args)-1]; pattern.Kind() != ast.LiteralKind {
			issues.ReportErrorAtID(pattern.ID(), "the regular expression of matches must be written out")
		}
	}
}
