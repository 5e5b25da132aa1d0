package control_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/storage/badgerstore"
	"github.com/sidehook/sidehook/xds"
)

// BenchmarkChange is one change with 100,000 webhooks in the store: from the call to its hand-over to the Publisher.
// load-ms is how long Start took.
func BenchmarkChange(b *testing.B) {
	kv, err := badgerstore.OpenKV(b.TempDir(), badgerstore.KVOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = kv.Close() }()
	svc, err := control.New(control.Options{KV: kv})
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := svc.PutApp(b.Context(), "demo", appSpec); err != nil {
		b.Fatal(err)
	}
	w, _, err := svc.CreateWebhook(b.Context(), sidehook.Webhook{
		App: "demo", Name: "a", URL: "https://example.com/", Events: []string{"*"},
	})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, kv, w)
	start := time.Now()
	if err := svc.Start(b.Context(), &published{apps: make(map[string]map[string]*xds.Resource)}, nil); err != nil {
		b.Fatal(err)
	}
	load := time.Since(start)
	defer func() { _ = svc.Close() }()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint("name ", i)
		if _, err := svc.UpdateWebhook(b.Context(), w.Key(), control.WebhookPatch{Name: &name}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(load.Milliseconds()), "load-ms")
}

// fill copies the records of a webhook and its secret to 10,000 other apps, 10 times each.
func fill(b *testing.B, kv storage.KV, w *sidehook.Webhook) {
	b.Helper()
	webhook, err := kv.Get(b.Context(), "webhooks/demo/"+w.ID)
	if err != nil {
		b.Fatal(err)
	}
	secrets, _, err := kv.List(b.Context(), "secrets/demo/")
	if err != nil {
		b.Fatal(err)
	}
	for app := range 10_000 {
		var ops []storage.Op
		for i := range 10 {
			id := fmt.Sprintf("app-%d/wh-%d", app, i)
			ops = append(ops, storage.Op{Key: "webhooks/" + id, Value: webhook.Value},
				storage.Op{Key: "secrets/" + id + "/s", Value: secrets[0].Value})
		}
		if _, err := kv.Commit(b.Context(), nil, ops); err != nil {
			b.Fatal(err)
		}
	}
}
