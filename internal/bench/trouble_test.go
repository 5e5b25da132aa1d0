package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds"
	xdsclient "github.com/sidehook/sidehook/xds/client"
)

func TestEndpointsInTroubleAnswerAsTheyShouldAndAreNotCounted(t *testing.T) {
	r := &receiving{ledger: newLedger(), wake: make(chan struct{}, 1)}
	server := httptest.NewServer(http.HandlerFunc(r.serve))
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	errGivenUp := errors.New("given up")
	send := func(path string, sent func(cancel context.CancelCauseFunc)) (*http.Response, error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { sent(cancel) }})
		b := newBody(200)
		fillBody(b, 1, time.Now())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, strings.NewReader(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return client.Do(req)
	}
	stay := func(context.CancelCauseFunc) {}

	resp, err := send(busyPath, stay)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the busy endpoint answers %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	_ = resp.Body.Close()

	if resp, err = send(endlessPath, stay); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, resp.Body, 2*endlessBurst); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the endless answer, %s, ended after %d bytes: %v", resp.Status, n, err)
	}
	_ = resp.Body.Close() // before its end

	if resp, err = send(hangPath, func(cancel context.CancelCauseFunc) { cancel(errGivenUp) }); err == nil {
		t.Errorf("the endpoint that hangs answers %s", resp.Status)
		_ = resp.Body.Close()
	}

	if s := r.ledger.summary(); s.Arrivals != 0 || s.Strange != 0 {
		t.Errorf("of what came to endpoints in trouble, %d arrivals and %d strangers were counted", s.Arrivals, s.Strange)
	}
	if resp, err = send(webhookPath(0), stay); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if s := r.ledger.summary(); s.Arrivals != 1 {
		t.Errorf("of one request to a healthy endpoint, %d were counted", s.Arrivals)
	}
}

func TestTroubleThatIsNoneIsTold(t *testing.T) {
	hooks := []hook{{answer: 200}, {answer: 429}, {answer: 0}}
	good := `{"data": [{"id": "w0", "last_status": 200}, {"id": "w1", "last_status": 429}, {"id": "w2", "last_error": "timeout"}]}`
	for name, c := range map[string]struct {
		text  string
		wrong bool
	}{
		"as it should be":          {good, false},
		"not attempted yet":        {strings.ReplaceAll(good, `, "last_error": "timeout"`, ""), true},
		"answers though it should": {strings.ReplaceAll(good, "429", "200"), true},
		"no answer":                {strings.ReplaceAll(good, `200`, "0"), true},
		"one is not there":         {strings.ReplaceAll(good, `{"id": "w1", "last_status": 429}, `, ""), true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, c.text) }))
		s := &sidecar{admin: strings.TrimPrefix(server.URL, "http://")}
		wrong, err := s.unlike(hooks)
		server.Close()
		if err != nil || (wrong != nil) != c.wrong {
			t.Errorf("%s: %v, %v", name, wrong, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestConfigServerGivesASidecarItsWebhooks(t *testing.T) {
	hooks := idleHooks(300)
	c, err := serveConfig(hooks)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+c.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	errFound := errors.New("all of them are there")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := make(chan error, 1)
	client := xdsclient.New(xdsclient.Options{Conn: conn, NodeID: "test", Version: "test", Apply: func(snap *xds.Snapshot) error {
		for i, h := range hooks {
			w := snap.Webhook(sidehook.WebhookKey{App: app, ID: fmt.Sprintf("w%d", i)})
			if w == nil || w.URL != h.URL || len(w.Secrets) != 1 {
				cancel(fmt.Errorf("webhook %d is %+v", i, w))
				return nil
			}
		}
		cancel(errFound)
		return nil
	}})
	go func() { stopped <- client.Run(ctx) }()
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, errFound) {
		t.Error(err)
	}
	<-stopped
	if err := errors.Join(conn.Close(), c.stop()); err != nil {
		t.Error(err)
	}
	if _, err := resourcesOf([]hook{{Filter: "true"}}); err == nil {
		t.Error("a filter is left out without a word")
	}
}
