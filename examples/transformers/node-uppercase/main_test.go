//go:build with_node

// Package node_test runs the suite for transformers against one that is not written in Go.
package node_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/plugin/host"
	"github.com/sidehook/sidehook/plugin/plugintest"
)

// TestMain installs the packages that package-lock.json names.
func TestMain(m *testing.M) {
	if _, err := os.Stat("node_modules"); errors.Is(err, os.ErrNotExist) {
		npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
		npm.Stderr = os.Stderr
		if err := npm.Run(); err != nil {
			panic("npm ci: " + err.Error())
		}
	}
	os.Exit(m.Run())
}

func program(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("uppercase.mjs")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConformance(t *testing.T) { plugintest.Run(t, program(t)) }

// TestResults asks what it does with an event, through the host that a sidecar uses.
func TestResults(t *testing.T) {
	h, err := host.New(host.Options{Dir: t.TempDir(), Specs: []host.Spec{{Name: "t", Command: program(t)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := h.Ready(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	ask := func(eventType, data string) (*sidehook.Transformed, error) {
		event := &sidehook.Event{
			App: "demo", ID: "1", Source: "/", Type: eventType, DataContentType: "application/json", Data: []byte(data),
		}
		return h.Transform(ctx, "t", event, &sidehook.Webhook{App: "demo", ID: "wh"})
	}
	got, err := ask("person.created", `{"name":"An","n":1,"tags":["a",null]}`)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"name":"AN","n":1,"tags":["A",null]}`; string(got.Event.Data) != want {
		t.Errorf("data %s, want %s", got.Event.Data, want)
	}
	if len(got.Headers) != 1 || got.Headers[0] != (sidehook.Header{Key: "X-Uppercase", Value: "yes"}) {
		t.Errorf("headers %v", got.Headers)
	}
	if got, err = ask("internal.note", `{}`); err != nil || !got.Drop {
		t.Errorf("an internal event: %+v, %v", got, err)
	}
	if _, err = ask("person.created", `{`); !errors.As(err, new(*sidehook.TransformFailure)) {
		t.Errorf("data that is not JSON: %v", err)
	}
}
