package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

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

// TestWhatIsKept: what is not masked stays as it is, byte for byte, and what is masked stays JSON.
func TestWhatIsKept(t *testing.T) {
	r := configured(t, "-keys", "name", "-mask", `"\`)
	for in, want := range map[string]string{
		" {\t\"a\" : 1.0e+2 ,\r\n\"b\":[ ] } ":   " {\t\"a\" : 1.0e+2 ,\r\n\"b\":[ ] } ",
		`["\u00e9\/", "a@example.com" ]`:         `["\u00e9\/", "\"\\" ]`,
		`["\u00e9 \u0061@example.com <"]`:        `["é \"\\ <"]`,
		`{"n\u0061me" : {"x":"a@example.com"} }`: `{"n\u0061me" : "\"\\" }`,
		`{"NAME":["\"", {"name":7}], "name":1}`:  `{"NAME":"\"\\", "name":"\"\\"}`,
		`{"name": null,"x":"a\\"}`:               `{"name": null,"x":"a\\"}`,
		`[]`:                                     `[]`, `-0`: `-0`, `""`: `""`,
	} {
		if got, _, err := r.redact([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s %v\nwant %s", in, got, err, want)
		}
	}
}

// TestRefusesWhatIsNotJSON: also where there is nothing to look for.
func TestRefusesWhatIsNotJSON(t *testing.T) {
	r, err := configure([]string{"-emails=false", "-phones=false"}, "", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{`{"\x":1}`, `{"a":"\x"}`, "{\"\x01\":1}", `{"a":1,}`, `{"a":tru}`, `[1 2]`, `{}{}`, "\"\xff\"", `"\"`} {
		if out, _, err := r.redact([]byte(in)); err == nil {
			t.Errorf("%q passed on as %q", in, out)
		}
	}
}

// FuzzRedact: no input breaks it, what is not JSON is refused and only that, and what it makes is JSON.
func FuzzRedact(f *testing.F) {
	for _, s := range []string{
		`{"a":"x@example.com"}`, `["\u0061@example.com",0]`, `{"name":{}}`, "\"+84 912 345 678\"", `{"a":[{"b":1e9}]}`,
		`{"\ud800":"\"@a.b"}`, `["\\"]`, "\"\x01\"", `{"a" 1}`, `{"name":{"name":[1,"a@b.c"]},"b":"c@d.e"}`, `[tru]`, `"\x"`, "\"\xff\"",
	} {
		f.Add([]byte(s))
	}
	r := configured(f, "-keys", "name", "-mask", "#")
	f.Fuzz(func(t *testing.T, data []byte) {
		out, n, err := r.redact(data)
		if valid := json.Valid(data) && utf8.Valid(data); valid != (err == nil) && !bytes.Contains(data, []byte("[[[[")) {
			t.Fatalf("%q: %v, but whether it is JSON is %v", data, err, valid)
		}
		if err != nil {
			return
		}
		if !json.Valid(out) || n == 0 && !bytes.Equal(out, data) {
			t.Fatalf("%q gave %q with %d masked", data, out, n)
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

// FuzzPatterns holds what is found by hand to the expressions that stand above the functions.
func FuzzPatterns(f *testing.F) {
	email := regexp.MustCompile(`[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)+`)
	phone := regexp.MustCompile(`(\+[0-9]|\b0[0-9])([ .\-()]{0,2}[0-9]){7,14}\b`)
	for _, s := range []string{
		"", "@", "a@b", "a@b.c", "a@b.c.", "a@b..c", "a@@b.c d@e.f", "a@b@c.d-e@f.g", "x a.b+c@m.e-x.co, y", "é@b.c", "a@b.c@d.e",
		"+84 912 345 678", "0912345678", "a0912345678", "00912345678", "+8491234567890123456", "0912-(34) 5678 9012 345 678 9",
		"0123456", "01234567", "01234567_", "0123456 7_", "01234567 _", "012345678901234 5", "+0+012345678", "0 1 2 3 4 5 6 7 8", "02  3456789", "01   2345678",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range []struct {
			name string
			find func([]byte, int) (int, int)
			want *regexp.Regexp
		}{{"email", findEmail, email}, {"phone", findPhone, phone}} {
			got, _ := replaceAll([]byte(s), []byte("#"), p.find)
			if want := p.want.ReplaceAllString(s, "#"); string(got) != want {
				t.Fatalf("%s in %q: got %q, want %q", p.name, s, got, want)
			}
		}
	})
}

func TestConformance(t *testing.T) {
	plugintest.Run(t, os.Args[0], "-keys", "name")
}

func BenchmarkRedact(b *testing.B) {
	person, err := os.ReadFile("testdata/person.in.json")
	if err != nil {
		b.Fatal(err)
	}
	// Nothing to mask, and hardly a byte that could not begin something: the most that a kilobyte costs.
	token := []byte(`{"id":1000000000000001234,"token":"` + strings.Repeat("Zm9v+mJh0cgAx7Qk-", 58) + `"}`)
	for name, data := range map[string][]byte{"person": person, "token": token} {
		b.Run(name, func(b *testing.B) {
			r := configured(b, "-keys", "name")
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, n, err := r.redact(data); err != nil || (n > 0) != (name == "person") {
					b.Fatal(n, err)
				}
			}
		})
	}
}
