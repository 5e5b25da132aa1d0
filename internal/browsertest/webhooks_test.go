//go:build with_chromium

package browsertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/internal/app"
)

// catalogue gives the app demo the event types that the form offers.
func (pl *place) catalogue(t *testing.T) {
	t.Helper()
	if _, err := pl.Control.Service.ImportEventTypes(t.Context(), app.DevApp, "sigma", false); err != nil {
		t.Fatal(err)
	}
}

// TestCreateWebhook goes the way of the first document: list, Thêm mới, the form with its mistakes, Submit, and the new
// webhook first in the list.
func TestCreateWebhook(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		pl.catalogue(t)
		pl.webhook(t, sidehook.Webhook{Name: "Older", URL: "https://example.com/older"})
		p.signIn(pl, w, webhooksOfDemo)
		p.click("link", w.newWebhook)
		p.awaitAddress("/webhooks/new")
		p.sees("0/50", "0/2048")
		p.look("webhook-new")
		if got := p.value("switch", w.retry); got != "false" {
			t.Errorf("the retry of a new webhook is %s", got)
		}

		p.seen.expect("422")
		p.fill(w.name, "Kênh CRM")
		p.fill(w.url, "ftp://example.com")
		p.click("button", w.submit)
		p.has("alert", "")
		p.holds("the error takes the focus", `document.activeElement?.matches("[role=alert]")`)
		if got := p.value("textbox", w.name); got != "Kênh CRM" {
			t.Errorf("the name is %q after the mistake", got)
		}
		if got := p.description("textbox", w.url); !strings.Contains(got, w.badURL) {
			t.Errorf("a screen reader says %q of the URL", got)
		}
		p.look("webhook-mistakes")

		p.fill(w.url, "https://crm.example.com/in")
		p.click("button", w.addHeader)
		p.in("[data-row]", "").fill(w.headerName, "X-Token")
		p.in("[data-row]", "").fill(w.headerValue, "123")
		p.in("fieldset.product", "livestream.channel.live").click("checkbox", w.selectAll)
		p.click("switch", w.retry)
		p.click("button", w.submit)
		p.sees(w.created)
		p.holds("the new webhook is first", `document.querySelector("tbody tr")?.innerText.includes("Kênh CRM")`)
		p.sees("https://crm.example.com/in", "Older")
		p.look("webhooks")

		all, _, err := pl.Control.Service.ListWebhooks(t.Context(), app.DevApp, control.PageRequest{})
		if err != nil || len(all) != 2 {
			t.Fatalf("there are %d webhooks, %v", len(all), err)
		}
		made := all[0]
		if made.Name != "Kênh CRM" {
			made = all[1]
		}
		want := "livestream.channel.end livestream.channel.live livestream.session.created"
		if got := strings.Join(slices.Sorted(slices.Values(made.Events)), " "); got != want || !made.AutomaticRetry ||
			len(made.Headers) != 1 || made.Headers[0] != (sidehook.Header{Key: "X-Token", Value: "123"}) {
			t.Errorf("made %+v, want the events %s", made, want)
		}
	})
}

// TestEleventhWebhook: the limit is told, and what was typed stays.
func TestEleventhWebhook(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		pl.catalogue(t)
		for i := range 10 {
			pl.webhook(t, sidehook.Webhook{Name: fmt.Sprintf("Webhook %d", i+1), URL: "https://example.com/" + strings.Repeat("long/", 30)})
		}
		p.signIn(pl, w, webhooksOfDemo)
		p.look("webhooks-ten")
		p.seen.expect("409")
		p.seen.expect("422")
		p.click("link", w.newWebhook)
		p.fill(w.name, "Webhook 11")
		p.fill(w.url, "https://example.com/11")
		p.in("fieldset.product", "livestream.channel.live").click("checkbox", w.selectAll)
		p.click("button", w.submit)
		p.has("alert", "")
		p.sees(w.eleventh)
		if got := p.value("textbox", w.name); got != "Webhook 11" {
			t.Errorf("the name is %q after the refusal", got)
		}
		p.look("webhook-eleventh")
	})
}

// TestTakenName: two webhooks of an app cannot have one name.
func TestTakenName(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		pl.webhook(t, sidehook.Webhook{Name: "Webhook 1", URL: "https://example.com/1"})
		p.signIn(pl, w, webhooksOfDemo+"/new")
		p.seen.expect("409")
		p.seen.expect("422")
		p.fill(w.name, "Webhook 1")
		p.fill(w.url, "https://example.com/2")
		p.fill(w.patterns, "person.*")
		p.click("button", w.submit)
		p.in("[role=alert]", "").sees(w.taken)
		if got := p.description("textbox", w.name); !strings.Contains(got, w.taken) {
			t.Errorf("a screen reader says %q of the name", got)
		}
	})
}

// TestSwitchWebhook: enabling, disabling and deleting ask first, say that they are done, and are done.
func TestSwitchWebhook(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		made, _ := pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: "https://example.com/crm"})
		status := func() sidehook.WebhookStatus {
			t.Helper()
			now, err := pl.Control.Service.GetWebhook(t.Context(), made.Key())
			if err != nil {
				t.Fatal(err)
			}
			return now.Status
		}
		p.signIn(pl, w, webhooksOfDemo)
		p.click("button", w.disable+" CRM")
		p.look("confirm")
		p.in("dialog[open]", "").click("button", w.cancel)
		p.hasNot("dialog", "…")
		if status() != sidehook.WebhookEnabled {
			t.Error("Hủy disabled it")
		}
		p.click("button", w.disable+" CRM")
		p.in("dialog[open]", "").click("button", w.confirm)
		p.sees(w.disabled)
		if status() != sidehook.WebhookDisabled {
			t.Error("it is not disabled")
		}
		p.hasNot("link", w.test+" CRM")
		p.click("button", w.enable+" CRM")
		p.in("dialog[open]", "").click("button", w.confirm)
		p.sees(w.enabled)
		if status() != sidehook.WebhookEnabled {
			t.Error("it is not enabled")
		}

		p.click("link", w.edit+" CRM")
		p.fill(w.name, "CRM 2")
		p.click("button", w.submit)
		p.sees(w.updated, "CRM 2")

		p.click("button", w.remove+" CRM 2")
		p.in("dialog[open]", "").click("button", w.confirm)
		p.sees(w.deleted)
		p.seesNot("CRM 2")
		p.look("webhooks-empty")
	})
}

// TestTestEvent sends a test event to the inbox, and one to an endpoint that fails.
func TestTestEvent(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		pl.catalogue(t)
		pl.webhook(t, sidehook.Webhook{Name: "Good", URL: pl.bin("good")})
		pl.webhook(t, sidehook.Webhook{Name: "Bad", URL: pl.bin("bad")})
		pl.set(t, "bad", `{"fail_first":-1,"fail_status":500}`)
		p.signIn(pl, w, webhooksOfDemo)
		p.click("link", w.test+" Good")
		sheet := p.in("dialog[open]", w.testTitle)
		sheet.click("button", w.sendTest)
		sheet.sees(w.testSucceeded, "200")
		p.look("webhook-test")
		sheet.click("link", w.close)
		p.hasNot("dialog", "…")

		p.click("link", w.test+" Bad")
		sheet.click("button", w.sendTest)
		sheet.sees(w.testFailed, "500")
		p.look("webhook-test-failed")
	})
}

// TestRotateSecret: the key is shown on demand, and the old one stays valid for as long as chosen.
func TestRotateSecret(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		made, key := pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm"), Events: []string{"person.*", "company.created", "note.*"}})
		p.signIn(pl, w, webhooksOfDemo)
		p.click("link", "CRM")
		p.has("button", w.reveal)
		p.look("webhook-detail")
		if html := read[string](p, "document.documentElement.outerHTML"); strings.Contains(html, key.Reveal()) {
			t.Error("the page has the key before anybody asked for it")
		}
		p.click("button", w.reveal)
		p.holds("the key is shown", fmt.Sprintf(`[...document.querySelectorAll("input")].some((e) => e.value === %s)`, quoted(key.Reveal())))

		p.choose(w.overlap, w.oneDay)
		p.click("button", w.rotate)
		p.in("dialog[open]", "").click("button", w.confirm)
		p.await("two valid secrets", func(context.Context) error {
			all, err := pl.Control.Service.ListSecrets(t.Context(), made.Key())
			if err == nil && len(all) != 2 {
				err = fmt.Errorf("there are %d", len(all))
			}
			return err
		})
		p.holds("two valid secrets", `document.querySelectorAll("#secret-list tbody tr .badge.good").length === 2`)
		p.in(".toast", "").click("button", w.close)
		p.click("button", w.reveal)
		p.has("link", w.hide)
		p.look("secrets")
	})
}

// TestListIsLive: what others change shows without a reload, and a form that is being filled in stays as it is.
func TestListIsLive(t *testing.T) {
	t.Parallel()
	pl, w := newPlace(t), &tongues[1]
	p := newPage(t, "en")
	p.signIn(pl, w, webhooksOfDemo)
	p.holds("live", `document.querySelector("#live")?.dataset.state === "on"`)
	p.must("mark the page", func(ctx context.Context) error { _, err := eval[bool](ctx, "window.same = true"); return err })
	pl.webhook(t, sidehook.Webhook{Name: "From elsewhere", URL: "https://example.com"})
	p.sees("From elsewhere")
	p.holds("no reload", "window.same")

	// What the reader is at stays so while the list is replaced under it.
	p.focus("link", w.edit+" From elsewhere")
	for i := range 3 {
		pl.webhook(t, sidehook.Webhook{Name: fmt.Sprintf("More %d", i), URL: "https://example.com"})
	}
	p.sees("More 0", "More 1", "More 2")
	p.holds("the focus stays", fmt.Sprintf(`document.activeElement.getAttribute("aria-label") === %s`, quoted(w.edit+" From elsewhere")))
	p.click("button", w.remove+" From elsewhere")
	pl.webhook(t, sidehook.Webhook{Name: "Behind the dialog", URL: "https://example.com"})
	p.sees("Behind the dialog")
	p.in("dialog[open]", "").click("button", w.confirm)
	p.sees(w.deleted)
	p.seesNot("From elsewhere")

	// Nor is a click lost to news that come between the press of the button and its release.
	p.must("listen", func(ctx context.Context) error {
		_, err := eval[bool](ctx, `new Promise((listening) => {
			window.heard = 0;
			const source = new EventSource(document.body.dataset.liveUrl);
			source.addEventListener("webhooks", () => { window.heard++ });
			source.addEventListener("open", () => listening(true));
		})`)
		return err
	})
	release := p.hold("button", w.remove+" More 1")
	pl.webhook(t, sidehook.Webhook{Name: "At a bad moment", URL: "https://example.com"})
	p.holds("the page hears of it", "window.heard > 0")
	p.settle()
	p.seesNot("At a bad moment")
	release()
	p.in("dialog[open]", "").click("button", w.confirm)
	p.sees(w.deleted, "At a bad moment")
	p.seesNot("More 1")

	p.click("link", w.newWebhook)
	p.fill(w.name, "Half")
	pl.webhook(t, sidehook.Webhook{Name: "Another", URL: "https://example.com"})
	p.settle()
	if got := p.value("textbox", w.name); got != "Half" {
		t.Errorf("the form holds %q", got)
	}
}

// TestConsoleShowsHostileTextAsText: nothing that people or services name is taken for HTML.
func TestConsoleShowsHostileTextAsText(t *testing.T) {
	t.Parallel()
	pl, w := newPlace(t), &tongues[1]
	hostile := `"><img src=x onerror=document.title=1>`
	made, _ := pl.webhook(t, sidehook.Webhook{
		Name: hostile, URL: "https://example.com/?q=%3Cscript%3E", Headers: []sidehook.Header{{Key: "X-A", Value: "<script>document.title=1</script>"}},
	})
	p := newPage(t, "en")
	p.signIn(pl, w, webhooksOfDemo)
	for _, path := range []string{webhooksOfDemo, webhooksOfDemo + "/" + made.ID, webhooksOfDemo + "/" + made.ID + "/edit"} {
		p.open(pl.console + path)
		p.holds("nothing of it runs", `document.title !== "1" && !document.querySelector("main img, main script")`)
	}
}
