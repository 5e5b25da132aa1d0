package app

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook/internal/config"
)

// startConsole starts a control plane and returns a browser that is signed in, which follows no redirects.
func startConsole(t *testing.T) (*Control, *http.Client) {
	t.Helper()
	cfg := config.DefaultControl()
	cfg.DataDir = t.TempDir()
	cfg.AdminTokenFile = filepath.Join(cfg.DataDir, "admin.token")
	cfg.Listen = config.ControlListen{XDS: "127.0.0.1:0", REST: "127.0.0.1:0"}
	cfg.Dialects = config.Dialects()
	c, err := StartControl(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(cfg.AdminTokenFile)
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	browser := &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	response, err := browser.PostForm("http://"+c.REST+"/console/sign-in", url.Values{"token": {string(token)}})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusSeeOther {
		t.Fatalf("sign-in answered %s", response.Status)
	}
	return c, browser
}

func TestConsoleStandsBesideTheAPI(t *testing.T) {
	c, browser := startConsole(t)
	for _, tc := range []struct {
		path, accept string
		code         int
		location     string
	}{
		{"/", "text/html,*/*", http.StatusSeeOther, "/console/"},
		{"/", "application/json", http.StatusNotFound, ""},
		{"/console", "text/html", http.StatusTemporaryRedirect, "/console/"},
		{"/console/", "text/html", http.StatusSeeOther, "/console/apps"},
		{"/console/apps", "text/html", http.StatusOK, ""},
		{"/v1/apps", "text/html", http.StatusUnauthorized, ""}, // a session is not for REST
		{"/live", "text/html", http.StatusOK, ""},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+c.REST+tc.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", tc.accept)
		response, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != tc.code || response.Header.Get("Location") != tc.location {
			t.Errorf("%s (%s) answered %s %s", tc.path, tc.accept, response.Status, response.Header.Get("Location"))
		}
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStopEndsLivePages(t *testing.T) {
	c, browser := startConsole(t)
	response, err := browser.Get("http://" + c.REST + "/console/live")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "open") { // the stream has begun
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Error(err)
	}
	for lines.Scan() { // ends
	}
	if ctx.Err() != nil {
		t.Error("stopping waited for a page")
	}
}
