package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sidehook/sidehook/internal/client"
)

// TestSigningOnTheWire: what is left alone is not sent, the default is sent as null, and a secret goes to create and to
// rotate alone.
func TestSigningOnTheWire(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = r.Method + " " + r.URL.Path + " " + string(body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"wh_1","signing":{"scheme":"hmac","header":"X-S"},"public_key":"whpk_y","kind":"text"}`)
	}))
	defer server.Close()
	c, err := client.New(client.Options{Server: server.URL, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	secret, name := "your-secret", "n"
	signing, none := &client.Signing{Scheme: "hmac", Header: "X-S"}, (*client.Signing)(nil)
	for _, call := range []struct {
		want string
		do   func() (any, error)
	}{
		{
			`POST /v1/apps/demo/webhooks {"name":"n","secret":"your-secret","signing":{"scheme":"hmac","header":"X-S"}}`,
			func() (any, error) {
				return c.CreateWebhook(t.Context(), "demo", client.WebhookFields{Name: &name, Secret: &secret, Signing: &signing})
			},
		},
		{
			`PATCH /v1/apps/demo/webhooks/wh_1 {"signing":null}`,
			func() (any, error) {
				return c.UpdateWebhook(t.Context(), "demo", "wh_1", client.WebhookFields{Signing: &none})
			},
		},
		{
			`POST /v1/apps/demo/webhooks/wh_1/secrets {"overlap":"0s","secret":"your-secret"}`,
			func() (any, error) { return c.RotateSecretTo(t.Context(), "demo", "wh_1", 0, secret) },
		},
	} {
		answer, err := call.do()
		if err != nil {
			t.Fatal(err)
		}
		if got != call.want {
			t.Errorf("sent %s, want %s", got, call.want)
		}
		switch a := answer.(type) {
		case *client.Webhook:
			if a.Signing != *signing || a.PublicKey != "whpk_y" {
				t.Errorf("answer %+v", a)
			}
		case *client.Secret:
			if a.Kind != "text" || a.PublicKey != "whpk_y" {
				t.Errorf("answer %+v", a)
			}
		}
	}
}
