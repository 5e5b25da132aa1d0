//go:build with_chromium

package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/internal/app"
)

// TestApps: an admin makes an app and sets it, with a mistake on the way.
func TestApps(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		id := map[string]string{"vi": "ID của app (bắt buộc)", "en": "App id (required)"}[w.lang]
		name := map[string]string{"vi": "Tên", "en": "Name"}[w.lang]
		p.signIn(pl, w, "apps")
		p.click("link", w.newWebhook)
		p.look("app-new")
		p.seen.expect("422")
		p.fill(id, "no spaces")
		p.fill(name, "Cửa hàng")
		p.click("button", w.submit)
		p.has("alert", "")
		if got := p.value("textbox", name); got != "Cửa hàng" {
			t.Errorf("the name is %q after the mistake", got)
		}
		p.look("app-mistake")
		p.fill(id, "shop")
		p.click("button", w.submit)
		p.has("link", "Cửa hàng")
		made, err := pl.Control.Service.GetApp(t.Context(), "shop")
		if err != nil || made.DisplayName != "Cửa hàng" {
			t.Errorf("made %+v, %v", made, err)
		}
		p.click("link", w.edit+" shop")
		p.look("app-settings")
	})
}

// TestAppToken: the token of an app opens that app and nothing else.
func TestAppToken(t *testing.T) {
	t.Parallel()
	pl, w := newPlace(t), &tongues[1]
	if _, _, err := pl.Control.Service.PutApp(t.Context(), "other", control.AppSpec{}); err != nil {
		t.Fatal(err)
	}
	_, token, err := pl.Control.Service.CreateToken(t.Context(), control.TokenSpec{Name: "own", Kind: control.TokenApp, Apps: []string{app.DevApp}})
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(t, "en")
	p.seen.expect("403")
	p.seen.expect("404")
	p.open(pl.console)
	p.fill(w.token, token)
	p.click("button", w.signIn)
	p.awaitAddress(webhooksOfDemo)
	p.hasNot("link", w.apps)
	p.open(pl.console + "apps/other/webhooks")
	p.has("heading", "There is nothing here")
	p.look("nothing-here")
	p.open(pl.console + "apps")
	p.has("heading", "For administrators")
}

// TestDialogsByKeyboard: a dialog takes the focus, Escape closes it without doing anything, and the focus goes back.
func TestDialogsByKeyboard(t *testing.T) {
	t.Parallel()
	pl, w := newPlace(t), &tongues[1]
	made, _ := pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm")})
	p := newPage(t, "en")
	p.signIn(pl, w, webhooksOfDemo)
	p.holds("live", `document.querySelector("#live")?.dataset.state === "on"`)
	p.settle()
	for _, opener := range []struct{ role, name string }{{"button", w.remove + " CRM"}, {"link", w.test + " CRM"}} {
		p.focus(opener.role, opener.name)
		p.press(kb.Enter)
		p.holds("the dialog has the focus of "+opener.name, `document.querySelector("dialog[open]")?.contains(document.activeElement)`)
		p.holdEnter() // longer than it takes the dialog to come: it is not meant for that
		p.holds("the dialog stays as it is", `document.querySelector("dialog[open]")?.contains(document.activeElement) && !document.querySelector("dialog[open] .notice")`)
		p.press(kb.Escape)
		p.holds("the dialog is gone", `!document.querySelector("dialog[open]")`)
		p.holds("the focus is back", fmt.Sprintf(`(document.activeElement.getAttribute("aria-label") || "") === %s`, quoted(opener.name)))
	}
	if _, err := pl.Control.Service.GetWebhook(t.Context(), made.Key()); err != nil {
		t.Errorf("Escape deleted it: %v", err)
	}
}
