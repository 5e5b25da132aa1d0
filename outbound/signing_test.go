package outbound_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound"
	"github.com/sidehook/sidehook/storage"
)

func textSecret(t *testing.T, w *sidehook.Webhook, text string) *sidehook.Secret {
	t.Helper()
	key, err := sidehook.ImportKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return &sidehook.Secret{App: w.App, Webhook: w.ID, ID: "s1", Key: key}
}

// TestTwentyRetries: a retry has the same body under a fresh timestamp, nonce and signature, and what is recorded does
// not hold a signature that could be used.
func TestTwentyRetries(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n == 1 {
				return 500, "", nil
			}
			return 200, "", nil
		}
		w := webhook("w", func(w *sidehook.Webhook) { w.Format = sidehook.FormatTwenty })
		k.applySnapshot(snapshot([]*sidehook.Webhook{w}, []*sidehook.Secret{textSecret(t, w, "your-secret")}))
		e := event("e1", "person.created")
		e.Data = []byte(`{"name": "A \u0026 B"}`)
		k.publish(e)
		time.Sleep(time.Minute)
		all := k.recv.all()
		k.want("requests", len(all), 2)
		for i, s := range all {
			if !strings.HasPrefix(s.body, `{"event":"person.created","data":{"name":"A & B"},"timestamp":"`) || s.body != all[0].body {
				t.Errorf("body %d is %s", i, s.body)
			}
			m := hmac.New(sha256.New, []byte("your-secret"))
			m.Write([]byte(s.headers["X-Twenty-Webhook-Timestamp"] + ":" + s.body))
			k.want("signature", s.headers["X-Twenty-Webhook-Signature"], hex.EncodeToString(m.Sum(nil)))
			k.want("webhook-id", s.headers["webhook-id"], "e1")
			if s.headers["webhook-signature"] != "" || s.headers["sidehook-delivery"] == "" || s.headers["traceparent"] == "" {
				t.Errorf("headers %v", s.headers)
			}
		}
		for _, name := range []string{"X-Twenty-Webhook-Signature", "X-Twenty-Webhook-Timestamp", "X-Twenty-Webhook-Nonce"} {
			if all[0].headers[name] == all[1].headers[name] {
				t.Errorf("%s is the same on both attempts", name)
			}
		}
		d := k.deliveries(storage.Query{Limit: 1})
		got, err := k.store.Delivery(t.Context(), d[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range got.Attempts {
			for _, h := range a.RequestHeaders {
				if whole := all[i].headers[h.Key]; h.Key == "X-Twenty-Webhook-Signature" && (h.Value == whole ||
					!strings.HasPrefix(whole, strings.TrimSuffix(h.Value, "…")) || len(h.Value) > 20) {
					t.Errorf("attempt %d records %s of %s", i+1, h.Value, whole)
				}
			}
		}
	})
}

// TestHeadersOfFormats: those of a format reach the receiver, on retries too, and a transformer cannot change them.
func TestHeadersOfFormats(t *testing.T) {
	bubble(t, func(k *kit) {
		k.recv.answer = func(n int, _ sent) (int, string, error) {
			if n <= 3 {
				return 500, "", nil
			}
			return 200, "", nil
		}
		k.apply(
			webhook("multisite", func(w *sidehook.Webhook) { w.Format = sidehook.FormatMultisite }),
			webhook("binary", func(w *sidehook.Webhook) { w.Format = sidehook.FormatCloudEventsBinary }),
			webhook("plugin", func(w *sidehook.Webhook) {
				w.Format, w.Transformer = sidehook.FormatCloudEventsBinary, "t"
			}),
		)
		k.publish(event("e1", "payment_received"))
		time.Sleep(time.Minute)
		all := k.recv.all()
		k.want("requests", len(all), 6)
		for _, s := range all {
			verify(t, s)
			if strings.Contains(s.url, "multisite") {
				k.want("event", s.headers["sidehook-event"], "payment_received")
				k.want("body", s.body, `{"n":1}`)
				continue
			}
			k.want("ce-type", s.headers["ce-type"], "payment_received")
			k.want("ce-id", s.headers["ce-id"], "e1")
			k.want("content-type", s.headers["content-type"], "application/json")
			if strings.Contains(s.url, "plugin") {
				k.want("x-plugin", s.headers["x-plugin"], "1")
				k.want("forged", s.headers["CE-Type"], "")
			}
		}
	}, func(o *outbound.Options) {
		o.Transformers = transformers(func(e *sidehook.Event) (*sidehook.Transformed, error) {
			return &sidehook.Transformed{Event: e, Headers: []sidehook.Header{
				{Key: "CE-Type", Value: "forged"}, {Key: "x-plugin", Value: "1"},
			}}, nil
		})
	})
}

func TestNoBodyHasNoContentType(t *testing.T) {
	bubble(t, func(k *kit) {
		k.apply(webhook("w", func(w *sidehook.Webhook) { w.Format = sidehook.FormatCloudEventsBinary }))
		e := event("e1", "a.b")
		e.Data = nil
		k.publish(e)
		synctest.Wait()
		s := k.recv.all()[0]
		if _, there := s.headers["content-type"]; there || s.body != "" {
			t.Errorf("%+v", s)
		}
		verify(t, s)
	})
}

func TestWaitsForASecretThatFits(t *testing.T) {
	bubble(t, func(k *kit) {
		w := webhook("w")
		k.applySnapshot(snapshot([]*sidehook.Webhook{w}, []*sidehook.Secret{textSecret(t, w, "your-secret")}))
		k.publish(event("e1", "a.b"))
		time.Sleep(time.Minute)
		k.want("requests", len(k.recv.all()), 0)
		if got := k.engine.Webhooks()[0]; got.Phase != "paused" || !strings.Contains(got.Reason, "signing scheme") {
			t.Errorf("phase %s: %s", got.Phase, got.Reason)
		}
		twenty := *w
		twenty.Format = sidehook.FormatTwenty
		k.applySnapshot(snapshot([]*sidehook.Webhook{&twenty}, []*sidehook.Secret{textSecret(t, w, "your-secret")}))
		synctest.Wait()
		k.want("requests", len(k.recv.all()), 1)
	})
}
