package dialecttest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook/control"
)

// Replay plays each conversation testdata/*.txt on a Plane of its own, as a subtest. prepare, which may be nil, is called
// with the name of the file before it is played.
//
// A file is lines of "# what it shows", and then requests, each with its answer:
//
//	--- request
//	POST /rest/webhooks
//	Authorization: Bearer {{token}}
//
//	{"targetUrl": "https://example.com/"}
//	--- answer
//	201
//	Content-Type: application/json; charset=utf-8
//
//	{
//	  "id": "{{id:uuid}}"
//	}
//
// The answer's headers are those that must be there; its body, when JSON, is indented by two spaces. {{name}} stands for a
// value known by that name: a token of the Plane, or what an answer had where {{name:kind}} stands, kind being a key of
// kinds. basic(user:password) after Authorization: Basic is encoded.
func Replay(t *testing.T, dialect func(*control.Service) http.Handler, prepare func(p *Plane, file string)) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no conversation in testdata (%v)", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := NewPlane(t, dialect)
			if prepare != nil {
				prepare(p, name)
			}
			p.play(t, string(text))
		})
	}
}

// kinds of values that are not known before.
var kinds = map[string]string{
	"uuid":   `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`,
	"hex32":  `[0-9a-f]{64}`, // 32 bytes
	"number": `[1-9][0-9]{0,15}`,
	"text":   `[^"]+`,
}

const (
	requestMark = "--- request\n"
	answerMark  = "--- answer\n"
)

func (p *Plane) play(t *testing.T, text string) {
	t.Helper()
	about, rest, ok := strings.Cut(text, requestMark)
	if !ok || !strings.HasPrefix(about, "# ") {
		t.Fatal("a conversation starts with # and what it shows, and then has requests")
	}
	known := make(map[string]string)
	for name, token := range p.Tokens {
		known[name] = token
	}
	for i, exchange := range strings.Split(rest, requestMark) {
		request, answer, ok := strings.Cut(exchange, answerMark)
		if !ok {
			t.Fatalf("request %d has no answer", i+1)
		}
		p.Tick()
		t.Run(fmt.Sprintf("%d %s", i+1, firstLine(request)), func(t *testing.T) {
			p.exchange(t, fill(request, known), answer, known)
		})
		if t.Failed() {
			return // what follows rests on it
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

var (
	placeholder = regexp.MustCompile(`\{\{(\w+)(?::(\w+))?\}\}`)
	basic       = regexp.MustCompile(`basic\(([^)]*)\)`)
)

// fill puts the known values into a request.
func fill(s string, known map[string]string) string {
	s = placeholder.ReplaceAllStringFunc(s, func(m string) string {
		if v, ok := known[placeholder.FindStringSubmatch(m)[1]]; ok {
			return v
		}
		return m
	})
	return basic.ReplaceAllStringFunc(s, func(m string) string {
		return base64.StdEncoding.EncodeToString([]byte(basic.FindStringSubmatch(m)[1]))
	})
}

// part is a request or an answer: its first line, headers and body.
func part(s string) (first string, headers [][2]string, body string) {
	head, body, _ := strings.Cut(s, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	for _, line := range lines[1:] {
		key, value, _ := strings.Cut(line, ": ")
		headers = append(headers, [2]string{key, value})
	}
	return lines[0], headers, strings.TrimSuffix(body, "\n")
}

func (p *Plane) exchange(t *testing.T, request, answer string, known map[string]string) {
	t.Helper()
	first, headers, body := part(request)
	method, path, _ := strings.Cut(first, " ")
	got, gotBody := p.Call(t, method, path, body, headers...)
	status, headers, wantBody := part(answer)
	if have := fmt.Sprint(got.StatusCode); have != status {
		t.Fatalf("status is %s, want %s; the body:\n%s", have, status, gotBody)
	}
	for _, h := range headers {
		if have := got.Header.Get(h[0]); have != h[1] {
			t.Errorf("%s is %q, want %q", h[0], have, h[1])
		}
	}
	compare(t, wantBody, pretty(gotBody), known)
}

func pretty(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return string(body)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// compare matches a body with what is wanted, and keeps the values that it has for placeholders.
func compare(t *testing.T, want, got string, known map[string]string) {
	t.Helper()
	var pattern strings.Builder
	var fresh []string
	rest := want
	for _, m := range placeholder.FindAllStringSubmatch(want, -1) {
		before, after, _ := strings.Cut(rest, m[0])
		rest = after
		pattern.WriteString(regexp.QuoteMeta(before))
		value, is := known[m[1]]
		switch kind := kinds[m[2]]; {
		case m[2] == "" && is:
			pattern.WriteString(regexp.QuoteMeta(value))
		case kind == "":
			t.Fatalf("%s: is not known, or of no kind", m[0])
		default:
			pattern.WriteString("(" + kind + ")")
			fresh = append(fresh, m[1])
		}
	}
	pattern.WriteString(regexp.QuoteMeta(rest))
	values := regexp.MustCompile(`\A` + pattern.String() + `\z`).FindStringSubmatch(got)
	if values == nil {
		t.Errorf("body (-want +got):\n%s\nwhole:\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")), got)
		return
	}
	for i, name := range fresh {
		known[name] = values[i+1]
	}
}

// Call sends a request and reads the answer.
func (p *Plane) Call(t *testing.T, method, path, body string, headers ...[2]string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		req.Header.Add(h[0], h[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}
