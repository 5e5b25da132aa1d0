package format_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
)

// checkProducts reads the bodies of the products' formats as their receivers do.
func checkProducts(t *testing.T, e *sidehook.Event) {
	checkEnvelope(t, e, sidehook.FormatSigma, "date", e.Time)
	checkEnvelope(t, e, sidehook.FormatTwenty, "timestamp", e.Time.Truncate(time.Second))
	for _, name := range []string{sidehook.FormatMultisite, sidehook.FormatOMICall} {
		checkFlat(t, e, name)
	}
	checkAPIServer(t, e)
	checkBinary(t, e)
}

// object reads a body that must be one JSON object and nothing around it.
func object(t *testing.T, body []byte) map[string]json.RawMessage {
	t.Helper()
	if !utf8.Valid(body) || len(body) == 0 || body[0] != '{' || body[len(body)-1] != '}' {
		t.Fatalf("not an object in UTF-8 from end to end: %q", body)
	}
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatalf("not valid JSON: %v\n%q", err, body)
	}
	return m
}

func text(t *testing.T, m map[string]json.RawMessage, name string) (s string) {
	t.Helper()
	if err := json.Unmarshal(m[name], &s); err != nil {
		t.Fatalf("%s is %q, want a string: %v", name, m[name], err)
	}
	return s
}

// checkNested checks that m has the event's data in data or data_base64, and returns how many members that takes.
func checkNested(t *testing.T, e *sidehook.Event, m map[string]json.RawMessage) int {
	t.Helper()
	data := bytes.Trim(e.Data, " \t\r\n")
	switch {
	case m["data_base64"] != nil:
		got, err := base64.StdEncoding.DecodeString(text(t, m, "data_base64"))
		if err != nil || !bytes.Equal(got, e.Data) || m["data"] != nil {
			t.Errorf("data_base64 holds %q (%v), want %q; data %q", got, err, e.Data, m["data"])
		}
	case len(e.Data) == 0:
		if string(m["data"]) != "null" {
			t.Errorf("no data became %q", m["data"])
		}
	case !e.IsJSON():
		if got := text(t, m, "data"); got != string(e.Data) {
			t.Errorf("text came back as %q, want %q", got, e.Data)
		}
	case !bytes.Equal(m["data"], data) && !sameJSON(m["data"], data):
		t.Errorf("data is %q, want %q", m["data"], data)
	}
	return 1
}

// sameJSON compares values. What Go cannot hold in a float64 is not compared.
func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return json.Valid(a) && json.Valid(b)
	}
	return reflect.DeepEqual(x, y)
}

func checkEnvelope(t *testing.T, e *sidehook.Event, format, timeName string, want time.Time) {
	t.Helper()
	m := object(t, request(t, format, e).Body)
	at, err := time.Parse(time.RFC3339Nano, text(t, m, timeName))
	if err != nil || !at.Equal(want) || !strings.HasSuffix(text(t, m, timeName), "Z") {
		t.Errorf("%s: %s is %s, want %v", format, timeName, m[timeName], want)
	}
	if got := text(t, m, "event"); got != e.Type {
		t.Errorf("%s: event is %q, want %q", format, got, e.Type)
	}
	if n := checkNested(t, e, m) + 2; len(m) != n {
		t.Errorf("%s: %d members, want %d: %v", format, len(m), n, m)
	}
}

// isObject reports whether the event's data is an object.
func isObject(e *sidehook.Event) bool {
	return e.IsJSON() && bytes.HasPrefix(bytes.TrimLeft(e.Data, " \t\r\n"), []byte("{"))
}

func checkFlat(t *testing.T, e *sidehook.Event, format string) {
	t.Helper()
	body := request(t, format, e).Body
	m := object(t, body)
	switch {
	case isObject(e):
		if want := bytes.Trim(e.Data, " \t\r\n"); !bytes.Equal(body, want) {
			t.Errorf("%s: body is %q, want the data as published: %q", format, body, want)
		}
	case len(e.Data) == 0:
		if string(body) != "{}" {
			t.Errorf("%s: no data became %q", format, body)
		}
	default:
		if n := checkNested(t, e, m); len(m) != n {
			t.Errorf("%s: members %v", format, m)
		}
	}
}

func checkAPIServer(t *testing.T, e *sidehook.Event) {
	t.Helper()
	body := request(t, sidehook.FormatAPIServer, e).Body
	m := object(t, body)
	if got := text(t, m, "event"); got != e.Type && !strings.HasSuffix(e.Type, "."+got) {
		t.Errorf("event is %q of type %q", got, e.Type)
	}
	var ms int64
	if err := json.Unmarshal(m["eventTime"], &ms); err != nil || ms != e.Time.UnixMilli() {
		t.Errorf("eventTime is %s, want %d", m["eventTime"], e.Time.UnixMilli())
	}
	want := map[string]json.RawMessage{}
	switch {
	case isObject(e):
		want = object(t, bytes.Trim(e.Data, " \t\r\n"))
	case len(e.Data) > 0:
		delete(m, "event")
		delete(m, "eventTime")
		if n := checkNested(t, e, m); len(m) != n {
			t.Errorf("members %v", m)
		}
		return
	}
	want["event"], want["eventTime"] = m["event"], m["eventTime"]
	if !reflect.DeepEqual(m, want) {
		t.Errorf("members %s\nwant %s", m, want)
	}
	if n := topLevelNames(t, body); n["event"] != 1 || n["eventTime"] != 1 {
		t.Errorf("event is given %d times, eventTime %d times: %s", n["event"], n["eventTime"], body)
	}
}

// topLevelNames counts the names of an object's own members.
func topLevelNames(t *testing.T, body []byte) map[string]int {
	t.Helper()
	names := map[string]int{}
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		names[name.(string)]++
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func checkBinary(t *testing.T, e *sidehook.Event) {
	t.Helper()
	s := request(t, sidehook.FormatCloudEventsBinary, e)
	if !bytes.Equal(s.Body, e.Data) {
		t.Errorf("body is %q, want the data as published", s.Body)
	}
	if want := e.DataContentType; len(e.Data) > 0 && s.ContentType != want || len(e.Data) == 0 && s.ContentType != "" {
		t.Errorf("content type is %q of %d bytes, want %q", s.ContentType, len(e.Data), want)
	}
	want := map[string]string{
		"ce-specversion": "1.0", "ce-id": e.ID, "ce-source": e.Source, "ce-type": e.Type,
		"ce-time": e.Time.UTC().Format(time.RFC3339Nano),
	}
	for name, value := range e.Extensions {
		want["ce-"+name] = value
	}
	for name, value := range map[string]string{"ce-subject": e.Subject, "ce-dataschema": e.DataSchema} {
		if value != "" {
			want[name] = value
		}
	}
	got := map[string]string{}
	for _, h := range s.Headers {
		if err := sidehook.ValidateHeader(h); err != nil || strings.ContainsFunc(h.Value, func(r rune) bool { return r > '~' }) {
			t.Errorf("header %s: %q: %v", h.Key, h.Value, err)
		}
		value, err := url.PathUnescape(h.Value)
		if err != nil {
			t.Error(err)
		}
		if _, twice := got[h.Key]; twice {
			t.Errorf("header %s is given twice", h.Key)
		}
		got[h.Key] = value
	}
	for name, value := range want {
		if value == "" { // an extension without a value has no header
			delete(want, name)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("headers %q\nwant %q", got, want)
	}
}

// TestTwentyIsPrintedAsJavaScriptWould checks the forms one by one; the Node test checks whole bodies.
func TestTwentyIsPrintedAsJavaScriptWould(t *testing.T) {
	for in, want := range map[string]string{
		" [ 1 , 2 ]\n":                         "[1,2]",
		`{ "a" : { } , "b":[ ] }`:              `{"a":{},"b":[]}`,
		`"\u003c\u003E\u0026\/"`:               `"<>&/"`,
		`"\u2028\u2029\u007f\u00e9"`:           "\"\u2028\u2029\u007fé\"",
		`"\u0008\u000c\u000A\r\t\u0000\u001F"`: `"\b\f\n\r\t\u0000\u001f"`,
		`"\u0022\u005C\" \\ \\u0041"`:          `"\"\\\" \\ \\u0041"`,
		`"\ud83d\ude00 \uD83D\uDE00"`:          `"😀 😀"`,
		`"\uD800"`:                             `"\ud800"`,
		`"\udc00\ud83d\ud83d\ude00"`:           `"\udc00\ud83d😀"`,
		"1.0":                                  "1",
		"-0":                                   "0",
		"-0.0e5":                               "0",
		"1e2":                                  "100",
		"1E+2":                                 "100",
		"1.50":                                 "1.5",
		"-12.340e1":                            "-123.4",
		"0.000001":                             "0.000001",
		"0.0000001":                            "1e-7",
		"1.5e-10":                              "1.5e-10",
		"1e21":                                 "1e+21",
		"100000000000000000000":                "100000000000000000000",
		"1000000000000000000000":               "1e+21",
		"9007199254740993":                     "9007199254740993",       // not exact: as published
		"12345678901234567890.0":               "12345678901234567890.0", // likewise
		"0.1000000000000000055511151":          "0.1000000000000000055511151",
		"1e400":                                "1e400",
		"1e-400":                               "1e-400",
		"0e99999999999999999999":               "0",
		"null":                                 "null",
		"true":                                 "true",
		`{"10":1,"2":0}`:                       `{"10":1,"2":0}`, // order as published
	} {
		e := sidehook.Event{App: "a", ID: "1", Source: "/", Type: "t", Time: at, Data: []byte(in)}
		body := string(request(t, sidehook.FormatTwenty, &e).Body)
		got := strings.TrimSuffix(strings.TrimPrefix(body, `{"event":"t","data":`), `,"timestamp":"2026-03-01T12:30:45Z"}`)
		if got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
		e.Data = []byte(got)
		if again := string(request(t, sidehook.FormatTwenty, &e).Body); again != body {
			t.Errorf("%s is printed as %s when it comes again", body, again)
		}
	}
}
