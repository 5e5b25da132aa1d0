//go:build with_chromium

package browsertest

import (
	"context"
	"errors"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// Both languages have the first document's words for how a delivery ended.
const (
	successful = "Successful"
	failure    = "Failure"
)

// TestRetryFromDeliveries goes the way of somebody whose endpoint failed: the delivery shows up as it fails, the details
// say why, and after the endpoint is mended a click delivers it.
func TestRetryFromDeliveries(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		pl.catalogue(t)
		pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm")})
		pl.set(t, "crm", `{"fail_first":-1,"fail_status":500,"body":"no room"}`)
		p.signIn(pl, w, webhooksOfDemo)
		p.click("link", w.deliveries)
		p.look("deliveries-none")
		p.holds("live", `document.querySelector("#live")?.dataset.state === "on"`)

		pl.publish(t, "evt_1", "livestream.channel.live", `{"id":"ch_1","name":"Kênh <b>1</b>"}`)
		p.in("#deliveries", "").sees("livestream.channel.live", failure, "500")
		p.look("deliveries")
		p.click("link", w.details)
		p.awaitAddress("/deliveries/dlv_")
		p.sees("500", "evt_1", "Kênh <b>1</b>")
		p.look("delivery")

		pl.set(t, "crm", `{}`)
		p.click("button", w.retryNow)
		p.in("dialog[open]", "").click("button", w.confirm)
		p.sees(w.retried)
		p.in("#delivery", "").sees(successful)
		p.look("delivery-retried")

		p.click("link", w.deliveries)
		p.in("#deliveries", "").sees(successful)
		p.choose(w.status, failure)
		p.click("button", w.filter)
		p.sees(w.noMatch)

		p.open(pl.console + webhooksOfDemo)
		p.click("link", w.log+" CRM")
		p.click("link", w.replay)
		sheet := p.in("dialog[open]", "CRM")
		p.look("replay")
		sheet.click("checkbox", successful+"…")
		sheet.click("button", w.queueAgain)
		sheet.sees(w.replayed)
		p.look("replay-done")
	})
}

// TestReplayWhatWasMissed: an endpoint that says that it is gone gets its webhook disabled; whoever enables it is told how
// much it missed, and has that delivered. Then the offer is gone.
func TestReplayWhatWasMissed(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		made, _ := pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm")})
		pl.set(t, "crm", `{"fail_first":-1,"fail_status":410}`)
		pl.publish(t, "evt_1", "person.created", `{"id":1}`)
		p.await("the sidecar has the webhook disabled", func(ctx context.Context) error {
			phase, err := pl.phase(ctx, made.ID)
			if err == nil && phase != "disabled" {
				err = errors.New("it is " + phase)
			}
			return err
		})
		pl.set(t, "crm", `{}`)
		pl.publish(t, "evt_2", "person.created", `{"id":2}`)
		pl.publish(t, "evt_3", "person.left", `{"id":3}`)
		p.signIn(pl, w, webhooksOfDemo)
		p.click("button", w.enable+" CRM")
		p.in("dialog[open]", "").click("button", w.confirm)
		p.sees(w.enabled)
		p.in("#missed", "").sees(w.missed)
		p.look("webhook-missed")
		p.click("link", w.replayMissed)
		sheet := p.in("dialog[open]", "CRM")
		p.look("replay-missed")
		sheet.click("button", w.queueAgain)
		sheet.sees(w.replayedTwo)
		sheet.click("link", w.close)
		p.hasNot("dialog", "…")
		p.seesNot(w.missed)
		p.click("link", w.deliveries)
		p.choose(w.status, successful)
		p.click("button", w.filter)
		p.in("#deliveries", "").sees("person.created", "person.left")
	})
}

// TestNoSidecar: without anybody to ask, the page says so and how to help.
func TestNoSidecar(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		p.seen.expect("503")
		if _, _, err := pl.Control.Service.PutApp(t.Context(), "alone", control.AppSpec{DisplayName: "Alone"}); err != nil {
			t.Fatal(err)
		}
		p.signIn(pl, w, "apps/alone/deliveries")
		p.sees("sidehook sidecar --config")
		p.look("deliveries-no-sidecar")
	})
}
