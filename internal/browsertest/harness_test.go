//go:build with_chromium

package browsertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// serve answers every request with a page.
func serve(t *testing.T, page string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
		fmt.Fprint(w, strings.ReplaceAll(page, "ACCEPT-LANGUAGE", r.Header.Get("Accept-Language")))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestTheExaminationFindsWhatIsWrong: each check finds a page that is bad in its way, so that silence means something.
func TestTheExaminationFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	const head = `<!doctype html><html lang="en"><head><title>T</title><link rel="icon" href="data:,"></head><body><main><h1>T</h1><a href="#t">Top</a>`
	serious := func(p *Page) []string { found, _ := p.barriers(); return found }
	complaints := func(p *Page) []string { return p.seen.complaints() }
	for _, c := range []struct {
		name, page string
		check      func(*Page) []string
		want       string
	}{
		{"unlabelled", head + `<input type="text">`, serious, "critical label"},
		{"pale", head + `<p style="color:#bbb">Pale</p>`, serious, "serious color-contrast"},
		{"broad", head + `<div style="width:1400px">Broad</div>`, (*Page).overflow, "scrolls sideways: 1408 px"},
		{"out of reach", head + `<a href="#x">A</a><div tabindex="0" onfocus="this.blur()">B</div><button>C</button>` +
			`<span tabindex="0" onkeydown="event.preventDefault()">Trap</span><button>D</button>`, (*Page).unreachable, "does not reach <button>D"},
		{"unmarked", head + `<style>:focus-visible { outline: none }</style><button>C</button>`, (*Page).unreachable, "focus is on <button>C"},
		{"heavy", head + `<p hidden>` + strings.Repeat("heavy ", maxPage/6), (*Page).overweight, "at most 204800 are allowed"},
		{"foreign", strings.Replace(head, "en", "de", 1), (*Page).wrongLanguage, `in "de"`},
		{"untranslated", head + `<p>form.problems</p>`, (*Page).untranslated, "form.problems"},
		{"policy", head + `<img src="https://example.com/x.png" alt="">`, complaints, "Content Security Policy"},
		{"error", head + `<script>console.error("broken", 7)</script>`, complaints, "broken"},
		{"exception", head + `<script>nothing.at.all</script>`, complaints, "nothing is not defined"},
		{"rejection", head + `<script>Promise.reject(new Error("let go"))</script>`, complaints, "let go"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			good := newPage(t, "en")
			good.open(serve(t, head))
			if found := c.check(good); len(found) > 0 {
				t.Errorf("it finds fault with a good page: %s", found)
			}
			p := newTab(t, "en")
			p.open(serve(t, c.page))
			p.holds("load", `document.readyState === "complete"`)
			if found := strings.Join(c.check(p), "\n"); !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

// TestVerbsAreHands: they do what a hand could and nothing else.
func TestVerbsAreHands(t *testing.T) {
	t.Parallel()
	p := newPage(t, "vi")
	p.open(serve(t, `<!doctype html><html lang="vi"><head><title>T</title><link rel="icon" href="data:,"></head><body>
<p id="languages"></p><p>Header: ACCEPT-LANGUAGE End</p><p hidden>Unseen</p>
<form method="post"><label>Tên <input name="name" value="old" aria-describedby="help"></label><p id="help">Tối đa 50</p>
<label><input type="checkbox" name="c"> Chọn</label>
<label>Màu <select name="s"><option value="1">Đỏ</option><option value="2">Xanh</option></select></label>
<button type="button" aria-label="Đóng: trang" onclick="document.title='closed'">x</button><button>Submit</button></form>
<ul><li>One <button type="button" onclick="document.title=1">Go</button></li><li>Two <button type="button" onclick="document.title=2">Go</button></li></ul>
<script>languages.textContent = navigator.languages.join()</script>`))
	p.sees("vi-VN,vi Header: vi-VN,vi;q=0.9 End")
	p.seesNot("Unseen")
	p.fill("Tên", "Kênh mới")
	if got := p.value("textbox", "Tên"); got != "Kênh mới" {
		t.Errorf("the field holds %q", got)
	}
	if got := p.description("textbox", "Tên"); got != "Tối đa 50" {
		t.Errorf("the field is described as %q", got)
	}
	p.click("checkbox", "Chọn")
	if got := p.value("checkbox", "Chọn"); got != "true" {
		t.Errorf("the box is %s", got)
	}
	p.choose("Màu", "Xanh")
	if got := p.value("combobox", "Màu"); got != "2" {
		t.Errorf("the list holds %s", got)
	}
	p.click("button", "Đóng…")
	p.holds("closed", `document.title === "closed"`)
	p.in("li", "Two").click("button", "Go")
	p.holds("the second of two", `document.title === "2"`)
	p.hasNot("link", "Submit")
	p.click("button", "Submit")
	p.await("be told of the refusal", func(context.Context) error {
		if len(p.seen.complaints()) == 0 {
			return errors.New("a refusal that nobody expects is no complaint")
		}
		return nil
	})
	p.seen.expect("422")
}
