package console_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
)

func TestSecretIsShownOnDemand(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	key, err := s.svc.RevealKey(t.Context(), w.Key())
	s.check(err)
	r := s.signedIn("vi")
	page := r.get(demo + "/" + w.ID).want(200)
	if !strings.Contains(page.body, "data-live-url") {
		t.Error("the page does not follow what changes")
	}
	if strings.Contains(page.body, key.Reveal()) || strings.Contains(page.body, "whsec_") {
		t.Error("the secret is on the page before anybody asked")
	}
	shown := page.submit("/reveal", nil).want(200)
	if n := shown.byID("secret-value"); n == nil || attr(n, "value") != key.Reveal() {
		t.Errorf("the secret is not shown: %s", shown.text("main"))
	}
	if shown.header.Get("Cache-Control") != "no-store" {
		t.Error("the secret may be kept by a cache")
	}
	checkPage(t, shown)
	if strings.Contains(shown.body, "data-live-url") {
		t.Error("the page with the secret wants to be fetched again when something changes, which cannot be")
	}
	if strings.Contains(s.log.String(), key.Reveal()) {
		t.Error("the secret is in the log")
	}
	if !strings.Contains(s.log.String(), "secret shown in the console") {
		t.Error("the log does not say that it was shown")
	}
}

func TestRotateSecret(t *testing.T) {
	s := newSite(t)
	w := s.makeWebhook("One")
	r := s.signedIn("vi")
	before, err := s.svc.RevealKey(t.Context(), w.Key())
	s.check(err)
	page := r.get(demo + "/" + w.ID)
	s.clock.move(time.Second)
	ask := page.submit("/secrets", url.Values{"overlap": {"1h"}}).want(200).wantText("main", "Tạo khoá bí mật mới cho webhook này?")
	ask.submit("/secrets", nil).follow().want(200).wantText("#toasts", "Webhook đã có khoá bí mật mới")
	after, err := s.svc.RevealKey(t.Context(), w.Key())
	s.check(err)
	all, err := s.svc.ListSecrets(t.Context(), w.Key())
	s.check(err)
	if after.Equal(before) || len(all) != 2 || all[1].NotAfter.Sub(s.clock.Now()).Round(time.Minute) != time.Hour {
		t.Errorf("the secrets are %+v", all)
	}
	for range 3 {
		s.clock.move(time.Second)
		page.submit("/secrets", url.Values{"overlap": {"24h"}, "confirmed": {"yes"}}).want(303)
	}
	s.clock.move(time.Second)
	page.submit("/secrets", url.Values{"overlap": {"24h"}, "confirmed": {"yes"}}).want(409).wantText("main", "webhook có 5 khoá bí mật còn hiệu lực")
	page.submit("/secrets", url.Values{"overlap": {"0s"}, "confirmed": {"yes"}}).want(303)
	for _, overlap := range []string{"", "5m", "-1h", "x"} {
		page.submit("/secrets", url.Values{"overlap": {overlap}, "confirmed": {"yes"}}).want(400)
	}
}

func TestPublicKeyIsShown(t *testing.T) {
	s := newSite(t)
	w, key, err := s.svc.CreateWebhook(t.Context(), sidehook.Webhook{
		App: "demo", Name: "Pair", URL: "https://example.com", Events: []string{"*"}, Signing: sidehook.Signing{Scheme: sidehook.SchemeStandardEd25519},
	})
	s.check(err)
	s.signedIn("en").get(demo+"/"+w.ID).wantText("main", key.PublicKey())
}
