package app

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/internal/config"
)

func TestEveryDialectHasItsPackage(t *testing.T) {
	have := slices.Sorted(maps.Keys(dialects))
	if want := slices.Sorted(slices.Values(config.Dialects())); !slices.Equal(have, want) {
		t.Errorf("there are packages for %q, but the configuration knows %q", have, want)
	}
}

// startPlane starts a control plane on free ports with an app and a token for it.
func startPlane(t *testing.T, dialects ...string) (c *Control, id, token string) {
	t.Helper()
	dir := t.TempDir()
	cfg := config.DefaultControl()
	cfg.DataDir, cfg.AdminTokenFile = dir, filepath.Join(dir, "admin.token")
	cfg.Listen = config.ControlListen{XDS: "127.0.0.1:0", REST: "127.0.0.1:0"}
	cfg.Dialects = dialects
	c, err := StartControl(t.Context(), cfg, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := c.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := c.Service.PutApp(t.Context(), "shop", control.AppSpec{}); err != nil {
		t.Fatal(err)
	}
	made, token, err := c.Service.CreateToken(t.Context(), control.TokenSpec{Name: "t", Kind: control.TokenApp, Apps: []string{"shop"}})
	if err != nil {
		t.Fatal(err)
	}
	return c, made.ID, token
}

func call(t *testing.T, method, url, authorization, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", authorization)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

// TestDialectsShareTheWebhooks: what is made in one is seen in another and in the native API.
func TestDialectsShareTheWebhooks(t *testing.T) {
	c, id, token := startPlane(t, config.Dialects()...)
	base := "http://" + c.REST
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+token))
	if status, body := call(t, "POST", base+"/v1/webhook", basic, `{"uri":"https://example.com/live","event":"channel_live"}`); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	_, body := call(t, "GET", base+"/api/auth?apiKey="+token, "", "")
	var auth struct {
		Payload struct {
			AccessToken string `json:"access_token"`
		}
	}
	if err := json.Unmarshal([]byte(body), &auth); err != nil {
		t.Fatal(err)
	}
	status, body := call(t, "POST", base+"/api/webhooks/register", "Bearer "+auth.Payload.AccessToken,
		`{"webhook":{"type":"call","url":"https://example.com/call"}}`)
	if status != 200 || !strings.Contains(body, "https://example.com/live") || !strings.Contains(body, `"instance_id":"sidehook"`) {
		t.Errorf("omicall: %d %s", status, body)
	}
	for name, request := range map[string][2]string{
		"native": {"/v1/apps/shop/webhooks", "Bearer " + token}, "apiserver": {"/v1/webhook", basic}, "twenty": {"/rest/webhooks", "Bearer " + token},
		"multisite": {"/wp-json/wu/v2/webhook", basic},
	} {
		status, body := call(t, "GET", base+request[0], request[1], "")
		if status != 200 || !strings.Contains(body, "https://example.com/live") || !strings.Contains(body, "https://example.com/call") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// TestDialectsAreOff: unless they are turned on, their paths are nothing.
func TestDialectsAreOff(t *testing.T) {
	c, id, token := startPlane(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+token))
	if status, body := call(t, "GET", "http://"+c.REST+"/v1/webhook", basic, ""); status == 200 {
		t.Errorf("apiserver: %s", body)
	}
	for _, path := range []string{"/v1/webhook", "/api/auth?apiKey=" + token, "/rest/webhooks", "/wp-json/wu/v2/webhook"} {
		if status, body := call(t, "GET", "http://"+c.REST+path, "Bearer "+token, ""); status != 404 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
