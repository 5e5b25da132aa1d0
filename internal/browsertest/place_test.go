//go:build with_chromium

package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidehook/sidehook"
	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
	"github.com/sidehook/sidehook/internal/app"
	"github.com/sidehook/sidehook/internal/config"
)

// place is a whole Sidehook of the test's own: control plane with console, sidecar and inbox, over their real connections.
type place struct {
	*app.Dev
	console, inbox string // addresses
	dir            string // of everything that it keeps
	token          string // the admin's
	events         eventsv1.EventServiceClient
}

// Its sidecar has these transformers.
func newPlace(t *testing.T, transformers ...config.Transformer) *place {
	t.Helper()
	dir := t.TempDir()
	const free = "127.0.0.1:0"
	dev, err := app.StartDev(t.Context(), app.DevOptions{
		DataDir: dir, Out: io.Discard, Transformers: transformers,
		Ports: config.Ports{GRPC: free, HTTP: free, Admin: free, XDS: free, REST: free, Inbox: free},
		Log:   slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := dev.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	token, err := os.ReadFile(filepath.Join(dir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(dev.Sidecar.Addrs.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close the connection: %v", err)
		}
	})
	return &place{
		Dev: dev, dir: dir, console: "http://" + dev.Control.REST + "/console/", inbox: "http://" + dev.Inbox,
		token: strings.TrimSpace(string(token)), events: eventsv1.NewEventServiceClient(conn),
	}
}

// publish gives an event to the sidecar.
func (pl *place) publish(t *testing.T, id, eventType, data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := pl.events.Publish(ctx, &eventsv1.PublishRequest{Events: []*eventsv1.Event{{
		App: app.DevApp, Id: id, Source: "/browser", Type: eventType, Data: []byte(data),
	}}}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("publish %s: %v", id, err)
	}
}

// webhook makes a webhook of the app demo that sends every event to a URL, and returns its key.
func (pl *place) webhook(t *testing.T, w sidehook.Webhook) (*sidehook.Webhook, sidehook.Key) {
	t.Helper()
	w.App = app.DevApp
	if w.Events == nil {
		w.Events = []string{"*"}
	}
	made, key, err := pl.Control.Service.CreateWebhook(t.Context(), w)
	if err != nil {
		t.Fatalf("create webhook %s: %v", w.Name, err)
	}
	return made, key
}

// bin is where the inbox takes requests under a name.
func (pl *place) bin(name string) string { return pl.inbox + "/in/" + name }

// set gives a bin of the inbox its settings.
func (pl *place) set(t *testing.T, bin, settings string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, pl.inbox+"/bins/"+bin, strings.NewReader(settings))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("set %s: %s %s %v", bin, resp.Status, answer, err)
	}
}

// phase is how the sidecar has a webhook; empty when it does not know it.
func (pl *place) phase(ctx context.Context, id string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pl.Sidecar.Addrs.Admin+"/webhooks", nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	var known struct{ Data []struct{ ID, Phase string } }
	err = json.NewDecoder(resp.Body).Decode(&known)
	for _, w := range known.Data {
		if w.ID == id {
			return w.Phase, errors.Join(err, resp.Body.Close())
		}
	}
	return "", errors.Join(err, resp.Body.Close())
}
