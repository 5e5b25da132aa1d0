package filter_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds/filter"
)

func event(data string) *sidehook.Event {
	e := &sidehook.Event{
		App: "shop", ID: "e1", Source: "/orders", Type: "order.paid", Subject: "vn/42",
		Time: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), Data: []byte(data),
	}
	e.Normalize(time.Now())
	return e
}

func TestMatches(t *testing.T) {
	const data = `{"amount": 150, "rate": 0.5, "big": 9007199254740993, "items": [{"sku": "a1"}, {"sku": "c3"}], "who": null, "ok": true}`
	for expression, want := range map[string]bool{
		`type == "order.paid"`:                               true,
		`type == "order.made"`:                               false,
		`source == "/orders" && app == "shop"`:               true,
		`subject.startsWith("vn/")`:                          true,
		`subject.matches("^[a-z]+/[0-9]+$")`:                 true,
		`time > timestamp("2026-01-01T00:00:00Z")`:           true,
		`time.getFullYear() == 2025`:                         false,
		`data.amount > 100`:                                  true,
		`data.amount > 150.5`:                                false,
		`data.amount == 150.0`:                               true,
		`data.rate < 1`:                                      true,
		`data.big == 9007199254740993`:                       true,
		`data.items.exists(i, i.sku in ["a1", "b2"])`:        true,
		`data.items.all(i, i.sku == "a1")`:                   false,
		`has(data.test)`:                                     false,
		`!has(data.test) && size(data.items) == 2`:           true,
		`data.who == null`:                                   true,
		`data.ok`:                                            true,
		`data["amount"] >= 150`:                              true,
		`true`:                                               true,
		`data.missing == 1 || type == "order.paid"`:          true,
		"data.amount > 100 // worth it\n&& data.items != []": true,
	} {
		f, err := filter.Compile(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if got, err := f.Matches(filter.Of(event(data))); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", expression, got, err, want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for expression, want := range map[string]string{
		``:                                   "has no expression",
		` `:                                  "has no expression",
		`typ == "a"`:                         "line 1, column 1: undeclared reference to 'typ'",
		"type == \"a\"\n  && nope":           "line 2, column 6: undeclared reference to 'nope'",
		`type ==`:                            "line 1, column 8: Syntax error",
		`type == 1`:                          "no matching overload",
		`type`:                               "gives a value of type string",
		`size(type)`:                         "gives a value of type int",
		`subject.matches("[")`:               "line 1, column 17",
		`subject.matches(data.pattern)`:      "must be written out",
		`matches(subject, type)`:             "must be written out",
		`subject.matches("(a{1000}){1000}")`: "line 1",
		strings.Repeat("(", 200) + "true":    "recursion limit exceeded",
		strings.Repeat("!", 3000) + "true":   "at most 2048 bytes",
		`timestamp("yesterday") < time`:      "line 1",
		"\x00":                               "line 1",
		"[1,2].all(a,[1].all(b,[1].all(c,[1].all(d, true))))": "line 1",
	} {
		_, err := filter.Compile(expression)
		var fe *sidehook.FieldError
		if !errors.As(err, &fe) || fe.Field != "" || !strings.Contains(fe.Reason, want) || strings.Contains(fe.Reason, "\n") {
			t.Errorf("%.60q: %v, want %q", expression, err, want)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	for expression, want := range map[string]struct{ data, err string }{
		`data.missing == 1`: {`{}`, "no such key: missing"},
		`data.n > 1`:        {`{"n":"secret text"}`, "no such overload"},
		`data.n`:            {`{"n":1}`, "gives a value of type int"},
		`data.x == 1`:       {``, "no such key"},
		`data.all(a, data.all(b, a != b || true))`: {"[" + strings.Repeat("1,", 2000) + "1]", "cost limit exceeded"},
		`data.s + data.s + data.s + data.s != ""`:  {`{"s":"` + strings.Repeat("x", 250_000) + `"}`, "cost limit exceeded"},
		`data == 1`: {`1e999`, "out of range"},
		// What the event brings along is not told.
		`data[data.s] == 1`:                 {`{"s":"secret"}`, "no such key"},
		`[1, 2][data.n] == 1`:               {`{"n":77}`, "index out of bounds"},
		`timestamp(data.s) > time`:          {`{"s":"secret"}`, "is not what the expression needs"},
		`time.getHours(data.s) > 1`:         {`{"s":"secret"}`, "is not what the expression needs"},
		`int(data.s) > 1`:                   {`{"s":"secret"}`, "type conversion error from 'string' to 'int'"},
		`data.n / 0 == 1`:                   {`{"n":77}`, "by zero"},
		`data.n * 9223372036854775807 == 1`: {`{"n":77}`, "overflow"},
	} {
		f, err := filter.Compile(expression)
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		got, err := f.Matches(filter.Of(event(want.data)))
		if got || err == nil || !strings.Contains(err.Error(), want.err) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "77") || len(err.Error()) > 400 {
			t.Errorf("%s is %v, %v; want %q", expression, got, err, want.err)
		}
	}
	f, err := filter.Compile(`data == null || type == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	text := event("plain")
	text.DataContentType = "text/plain"
	if got, err := f.Matches(filter.Of(text)); got || err == nil || !strings.Contains(err.Error(), "data is not JSON") {
		t.Errorf("of text: %v, %v", got, err)
	}
}

// TestManyAtOnce: a filter is for many goroutines.
func TestManyAtOnce(t *testing.T) {
	f, err := filter.Compile(`data.n % 2 == 0`)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got, err := f.Matches(filter.Of(event(`{"n":4}`))); err != nil || !got {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzFilter: whatever is written, compiling and asking end, without a panic and with errors that fit a line.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		`data.a > 1`, `type.matches("a+")`, `data.map(x, x)`, `{"a": [1]}.a[0] == 1`, `duration("1s") < duration(data.d)`,
		`"\xff"`, `b"a" == b"a"`, `data.a.b[0].c`, `1/0 == 1`, `string(data).size() > 3`, `[data][0].x`, `!!!true`,
	} {
		f.Add(s, `{"a":{"b":[{"c":true}]},"d":"1s"}`)
	}
	f.Add(`data`, `[[[[]]]]`)
	f.Fuzz(func(t *testing.T, expression, data string) {
		compiled, err := filter.Compile(expression)
		if err != nil {
			if !errors.As(err, new(*sidehook.FieldError)) || strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("refused with %T %v", err, err)
			}
			return
		}
		if _, err := compiled.Matches(filter.Of(event(data))); err != nil && strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("no answer: %v", err)
		}
	})
}

func BenchmarkMatches(b *testing.B) {
	for name, expression := range map[string]string{
		"attributes": `type == "order.paid" && subject.startsWith("vn/")`, "data": `data.amount > 100`,
	} {
		b.Run(name, func(b *testing.B) {
			f, err := filter.Compile(expression)
			if err != nil {
				b.Fatal(err)
			}
			e := event(`{"amount": 150, "note": "` + strings.Repeat("x", 950) + `"}`)
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := f.Matches(filter.Of(e)); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
