package host

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestBackoff(t *testing.T) {
	b := backoff{min: 100 * time.Millisecond, max: 30 * time.Second}
	for n := range 100 {
		wait := b.next(0)
		mid := b.max
		if n < loopAfter {
			mid = b.min << n
		}
		if wait < mid*3/4 || wait > min(mid*5/4, b.max) {
			t.Errorf("failure %d: wait %s, want about %s", n+1, wait, mid)
		}
		if b.looping() != (n >= loopAfter) {
			t.Errorf("failure %d: looping is %t", n+1, b.looping())
		}
	}
	if wait := b.next(settled); b.failures != 1 || b.looping() || wait > 2*b.min {
		t.Errorf("after a long run: wait %s, %d failures", wait, b.failures)
	}
}

func TestSuspects(t *testing.T) {
	var s suspects
	k := suspectKey{"app", "event", "webhook"}
	if s.has(k) {
		t.Error("suspect without a cause")
	}
	s.add(k)
	if !s.has(k) || s.has(suspectKey{"app", "event", "other"}) {
		t.Error("add")
	}
	for range 3 {
		if s.strike(k, 5) {
			t.Error("guilty although nothing else was answered")
		}
	}
	for range 2 {
		if !s.strike(k, 6) {
			t.Error("not guilty although others were answered")
		}
	}
	s.acquit(k)
	if s.has(k) || s.known.Load() != 0 {
		t.Error("acquit")
	}
	for n := range 3 * maxSuspects {
		s.add(suspectKey{event: strconv.Itoa(n)})
	}
	if len(s.by) != maxSuspects || s.known.Load() != maxSuspects {
		t.Errorf("%d suspects", len(s.by))
	}
}

// FuzzRewrite: whatever a transformer answers, what passes is fit to be sent.
func FuzzRewrite(f *testing.F) {
	f.Add("", []byte(`{}`), "", "X-A", "1")
	f.Add("person.created", []byte(`{`), "text/plain", "X-A", "a\r\nb")
	f.Add("a b", []byte("\xff"), "application/json; charset=\x00", "Host", "")
	f.Add("", []byte(`1`), "application/problem+json", "webhook-id", " x")
	f.Fuzz(func(t *testing.T, typ string, data []byte, media, name, value string) {
		e := &sidehook.Event{App: "a", ID: "i", Source: "/s", Type: "t", DataContentType: "application/json", Data: []byte("1")}
		r := &result{}
		body := wire.AppendText(wire.AppendText(wire.AppendText(nil, 1, typ), 2, data), 3, media)
		if err := (&answer{}).readResult(wire.AppendText(nil, 1, wire.AppendEntry(body, 4, name, value)), e, r); err != nil {
			t.Fatal(err)
		}
		got, err := rewrite(e, r)
		if string(e.Data) != "1" || e.Type != "t" {
			t.Fatal("the original was changed")
		}
		if err != nil {
			return
		}
		if err := got.Event.Validate(1 << 20); err != nil {
			t.Errorf("invalid event passed: %v", err)
		}
		for _, h := range got.Headers {
			if err := sidehook.ValidateHeader(h); err != nil {
				t.Errorf("invalid header passed: %v", err)
			}
		}
	})
}

// FuzzAnswer: whatever bytes a process sends, reading them ends, keeps to its bounds, and agrees with the generated types
// where those accept them.
func FuzzAnswer(f *testing.F) {
	rewritten := &transformv1.Rewritten{
		Type: "person.created", Data: []byte(`{}`), DataContentType: "text/plain", Headers: map[string]string{"X-A": "1", "X-B": ""},
	}
	full, err := proto.Marshal(&transformv1.TransformResponse{Results: []*transformv1.TransformResult{
		{Result: &transformv1.TransformResult_Rewritten{Rewritten: rewritten}},
		{Result: &transformv1.TransformResult_Drop{Drop: &transformv1.Drop{Reason: "no"}}},
		{Result: &transformv1.TransformResult_Failure{Failure: &transformv1.Failure{Reason: "bad\n"}}},
		{},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte{})
	f.Add([]byte{10, 0, 10, 0, 10, 0, 10, 0, 10, 0, 10, 0})
	f.Add([]byte{10, 4, 10, 0, 18, 0})
	f.Add([]byte{10, 255, 255, 255, 255, 15})
	e := &sidehook.Event{Type: "t", Data: []byte(`{}`)}
	asked := question{{event: e}, {event: e}, {event: e}, {event: e}}
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &answer{asked: asked}
		err := a.DecodeWire(b)
		if len(a.results) > len(asked) {
			t.Fatalf("%d results", len(a.results))
		}
		want := &transformv1.TransformResponse{}
		if proto.Unmarshal(b, want) != nil {
			return
		}
		if err != nil || a.count != len(want.GetResults()) {
			t.Fatalf("%d results, %v; the generated types read %d", a.count, err, len(want.GetResults()))
		}
		for i := range a.results {
			compare(t, want.GetResults()[i], &a.results[i])
		}
	})
}

func compare(t *testing.T, want *transformv1.TransformResult, got *result) {
	t.Helper()
	switch v := want.GetResult().(type) {
	case nil:
		if got.kind != unset {
			t.Fatalf("%+v is not unset", got)
		}
	case *transformv1.TransformResult_Drop:
		if got.kind != dropped || got.reason != clip(v.Drop.GetReason()) {
			t.Fatalf("%+v is not %v", got, want)
		}
	case *transformv1.TransformResult_Failure:
		if got.kind != refused || got.reason != clip(v.Failure.GetReason()) {
			t.Fatalf("%+v is not %v", got, want)
		}
	case *transformv1.TransformResult_Rewritten:
		r, headers := v.Rewritten, map[string]string{}
		for _, h := range got.headers {
			headers[h.Key] = h.Value
		}
		if got.kind != rewritten || got.eventType != r.GetType() || got.contentType != r.GetDataContentType() ||
			string(got.data) != string(r.GetData()) || got.tooMany != (len(r.GetHeaders()) > maxHeaders) ||
			!got.tooMany && !maps.Equal(headers, r.GetHeaders()) {
			t.Fatalf("%+v is not %v", got, want)
		}
	}
}

// FuzzQuestion: what is written by hand is what the generated types read.
func FuzzQuestion(f *testing.F) {
	f.Add("app", "evt", "/s", "a.b", "", "application/json", []byte(`{}`), "key", "x", "y", int64(1), int64(5), "wh", "https://example.com/")
	f.Add("", "", "", "", "s", "", []byte{}, "", "", "", int64(-62135596800), int64(0), "", "")
	f.Fuzz(func(t *testing.T, app, id, source, typ, subject, media string, data []byte, key, ext, value string, seconds, nanos int64, hook, url string) {
		for _, s := range []string{app, id, source, typ, subject, media, key, ext, value, hook, url} {
			if !utf8.ValidString(s) {
				return // the sidecar refuses such events
			}
		}
		e := &sidehook.Event{
			App: app, ID: id, Source: source, Type: typ, Subject: subject, Time: time.Unix(seconds%1e10, nanos%1e9).UTC(),
			DataContentType: media, Data: data, OrderingKey: key, Extensions: map[string]string{ext: value},
		}
		w := &sidehook.Webhook{App: app, ID: hook, Name: id, URL: url, Format: "standard"}
		c := new(unit).newCall(e, w)
		defer c.release()
		q := question{c, c}
		b := q.AppendWire(nil)
		if len(b) != q.WireSize() {
			t.Fatalf("%d bytes, not %d", len(b), q.WireSize())
		}
		got := &transformv1.TransformRequest{}
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		item := &transformv1.TransformItem{
			Event: &transformv1.Event{
				App: app, Id: id, Source: source, Type: typ, Subject: subject, Time: timestamppb.New(e.Time),
				DataContentType: media, Data: data, OrderingKey: key, Extensions: e.Extensions,
			},
			Webhook: &transformv1.Webhook{App: app, Id: hook, Name: id, Url: url, Format: "standard"},
		}
		want := &transformv1.TransformRequest{Items: []*transformv1.TransformItem{item, item}}
		if !proto.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("a\nb\x1b[31m")
	f.Add(strings.Repeat("\xff", 3000))
	f.Add(strings.Repeat("é", 400))
	f.Fuzz(func(t *testing.T, s string) {
		got := clip(s)
		if len(got) > 500 || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x1b\x00") {
			t.Errorf("%q", got)
		}
	})
}
