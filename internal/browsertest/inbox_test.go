//go:build with_chromium

package browsertest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/sidehook/sidehook"
)

// TestInbox goes the way of somebody who wants to see what Sidehook sends: create a bin, give it the key, let it fail
// once, and watch the attempts come in without a reload.
func TestInbox(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lang, name, create, settings, keys, failNext, failStatus, save, saved, valid, attempt string }{
		{"vi", "Tên", "Tạo ngăn", "Cài đặt", "Khoá, mỗi dòng một khoá", "Số lần báo lỗi tới", "Mã khi báo lỗi", "Lưu", "Đã lưu", "hợp lệ", "lần gửi 2"},
		{"en", "Name", "Create bin", "Settings", "Keys, one per line", "Fail the next", "Fail with status", "Save", "Saved", "valid", "attempt 2"},
	} {
		t.Run(c.lang, func(t *testing.T) {
			t.Parallel()
			pl := newPlace(t)
			_, key := pl.webhook(t, sidehook.Webhook{
				Name: "Inbox", URL: pl.bin("first"), AutomaticRetry: true,
				RetrySchedule: []time.Duration{time.Second},
			})
			p := newPage(t, c.lang)
			p.open(pl.inbox)
			p.look("inbox-empty")
			p.fill(c.name, "first")
			p.click("button", c.create)
			p.awaitAddress("/bins/first/view")
			p.look("inbox-waiting")
			p.click("button", c.settings)
			p.fill(c.keys, key.Reveal())
			p.fill(c.failNext, "1")
			p.fill(c.failStatus, "503")
			p.look("inbox-settings")
			p.click("button", c.save)
			p.sees(c.saved)

			pl.publish(t, "evt_1", "person.created", `{"name":"Kênh <b>1</b>"}`)
			p.sees("person.created", c.attempt, "503", "200", c.valid)
			p.click("DisclosureTriangle", "…")
			p.sees("Kênh <b>1</b>")
			p.look("inbox")
			p.open(pl.inbox)
			p.sees("first")
			p.look("inbox-bins")
		})
	}
}

// TestInboxShowsHostileBodiesAsText: what arrives is never taken for HTML.
func TestInboxShowsHostileBodiesAsText(t *testing.T) {
	t.Parallel()
	pl := newPlace(t)
	hostile := `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>`
	data, err := json.Marshal(map[string]string{"name": hostile})
	if err != nil {
		t.Fatal(err)
	}
	pl.webhook(t, sidehook.Webhook{Name: "Hostile", URL: pl.bin("hostile")})
	p := newPage(t, "en")
	pl.set(t, "hostile", `{}`)
	p.open(pl.inbox + "/bins/hostile/view")
	pl.publish(t, "evt_hostile", "person.created", string(data))
	p.sees("person.created")
	p.click("DisclosureTriangle", "…")
	p.sees("onerror=")
	p.holds("nothing of it runs", `document.title !== "pwned" && !document.querySelector("main img, main script")`)
}
