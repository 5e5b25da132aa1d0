//go:build with_chromium

package browsertest

import (
	"errors"
	"testing"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/app"
)

// TestEventTypes: an empty catalogue is filled from a ready-made one, gets an entry of its own after a mistake, and loses
// one.
func TestEventTypes(t *testing.T) {
	type labels struct{ tab, catalogue, importIt, imported, add, typ, sample, saved, search, find, remove string }
	byLang := map[string]labels{
		"vi": {
			"Danh mục sự kiện", "Danh mục", "Nhập", "Đã nhập danh mục", "Thêm loại sự kiện", "Loại sự kiện (bắt buộc)", "Nội dung mẫu",
			"Đã lưu loại sự kiện", "Tìm trong danh mục", "Tìm", "Xoá",
		},
		"en": {
			"Event catalogue", "Catalogue", "Import", "The catalogue was imported", "Add event type", "Event type (required)", "Sample payload",
			"Event type saved", "Search the catalogue", "Search", "Delete",
		},
	}
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		l := byLang[w.lang]
		p.signIn(pl, w, webhooksOfDemo)
		p.click("link", l.tab)
		p.look("event-types-none")
		p.choose(l.catalogue, "sigma")
		p.click("button", l.importIt)
		p.sees(l.imported, "livestream.channel.live")
		pl.webhook(t, sidehook.Webhook{Name: "CRM", URL: pl.bin("crm"), Events: []string{"livestream.*"}})
		p.sees("CRM")
		p.look("event-types")

		p.click("link", l.add)
		p.look("event-type-new")
		p.seen.expect("422")
		p.fill(l.typ, "order.paid")
		p.fill(l.sample, `{"id":`)
		p.click("button", w.submit)
		p.has("alert", "")
		if got := p.value("textbox", l.sample); got != `{"id":` {
			t.Errorf("the sample is %q after the mistake", got)
		}
		p.look("event-type-mistake")
		p.fill(l.sample, `{"id":7}`)
		p.click("button", w.submit)
		p.sees(l.saved)
		entry, err := pl.Control.Service.GetEventType(t.Context(), app.DevApp, "order.paid")
		if err != nil || string(entry.Sample) != `{"id":7}` {
			t.Errorf("the entry is %+v, %v", entry, err)
		}

		p.fill(l.search, "order")
		p.click("button", l.find)
		p.seesNot("livestream.channel.live")
		p.click("button", l.remove+" order.paid")
		p.in("dialog[open]", "").click("button", w.confirm)
		p.sees(w.deleted)
		if _, err := pl.Control.Service.GetEventType(t.Context(), app.DevApp, "order.paid"); !errors.Is(err, sidehook.ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
	})
}
