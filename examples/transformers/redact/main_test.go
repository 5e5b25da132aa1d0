package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/plugin"
	"github.com/sidehook/sidehook/plugin/plugintest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	if os.Getenv(plugin.CookieKey) != "" { // started by the conformance suite
		main()
		return
	}
	os.Exit(m.Run())
}

func configured(t testing.TB, args ...string) *redactor {
	t.Helper()
	r, err := configure(args, "ADDRESS ,", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGolden(t *testing.T) {
	r := configured(t, "-keys", "name")
	inputs, err := filepath.Glob("testdata/*.in.json")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, in := range inputs {
		data, err := os.ReadFile(in)
		if err != nil {
			t.Fatal(err)
		}
		item := &plugin.Item{Event: plugin.Event{ID: "e", DataContentType: "application/json", Data: data}}
		result, err := r.Transform(t.Context(), item)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got := "X-Redacted: " + result.Headers()["X-Redacted"] + "\n" + string(result.Data(item)) + "\n"
		golden := strings.TrimSuffix(in, ".in.json") + ".out.json"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
	}
}

func TestNotJSON(t *testing.T) {
	r := configured(t)
	for _, data := range []string{"{", "a@b.c", `{"a":1} {"b":2}`, `{"a":}`, `[1,]`, `{1:2}`, strings.Repeat("[", 100_000)} {
		item := &plugin.Item{Event: plugin.Event{ID: "e", Data: []byte(data)}}
		if got, err := r.Transform(t.Context(), item); err == nil {
			t.Errorf("%.20q passed as %s", data, got.Data(item))
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"-unknown"}} {
		if _, err := configure(args, "", io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	r := configured(t, "-emails=false", "-phones=false")
	out, n, err := r.redact([]byte(`"a@example.com +84912345678"`))
	if err != nil || n != 0 || string(out) != `"a@example.com +84912345678"` {
		t.Errorf("%s %d %v", out, n, err)
	}
}

// FuzzRedact: no input breaks it, and no e-mail address is left in what it makes.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{`{"a":"x@example.com"}`, `["\u0061@example.com",0]`, `{"name":{}}`, "\"+84 912 345 678\"", `{"a":[{"b":1e9}]}`} {
		f.Add([]byte(s))
	}
	r := configured(f, "-keys", "name", "-mask", "#")
	f.Fuzz(func(t *testing.T, data []byte) {
		out, n, err := r.redact(data)
		if err != nil {
			return
		}
		again, m, err := r.redact(out)
		if err != nil {
			t.Fatalf("output %q is not JSON: %v", out, err)
		}
		if len(out) == 0 || n < 0 || m > n {
			t.Fatalf("%q gave %q with %d masked, and again %q with %d", data, out, n, again, m)
		}
	})
}

func TestConformance(t *testing.T) {
	plugintest.Run(t, os.Args[0], "-keys", "name")
}

func BenchmarkRedact(b *testing.B) {
	r := configured(b, "-keys", "name")
	data, err := os.ReadFile("testdata/person.in.json")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, n, err := r.redact(data); err != nil || n == 0 {
			b.Fatal(strconv.Itoa(n), err)
		}
	}
}
