package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	"github.com/sidehook/sidehook/outbound/sign"
)

// These tests run the receivers of examples/receivers, which the guides show, each in its own runtime, against what a
// sidecar really sends. Those that need a program that not every machine has are in files of their own.

// receivers is the folder of a language's receivers.
func receivers(language string) string {
	return filepath.Join("..", "..", "examples", "receivers", language)
}

// TestGoReceivers runs the receivers in Go.
func TestGoReceivers(t *testing.T) {
	program := filepath.Join(t.TempDir(), "receiver")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, receivers("go")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkReceivers(t, exec.Command(program))
}

// checkVectors runs a language's own check of examples/receivers/vectors.tsv.
func checkVectors(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte(" vectors checked\n")) {
		t.Errorf("%v: %v\n%s", cmd, err, out)
	}
}

// A relayed webhook is sent to the test, which hands each request on to the receiver.
type relayed struct {
	webhook sidehook.Webhook
	secrets []sidehook.Key
	routes  []string // of the receiver
}

const (
	sharedToken = "s3cret-token"
	twentyText  = "your-secret"
	hmacText    = "mật khẩu dài"
)

// relay keeps what came, and what the receiver says of it. The first request of each webhook is answered 500, so that a
// retry comes, too.
type relay struct {
	url string // of the receiver

	mu   sync.Mutex
	came map[string][]capture
	said map[string][]string
	done chan string // a webhook that has both requests
	hook map[string]*relayed
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	id := strings.TrimPrefix(req.URL.Path, "/")
	body, err := io.ReadAll(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c := capture{req.Header.Clone(), body}
	var said []string
	for _, route := range r.hook[id].routes {
		status, err := r.ask(route, c)
		said = append(said, fmt.Sprintf("%s: %d %v", route, status, err))
	}
	r.mu.Lock()
	r.came[id], r.said[id] = append(r.came[id], c), append(r.said[id], said...)
	n := len(r.came[id])
	r.mu.Unlock()
	if n == 1 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	r.done <- id
}

// ask hands a request to the receiver and returns what it answers.
func (r *relay) ask(route string, c capture) (int, error) {
	req, err := http.NewRequest(http.MethodPost, r.url+route, bytes.NewReader(c.body))
	if err != nil {
		return 0, err
	}
	req.Header = c.header.Clone()
	resp, err := web.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// checkReceivers starts a receiver with secrets of every scheme, has a sidecar send it every format, and sees that it
// takes first attempts and retries and refuses what somebody changed. more are routes for the format twenty.
func checkReceivers(t *testing.T, cmd *exec.Cmd, more ...string) {
	old, shared, pair := sidehook.NewKey(), sidehook.NewKey(), sidehook.NewEd25519Key()
	cmd.Env = append(os.Environ(), "STANDARD_SECRET="+shared.Reveal(), "STANDARD_PUBLIC_KEY="+pair.PublicKey(),
		"TWENTY_SECRET="+twentyText, "HMAC_SECRET="+hmacText, "TOKEN="+sharedToken)
	r := &relay{
		url:  startProgram(t, cmd).says(`(http://127\.0\.0\.1:\d+)`),
		came: map[string][]capture{}, said: map[string][]string{}, hook: map[string]*relayed{}, done: make(chan string, 64),
	}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	for _, format := range sidehook.Formats() {
		r.hook["standard-"+format] = &relayed{
			sidehook.Webhook{Format: format, Signing: sidehook.Signing{Scheme: sidehook.SchemeStandard}},
			[]sidehook.Key{old, shared},
			[]string{"/standard", "/token"},
		}
	}
	r.hook["pair"] = &relayed{
		sidehook.Webhook{Format: sidehook.FormatOMICall, Signing: sidehook.Signing{Scheme: sidehook.SchemeStandardEd25519}},
		[]sidehook.Key{shared, pair},
		[]string{"/standard-ed25519", "/standard"},
	}
	r.hook["twenty"] = &relayed{
		sidehook.Webhook{Format: sidehook.FormatTwenty}, []sidehook.Key{text(t, twentyText)}, append([]string{"/twenty"}, more...),
	}
	r.hook["hmac"] = &relayed{
		sidehook.Webhook{Format: sidehook.FormatAPIServer, Signing: sidehook.Signing{
			Scheme: sidehook.SchemeHMAC, Header: "X-Signature", Prefix: "v0=", Template: "v0:{timestamp}:{body}",
			TimestampHeader: "X-Signature-Timestamp",
		}},
		[]sidehook.Key{text(t, hmacText)},
		[]string{"/hmac"},
	}
	sendAll(t, r, srv.URL)
	for _, id := range slices.Sorted(maps.Keys(r.hook)) {
		for i, said := range r.said[id] {
			if !strings.HasSuffix(said, ": 204 <nil>") {
				t.Errorf("%s: of %v the receiver says %s", id, r.came[id][i/len(r.hook[id].routes)].header, said)
			}
		}
		for _, route := range r.hook[id].routes {
			checkRefusals(t, r, r.hook[id], route, r.came[id][0])
		}
	}
}

func text(t *testing.T, s string) sidehook.Key {
	t.Helper()
	k, err := sidehook.ImportKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sendAll has a sidecar send an event to every webhook, and again.
func sendAll(t *testing.T, r *relay, url string) {
	t.Helper()
	var config strings.Builder
	config.WriteString("apps:\n  - id: demo\n    webhooks:\n")
	for id, h := range r.hook {
		s := h.webhook.Signing
		fmt.Fprintf(&config, "      - id: %s\n        url: %s/%s\n        events: ['*']\n        format: %s\n", id, url, id, h.webhook.Format)
		fmt.Fprintf(&config, "        retry_policy: {schedule: [1s]}\n        headers: [{key: X-Webhook-Token, value: %s}]\n", sharedToken)
		if s.Scheme != "" {
			fmt.Fprintf(&config, "        signing: {scheme: %q, header: %q, prefix: %q, template: %q, timestamp_header: %q}\n",
				s.Scheme, s.Header, s.Prefix, s.Template, s.TimestampHeader)
		}
		config.WriteString("        secrets:\n")
		for i, key := range h.secrets {
			fmt.Fprintf(&config, "          - {id: s%d, key: %q}\n", i, key.Reveal())
		}
	}
	pl := newPlace(t, "config_file: webhooks.yaml", allowLoopback)
	pl.write("webhooks.yaml", config.String())
	s := pl.open()
	_, err := eventsv1.NewEventServiceClient(dialEvents(t, s.grpc)).Publish(t.Context(), &eventsv1.PublishRequest{
		Events: []*eventsv1.Event{{
			App: "demo", Id: "evt_1", Source: "/people", Type: "person.created", Subject: "mật ong",
			Data: []byte("{ \"z\": 1, \"a\": \"A \\u0026 <b> \\u2028 \u2029 K\u00eanh \U0001F600 \\ud83d\\ude00 \\/\", \"n\": [1.0, 1e2, -0.0, 1.5e-7, 0.1, 1e21] }\n"),
		}},
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	left := slices.Sorted(maps.Keys(r.hook))
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for len(left) > 0 {
		select {
		case id := <-r.done:
			left = slices.DeleteFunc(left, func(other string) bool { return other == id })
		case <-deadline.C:
			t.Fatalf("nothing came again for %v", left)
		}
	}
}

// checkRefusals changes a request that holds in the ways of somebody who knows no secret.
func checkRefusals(t *testing.T, r *relay, h *relayed, route string, c capture) {
	t.Helper()
	changed := map[string]capture{}
	with := func(what string, change func(*capture)) {
		other := capture{c.header.Clone(), bytes.Clone(c.body)}
		change(&other)
		changed[what] = other
	}
	if route == "/token" {
		with("no token", func(c *capture) { c.header.Del("X-Webhook-Token") })
		with("another token", func(c *capture) { c.header.Set("X-Webhook-Token", sharedToken+"x") })
		with("half the token", func(c *capture) { c.header.Set("X-Webhook-Token", sharedToken[:6]) })
	} else {
		stamp, signature := signatureHeaders(c.header)
		with("another body", func(c *capture) { c.body = bytes.Replace(c.body, []byte("nh"), []byte("mh"), 1) })
		with("no signature", func(c *capture) { c.header.Del(signature) })
		with("another secret", func(c *capture) { signAt(t, &relayed{h.webhook, others(t, h.secrets), nil}, c, time.Now()) })
		with("another time", func(c *capture) {
			n, err := strconv.ParseInt(c.header.Get(stamp), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			c.header.Set(stamp, strconv.FormatInt(n+1, 10))
		})
		with("no time", func(c *capture) { c.header.Del(stamp) })
		for what, age := range map[string]time.Duration{"too old": 6 * time.Minute, "not yet": -6 * time.Minute} {
			with(what, func(c *capture) { signAt(t, h, c, time.Now().Add(-age)) })
		}
		again := capture{c.header.Clone(), c.body}
		signAt(t, h, &again, time.Now().Add(-4*time.Minute))
		if status, err := r.ask(route, again); status != http.StatusNoContent {
			t.Errorf("%s: four minutes old: %d %v", route, status, err)
		}
	}
	for what, c := range changed {
		if status, err := r.ask(route, c); status != http.StatusUnauthorized {
			t.Errorf("%s, format %s: %s: %d %v, want it refused", route, h.webhook.Format, what, status, err)
		}
	}
}

// others are keys of the same kinds.
func others(t *testing.T, keys []sidehook.Key) []sidehook.Key {
	t.Helper()
	var all []sidehook.Key
	for _, key := range keys {
		switch key.Kind() {
		case sidehook.KeyEd25519:
			all = append(all, sidehook.NewEd25519Key())
		case sidehook.KeyText:
			all = append(all, text(t, key.Reveal()+"x"))
		default:
			all = append(all, sidehook.NewKey())
		}
	}
	return all
}

func signatureHeaders(header http.Header) (stamp, signature string) {
	for _, pair := range [][2]string{
		{"X-Twenty-Webhook-Timestamp", "X-Twenty-Webhook-Signature"},
		{"X-Signature-Timestamp", "X-Signature"},
	} {
		if header.Get(pair[1]) != "" {
			return pair[0], pair[1]
		}
	}
	return "Webhook-Timestamp", "Webhook-Signature"
}

// signAt signs a request as if it had been sent at another time.
func signAt(t *testing.T, h *relayed, c *capture, at time.Time) {
	t.Helper()
	var secrets []sidehook.Secret
	for _, key := range h.secrets {
		secrets = append(secrets, sidehook.Secret{Key: key})
	}
	w := h.webhook
	w.App, w.ID, w.Name, w.URL, w.Events = "demo", "w", "W", "https://example.com/", []string{"*"}
	w.Normalize()
	signer, err := sign.New(&w, secrets)
	if err != nil {
		t.Fatal(err)
	}
	headers, _, err := signer.Headers(nil, &sign.Request{ID: c.header.Get("Webhook-Id"), At: at, Body: c.body})
	if err != nil {
		t.Fatal(err)
	}
	for _, header := range headers {
		c.header.Set(header.Key, header.Value)
	}
}
