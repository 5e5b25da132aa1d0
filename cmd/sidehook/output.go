package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// The values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// output says how a command prints its result.
type output struct{ format string }

func (o *output) register(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVarP(&o.format, "output", "o", outputTable, "how to print the result: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions([]cobra.Completion{outputTable, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *output) check(cmd *cobra.Command) error {
	if !slices.Contains([]string{outputTable, outputJSON}, o.format) {
		return usagef(cmd, "--output must be %s or %s", outputTable, outputJSON)
	}
	return nil
}

// print writes v as JSON, or calls table.
func (o *output) print(w io.Writer, v any, table func(w io.Writer)) error {
	if o.format == outputJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
		return nil
	}
	table(w)
	return nil
}

// printTable writes rows under headings, in columns.
func printTable(w io.Writer, headings []string, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printRow(tw, headings)
	for _, row := range rows {
		printRow(tw, row)
	}
	_ = tw.Flush() // a terminal that is gone needs no table
}

func printRow(w io.Writer, cells []string) {
	for i, cell := range cells {
		cells[i] = printable(cell)
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), " \t"))
}

// printPairs writes what something is, a line for each of its attributes that has a value.
func printPairs(w io.Writer, pairs ...string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(tw, "%s:\t%s\n", pairs[i], printable(pairs[i+1]))
		}
	}
	_ = tw.Flush()
}

// printable replaces what would move the cursor or hide text: names come from other people.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// ellipsis bounds a cell, in characters.
func ellipsis(s string, longest int) string {
	r := []rune(s)
	if len(r) <= longest {
		return s
	}
	return string(r[:longest-1]) + "…"
}

func timeCell(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
