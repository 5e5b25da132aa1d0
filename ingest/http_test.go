package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/client"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/sidehook/sidehook"
)

// openHTTP serves s over HTTP on loopback and returns the URL.
func openHTTP(t testing.TB, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := NewHTTP(s)
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(s.Stop(ctx), h.Shutdown(ctx)); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

const structured = "application/cloudevents+json"

// post sends a request with headers in pairs and returns status, headers and body.
func post(t testing.TB, url, body string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(limited(t), http.MethodPost, url+EventsPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req, headers...)
}

func do(t testing.TB, req *http.Request, headers ...string) (int, http.Header, string) {
	t.Helper()
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		} else {
			req.Header.Add(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestHTTPTakesWhatTheSDKSends(t *testing.T) {
	k := newKeeper("demo")
	url := openHTTP(t, NewServer(Options{Acceptor: k}))
	ce := event.New()
	ce.SetID("e-1")
	ce.SetSource("/channels/42")
	ce.SetType("livestream.channel.live")
	ce.SetSubject("Kênh 42")
	ce.SetTime(time.Unix(1700000000, 5))
	ce.SetDataSchema("https://example.com/schema")
	ce.SetExtension("app", "demo")
	ce.SetExtension("orderingkey", "ch-42")
	ce.SetExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ce.SetExtension("count", 7)
	if err := ce.SetData("application/json", map[string]any{"live": true}); err != nil {
		t.Fatal(err)
	}
	p, err := cehttp.New(cehttp.WithTarget(url + EventsPath))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(p)
	if err != nil {
		t.Fatal(err)
	}
	for name, ctx := range map[string]context.Context{
		"structured": cehttpContext(limited(t), true), "binary": cehttpContext(limited(t), false),
	} {
		result := c.Send(ctx, ce)
		var status *cehttp.Result
		if !errors.As(result, &status) || status.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v", name, result)
		}
	}
	req, err := cehttp.NewHTTPRequestFromEvents(limited(t), url+EventsPath, []event.Event{ce, ce})
	if err != nil {
		t.Fatal(err)
	}
	code, _, body := do(t, req)
	if want := `{"results":[{"id":"e-1","disposition":"accepted","deliveries":0},{"id":"e-1","disposition":"duplicate","deliveries":1}]}`; code != 200 || strings.TrimSpace(body) != want {
		t.Errorf("batch: %d %s", code, body)
	}
	got := k.taken()
	if len(got) != 4 {
		t.Fatalf("%d events", len(got))
	}
	for _, e := range got {
		if e.ID != "e-1" || e.App != "demo" || e.OrderingKey != "ch-42" || e.Source != "/channels/42" || e.Subject != "Kênh 42" ||
			!e.Time.Equal(time.Unix(1700000000, 5)) || e.DataSchema != "https://example.com/schema" || string(e.Data) != `{"live":true}` ||
			len(e.Extensions) != 2 || e.Extensions["count"] != "7" || !strings.HasPrefix(e.Extensions["traceparent"], "00-0af7") {
			t.Errorf("got %+v", e)
		}
	}
}

func cehttpContext(ctx context.Context, structuredMode bool) context.Context {
	if structuredMode {
		return withStructured(ctx)
	}
	return withBinary(ctx)
}

func TestHTTPKeepsDataAsSent(t *testing.T) {
	for _, tc := range []struct {
		name, contentType, body, want string
		headers                       []string
	}{
		{
			"JSON", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"t","data": {"b" : 1.0, "a":"\u00e9<>" , "n":12345678901234567890} }`,
			`{"b" : 1.0, "a":"\u00e9<>" , "n":12345678901234567890}`, nil,
		},
		{"JSON before the attributes", structured, `{"data":[ 1,2 ],"type":"t","source":"/s","id":"1","specversion":"1.0"}`, `[ 1,2 ]`, nil},
		{"JSON null", structured, `{"data":null,"type":"t","source":"/s","id":"1","specversion":"1.0"}`, `null`, nil},
		{"no data", structured, `{"type":"t","source":"/s","id":"1","specversion":"1.0","subject":null}`, ``, nil},
		{"a string that is JSON", structured, `{"type":"t","source":"/s","id":"1","specversion":"1.0","data":"{}"}`, `"{}"`, nil},
		{"text", structured, `{"type":"t","source":"/s","id":"1","specversion":"1.0","datacontenttype":"text/plain","data":"xin ch\u00e0o\n<b>"}`, "xin chào\n<b>", nil},
		{"bytes", structured, `{"type":"t","source":"/s","id":"1","specversion":"1.0","datacontenttype":"image/png","data_base64":"AP8B"}`, "\x00\xff\x01", nil},
		{"bytes first", structured, `{"data_base64":"AP8B","type":"t","source":"/s","id":"1","specversion":"1.0","datacontenttype":"image/png"}`, "\x00\xff\x01", nil},
		{"binary", "application/json", " {\"a\":1}\n", " {\"a\":1}\n", []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "t"}},
		{"binary bytes", "application/octet-stream", "\x00\xff", "\x00\xff", []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/s", "ce-type", "t"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newKeeper("demo")
			url := openHTTP(t, NewServer(Options{Acceptor: k, DefaultApp: "demo"}))
			code, _, body := post(t, url, tc.body, append(tc.headers, "Content-Type", tc.contentType)...)
			if code != http.StatusOK {
				t.Fatalf("%d %s", code, body)
			}
			if got := string(k.taken()[0].Data); got != tc.want {
				t.Errorf("data %q, want %q", got, tc.want)
			}
		})
	}
}

func TestHTTPDecodesHeaders(t *testing.T) {
	k := newKeeper("demo")
	url := openHTTP(t, NewServer(Options{Acceptor: k, DefaultApp: "demo"}))
	code, _, body := post(t, url, "", "ce-specversion", "1.0", "ce-id", "1", "ce-type", "t", "ce-source", "/a?b=c",
		"ce-subject", "K%C3%AAnh%2042", "ce-note", `"a \"b\" 100%"`)
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	e := k.taken()[0]
	if e.Subject != "Kênh 42" || e.Extensions["note"] != `a "b" 100%` || e.Source != "/a?b=c" {
		t.Errorf("got %+v", e)
	}
}

func TestHTTPRefuses(t *testing.T) {
	const good = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	batch := "application/cloudevents-batch+json"
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
		field, detail           string
		headers                 []string
	}{
		{"no CloudEvent", "application/json", `{}`, 415, "", "not a CloudEvent", nil},
		{"no content type", "", `{}`, 415, "", "not a CloudEvent", nil},
		{"XML", "application/cloudevents+xml", `<e/>`, 415, "", "not a CloudEvent", nil},
		{"compressed", structured, `{}`, 415, "", "Content-Encoding", []string{"Content-Encoding", "gzip"}},
		{"empty", structured, ``, 400, "", "not valid JSON", nil},
		{"cut short", structured, `{` + good, 400, "", "not valid JSON", nil},
		{"an array", structured, `[]`, 400, "", "JSON object", nil},
		{"two values", structured, `{` + good + `}{}`, 400, "", "not valid JSON", nil},
		{"no specversion", structured, `{"id":"1","source":"/s","type":"t"}`, 400, "specversion", "1.0", nil},
		{"specversion 0.3", structured, `{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, 400, "specversion", "1.0", nil},
		{"no id", structured, `{"specversion":"1.0","source":"/s","type":"t"}`, 400, "id", "required", nil},
		{"null id", structured, `{"specversion":"1.0","id":null,"source":"/s","type":"t"}`, 400, "id", "required", nil},
		{"id a number", structured, `{"specversion":"1.0","id":1,"source":"/s","type":"t"}`, 400, "id", "JSON string", nil},
		{"id twice", structured, `{` + good + `,"id":"2"}`, 400, "id", "twice", nil},
		{"empty name", structured, `{"":1,` + good + `}`, 400, "", "name", nil},
		{"no source", structured, `{"specversion":"1.0","id":"1","type":"t"}`, 400, "source", "required", nil},
		{"bad source", structured, `{"specversion":"1.0","id":"1","source":"%zz","type":"t"}`, 400, "source", "URI", nil},
		{"bad type", structured, `{"specversion":"1.0","id":"1","source":"/s","type":"*"}`, 400, "type", "A-Z", nil},
		{"bad time", structured, `{` + good + `,"time":"yesterday"}`, 400, "time", "RFC 3339", nil},
		{"content type", structured, `{` + good + `,"datacontenttype":"a/b/c","data_base64":""}`, 400, "datacontenttype", "media type", nil},
		{"both data", structured, `{` + good + `,"data":1,"data_base64":""}`, 400, "data_base64", "beside", nil},
		{"base64 a number", structured, `{"data_base64":1,` + good + `}`, 400, "data_base64", "JSON string", nil},
		{"not base64", structured, `{"data_base64":"*",` + good + `}`, 400, "data_base64", "base64", nil},
		{"base64 not JSON", structured, `{"data_base64":"AA==",` + good + `}`, 400, "data", "not valid JSON", nil},
		{"data not UTF-8", structured, `{` + good + `,"data":"` + "\xff" + `"}`, 400, "data", "not valid JSON", nil},
		{"base64 not UTF-8", structured, `{"data_base64":"Iv8i",` + good + `}`, 400, "data", "not valid JSON", nil},
		{"text not a string", structured, `{` + good + `,"datacontenttype":"text/plain","data":{}}`, 400, "", "expected a string", nil},
		{"extension an object", structured, `{` + good + `,"x":{}}`, 400, "x", "a string, a boolean", nil},
		{"extension a fraction", structured, `{` + good + `,"x":1.5}`, 400, "x", "32 bits", nil},
		{"extension too big", structured, `{` + good + `,"x":2147483648}`, 400, "x", "32 bits", nil},
		{"extension name", structured, `{` + good + `,"X_y":"1"}`, 400, "X_y", "not a name", nil},
		{"ordering key", structured, `{` + good + `,"orderingkey":"\u0000"}`, 400, "orderingkey", "control", nil},
		{"app", structured, `{` + good + `,"app":"a b"}`, 400, "app", "A-Z", nil},
		{"unknown app", structured, `{` + good + `,"app":"nobody"}`, 404, "app", "does not serve", nil},
		{"data too large", structured, `{` + good + `,"data":"` + strings.Repeat("x", 300) + `"}`, 413, "data", "limit of 200", nil},
		{"body too large", structured, `{` + good + `,"data":"` + strings.Repeat("x", MaxRequestBytes) + `"}`, 413, "body", "too large", nil},
		{"empty batch", batch, `[]`, 400, "events", "1 to 1000", nil},
		{"batch not an array", batch, `{}`, 400, "", "JSON array", nil},
		{"batch of numbers", batch, `[1]`, 400, "events[0]", "JSON object", nil},
		{"batch too long", batch, `[` + strings.Repeat(`{`+good+`},`, 1000) + `{` + good + `}]`, 400, "events", "1 to 1000", nil},
		{"bad in a batch", batch, `[{` + good + `},{` + good + `,"subject":"\n"}]`, 400, "events[1].subject", "control", nil},
		{"kind in a batch", batch, `[{` + good + `},{` + good + `,"subject":7}]`, 400, "events[1].subject", "JSON string", nil},
		{"binary without specversion", "", ``, 400, "specversion", "required", []string{"ce-id", "1"}},
		{"binary specversion", "", ``, 400, "specversion", "1.0", []string{"ce-specversion", "9"}},
		{"binary specversion 0.3", "", ``, 400, "specversion", "1.0", []string{"ce-specversion", "0.3", "ce-id", "1"}},
		{"binary id twice", "", ``, 400, "id", "once", []string{"ce-specversion", "1.0", "ce-id", "1", "ce-id", "2"}},
		{"binary bare prefix", "", ``, 400, "", "not a name", []string{"ce-specversion", "1.0", "ce-", "1"}},
		{"binary data attribute", "", ``, 400, "data", "not a name", []string{"ce-specversion", "1.0", "ce-data", "1"}},
		{"binary datacontenttype", "", ``, 400, "datacontenttype", "Content-Type", []string{"ce-specversion", "1.0", "ce-datacontenttype", "1"}},
		{"binary time", "", ``, 400, "time", "RFC 3339", []string{"ce-specversion", "1.0", "ce-time", "1"}},
		{"binary CR LF", "", ``, 400, "subject", "control", []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/", "ce-type", "t", "ce-subject", "a%0d%0aX: y"}},
		{"binary not UTF-8", "application/json", "{\"a\":\"\xff\"}", 400, "data", "not valid JSON", []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/", "ce-type", "t"}},
		{"rebound host", structured, `{` + good + `}`, 421, "", "Host", []string{"Host", "evil.example:4461"}},
		{"localhost look-alike", structured, `{` + good + `}`, 421, "", "Host", []string{"Host", "localhost.evil.example"}},
		{"another address", structured, `{` + good + `}`, 421, "", "Host", []string{"Host", "10.0.0.1"}},
		{"a web page", structured, `{` + good + `}`, 403, "", "origins", []string{"Sec-Fetch-Site", "cross-site"}},
		{"a web page's origin", structured, `{` + good + `}`, 403, "", "origins", []string{"Origin", "https://evil.example"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newKeeper("demo")
			url := openHTTP(t, NewServer(Options{Acceptor: k, DefaultApp: "demo", MaxData: 200}))
			headers := tc.headers
			if tc.contentType != "" {
				headers = append(headers, "Content-Type", tc.contentType)
			}
			code, header, body := post(t, url, tc.body, headers...)
			p := readProblem(t, header, body)
			if code != tc.status || p.Status != code || !strings.Contains(p.Detail, tc.detail) {
				t.Fatalf("%d %s; want %d with %q", code, body, tc.status, tc.detail)
			}
			field := ""
			if len(p.Errors) > 0 {
				field = p.Errors[0].Field
			}
			if field != tc.field {
				t.Errorf("field %q, want %q", field, tc.field)
			}
			if len(k.taken()) != 0 {
				t.Error("taken all the same")
			}
		})
	}
}

func readProblem(t testing.TB, header http.Header, body string) problem {
	t.Helper()
	var p problem
	if ct := header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q: %s", ct, body)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	return p
}

func TestHTTPHosts(t *testing.T) {
	url := openHTTP(t, NewServer(Options{Acceptor: newKeeper("demo"), DefaultApp: "demo", AllowedHosts: []string{"Sidecar.Local."}}))
	for _, host := range []string{"localhost", "LOCALHOST:4461", "app.localhost", "127.0.0.1", "127.9.9.9:1", "[::1]:4461", "sidecar.local:99", "localhost."} {
		if code, _, body := post(t, url, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, "Content-Type", structured, "Host", host); code != 200 {
			t.Errorf("Host %s: %d %s", host, code, body)
		}
	}
}

func TestHTTPMethodsAndPaths(t *testing.T) {
	url := openHTTP(t, NewServer(Options{Acceptor: newKeeper("demo")}))
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, EventsPath, 405},
		{http.MethodPut, EventsPath, 405},
		{http.MethodOptions, EventsPath, 405},
		{http.MethodPost, "/v1/events/", 404},
		{http.MethodPost, "/", 404},
	} {
		req, err := http.NewRequestWithContext(limited(t), tc.method, url+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		code, header, body := do(t, req)
		readProblem(t, header, body)
		if code != tc.status || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: %d", tc.method, tc.path, code)
		}
		if code == 405 && header.Get("Allow") != "POST" {
			t.Errorf("Allow: %q", header.Get("Allow"))
		}
	}
}

func TestHTTPTellsWhyTheAcceptorRefused(t *testing.T) {
	for _, tc := range []struct {
		err    error
		status int
		retry  string
	}{
		{&sidehook.FullError{What: "queue", RetryAfter: 2500 * time.Millisecond}, 503, "3"},
		{sidehook.ErrStopping, 503, "1"},
		{sidehook.ErrTooLarge, 413, ""},
		{errors.New("sector 7"), 500, ""},
	} {
		k := newKeeper("demo")
		k.fail(tc.err, nil)
		url := openHTTP(t, NewServer(Options{Acceptor: k, DefaultApp: "demo"}))
		code, header, body := post(t, url, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, "Content-Type", structured)
		p := readProblem(t, header, body)
		if code != tc.status || header.Get("Retry-After") != tc.retry || strings.Contains(p.Detail, "sector") {
			t.Errorf("%v: %d, Retry-After %q, %s", tc.err, code, header.Get("Retry-After"), body)
		}
	}
}

func TestHTTPWhileStopping(t *testing.T) {
	s := NewServer(Options{Acceptor: newKeeper("demo"), DefaultApp: "demo"})
	url := openHTTP(t, s)
	if err := s.Stop(limited(t)); err != nil {
		t.Fatal(err)
	}
	code, header, body := post(t, url, `{"specversion":"1.0","id":"1","source":"/s","type":"t"}`, "Content-Type", structured)
	if p := readProblem(t, header, body); code != 503 || !strings.Contains(p.Detail, "stopping") {
		t.Errorf("%d %s", code, body)
	}
}
