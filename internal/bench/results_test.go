package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestARunOfSomeRowsKeepsTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "results.json")
	run := func(version, at string, figures ...[2]any) {
		t.Helper()
		before, err := readResults(path)
		if err != nil {
			t.Fatal(err)
		}
		r := &report{origin: origin{At: at, Version: version, Machine: "a machine"}}
		r.put(result{Row: machineRow, Metric: "cores", Value: 2})
		for _, f := range figures {
			r.add(f[0].(string), "figure", f[1].(float64), "/s")
		}
		if err := writeResults(path, mergeResults(before, r.results)); err != nil {
			t.Fatal(err)
		}
	}
	run("v1", "monday", [2]any{"disk", 1.0}, [2]any{"bygone", 2.0}, [2]any{"one", 3.0}, [2]any{"one", 4.0})
	run("v2", "tuesday", [2]any{"one", 5.0}, [2]any{"latency50", 6.0})
	run("v3", "wednesday", [2]any{"latency50", 7.0})

	got, err := readResults(path)
	if err != nil {
		t.Fatal(err)
	}
	type short struct {
		row, version, at string
		value            float64
	}
	var have []short
	for _, r := range got {
		if r.Machine != "a machine" {
			t.Errorf("%s was measured on %q", r.Row, r.Machine)
		}
		have = append(have, short{r.Row, r.Version, r.At, r.Value})
	}
	want := []short{
		{machineRow, "v3", "wednesday", 2},
		{"one", "v2", "tuesday", 5},
		{"latency50", "v3", "wednesday", 7},
		{"disk", "v1", "monday", 1},
		{"bygone", "v1", "monday", 2},
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("the file holds %v, want %v", have, want)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file there is something left: %v, %v", left, err)
	}
}

func TestAVoidRowReplacesItsFigures(t *testing.T) {
	old := []result{{Row: "one", Metric: rate, Value: 1}, {Row: "disk", Metric: rate, Value: 2}}
	r := &report{}
	r.add("one", rate, 3, "/s")
	r.void("one")
	merged := mergeResults(old, r.results)
	if len(merged) != 2 || merged[0].Row != "one" || merged[0].Metric == rate || merged[0].Holds == nil || *merged[0].Holds {
		t.Errorf("after the row one was void the file says %+v", merged)
	}
}

func TestResultsThatCannotBeKeptAreRefused(t *testing.T) {
	for _, text := range []string{"", "{}", "[{", `[{"row": 1}]`, `[{"row": "one", "speed": 1}]`, "<<<<<<< ours\n[]"} {
		path := filepath.Join(t.TempDir(), "results.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readResults(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want an error that names the file", text, err)
		}
	}
}
