package xds

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sidehook/sidehook"
	configv1 "github.com/sidehook/sidehook/api/config/v1"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func testWebhook(id string) *sidehook.Webhook {
	w := &sidehook.Webhook{
		App: "demo", ID: id, Name: "Hook " + id, URL: "https://example.com/" + id, Events: []string{"person.*"},
		AutomaticRetry: true,
	}
	w.Normalize()
	return w
}

func testSecret(webhook, id string) *sidehook.Secret {
	key, err := sidehook.KeyFromBytes(testKey)
	if err != nil {
		panic(err)
	}
	return &sidehook.Secret{App: "demo", Webhook: webhook, ID: id, Key: key}
}

func TestRoundTrip(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 500, time.UTC)
	full := testWebhook("full")
	full.Headers = []sidehook.Header{{Key: "X-A", Value: "1"}, {Key: "Authorization", Value: "Bearer x"}}
	full.Transformer, full.Format = "redact", sidehook.FormatCloudEvents
	full.Status, full.DisabledReason = sidehook.WebhookDisabled, "410"
	full.RetrySchedule = []time.Duration{5 * time.Second, 5 * time.Minute}
	full.Signing = sidehook.Signing{
		Scheme: "hmac", Algorithm: "sha512", Encoding: "base64", Header: "X-S", Prefix: "p=", Template: "{id}{body}",
		TimestampHeader: "X-T",
	}
	full.Ordering, full.RateLimit = sidehook.OrderingKey, sidehook.RateLimit{PerSecond: 0.5, Burst: 3}
	full.Filter = `data.amount > 100`
	full.HistorySample, full.DisabledCause, full.DisabledAt = new(0.0), sidehook.DisabledByFailing, at
	full.Timeout, full.CreatedAt, full.UpdatedAt = 3*time.Second, at, at.Add(time.Hour)
	secret := testSecret("full", "s1")
	secret.NotBefore, secret.NotAfter = at, at.Add(time.Hour)
	for _, r := range []*Resource{
		OfWebhook(testWebhook("plain")),
		OfWebhook(full),
		OfSecret(secret),
		OfSecret(testSecret("full", "s2")),
		OfSecret(&sidehook.Secret{App: "demo", Webhook: "full", ID: "pair", Key: sidehook.NewEd25519Key()}),
		OfSecret(&sidehook.Secret{App: "demo", Webhook: "full", ID: "text", Key: textKey(t)}),
		OfEventType(&sidehook.EventType{
			App: "demo", Type: "person.created", Product: "crm",
			Name: map[string]string{"en": "Person created", "vi": "Tạo người liên hệ"}, Description: map[string]string{"en": "born", "vi": "sinh"},
			Sample: []byte(`{"id":1}`), Schema: []byte(`{"type":"object","required":["id"]}`),
		}),
		OfTransformer(&Transformer{App: "demo", Name: "redact", Description: "hides names"}),
		OfAppPolicy(&AppPolicy{App: "demo", DisplayName: "Demo", HTTPSOnly: true}),
		OfAppPolicy(&AppPolicy{App: "demo", Publish: sidehook.PublishStrict}),
		OfAppPolicy(&AppPolicy{App: "demo", Publish: sidehook.PublishLenient}),
	} {
		body, err := r.Any()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(r.Name, body)
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		if !proto.Equal(got.Proto(), r.Proto()) || got.TypeURL != r.TypeURL || got.Version() != r.Version() {
			t.Errorf("%s came back as %v", r.Name, got.Proto())
		}
		if got.App() != "demo" {
			t.Errorf("%s: App() is %q", r.Name, got.App())
		}
		if app, ok := AppOfName(r.Name); !ok || app != "demo" {
			t.Errorf("AppOfName(%q) is %q, %v", r.Name, app, ok)
		}
	}
	text, _ := Parse(SecretName("demo", "w", "t"), mustAny(t, SecretType, SecretToProto(&sidehook.Secret{
		App: "demo", Webhook: "w", ID: "t", Key: textKey(t),
	})))
	if text == nil || !text.Secret.Key.Equal(textKey(t)) {
		t.Errorf("a text key came back as %+v", text)
	}
	got, _ := Parse(WebhookName(full.Key()), mustAny(t, WebhookType, WebhookToProto(full)))
	if diff := cmp.Diff(full, got.Webhook); diff != "" {
		t.Error(diff)
	}
}

func textKey(t testing.TB) sidehook.Key {
	t.Helper()
	key, err := sidehook.KeyFromText("your-secret")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustAny(t testing.TB, typeURL string, m proto.Message) *anypb.Any {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &anypb.Any{TypeUrl: typeURL, Value: b}
}

func TestParseFillsDefaults(t *testing.T) {
	r, err := Parse("apps/a/webhooks/w", mustAny(t, WebhookType, &configv1.Webhook{
		App: "a", Id: "w", Name: "n", Url: "http://x", Events: []string{"*"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	w := r.Webhook
	if w.Format != sidehook.FormatStandard || w.Status != sidehook.WebhookEnabled ||
		w.Timeout != sidehook.DefaultTimeout || w.RetrySchedule != nil || w.AutomaticRetry {
		t.Errorf("defaults are %+v", w)
	}
}

// TestParseKeepsWhatItDoesNotKnow: a field of a newer version must survive in the wire form, which is what is saved
// for the next start under the version that the server gave.
func TestParseKeepsWhatItDoesNotKnow(t *testing.T) {
	body := mustAny(t, AppPolicyType, &configv1.AppPolicy{App: "a"})
	body.Value = append(body.Value, 0xa2, 0x06, 3, 'n', 'e', 'w') // field 100
	r, err := Parse("apps/a/policy", body)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := r.Wire()
	if err != nil || string(wire) != string(body.Value) {
		t.Errorf("wire form is %q, %v", wire, err)
	}
	if plain := OfAppPolicy(&AppPolicy{App: "a"}); plain.Version() == r.Version() {
		t.Error("an unknown field does not change the version")
	}
}

func TestParseRefuses(t *testing.T) {
	webhook := func(change func(*configv1.Webhook)) *configv1.Webhook {
		m := WebhookToProto(testWebhook("w"))
		change(m)
		return m
	}
	secret := func(change func(*configv1.Secret)) *configv1.Secret {
		m := SecretToProto(testSecret("w", "s"))
		change(m)
		return m
	}
	const wName, sName = "apps/demo/webhooks/w", "apps/demo/secrets/w.s"
	long := strings.Repeat("x", 300)
	for _, tc := range []struct {
		name, typ string
		m         proto.Message
		want      string
	}{
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.App = "" }), "app: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Id = "a/b" }), "id: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Name = " " }), "name: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Name = "a\nb" }), "name: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Url = "ftp://x" }), "url: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Url = "http://u:p@x" }), "url: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Events = nil }), "events: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Events = []string{"a", "b*c"} }), "events[1]: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.Headers = []*configv1.Header{{Key: "X", Value: "a\r\nb: c"}}
		}), "headers[0].value: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.Headers = []*configv1.Header{nil}
		}), "headers[0].key: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Format = "xml" }), "format: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Transformer = "../x" }), "transformer: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Signing = &configv1.Signing{Scheme: "md5"} }), "signing.scheme: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Signing = &configv1.Signing{Scheme: "hmac"} }), "signing.header: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Signing = &configv1.Signing{Encoding: "hex"} }), "signing.encoding: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Status = 9 }), "status: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Filter = "type ==" }), "filter: line 1, column 8: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Filter = strings.Repeat("x", 2049) }), "filter: must be at most"},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Ordering = 9 }), "ordering: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.DisabledCause = 9 }), "disabled_cause: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.RateLimit = &configv1.RateLimit{} }), "rate_limit.per_second: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.RateLimit = &configv1.RateLimit{PerSecond: math.NaN()}
		}), "rate_limit.per_second: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.RateLimit = &configv1.RateLimit{PerSecond: 1, Burst: math.MaxUint32}
		}), "rate_limit.burst: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.HistorySample = new(-0.1) }), "history_sample: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.DisabledAt = &timestamppb.Timestamp{Nanos: -5}
		}), "disabled_at: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) { m.Timeout = durationpb.New(0) }), "timeout: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.Timeout = &durationpb.Duration{Seconds: math.MaxInt64}
		}), "timeout: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.RetryPolicy = &configv1.RetryPolicy{Schedule: []*durationpb.Duration{durationpb.New(time.Hour), {Nanos: -1}}}
		}), "retry_policy.schedule[1]: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.RetryPolicy = &configv1.RetryPolicy{Schedule: []*durationpb.Duration{{Seconds: 1, Nanos: 2e9}}}
		}), "retry_policy.schedule[0]: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.CreatedAt = &timestamppb.Timestamp{Seconds: math.MaxInt64}
		}), "created_at: "},
		{wName, WebhookType, webhook(func(m *configv1.Webhook) {
			m.UpdatedAt = &timestamppb.Timestamp{Nanos: -5}
		}), "updated_at: "},
		{"apps/other/webhooks/w", WebhookType, webhook(func(*configv1.Webhook) {}), "name is "},
		{"", WebhookType, webhook(func(*configv1.Webhook) {}), "name is "},
		{long, WebhookType, webhook(func(*configv1.Webhook) {}), "name is "},
		{sName, SecretType, secret(func(m *configv1.Secret) { m.App = long }), "app: "},
		{sName, SecretType, secret(func(m *configv1.Secret) { m.Webhook = "a.b" }), "webhook: "},
		{sName, SecretType, secret(func(m *configv1.Secret) { m.Id = "" }), "id: "},
		{sName, SecretType, secret(func(m *configv1.Secret) { m.Key = m.Key[:23] }), "key: "},
		{sName, SecretType, secret(func(m *configv1.Secret) { m.Kind = 9 }), "kind: "},
		{sName, SecretType, secret(func(m *configv1.Secret) {
			m.Kind, m.Key = configv1.KeyKind_KEY_KIND_ED25519, m.Key[:24]
		}), "key: "},
		{sName, SecretType, secret(func(m *configv1.Secret) {
			m.Kind, m.Key = configv1.KeyKind_KEY_KIND_TEXT, append(m.Key, '\n')
		}), "key: "},
		{sName, SecretType, secret(func(m *configv1.Secret) {
			m.NotBefore, m.NotAfter = timestamppb.New(time.Unix(9, 0)), timestamppb.New(time.Unix(9, 0))
		}), "not_after: "},
		{sName, SecretType, secret(func(m *configv1.Secret) {
			m.NotBefore = &timestamppb.Timestamp{Seconds: math.MinInt64}
		}), "not_before: "},
		{"apps/a/event-types/t", EventTypeType, &configv1.EventType{App: "", Type: "t"}, "app: "},
		{"apps/a/event-types/t", EventTypeType, &configv1.EventType{App: "a", Type: "t t"}, "type: "},
		{"apps/a/event-types/t", EventTypeType, &configv1.EventType{App: "a", Type: "t", Sample: []byte("{")}, "sample: "},
		{"apps/a/event-types/t", EventTypeType, &configv1.EventType{
			App: "a", Type: "t", Sample: make([]byte, sidehook.MaxSampleLen+1),
		}, "sample: "},
		{"apps/a/event-types/t", EventTypeType, &configv1.EventType{App: "a", Type: "t", Schema: []byte("{")}, "schema: "},
		{
			"apps/a/event-types/t", EventTypeType,
			&configv1.EventType{App: "a", Type: "t", Schema: []byte(`{"properties":{"id":{"type":"text"}}}`)},
			"schema: /properties/id/type: must be object",
		},
		{
			"apps/a/event-types/t", EventTypeType,
			&configv1.EventType{App: "a", Type: "t", Schema: []byte(`{"$ref":"file:///etc/passwd"}`)},
			"schema: file:///etc/passwd is outside the schema",
		},
		{"apps/a/transformers/t", TransformerType, &configv1.Transformer{App: "!", Name: "t"}, "app: "},
		{"apps/a/transformers/t", TransformerType, &configv1.Transformer{App: "a", Name: ""}, "name: "},
		{"apps/a/policy", AppPolicyType, &configv1.AppPolicy{App: "a b"}, "app: "},
		{"apps/a/policy", AppPolicyType, &configv1.AppPolicy{App: "a", Publish: 9}, "publish: "},
		{"apps/a/policy", TypePrefix + "Future", &configv1.AppPolicy{App: "a"}, "unknown resource type"},
		{"apps/a/policy", "", &configv1.AppPolicy{App: "a"}, "unknown resource type"},
	} {
		_, err := Parse(tc.name, mustAny(t, tc.typ, tc.m))
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%.40s %v: got %v, want %q…", tc.name, tc.m, err, tc.want)
			continue
		}
		if strings.Contains(err.Error(), string(testKey[:20])) {
			t.Errorf("key material in %q", err)
		}
		if len(err.Error()) > 600 {
			t.Errorf("an error of %d bytes echoes its input", len(err.Error()))
		}
	}
	_, err := Parse(wName, &anypb.Any{TypeUrl: WebhookType, Value: []byte{0xff}})
	if err == nil || !strings.Contains(err.Error(), "protobuf") {
		t.Errorf("garbage: %v", err)
	}
	_, err = Parse(wName, &anypb.Any{TypeUrl: WebhookType, Value: make([]byte, MaxResourceBytes+1)})
	if !errors.Is(err, sidehook.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err = Parse(wName, nil); err == nil {
		t.Error("nil body parsed")
	}
}

func TestUnmarshalableValue(t *testing.T) {
	w := testWebhook("w")
	w.Name = "\xff"
	r := OfWebhook(w)
	if _, err := r.Any(); err == nil || !strings.Contains(err.Error(), "apps/demo/webhooks/w") {
		t.Errorf("got %v", err)
	}
	if r.Version() != "" {
		t.Error("has a version")
	}
}

func TestAppOfNameRefuses(t *testing.T) {
	for _, name := range []string{"", "apps/", "apps/a", "apps//policy", "app/a/policy", "apps/a b/policy", "/apps/a/policy"} {
		if app, ok := AppOfName(name); ok {
			t.Errorf("%q: app %q", name, app)
		}
	}
}

// FuzzParse: no input panics; what parses has the name it was given, marshals, and parses again to the same.
func FuzzParse(f *testing.F) {
	for _, r := range []*Resource{
		OfWebhook(testWebhook("w")), OfSecret(testSecret("w", "s")), OfAppPolicy(&AppPolicy{App: "demo"}),
		OfTransformer(&Transformer{App: "demo", Name: "t"}),
		OfEventType(&sidehook.EventType{App: "demo", Type: "a.b", Sample: []byte("1")}),
	} {
		b, err := r.Wire()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.Name, r.TypeURL, b)
		f.Add(r.Name, r.TypeURL, b[:len(b)/2])
		f.Add("apps/x/policy", WebhookType, b)
	}
	f.Fuzz(func(t *testing.T, name, typ string, body []byte) {
		r, err := Parse(name, &anypb.Any{TypeUrl: typ, Value: body})
		if err != nil {
			return
		}
		if r.Name != name {
			t.Fatalf("name %q became %q", name, r.Name)
		}
		b, err := proto.Marshal(r.Proto())
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(name, &anypb.Any{TypeUrl: typ, Value: b})
		if err != nil {
			t.Fatalf("does not parse again: %v", err)
		}
		if !proto.Equal(r.Proto(), again.Proto()) {
			t.Fatalf("%v became %v", r.Proto(), again.Proto())
		}
		if NewSnapshot([]*Resource{r}).Version == NewSnapshot(nil).Version {
			t.Fatal("a resource does not change the version")
		}
	})
}

func many(n int) []*Resource {
	all := make([]*Resource, 0, 2*n)
	for i := range n {
		id := fmt.Sprintf("w%06d", i)
		all = append(all, OfWebhook(testWebhook(id)), OfSecret(testSecret(id, "s")))
	}
	return all
}
