//go:build with_chromium

package browsertest

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"

	"github.com/sidehook/sidehook"
)

// TestTimesAreOfTheReadersZone: somebody in Hà Nội types the time of their own clock; the address, which others may get,
// has UTC, and shows them the same instant.
func TestTimesAreOfTheReadersZone(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		pl.catalogue(t)
		pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm")})
		p.must("move to Hà Nội", func(ctx context.Context) error {
			return call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Ho_Chi_Minh"})
		})
		zone := time.FixedZone("", 7*3600)
		p.signIn(pl, w, "apps/demo/deliveries")
		p.holds("live", `document.querySelector("#live")?.dataset.state === "on"`)
		pl.publish(t, "evt_1", "livestream.channel.live", `{"id":"ch_1"}`)
		p.in("#deliveries", "").sees("livestream.channel.live")
		later := time.Now().Add(time.Hour).In(zone)
		const field = "2006-01-02T15:04"
		p.holds("the field is filled", `(document.querySelector("#f-since").value = "`+later.Format(field)+`") !== ""`)
		p.click("button", w.filter)
		p.awaitAddress("since=")
		p.sees(w.noMatch)
		at, err := url.Parse(p.address())
		if err != nil {
			t.Fatal(err)
		}
		if got := at.Query(); got.Get("since") != later.UTC().Format(field) || len(got) != 1 {
			t.Errorf("the address is %s", at)
		}
		p.holds("the field shows what was typed", `document.querySelector("#f-since").value === "`+later.Format(field)+`"`)
		p.holds("the zone is said", `document.querySelector("[data-zone]").textContent === "(Asia/Ho_Chi_Minh)" || document.querySelector("[data-zone]").textContent === "(Asia/Saigon)"`)
		earlier := time.Now().Add(-time.Hour).In(zone)
		p.holds("the field is filled", `(document.querySelector("#f-since").value = "`+earlier.Format(field)+`") !== ""`)
		p.click("button", w.filter)
		p.in("#deliveries", "").sees("livestream.channel.live")

		p.open(pl.console + "apps/demo/webhooks")
		p.click("link", w.log+" CRM")
		p.click("link", w.replay)
		sheet := p.in("dialog[open]", "CRM")
		sheet.click("checkbox", successful+"…")
		p.holds("the field is filled", `(document.querySelector("#r-since").value = "`+later.Format(field)+`") !== ""`)
		sheet.click("button", w.queueAgain)
		p.holds("nothing is that late", `/(^|\s)0 /.test(document.querySelector("#replay-result").textContent)`)
		p.holds("the field of the dialog shows what was typed", `document.querySelector("#r-since").value === "`+later.Format(field)+`"`)
	})
}
