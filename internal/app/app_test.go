package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sidehook/sidehook/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

func TestStackUndoesInReverseAndJoinsErrors(t *testing.T) {
	var order []string
	s := stack{log: discard}
	boom := errors.New("boom")
	for _, name := range []string{"a", "b", "c"} {
		s.add(name, func(context.Context) error {
			order = append(order, name)
			if name == "b" {
				return boom
			}
			return nil
		})
	}
	if err := s.stop(t.Context()); !errors.Is(err, boom) || !strings.Contains(err.Error(), "stop b") {
		t.Errorf("got %v", err)
	}
	if err := s.stop(t.Context()); err != nil {
		t.Errorf("a second stop did something: %v", err)
	}
	if !slices.Equal(order, []string{"c", "b", "a"}) {
		t.Errorf("order %v", order)
	}
}

func TestBackgroundReportsOnlyFailuresOfItsOwn(t *testing.T) {
	s := stack{log: discard}
	failed := make(chan error, 1)
	s.background("broken", func(err error) { failed <- err }, func(context.Context) error { return errors.New("boom") })
	if err := <-failed; err.Error() != "broken: boom" {
		t.Errorf("got %v", err)
	}
	s.background("fine", func(err error) { failed <- err }, func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	})
	if err := s.stop(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-failed:
		t.Errorf("a requested stop was reported: %v", err)
	default:
	}
}

func TestSidecarIDIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := sidecarID("", dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := sidecarID("", dir)
	if err != nil || again != first {
		t.Errorf("%q then %q, %v", first, again, err)
	}
	if got, err := sidecarID("mine", dir); got != "mine" || err != nil {
		t.Errorf("configured: %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, idFile), []byte("no good\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sidecarID("", dir); err == nil {
		t.Error("a damaged id was used")
	}
}

const webhooksYAML = `apps:
  - id: demo
    webhooks:
      - id: crm
        url: http://127.0.0.1:9/in
        events: ["*"]
        headers: [{key: X-Token, value: hush-hush}]
        retry_policy: {schedule: [1h]}
        secrets: [{id: s1, key: whsec_ouDw7tJSFVAeQXfrlQYSEiOuLR6nY0YY96qzBSGx5Ws=}]
`

// startFileSidecar starts a sidecar on free ports with a file of webhooks.
func startFileSidecar(t *testing.T, webhooks string) *Sidecar {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "webhooks.yaml")
	if err := os.WriteFile(path, []byte(webhooks), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.DefaultSidecar()
	cfg.DataDir, cfg.Apps, cfg.ConfigFile = filepath.Join(dir, "data"), []string{"demo"}, path
	cfg.Listen = config.SidecarListen{GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", Unix: "off"}
	cfg.Outbound.AllowLoopback = true
	s, err := StartSidecar(t.Context(), cfg, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func request(t *testing.T, method, url string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAdminEndpoint(t *testing.T) {
	s := startFileSidecar(t, webhooksYAML)
	base := "http://" + s.Addrs.Admin
	for _, c := range []struct {
		method, path string
		status       int
		contains     string
	}{
		{"GET", "/", 200, "/config_dump"},
		{"GET", "/live", 200, `"live": true`},
		{"GET", "/ready", 200, `"ready": true`},
		{"GET", "/metrics", 200, "sidehook_ready 1"},
		{"GET", "/webhooks", 200, `"phase": "idle"`},
		{"GET", "/transformers", 200, `"data"`},
		{"GET", "/deliveries", 200, `"data": []`},
		{"GET", "/deliveries?limit=0", 400, "limit: must be 1 to 1000"},
		{"GET", "/deliveries?state=lost", 400, "state: must be"},
		{"GET", "/deliveries/nonsense", 400, "not a delivery id"},
		{"GET", "/deliveries/dlv_00000000000000000000000000", 404, "no such delivery"},
		{"GET", "/drain", 405, ""},
		{"GET", "/quitquitquit", 405, ""},
		{"GET", "/nowhere", 404, ""},
	} {
		status, body := request(t, c.method, base+c.path)
		if status != c.status || !strings.Contains(body, c.contains) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
}

func TestConfigDumpShowsNoSecrets(t *testing.T) {
	s := startFileSidecar(t, webhooksYAML)
	_, body := request(t, "GET", "http://"+s.Addrs.Admin+"/config_dump")
	for _, secret := range []string{"ouDw7tJS", "hush-hush", "whsec_"} {
		if strings.Contains(body, secret) {
			t.Errorf("shows %s:\n%s", secret, body)
		}
	}
	if !strings.Contains(body, `"id": "s1"`) || !strings.Contains(body, "[redacted]") {
		t.Errorf("does not name the secret:\n%s", body)
	}
}

func TestConfigDumpShowsSigning(t *testing.T) {
	s := startFileSidecar(t, `apps:
  - id: demo
    webhooks:
      - id: w
        url: https://example.com
        events: ["*"]
        signing: {scheme: hmac, header: X-Sig, template: "{timestamp}.{body}"}
        secrets: [{key: hush-hush}]
`)
	_, body := request(t, "GET", "http://"+s.Addrs.Admin+"/config_dump")
	var dump struct {
		Webhooks []struct {
			Signing map[string]string
			Secrets []struct{ Kind string }
		}
	}
	if err := json.Unmarshal([]byte(body), &dump); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"scheme": "hmac", "algorithm": "sha256", "encoding": "hex", "header": "X-Sig", "template": "{timestamp}.{body}",
	}
	if len(dump.Webhooks) != 1 || !maps.Equal(dump.Webhooks[0].Signing, want) || dump.Webhooks[0].Secrets[0].Kind != "text" {
		t.Errorf("got %+v, want signing %v by a text key", dump, want)
	}
	if strings.Contains(body, "hush") {
		t.Errorf("shows the key: %s", body)
	}
}

func TestAdminRefusesOtherNamesAndSites(t *testing.T) {
	s := startFileSidecar(t, webhooksYAML)
	base := "http://" + s.Addrs.Admin
	if status, _ := request(t, "GET", base+"/config_dump", func(r *http.Request) { r.Host = "evil.example" }); status != http.StatusMisdirectedRequest {
		t.Errorf("a foreign Host got %d", status)
	}
	if status, _ := request(t, "GET", base+"/live", func(r *http.Request) { r.Host = "localhost:4462" }); status != 200 {
		t.Errorf("localhost got %d", status)
	}
	if status, _ := request(t, "POST", base+"/quitquitquit", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }); status != http.StatusForbidden {
		t.Errorf("another site got %d", status)
	}
}

func TestDrainRefusesEventsAndFlipsReady(t *testing.T) {
	s := startFileSidecar(t, webhooksYAML)
	base := "http://" + s.Addrs.Admin
	if status, body := request(t, "POST", base+"/drain"); status != http.StatusAccepted {
		t.Fatalf("drain: %d %s", status, body)
	}
	if status, body := request(t, "GET", base+"/ready"); status != 503 || !strings.Contains(body, "draining") {
		t.Errorf("ready: %d %s", status, body)
	}
	if status, _ := request(t, "GET", base+"/live"); status != 200 {
		t.Errorf("live: %d", status)
	}
	status, body := request(t, "POST", "http://"+s.Addrs.HTTP+"/v1/events", func(r *http.Request) {
		r.Header.Set("ce-specversion", "1.0")
		r.Header.Set("ce-id", "1")
		r.Header.Set("ce-source", "/x")
		r.Header.Set("ce-type", "a.b")
	})
	if status != 503 {
		t.Errorf("publish while draining: %d %s", status, body)
	}
}

func TestQuitEndsRun(t *testing.T) {
	s := startFileSidecar(t, webhooksYAML)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	if status, _ := request(t, "POST", "http://"+s.Addrs.Admin+"/quitquitquit"); status != http.StatusAccepted {
		t.Errorf("quit: %d", status)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestABadWebhookOfTheFileIsRefusedByName(t *testing.T) {
	s := startFileSidecar(t, webhooksYAML+`      - id: bad
        url: http://127.0.0.1:9/in
        events: ["*"]
        transformer: not-installed
        secrets: [{id: s1, key: whsec_ouDw7tJSFVAeQXfrlQYSEiOuLR6nY0YY96qzBSGx5Ws=}]
`)
	_, body := request(t, "GET", "http://"+s.Addrs.Admin+"/config_dump")
	var dump struct {
		Source   struct{ Rejections []rejection }
		Webhooks []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(body), &dump); err != nil {
		t.Fatal(err)
	}
	if len(dump.Source.Rejections) != 1 || dump.Source.Rejections[0].Resource != "apps/demo/webhooks/bad" ||
		!strings.Contains(dump.Source.Rejections[0].Reason, "not installed") {
		t.Errorf("rejections %v", dump.Source.Rejections)
	}
	if len(dump.Webhooks) != 1 || dump.Webhooks[0].ID != "crm" {
		t.Errorf("webhooks %v", dump.Webhooks)
	}
}

func TestAFileThatIsWrongStopsTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "webhooks.yaml")
	if err := os.WriteFile(path, []byte("apps: [{id: demo, webhoks: []}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.DefaultSidecar()
	cfg.DataDir, cfg.ConfigFile = filepath.Join(filepath.Dir(path), "data"), path
	cfg.Listen = config.SidecarListen{GRPC: "127.0.0.1:0", HTTP: "off", Admin: "off", Unix: "off"}
	_, err := StartSidecar(t.Context(), cfg, discard)
	if err == nil || !strings.Contains(err.Error(), "webhoks") {
		t.Errorf("got %v", err)
	}
}

func TestABusyPortIsNamed(t *testing.T) {
	first := startFileSidecar(t, webhooksYAML)
	cfg := *first.cfg
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.Listen.HTTP = first.Addrs.HTTP
	_, err := StartSidecar(t.Context(), &cfg, discard)
	if err == nil || !strings.Contains(err.Error(), "listen.http") {
		t.Errorf("got %v", err)
	}
	cfg.Listen.HTTP, cfg.DataDir = "127.0.0.1:0", first.cfg.DataDir
	if _, err = StartSidecar(t.Context(), &cfg, discard); err == nil || !strings.Contains(err.Error(), "open the queue") {
		t.Errorf("a second process on the same folder: %v", err)
	}
}

func TestDevKeepsItsDataOverARestart(t *testing.T) {
	opts := DevOptions{
		DataDir: t.TempDir(), Out: io.Discard, Log: discard,
		Ports: config.Ports{
			GRPC: "127.0.0.1:0", HTTP: "127.0.0.1:0", Admin: "127.0.0.1:0", XDS: "127.0.0.1:0", REST: "127.0.0.1:0",
			Inbox: "127.0.0.1:0",
		},
	}
	var id, token string
	for range 2 {
		d, err := StartDev(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(opts.DataDir, adminTokenFile))
		if err != nil {
			t.Fatal(err)
		}
		if id != "" && (d.Sidecar.id != id || string(b) != token) {
			t.Errorf("a restart changed the sidecar's id or the admin token")
		}
		id, token = d.Sidecar.id, string(b)
		if ready, reason := d.Sidecar.readiness(); !ready {
			t.Errorf("not ready: %s", reason)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := d.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
