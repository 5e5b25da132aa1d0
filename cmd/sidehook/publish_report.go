package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// report prints what became of events. With few it prints a table of all, with many the sums; as JSON a line for each
// as it comes. Its methods may be called concurrently.
type report struct {
	json           bool
	stdout, stderr io.Writer

	mu         sync.Mutex
	counts     map[eventsv1.Disposition]int
	deliveries uint64
	refused    int
	rows       [][]string // of the first events
}

const (
	maxRows     = 20 // events that get a row of their own
	maxRefusals = 20 // refusals that are shown
)

// outcome is a line of the JSON output.
type outcome struct {
	Line        int    `json:"line,omitempty"`
	ID          string `json:"id,omitempty"`
	Disposition string `json:"disposition,omitempty"`
	Deliveries  uint32 `json:"deliveries"`
	Error       string `json:"error,omitempty"`
}

func newReport(format string, stdout, stderr io.Writer) *report {
	return &report{
		json: format == outputJSON, stdout: stdout, stderr: stderr, counts: make(map[eventsv1.Disposition]int),
	}
}

// dispositions in the order in which they are summed up.
var dispositions = []struct {
	value eventsv1.Disposition
	name  string
	note  string
}{
	{eventsv1.Disposition_DISPOSITION_ACCEPTED, "accepted", ""},
	{
		eventsv1.Disposition_DISPOSITION_DUPLICATE, "duplicate",
		"duplicate: an event with this id was taken before; nothing was stored again",
	},
	{
		eventsv1.Disposition_DISPOSITION_UNMATCHED, "unmatched",
		"unmatched: no webhook of the app wants this type; nothing was stored",
	},
	{
		eventsv1.Disposition_DISPOSITION_HELD, "held",
		"held: stored until the sidecar gets its first configuration",
	},
}

func dispositionName(d eventsv1.Disposition) string {
	for _, known := range dispositions {
		if known.value == d {
			return known.name
		}
	}
	return d.String()
}

// result reports an event that was taken.
func (r *report) result(line int, res *eventsv1.PublishResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[res.GetDisposition()]++
	r.deliveries += uint64(res.GetDeliveries())
	o := outcome{
		Line: line, ID: res.GetId(), Disposition: dispositionName(res.GetDisposition()),
		Deliveries: res.GetDeliveries(),
	}
	if r.json {
		r.line(o)
		return
	}
	if len(r.rows) <= maxRows {
		r.rows = append(r.rows, []string{o.ID, o.Disposition, strconv.FormatUint(uint64(o.Deliveries), 10)})
	}
}

// refuse reports an event that was not taken.
func (r *report) refuse(line int, id, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused++
	if r.json {
		r.line(outcome{Line: line, ID: id, Error: reason})
		return
	}
	switch {
	case r.refused > maxRefusals:
	case line > 0:
		fmt.Fprintf(r.stderr, "line %d: %s\n", line, printable(reason))
	default:
		fmt.Fprintf(r.stderr, "event %s: %s\n", printable(id), printable(reason))
	}
}

func (r *report) line(o outcome) {
	_ = json.NewEncoder(r.stdout).Encode(o) // strings and numbers always encode; who closed the pipe wants no more
}

// empty reports whether nothing has been reported.
func (r *report) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken()+r.refused == 0
}

func (r *report) taken() int {
	n := 0
	for _, c := range r.counts {
		n += c
	}
	return n
}

// finish prints the table or the sums.
func (r *report) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused > maxRefusals && !r.json {
		fmt.Fprintf(r.stderr, "… and %d more\n", r.refused-maxRefusals)
	}
	sums := r.stdout
	switch {
	case r.json:
		sums = r.stderr // standard output has a line for each event and nothing else
	case len(r.rows) > 0 && len(r.rows) <= maxRows:
		printTable(r.stdout, []string{"ID", "RESULT", "DELIVERIES"}, r.rows)
	}
	if total := r.taken() + r.refused; total > 1 {
		fmt.Fprintf(sums, "%d events:", total)
		sep := " "
		for _, d := range dispositions {
			if n := r.counts[d.value]; n > 0 {
				fmt.Fprintf(sums, "%s%d %s", sep, n, d.name)
				sep = ", "
			}
		}
		if r.refused > 0 {
			fmt.Fprintf(sums, "%s%d refused", sep, r.refused)
		}
		fmt.Fprintf(sums, "; %d deliveries\n", r.deliveries)
	}
	if !r.json {
		for _, d := range dispositions {
			if d.note != "" && r.counts[d.value] > 0 {
				fmt.Fprintln(r.stderr, d.note)
			}
		}
	}
}
