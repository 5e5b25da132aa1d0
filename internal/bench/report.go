package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// result is a figure.
type result struct {
	Row    string  `json:"row"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Goal in words; empty: there is none.
	Goal string `json:"goal"`
	// Holds says whether the goal is reached; null where there is none.
	Holds *bool `json:"holds"`
	// Note is for people.
	Note string `json:"note,omitempty"`
	origin
}

// origin says where a figure comes from: the rows of a file need not be of one run.
type origin struct {
	// At is when the row began, by RFC 3339.
	At string `json:"at"`
	// Version is that of the binary that was measured.
	Version string `json:"version"`
	// Machine says what it was measured on, and with which settings.
	Machine string `json:"machine"`
	// Load is how many processes of others ran before its run.
	Load float64 `json:"load"`
}

// report gathers results.
type report struct {
	results []result
	origin  origin // of what is added
}

// add adds a figure, with its goal when it has one.
func (r *report) add(row, metric string, value float64, unit string) {
	if g, ok := goalOf(row, metric); ok {
		r.addGoal(row, metric, value, unit, g)
		return
	}
	r.put(result{Row: row, Metric: metric, Value: value, Unit: unit})
}

func (r *report) addGoal(row, metric string, value float64, unit string, g goal) {
	holds := g.holds(value)
	r.put(result{Row: row, Metric: metric, Value: value, Unit: unit, Goal: g.String(), Holds: &holds})
}

func (r *report) put(res result) {
	res.origin = r.origin
	r.results = append(r.results, res)
}

// begin notes that what is added from now on is measured from now on.
func (r *report) begin() { r.origin.At = time.Now().UTC().Format(time.RFC3339) }

// missed is an error that names the goals that do not hold, nil when all do.
func (r *report) missed() (err error) {
	for _, res := range r.results {
		if res.Holds != nil && !*res.Holds {
			err = errors.Join(err, fmt.Errorf("%s, %s: %.3g %s, want %s", res.Row, res.Metric, res.Value, res.Unit, res.Goal))
		}
	}
	return err
}

// drop takes the figures of a row back.
func (r *report) drop(row string) {
	r.results = slices.DeleteFunc(r.results, func(res result) bool { return res.Row == row })
}

// void says instead of the figures of a row that it could not be measured.
func (r *report) void(row string) {
	r.drop(row)
	holds := false
	r.put(result{Row: row, Metric: "measured", Goal: "yes", Holds: &holds, Note: "void: see the error"})
}

// machineRow holds what was found before the latest run.
const machineRow = "machine"

// machine notes what is measured, and on what.
func (r *report) machine(s settings) error {
	version, err := versionOf(s.binary)
	if err != nil {
		return err
	}
	r.origin = origin{Version: version, Machine: describeMachine(s), Load: loadAverage()}
	r.begin()
	r.put(result{Row: machineRow, Metric: "cores", Value: float64(runtime.NumCPU()), Unit: "cores", Note: r.origin.Machine + "; " + version})
	r.put(result{
		Row: machineRow, Metric: "load before", Value: r.origin.Load, Unit: "processes",
		Note: "by others: it takes from every rate of this run",
	})
	return nil
}

func describeMachine(s settings) string {
	text := fmt.Sprintf("%s, %d cores; Linux %s; %s; payload %d B; events by gRPC stream over %s in batches of up to %d; measured for %s",
		cpuModel(), runtime.NumCPU(), kernel(), runtime.Version(), s.payload, s.door, s.batch, s.duration)
	if s.scale != 1 {
		text += fmt.Sprintf("; sizes of fleet, growth and soak times %g", s.scale)
	}
	if w := diskWarning(s.dir); w != "" {
		text += "; " + w
	}
	return text
}

// versionOf asks the binary what it is.
func versionOf(binary string) (string, error) {
	program, err := filepath.Abs(binary)
	if err != nil {
		return "", err
	}
	out, err := exec.Command(program, "version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version (build it with make build): %w", binary, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first, nil
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tmetric\tvalue\tunit\tgoal\tholds")
	for _, res := range r.results {
		holds := ""
		if res.Holds != nil {
			holds = map[bool]string{true: "yes", false: "NO"}[*res.Holds]
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", res.Row, res.Metric, number(res.Value), res.Unit, res.Goal, holds)
	}
	_ = t.Flush() // a terminal that cannot be written to is nobody's loss
	for _, res := range r.results {
		if res.Note != "" {
			fmt.Fprintf(w, "%s, %s: %s\n", res.Row, res.Metric, res.Note)
		}
	}
}

// number shows three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 100:
		return fmt.Sprintf("%.1f", v)
	case v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

func loadAverage() float64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return float64(info.Loads[0]) / (1 << 16)
}
