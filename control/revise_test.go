package control_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/storage/memkv"
)

func isOMICall(w *sidehook.Webhook) bool { return w.Format == sidehook.FormatOMICall }

func omicallWebhook(name, url string) sidehook.Webhook {
	return sidehook.Webhook{App: "crm", Name: name, URL: url, Events: []string{"call"}, Format: sidehook.FormatOMICall}
}

// TestRevise: what several decide by what is there holds together.
func TestRevise(t *testing.T) {
	p := newPlane(t)
	p.makeApp("crm")
	id, _ := p.makeWebhook("crm", "A")
	k := sidehook.WebhookKey{App: "crm", ID: id}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := p.svc.ReviseWebhook(t.Context(), k, func(w *sidehook.Webhook) (bool, error) {
				w.Events = append(w.Events, fmt.Sprintf("e%d", i))
				w.ID, w.App, w.CreatedAt = "mine", "other", time.Time{} // not for revise to say
				return true, nil
			})
			p.check(err)
		})
	}
	wg.Wait()
	w, err := p.svc.GetWebhook(t.Context(), k)
	p.check(err)
	if len(w.Events) != 21 || w.CreatedAt.IsZero() || !w.UpdatedAt.After(w.CreatedAt) {
		t.Errorf("%+v", w)
	}

	var field *sidehook.FieldError
	_, err = p.svc.ReviseWebhook(t.Context(), k, func(w *sidehook.Webhook) (bool, error) {
		w.URL = "ftp://example.com"
		return true, nil
	})
	if !errors.As(err, &field) || field.Field != "url" {
		t.Errorf("a bad URL: %v", err)
	}
	mine := errors.New("mine")
	if _, err := p.svc.ReviseWebhook(t.Context(), k, func(*sidehook.Webhook) (bool, error) { return false, mine }); !errors.Is(err, mine) {
		t.Errorf("its own error: %v", err)
	}
	w, err = p.svc.ReviseWebhook(t.Context(), k, func(w *sidehook.Webhook) (bool, error) {
		w.Name = "renamed, and then removed" // what is removed is what is stored
		return false, nil
	})
	if w != nil || err != nil {
		t.Errorf("%+v %v", w, err)
	}
	if names := p.pub.names("crm", id); len(names) != 0 {
		t.Errorf("sidecars still have %q", names)
	}
	p.makeWebhook("crm", "A") // the name and the place are free again
	if _, err := p.svc.ReviseWebhook(t.Context(), k, nil); !errors.Is(err, sidehook.ErrNotFound) {
		t.Errorf("of none: %v", err)
	}
}

func TestReplace(t *testing.T) {
	p := newPlane(t)
	p.makeApp("crm")
	p.makeWebhook("crm", "other")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := p.svc.ReplaceWebhooks(t.Context(), omicallWebhook("calls", fmt.Sprintf("https://example.com/%d", i)), isOMICall)
			p.check(err)
		})
	}
	wg.Wait()
	all, err := p.svc.AllWebhooks(t.Context(), "crm")
	p.check(err)
	if len(all) != 2 {
		t.Fatalf("there are %d webhooks", len(all))
	}
	first := all[0]
	if names := p.pub.names("crm", first.ID); len(names) != 2 { // the webhook and its secret
		t.Errorf("sidecars have %q", names)
	}
	for i := range 3 {
		_, _, err := p.svc.CreateWebhook(t.Context(), omicallWebhook(fmt.Sprint(i), "https://example.com"))
		p.check(err)
	}
	placed, err := p.svc.ReplaceWebhooks(t.Context(), omicallWebhook("calls", "https://example.com/last"), isOMICall)
	p.check(err)
	all, err = p.svc.AllWebhooks(t.Context(), "crm")
	p.check(err)
	if len(all) != 2 || placed.Name != "2" || placed.URL != "https://example.com/last" {
		t.Errorf("%d left, placed %+v", len(all), placed)
	}

	// A name that is taken is told, and nothing is changed.
	var conflict *control.ConflictError
	_, err = p.svc.ReplaceWebhooks(t.Context(), omicallWebhook("other", "https://example.com"), func(*sidehook.Webhook) bool { return false })
	if !errors.As(err, &conflict) || conflict.Field != "name" {
		t.Errorf("a taken name: %v", err)
	}
	if n, err := p.svc.RemoveWebhooks(t.Context(), "crm", isOMICall); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if n, err := p.svc.RemoveWebhooks(t.Context(), "crm", isOMICall); n != 0 || err != nil {
		t.Errorf("removed %d again, %v", n, err)
	}
	for range 9 { // counts are right: nine more and no tenth
		p.makeWebhook("crm", fmt.Sprintf("n%d", len(p.pub.names("crm", "webhooks"))))
	}
	p.do(p.admin, "POST", "/v1/apps/crm/webhooks", webhookJSON("too many")).want(409)
	for _, app := range []string{"none", "no/name"} {
		if _, err := p.svc.RemoveWebhooks(t.Context(), app, isOMICall); !errors.Is(err, sidehook.ErrNotFound) {
			t.Errorf("%s: %v", app, err)
		}
	}
}

// TestAccess: an access token stands in for its token until its end, or until the token goes.
func TestAccess(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	kv := memkv.New()
	defer kv.Close() //nolint:errcheck // nothing can fail in memory
	svc, err := control.New(control.Options{KV: kv, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	token, plain, err := svc.CreateToken(t.Context(), control.TokenSpec{Name: "a", Kind: control.TokenAdmin})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = svc.CreateToken(t.Context(), control.TokenSpec{Name: "b", Kind: control.TokenAdmin})
	if err != nil {
		t.Fatal(err)
	}
	access, of, err := svc.IssueAccess(t.Context(), plain, time.Hour)
	if err != nil || of.ID != token.ID || strings.Contains(access, plain) {
		t.Fatalf("%q %+v %v", access, of, err)
	}
	if _, _, err := svc.IssueAccess(t.Context(), access, time.Hour); !errors.Is(err, control.ErrUnauthenticated) {
		t.Errorf("an access token got another: %v", err)
	}
	if got, err := svc.AuthenticateAccess(t.Context(), access); err != nil || got.ID != token.ID || got.Kind != control.TokenAdmin {
		t.Errorf("%+v %v", got, err)
	}
	// Every byte counts.
	for i := range access {
		changed := slices.Replace([]byte(access), i, i+1, access[i]^1)
		if _, err := svc.AuthenticateAccess(t.Context(), string(changed)); !errors.Is(err, control.ErrUnauthenticated) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	now = now.Add(time.Hour - time.Second)
	if _, err := svc.AuthenticateAccess(t.Context(), access); err != nil {
		t.Errorf("before its end: %v", err)
	}
	now = now.Add(time.Second)
	if _, err := svc.AuthenticateAccess(t.Context(), access); !errors.Is(err, control.ErrAccessExpired) || !errors.Is(err, control.ErrUnauthenticated) {
		t.Errorf("at its end: %v", err)
	}
	now = now.Add(-time.Minute)
	if err := svc.RevokeToken(t.Context(), token.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.AuthenticateAccess(t.Context(), access); !errors.Is(err, control.ErrUnauthenticated) {
		t.Errorf("after the token went: %v", err)
	}
}
