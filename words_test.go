package sidehook_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sidehook/sidehook"
)

func good() *sidehook.Event {
	e := &sidehook.Event{App: "demo", ID: "1", Source: "/x", Type: "person.created", Data: []byte(`{"a":1}`)}
	e.Normalize(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	return e
}

func TestEventValidate(t *testing.T) {
	if err := good().Validate(0); err != nil {
		t.Fatalf("a good event: %v", err)
	}
	for _, c := range []struct {
		field  string
		change func(e *sidehook.Event)
	}{
		{"app", func(e *sidehook.Event) { e.App = "" }},
		{"app", func(e *sidehook.Event) { e.App = "a/b" }},
		{"id", func(e *sidehook.Event) { e.ID = "" }},
		{"id", func(e *sidehook.Event) { e.ID = "a b" }},
		{"id", func(e *sidehook.Event) { e.ID = "a\r\nx: y" }},
		{"id", func(e *sidehook.Event) { e.ID = strings.Repeat("x", 257) }},
		{"source", func(e *sidehook.Event) { e.Source = "" }},
		{"source", func(e *sidehook.Event) { e.Source = strings.Repeat("x", 1025) }},
		{"source", func(e *sidehook.Event) { e.Source = "a\x00b" }},
		{"type", func(e *sidehook.Event) { e.Type = "" }},
		{"type", func(e *sidehook.Event) { e.Type = "person created" }},
		{"subject", func(e *sidehook.Event) { e.Subject = "\xff" }},
		{"time", func(e *sidehook.Event) { e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"data_content_type", func(e *sidehook.Event) { e.DataContentType = "json;;" }},
		{"data", func(e *sidehook.Event) { e.Data = []byte(`{"a":`) }},
		{"data", func(e *sidehook.Event) { e.Data = []byte("\"\xff\"") }},
		{"extensions", func(e *sidehook.Event) { e.Extensions = map[string]string{"Trace-Parent": "x"} }},
		{"extensions.id", func(e *sidehook.Event) { e.Extensions = map[string]string{"id": "x"} }},
		{"extensions.a", func(e *sidehook.Event) { e.Extensions = map[string]string{"a": "x\n"} }},
	} {
		e := good()
		c.change(e)
		var fe *sidehook.FieldError
		if err := e.Validate(0); !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("want an error of field %s, got %v", c.field, err)
		}
	}
	big := good()
	big.Data = []byte(`"` + strings.Repeat("x", 100) + `"`)
	if err := big.Validate(50); !errors.Is(err, sidehook.ErrTooLarge) {
		t.Errorf("big data: %v", err)
	}
	text := good()
	text.DataContentType, text.Data = "text/plain; charset=utf-8", []byte("not json")
	if err := text.Validate(0); err != nil {
		t.Errorf("text data: %v", err)
	}
}

func goodWebhook() *sidehook.Webhook {
	w := &sidehook.Webhook{App: "demo", ID: "w", Name: "W", URL: "https://example.com/in", Events: []string{"*"}}
	w.Normalize()
	return w
}

func TestWebhookValidate(t *testing.T) {
	if err := goodWebhook().Validate(); err != nil {
		t.Fatalf("a good webhook: %v", err)
	}
	header := func(k, v string) func(*sidehook.Webhook) {
		return func(w *sidehook.Webhook) { w.Headers = []sidehook.Header{{Key: k, Value: v}} }
	}
	url := func(u string) func(*sidehook.Webhook) { return func(w *sidehook.Webhook) { w.URL = u } }
	events := func(p ...string) func(*sidehook.Webhook) { return func(w *sidehook.Webhook) { w.Events = p } }
	for _, c := range []struct {
		field  string
		change func(*sidehook.Webhook)
	}{
		{"name", func(w *sidehook.Webhook) { w.Name = "  " }},
		{"name", func(w *sidehook.Webhook) { w.Name = strings.Repeat("ẹ", 51) }},
		{"url", url("")},
		{"url", url("ftp://example.com")},
		{"url", url("https:///x")},
		{"url", url("https://user:pw@example.com/")},
		{"url", url("https://example.com/#x")},
		{"url", url("https://example.com:0/")},
		{"url", url("https://example.com:99999/")},
		{"url", url("https://example.com:/")},
		{"url", url("https://exa mple.com/")},
		{"url", url("https://example.com/\r\nx")},
		{"url", url("https://0177.0.0.1/")},
		{"url", url("https://2130706433/")},
		{"url", url("https://127.1/")},
		{"url", url("https://0x7f.0.0.0x1/")},
		{"url", url("https://[fe80::1%25eth0]/")},
		{"url", url("https://a..b/")},
		{"url", url("https://example.com/" + strings.Repeat("x", 2048))},
		{"events", events()},
		{"events[0]", events("")},
		{"events[1]", events("*", "a*b")},
		{"events[0]", events("*.a.*.b")},
		{"events[0]", events("a.*.*.b")},
		{"events[0]", events("a.*.b.*")},
		{"events[0]", events("a.*.*.*")},
		{"events[0]", events("a.*b.c")},
		{"events[0]", events(".*.b")},
		{"events[0]", events("a.*.")},
		{"events[0]", events("*.*.*")},
		{"events[0]", events("person created")},
		{"headers[0].key", header("", "x")},
		{"headers[0].key", header("a b", "x")},
		{"headers[0].key", header("Host", "x")},
		{"headers[0].key", header("Webhook-Id", "x")},
		{"headers[0].key", header("sidehook-attempt", "x")},
		{"headers[0].key", header("Content-Length", "1")},
		{"headers[0].value", header("X", "a\r\nb")},
		{"headers[0].value", header("X", " a")},
		{"headers[0].value", header("X", strings.Repeat("x", 4097))},
		{"headers[1].key", func(w *sidehook.Webhook) {
			w.Headers = []sidehook.Header{{Key: "X", Value: "1"}, {Key: "x", Value: "2"}}
		}},
		{"headers", func(w *sidehook.Webhook) { w.Headers = make([]sidehook.Header, 11) }},
		{"format", func(w *sidehook.Webhook) { w.Format = "soap" }},
		{"transformer", func(w *sidehook.Webhook) { w.Transformer = "../x" }},
		{"timeout", func(w *sidehook.Webhook) { w.Timeout = time.Hour }},
		{"ordering", func(w *sidehook.Webhook) { w.Ordering = "strict" }},
		{"rate_limit.per_second", func(w *sidehook.Webhook) { w.RateLimit.PerSecond = -1 }},
		{"rate_limit.per_second", func(w *sidehook.Webhook) { w.RateLimit.PerSecond = math.NaN() }},
		{"rate_limit.per_second", func(w *sidehook.Webhook) { w.RateLimit.PerSecond = math.Inf(1) }},
		{"rate_limit.per_second", func(w *sidehook.Webhook) { w.RateLimit.Burst = 5 }},
		{"rate_limit.burst", func(w *sidehook.Webhook) { w.RateLimit = sidehook.RateLimit{PerSecond: 1, Burst: 100_001} }},
		{"rate_limit.burst", func(w *sidehook.Webhook) { w.RateLimit = sidehook.RateLimit{PerSecond: 1, Burst: -1} }},
		{"history_sample", func(w *sidehook.Webhook) { w.HistorySample = new(1.5) }},
		{"history_sample", func(w *sidehook.Webhook) { w.HistorySample = new(math.NaN()) }},
		{"disabled_cause", func(w *sidehook.Webhook) { w.DisabledCause = "bored" }},
		{"retry_policy.schedule[1]", func(w *sidehook.Webhook) { w.RetrySchedule = []time.Duration{time.Second, time.Millisecond} }},
		{"retry_policy.schedule", func(w *sidehook.Webhook) { w.RetrySchedule = make([]time.Duration, 21) }},
	} {
		w := goodWebhook()
		c.change(w)
		var fe *sidehook.FieldError
		if err := w.Validate(); !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("want an error of field %s, got %v", c.field, err)
		}
	}
	for _, u := range []string{
		"http://127.0.0.1:4480/in/x?y=z", "https://[::1]:8443/", "https://a-b.example.com", "https://xn--bcher-kva.example/",
		"https://my_host/", "https://1.example/", "https://example.com./",
	} {
		if err := sidehook.ValidateURL(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	for _, p := range []string{"*", "all", "*.*", "person.*", "*.created", "person.created", "mediaVOD.job.complete", "channel_live", "*.job.*", "metadata.*.created", "metadata.*.*", "a.b.*.c.d"} {
		if err := sidehook.ValidatePattern(p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestKeyCannotPrint(t *testing.T) {
	const raw = "0123456789abcdef0123456789abcdef"
	key, err := sidehook.KeyFromBytes([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "key", key, "secret", sidehook.Secret{Key: key})
	j, err := json.Marshal(map[string]any{"k": key, "s": sidehook.Secret{Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %x %s %q", key, key, key, key, key, key),
		fmt.Sprintf("%v %+v %#v", sidehook.Secret{Key: key}, &sidehook.Secret{Key: key}, sidehook.Secret{Key: key}),
		logged.String(), string(j),
	} {
		if strings.Contains(text, raw) || strings.Contains(text, "MDEyMzQ1") || strings.Contains(text, "30313233") ||
			strings.Contains(text, "48 49 50") {
			t.Errorf("shows the key: %s", text)
		}
	}
	back, err := sidehook.ParseKey(key.Reveal())
	if err != nil || !back.Equal(key) {
		t.Errorf("round trip: %v", err)
	}
	for _, bad := range []string{"", "whsec_", "whsec_!!!", "abc", "whsec_" + "YWJj"} {
		if _, err := sidehook.ParseKey(bad); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
}

func TestDeliveryIDText(t *testing.T) {
	id := sidehook.DeliveryID{Origin: 0xdeadbeef, Batch: 1 << 60, Index: 42}
	got, err := sidehook.ParseDeliveryID(id.String())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(id, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "dlv_", "dlv_zz", id.String() + "0", "x" + id.String(), "dlv_uuuuuuuuuuuuuuuuuuuuuuuuuu"} {
		if _, err := sidehook.ParseDeliveryID(bad); err == nil {
			t.Errorf("%q was taken for a delivery id", bad)
		}
	}
}

func FuzzParseDeliveryID(f *testing.F) {
	f.Add("dlv_e55afm80000000000010000000")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := sidehook.ParseDeliveryID(s)
		if err != nil {
			return
		}
		again, err := sidehook.ParseDeliveryID(id.String())
		if err != nil || again != id {
			t.Errorf("%q: %v, %v", s, again, err)
		}
	})
}

func FuzzWebhookURL(f *testing.F) {
	for _, s := range []string{"https://example.com/x?y", "http://[::1]:80/", "https://a@b/", "http://0x7f000001/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if sidehook.ValidateURL(s) == nil && strings.ContainsAny(s, "\r\n \t\x00@#") && !strings.Contains(s, "/") {
			t.Errorf("%q passes", s)
		}
	})
}

func TestParseDeliveryState(t *testing.T) {
	for _, s := range []sidehook.DeliveryState{sidehook.Pending, sidehook.Delivered, sidehook.Dead, sidehook.Dropped} {
		if got, ok := sidehook.ParseDeliveryState(s.String()); got != s || !ok {
			t.Errorf("%s is read as %s, %t", s, got, ok)
		}
	}
	for _, name := range []string{"", "invalid", "sidehook.Dead", " dead"} {
		if _, ok := sidehook.ParseDeliveryState(name); ok {
			t.Errorf("%q is taken for a state", name)
		}
	}
}
