package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const keyText = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

const full = `apps:
  - id: demo
    policy: {display_name: Demo, https_only: true, publish: strict}
    webhooks:
      - id: crm
        name: CRM
        url: https://crm.example.com/in
        events: ["person.*", a.b]
        headers: [{key: X-A, value: "1"}]
        automatic_retry: false
        format: cloudevents
        transformer: redact
        status: disabled
        timeout: 3s
        retry_policy: {schedule: [5s, 5m]}
        ordering: key
        rate_limit: {per_second: 2.5}
        history_sample: 0
        secrets:
          - {id: old, key: ` + keyText + `, not_after: 2027-01-01T00:00:00Z}
          - key_file: crm.key
      - id: plain
        url: https://plain.example.com
        events: ["*"]
        secrets: [{key: ` + keyText + `}]
    transformers: [{name: redact, description: Hides names}]
    event_types:
      - {type: person.created, product: crm, name: {vi: Sinh}, description: {en: Born}, sample: '{"id": 1}', schema: '{"required": ["id"]}'}
  - id: empty
`

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "crm.key", keyText+"\n")
	all, err := Load(write(t, dir, "webhooks.yaml", full))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all { // what a file gives is what a control plane may send
		body, err := r.Any()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := xds.Parse(r.Name, body); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	s := xds.NewSnapshot(all)
	app := s.App("demo")
	if app == nil || s.App("empty") == nil || !app.Policy.HTTPSOnly || app.Transformers["redact"] == nil ||
		app.EventTypes["person.created"].Name["vi"] != "Sinh" || app.Policy.Publish != sidehook.PublishStrict ||
		string(app.EventTypes["person.created"].Sample) != `{"id": 1}` ||
		string(app.EventTypes["person.created"].Schema) != `{"required": ["id"]}` {
		t.Fatalf("apps %v, demo %+v", s.Apps(), app)
	}
	w := s.Webhook(sidehook.WebhookKey{App: "demo", ID: "crm"})
	if w.AutomaticRetry || w.Format != sidehook.FormatCloudEvents || w.Status != sidehook.WebhookDisabled ||
		w.Timeout != 3*time.Second || len(w.RetrySchedule) != 2 || w.RetrySchedule[1] != 5*time.Minute ||
		len(w.Headers) != 1 || w.Headers[0].Key != "X-A" || len(w.Events) != 2 || w.Transformer != "redact" {
		t.Errorf("crm is %+v", w)
	}
	if w.Ordering != sidehook.OrderingKey || w.RateLimit != (sidehook.RateLimit{PerSecond: 2.5, Burst: 3}) || w.Sample() != 0 {
		t.Errorf("crm is shaped as %+v", w)
	}
	if len(w.Secrets) != 2 || w.Secrets[0].NotAfter.Year() != 2027 || w.Secrets[1].ID != "s2" ||
		!w.Secrets[1].Key.Equal(w.Secrets[0].Key) {
		t.Errorf("secrets %+v", w.Secrets)
	}
	plain := s.Webhook(sidehook.WebhookKey{App: "demo", ID: "plain"})
	if plain.Ordering != sidehook.OrderingNone || !plain.RateLimit.IsZero() || plain.Sample() != 1 {
		t.Errorf("defaults of shaping are %+v", plain)
	}
	if !plain.AutomaticRetry || plain.Name != "plain" || plain.Timeout != sidehook.DefaultTimeout {
		t.Errorf("defaults are %+v", plain)
	}
}

func TestLoadSigning(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "text.key", "your-secret\n")
	all, err := Load(write(t, dir, "webhooks.yaml", one(`      - id: hmac
        url: https://x.example
        events: ["*"]
        signing: {scheme: hmac, header: X-Sig, prefix: "v1=", template: "{timestamp_ms}.{body}", algorithm: sha512,
          encoding: base64, timestamp_header: X-Time}
        secrets: [{key_file: text.key}]
      - id: twenty
        url: https://x.example
        events: ["*"]
        format: twenty
        secrets: [{key: your-secret}, {key: `+keyText+`}]
      - id: pair
        url: https://x.example
        events: ["*"]
        signing: {scheme: standard-ed25519}
        secrets: [{key: whsk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]
`)))
	if err != nil {
		t.Fatal(err)
	}
	s := xds.NewSnapshot(all)
	of := func(id string) *xds.Webhook { return s.Webhook(sidehook.WebhookKey{App: "a", ID: id}) }
	if want := (sidehook.Signing{
		Scheme: "hmac", Algorithm: "sha512", Encoding: "base64", Header: "X-Sig", Prefix: "v1=",
		Template: "{timestamp_ms}.{body}", TimestampHeader: "X-Time",
	}); of("hmac").Signing != want {
		t.Errorf("signing is %+v", of("hmac").Signing)
	}
	if k := of("hmac").Secrets[0].Key; k.Kind() != sidehook.KeyText || k.Reveal() != "your-secret" {
		t.Errorf("key of kind %s", k.Kind())
	}
	if w := of("twenty"); w.Scheme() != sidehook.SchemeTwenty || len(w.Secrets) != 2 {
		t.Errorf("twenty is %+v", w)
	}
	if k := of("pair").Secrets[0].Key; k.Kind() != sidehook.KeyEd25519 {
		t.Errorf("key of kind %s", k.Kind())
	}
}

// one is a file with one webhook whose lines are given; they start at line 4.
func one(lines string) string {
	return "apps:\n  - id: a\n    webhooks:\n" + lines
}

const fine = `      - id: w
        url: https://x.example
        events: ["*"]
        secrets: [{key: ` + keyText + `}]
`

func TestProblems(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "big.key", strings.Repeat("x", maxKeyFileSize+1))
	write(t, dir, "bad.key", "whsec_short")
	write(t, dir, "text.key", "your-secret")
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty": {"", []string{`: is empty`}},
		"text key under standard": {
			one(strings.Replace(fine, keyText, "your-secret", 1)),
			[]string{`:7:20: apps[0].webhooks[0].secrets[0].key: must start with whsec_`},
		},
		"text key file under standard": {
			one(strings.Replace(fine, "key: "+keyText, "key_file: text.key", 1)),
			[]string{`:7:20: apps[0].webhooks[0].secrets[0].key_file: must start with whsec_`},
		},
		"signing": {
			one(fine + "        signing: {scheme: hmac, header: X-Sig, template: \"{timestamp}\"}\n"),
			[]string{`:8:48: apps[0].webhooks[0].signing.template: must have {body} once`},
		},
		"signing is no mapping": {
			one(fine + "        signing: hmac\n"), []string{`:8:18: apps[0].webhooks[0].signing: must be a mapping`},
		},
		"signing of another product": {
			one(fine + "        signing: {schema: hmac}\n"), []string{`"schema" is not known here`},
		},
		"comment":        {"# nothing\n", []string{`: is empty`}},
		"no apps":        {"{}", []string{`: apps: is required`}},
		"not a mapping":  {"- a", []string{`:1:1: must be a mapping`}},
		"two documents":  {"apps: []\n---\napps: []\n", []string{`has more than one YAML document`}},
		"bad yaml":       {"apps: [", []string{`: is not valid YAML`}},
		"apps is text":   {"apps: x", []string{`:1:7: apps: must be a list`}},
		"unknown key":    {"apps: []\nhooks: []\n", []string{`:2:1: "hooks" is not known here; known are apps`}},
		"unknown nested": {one(fine + "        evnets: []\n"), []string{`:8:9: apps[0].webhooks[0]: "evnets" is not known here`}},
		"app id":         {"apps:\n  - id: a b\n", []string{`:2:5: apps[0].id: must be 1 to 64`}},
		"no app id":      {"apps:\n  - policy: {}\n", []string{`apps[0].id: must be`}},
		"app twice":      {"apps: [{id: a}, {id: a}]", []string{`apps[1].id: "a" is used already`}},
		"number as id":   {"apps: [{id: 7}]", []string{`apps[0].id: must be text; put it into quotes`}},
		"anchor":         {"apps: &x []", []string{`anchors, aliases and tags are not supported`}},
		"alias":          {"apps: [&x {id: a}, *x]", []string{`apps[0]: anchors`, `apps[1]: anchors`}},
		"bool":           {one(fine + "        automatic_retry: yes please\n"), []string{`:8:26: apps[0].webhooks[0].automatic_retry: must be true or false`}},
		"url": {
			one(strings.Replace(fine, "https://x.example", "ftp://x", 1)),
			[]string{`:5:9: apps[0].webhooks[0].url: must start with`},
		},
		"header": {
			one(fine + "        headers:\n          - key: X\n            value: 1\n"),
			[]string{`:10:20: apps[0].webhooks[0].headers[0].value: must be text; put it into quotes`},
		},
		"reserved header": {
			one(fine + "        headers:\n          - {key: Host, value: x}\n"),
			[]string{`:9:14: apps[0].webhooks[0].headers[0].key: Host is set by Sidehook`},
		},
		"event": {
			one(strings.Replace(fine, `["*"]`, "\n          - a\n          - b*c", 1)),
			[]string{`:8:13: apps[0].webhooks[0].events[1]: "b*c"`},
		},
		"timeout":      {one(fine + "        timeout: fast\n"), []string{`:8:18: apps[0].webhooks[0].timeout: must be a duration`}},
		"filter":       {one(fine + "        filter: data.x >\n"), []string{`:8:9: apps[0].webhooks[0].filter: line 1, column 9: `}},
		"ordering":     {one(fine + "        ordering: strict\n"), []string{`ordering: must be none or key`}},
		"rate":         {one(fine + "        rate_limit: {per_second: 0}\n"), []string{`apps[0].webhooks[0].rate_limit.per_second: must be 0.001 to`}},
		"burst":        {one(fine + "        rate_limit: {per_second: 1, burst: 1.5}\n"), []string{`rate_limit.burst: must be 1 to`}},
		"rate as text": {one(fine + "        rate_limit: {per_second: fast}\n"), []string{`rate_limit.per_second: must be a number`}},
		"bare rate":    {one(fine + "        rate_limit: 5\n"), []string{`rate_limit: must be a mapping`}},
		"sample":       {one(fine + "        history_sample: 2\n"), []string{`history_sample: must be 0 to 1`}},
		"timeout zero": {one(fine + "        timeout: 0s\n"), []string{`timeout: must be 100ms to 1m0s`}},
		"schedule": {
			one(fine + "        retry_policy: {schedule: [5s, 1ms]}\n"),
			[]string{`apps[0].webhooks[0].retry_policy.schedule[1]: must be 1s to`},
		},
		"no secret":        {one("      - {id: w, url: 'http://x', events: ['*']}\n"), []string{`apps[0].webhooks[0].secrets: at least one`}},
		"secret no key":    {one(strings.Replace(fine, "key: "+keyText, "id: s", 1)), []string{`secrets[0].key: is required`}},
		"secret two keys":  {one(strings.Replace(fine, "{key", "{key_file: x, key", 1)), []string{`secrets[0].key_file: must not be given beside`}},
		"secret bad key":   {one(strings.Replace(fine, keyText, "whsec_!MDEyMzQ1", 1)), []string{`secrets[0].key: is not base64`}},
		"secret no file":   {one(strings.Replace(fine, "key: "+keyText, "key_file: none.key", 1)), []string{`secrets[0].key_file: `}},
		"secret big file":  {one(strings.Replace(fine, "key: "+keyText, "key_file: big.key", 1)), []string{`secrets[0].key_file: `}},
		"secret bad file":  {one(strings.Replace(fine, "key: "+keyText, "key_file: bad.key", 1)), []string{`secrets[0].key_file: is not base64`}},
		"secret time":      {one(strings.Replace(fine, "{key", "{not_after: tomorrow, key", 1)), []string{`secrets[0].not_after: must be a time`}},
		"secret twice":     {one(strings.Replace(fine, "[{key", "[{id: s2, key: "+keyText+"}, {key", 1)), []string{`secrets[1].id: "s2" is used already`}},
		"webhook twice":    {one(fine + fine), []string{`:8:9: apps[0].webhooks[1].id: "w" is used already`, `name: "w" is used`}},
		"publish mode":     {"apps: [{id: a, policy: {publish: loose}}]", []string{`apps[0].policy.publish: must be lenient or strict`}},
		"https only":       {"apps: [{id: a, policy: {https_only: true}, webhooks: [{id: w, url: 'http://x', events: ['*'], secrets: [{key: " + keyText + "}]}]}]", []string{`webhooks[0].url: must start with https://`}},
		"transformer name": {"apps: [{id: a, transformers: [{name: ../x}]}]", []string{`apps[0].transformers[0].name: must be`}},
		"event type":       {"apps: [{id: a, event_types: [{type: t, sample: '{'}]}]", []string{`apps[0].event_types[0].sample: is not valid JSON`}},
		"schema":           {"apps: [{id: a, event_types: [{type: t, schema: '{\"type\": \"text\"}'}]}]", []string{`apps[0].event_types[0].schema: /type: must be object`}},
		"all at once": {
			one(strings.Replace(fine, "https://x.example", "ftp://x", 1) + strings.Replace(strings.Replace(fine, `["*"]`, "[]", 1), "id: w", "id: v", 1) + "nope: 1\n"),
			[]string{`:5:9: apps[0].webhooks[0].url: `, `:10:9: apps[0].webhooks[1].events: `, `:12:1: "nope" is not known`},
		},
		"deep flow":  {"apps: " + strings.Repeat("[", 50_000), []string{`:1:1: is nested too deeply`}},
		"deep block": {"apps:\n" + strings.Repeat("- ", 50_000), []string{`:2:1: is nested too deeply`}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, dir, "webhooks.yaml", tc.text)
			_, err := Load(path)
			var problems *Error
			if !errors.As(err, &problems) {
				t.Fatalf("got %v", err)
			}
			if len(problems.Problems) != len(tc.want) {
				t.Errorf("%d problems, want %d:\n%v", len(problems.Problems), len(tc.want), err)
			}
			for i, want := range tc.want {
				if i < len(problems.Problems) && !strings.Contains(problems.Problems[i].String(), want) {
					t.Errorf("problem %d is %q, want …%s…", i, problems.Problems[i], want)
				}
			}
			if strings.Contains(err.Error(), "MDEyMzQ1") {
				t.Errorf("key material in %v", err)
			}
		})
	}
}

func TestLoadLimits(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(MaxFileSize+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); !errors.Is(err, sidehook.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add(one(fine))
	f.Add("apps: [{id: a, webhooks: [{id: w}]}]")
	f.Add("? a\n: b\n<<: *x\n")
	f.Add("apps:\n  - !!binary x\n  - &a [*a]\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "key_file") {
			return // it must not read the machine's files
		}
		all, _, err := parse(filepath.Join(dir, "x.yaml"), []byte(text))
		var problems *Error
		if err != nil && (!errors.As(err, &problems) || len(problems.Problems) == 0) {
			t.Fatalf("an error without problems: %v", err)
		}
		for _, r := range all {
			body, err := r.Any()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := xds.Parse(r.Name, body); err != nil {
				t.Fatalf("%s would be refused from a control plane: %v", r.Name, err)
			}
		}
	})
}

// watching is a Watcher whose looks the test decides on.
type watching struct {
	*Watcher
	t       *testing.T
	ticks   chan time.Time
	applied chan []*xds.Resource
	refuse  error
}

func watch(t *testing.T, path string) *watching {
	t.Helper()
	w := &watching{t: t, ticks: make(chan time.Time), applied: make(chan []*xds.Resource, 10)}
	w.Watcher = New(path, func(all []*xds.Resource) error {
		if w.refuse != nil {
			return w.refuse
		}
		w.applied <- all
		return nil
	}, Options{Ticks: w.ticks})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return w
}

// look makes the watcher look, and returns when it has: a tick is taken only after the work of the one before.
func (w *watching) look() {
	for range 2 {
		select {
		case w.ticks <- time.Time{}:
		case <-time.After(20 * time.Second):
			w.t.Fatal("the watcher does not look")
		}
	}
}

func (w *watching) count() int {
	n := 0
	for {
		select {
		case <-w.applied:
			n++
		default:
			return n
		}
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	key := write(t, dir, "w.key", keyText)
	text := one(strings.Replace(fine, "key: "+keyText, "key_file: w.key", 1))
	path := write(t, dir, "webhooks.yaml", text)
	w := watch(t, path)
	w.look()
	if n := w.count(); n != 1 {
		t.Fatalf("applied %d times at the start", n)
	}
	if s := w.Status(); s.Error != "" || s.Resources != 3 || s.AppliedAt.IsZero() {
		t.Errorf("status %+v", s)
	}
	w.look()
	if n := w.count(); n != 0 {
		t.Errorf("applied %d times without a change", n)
	}
	write(t, dir, "webhooks.yaml", strings.Replace(text, "x.example", "y.example", 1)) // same size
	w.look()
	if n := w.count(); n != 1 {
		t.Errorf("applied %d times for a change", n)
	}
	write(t, dir, "w.key", strings.Replace(keyText, "MDEy", "MDEx", 1))
	w.look()
	if n := w.count(); n != 1 {
		t.Errorf("applied %d times for a change of a key file", n)
	}

	write(t, dir, "webhooks.yaml", text+"oops: 1\n")
	w.look()
	if s := w.Status(); w.count() != 0 || !strings.Contains(s.Error, `"oops" is not known`) || s.Resources != 3 {
		t.Errorf("after a bad edit: %+v", s)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.look()
	if s := w.Status(); w.count() != 0 || s.Error == "" {
		t.Errorf("without the file: %+v", s)
	}
	write(t, dir, "webhooks.yaml", text)
	w.look()
	if s := w.Status(); w.count() != 1 || s.Error != "" {
		t.Errorf("after mending: %+v", s)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	w.look()
	if s := w.Status(); w.count() != 0 || !strings.Contains(s.Error, "key_file") {
		t.Errorf("without the key file: %+v", s)
	}
}

// byHand makes a Watcher that nothing runs: look has it look once, and expects that it has applied so often by then.
func byHand(t *testing.T, path string) (w *Watcher, look func(applied int)) {
	t.Helper()
	n := 0
	w = New(path, func([]*xds.Resource) error { n++; return nil }, Options{})
	return w, func(applied int) {
		t.Helper()
		if err := w.look(); err != nil || n != applied {
			t.Errorf("applied %d times, want %d; %v", n, applied, err)
		}
	}
}

func TestWatchOldFile(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "webhooks.yaml", one(fine))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	w, look := byHand(t, path)
	look(1)
	if !w.seen.unchanged(path) {
		t.Error("a file that did not change for an hour is read at every look")
	}
	write(t, dir, "webhooks.yaml", one(strings.Replace(fine, "x.example", "y.example", 1)))
	look(2)
}

// A file so new that its time tells nothing is not parsed again for that, and a change of it in the same tick of the
// clock is found; nor does having looked at its text make a key file look old that was not read again.
func TestWatchNewFile(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "webhooks.yaml", one(fine))
	w, look := byHand(t, path)
	look(1)
	if !w.seen.unchanged(path) {
		t.Error("a file is parsed again because it is new")
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "webhooks.yaml", one(strings.Replace(fine, "x.example", "y.example", 1))) // same size
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	look(2) // though the file's time does not show it

	key := write(t, dir, "w.key", keyText)
	write(t, dir, "webhooks.yaml", one(strings.Replace(fine, "key: "+keyText, "key_file: w.key", 1)))
	look(3)
	w.seen.at = w.seen.at.Add(-settled) // so long ago was that
	for range 2 {
		if w.seen.unchanged(path) {
			t.Error("a new key file is not read again")
		}
	}
	if err := os.Chtimes(key, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	look(3)
	if !w.seen.unchanged(path) {
		t.Error("a new file with an old key file is parsed again")
	}
}

func TestWatchRefusedSnapshot(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "webhooks.yaml", one(fine))
	err := Watch(t.Context(), path, func([]*xds.Resource) error { return errors.New("cannot be") }, Options{})
	if err == nil || !strings.Contains(err.Error(), "cannot be") {
		t.Errorf("got %v", err)
	}
	if err := Watch(t.Context(), filepath.Join(dir, "none"), nil, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
