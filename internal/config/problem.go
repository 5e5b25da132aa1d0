package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong in a file, or worth a second look.
type Problem struct {
	// File as it was named.
	File string
	// Line and Column count from 1; 0 when the problem has no place in the file.
	Line, Column int
	// Field is the path of the key, such as `transformers[0].command`; empty for the file as a whole.
	Field string
	// Reason says what is wrong and how to mend it.
	Reason string
	// Warning: the file can be used all the same.
	Warning bool
}

// String gives file:line:column: field: reason, as compilers do, so that editors can jump to it.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Reason)
	return b.String()
}

// Error is what LoadSidecar and LoadControl return for a file that cannot be used. It carries every problem; warnings
// are among them.
type Error struct {
	Problems []Problem
}

func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Fatal reports whether any of the problems is more than a warning.
func Fatal(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// sortProblems orders by place in the file, and keeps the order in which they were found on one spot.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
