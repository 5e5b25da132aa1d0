package control_test

import (
	"errors"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// TestExtras: the key, the status and the note of a webhook are set together with it, or not at all.
func TestExtras(t *testing.T) {
	p := newPlane(t)
	ctx := t.Context()
	_, _, err := p.svc.PutApp(ctx, "shop", control.AppSpec{})
	p.check(err)
	spec := sidehook.Webhook{App: "shop", Name: "One", URL: "https://example.com/", Events: []string{"*"}, Format: sidehook.FormatTwenty}
	key := textKey(t, "receiver-has-it")
	w, _, err := p.svc.CreateWebhookWith(ctx, spec, control.WebhookExtras{
		Key: key, Status: sidehook.WebhookDisabled, Note: &control.Note{Dialect: "d", Value: []byte(`{"a":1}`)},
	})
	p.check(err)
	p.wantExtras(w.Key(), key, `{"a":1}`)
	if w.Status != sidehook.WebhookDisabled || w.DisabledReason == "" {
		t.Errorf("status is %s, because %q", w.Status, w.DisabledReason)
	}

	fresh, other := textKey(t, "a-newer-secret"), "Other"
	w, err = p.svc.UpdateWebhookWith(ctx, w.Key(), control.WebhookPatch{Name: &other}, control.WebhookExtras{
		Key: fresh, Status: sidehook.WebhookEnabled, Note: &control.Note{Dialect: "d", Value: []byte(`{"a":2}`)},
	})
	p.check(err)
	p.wantExtras(w.Key(), fresh, `{"a":2}`)
	if w.Status != sidehook.WebhookEnabled || w.DisabledReason != "" || w.Name != "Other" {
		t.Errorf("got %+v", w)
	}
	if secrets, err := p.svc.ListSecrets(ctx, w.Key()); err != nil || len(secrets) != 1 {
		t.Errorf("secrets: %v, %v", secrets, err)
	}

	bad, third := "ftp://x", "Third"
	for name, try := range map[string]struct {
		patch  control.WebhookPatch
		extras control.WebhookExtras
	}{
		"bad URL":            {control.WebhookPatch{URL: &bad, Name: &third}, control.WebhookExtras{Key: key}},
		"key of other kind":  {control.WebhookPatch{Name: &third}, control.WebhookExtras{Key: sidehook.NewEd25519Key()}},
		"unknown status":     {control.WebhookPatch{Name: &third}, control.WebhookExtras{Status: "paused"}},
		"note is no JSON":    {control.WebhookPatch{Name: &third}, control.WebhookExtras{Note: &control.Note{Dialect: "d", Value: []byte("{")}}},
		"note is too large":  {control.WebhookPatch{Name: &third}, control.WebhookExtras{Note: &control.Note{Dialect: "d", Value: make([]byte, control.MaxNote+1)}}},
		"note of no dialect": {control.WebhookPatch{Name: &third}, control.WebhookExtras{Note: &control.Note{Dialect: "d/e", Value: []byte("1")}}},
	} {
		var field *sidehook.FieldError
		if _, err := p.svc.UpdateWebhookWith(ctx, w.Key(), try.patch, try.extras); !errors.As(err, &field) {
			t.Errorf("%s: %v", name, err)
		}
		p.wantExtras(w.Key(), fresh, `{"a":2}`)
		if now, err := p.svc.GetWebhook(ctx, w.Key()); err != nil || now.Name != "Other" {
			t.Errorf("%s: webhook is now %+v, %v", name, now, err)
		}
	}

	p.check(p.svc.DeleteWebhook(ctx, w.Key()))
	if pairs, _, err := p.kv.List(ctx, "notes/"); err != nil || len(pairs) > 0 {
		t.Errorf("notes that outlive their webhook: %v, %v", pairs, err)
	}
	if _, err := p.svc.RevealKey(ctx, w.Key()); !errors.Is(err, sidehook.ErrNotFound) {
		t.Errorf("key of a webhook that is gone: %v", err)
	}
}

func textKey(t *testing.T, text string) sidehook.Key {
	t.Helper()
	key, err := sidehook.KeyFromText(text)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *plane) wantExtras(k sidehook.WebhookKey, key sidehook.Key, note string) {
	p.t.Helper()
	if got, err := p.svc.RevealKey(p.t.Context(), k); err != nil || !got.Equal(key) {
		p.t.Errorf("another key, or %v", err)
	}
	if got, err := p.svc.WebhookNote(p.t.Context(), k, "d"); err != nil || string(got) != note {
		p.t.Errorf("note is %s, want %s (%v)", got, note, err)
	}
}
