package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
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
}

// report gathers results.
type report struct{ results []result }

func (r *report) add(row, metric string, value float64, unit string) {
	if g, ok := goalOf(row, metric); ok {
		r.addGoal(row, metric, value, unit, g)
		return
	}
	r.results = append(r.results, result{Row: row, Metric: metric, Value: value, Unit: unit})
}

func (r *report) addGoal(row, metric string, value float64, unit string, g goal) {
	holds := g.holds(value)
	r.results = append(r.results, result{Row: row, Metric: metric, Value: value, Unit: unit, Goal: g.String(), Holds: &holds})
}

// missed is an error that names the goals that do not hold, nil when all do.
func (r *report) missed() (err error) {
	for _, res := range r.results {
		if res.Holds != nil && !*res.Holds {
			err = errors.Join(err, fmt.Errorf("%s, %s: %.3g %s, want %s", res.Row, res.Metric, res.Value, res.Unit, res.Goal))
		}
	}
	return err
}

// void takes the figures of a row back.
func (r *report) void(row string) {
	kept := r.results[:0]
	for _, res := range r.results {
		if res.Row != row {
			kept = append(kept, res)
		}
	}
	r.results = kept
	holds := false
	r.results = append(r.results, result{Row: row, Metric: "measured", Unit: "", Goal: "yes", Holds: &holds, Note: "void: see the error"})
}

// machine notes what was measured on.
func (r *report) machine(s settings) {
	note := fmt.Sprintf("%s; Linux %s; %s; payload %d B; events by gRPC stream over %s in batches of up to %d; %s",
		cpuModel(), kernel(), runtime.Version(), s.payload, s.door, s.batch, time.Now().UTC().Format(time.RFC3339))
	if w := diskWarning(s.dir); w != "" {
		note += "; " + w
	}
	r.results = append(r.results, result{Row: "machine", Metric: "cores", Value: float64(runtime.NumCPU()), Unit: "cores", Note: note})
	r.results = append(r.results, result{Row: "machine", Metric: "load before", Value: loadAverage(), Unit: "processes", Note: "by others: it takes from every rate"})
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

func (r *report) write(path string) error {
	text, err := json.MarshalIndent(r.results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
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
