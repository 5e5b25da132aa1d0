package docstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// settle waits after a command until what it set off has happened, as people do by reading on: the sidecar has reported
// that it is ready and has the webhooks that the control plane has, and every delivery was attempted. It gives up in silence when that does not come:
// what the next command prints shows it.
func (s *shell) settle(after string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	defer http.DefaultClient.CloseIdleConnections()
	for {
		err := s.settled(ctx, strings.Contains(after, "publish") || strings.Contains(after, "/v1/events"))
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Logf("after %q: %v", after, err)
			return
		}
	}
}

var errUnsettled = errors.New("the sidecar has other webhooks than the control plane")

func (s *shell) settled(ctx context.Context, attempted bool) error {
	tokens, err := filepath.Glob(filepath.Join(s.dir, "*", "admin.token"))
	if err != nil || len(tokens) == 0 {
		return err
	}
	var dump struct {
		Webhooks []configured `json:"webhooks"`
	}
	if err := s.get(ctx, "http://127.0.0.1:4462/config_dump", "", &dump); err != nil {
		if attempted {
			return err
		}
		return nil // no sidecar yet
	}
	token, err := os.ReadFile(tokens[0])
	if err != nil {
		return err
	}
	var want struct {
		Data []configured `json:"data"`
	}
	var fleet struct {
		Data []struct{ Connected, Ready bool }
	}
	if err := s.get(ctx, "http://127.0.0.1:4471/v1/sidecars", string(token), &fleet); err != nil {
		return err
	}
	if len(fleet.Data) != 1 || !fleet.Data[0].Connected || !fleet.Data[0].Ready {
		return errors.New("the sidecar has not reported that it is ready")
	}
	const webhooks = "http://127.0.0.1:4471/v1/apps/demo/webhooks"
	if err := s.get(ctx, webhooks, string(token), &want); err != nil {
		return err
	}
	if len(want.Data) != len(dump.Webhooks) {
		return errUnsettled
	}
	for _, w := range want.Data {
		var secrets struct{ Data []struct{ ID string } }
		if err := s.get(ctx, webhooks+"/"+w.ID+"/secrets", string(token), &secrets); err != nil {
			return err
		}
		if !w.in(dump.Webhooks, len(secrets.Data)) {
			return errUnsettled
		}
	}
	if attempted {
		return s.attempted(ctx)
	}
	return nil
}

// configured is what the two ends tell of a webhook alike.
type configured struct {
	ID, Status, URL, Transformer, Timeout string
	Events                                []string
	Secrets                               []any
}

func (w *configured) in(all []configured, secrets int) bool {
	for _, have := range all {
		if have.ID == w.ID {
			return have.Status == w.Status && have.URL == w.URL && have.Transformer == w.Transformer &&
				have.Timeout == w.Timeout && fmt.Sprint(have.Events) == fmt.Sprint(w.Events) && len(have.Secrets) == secrets
		}
	}
	return false
}

func (s *shell) attempted(ctx context.Context) error {
	var pending struct {
		Data []struct {
			ID       string
			Attempts int `json:"attempt_count"`
		}
	}
	if err := s.get(ctx, "http://127.0.0.1:4462/deliveries?state=pending", "", &pending); err != nil {
		return err
	}
	for _, d := range pending.Data {
		if d.Attempts == 0 {
			return fmt.Errorf("delivery %s was not attempted", d.ID)
		}
	}
	return nil
}

// get reads JSON from an address as the pages write it.
func (s *shell) get(ctx context.Context, url, token string, into any) error {
	body, err := s.fetch(ctx, url, token)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(body), into)
}

func (s *shell) fetch(ctx context.Context, url, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.ports.in(url), nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), nil
}
