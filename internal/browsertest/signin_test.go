//go:build with_chromium

package browsertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidehook/sidehook/internal/app"
)

// signIn opens a page of the console, of the path given below /console/, as an admin.
func (p *Page) signIn(pl *place, w *words, path string) {
	p.t.Helper()
	p.open(pl.console + path)
	p.fill(w.token, pl.token)
	p.click("button", w.signIn)
	p.has("button", w.signOut)
	p.settle()
}

// eachTongue runs a test in both languages, each with a place of its own.
func eachTongue(t *testing.T, test func(t *testing.T, pl *place, p *Page, w *words)) {
	t.Parallel()
	for i := range tongues {
		w := &tongues[i]
		t.Run(w.lang, func(t *testing.T) {
			t.Parallel()
			pl := newPlace(t)
			test(t, pl, newPage(t, w.lang), w)
		})
	}
}

const webhooksOfDemo = "apps/" + app.DevApp + "/webhooks"

// TestSignIn: only a token that may manage webhooks opens the console, and what was asked for comes after it.
func TestSignIn(t *testing.T) {
	eachTongue(t, func(t *testing.T, pl *place, p *Page, w *words) {
		p.seen.expect("401")
		p.seen.expect("403")
		p.open(pl.console)
		p.look("sign-in")
		p.fill(w.token, "shk_wrong")
		p.click("button", w.signIn)
		p.sees(w.wrongToken)
		if got := p.description("textbox", w.token); !strings.HasPrefix(got, w.wrongToken) {
			t.Errorf("a screen reader says %q of the field", got)
		}
		p.look("sign-in-refused")

		sidecar, err := os.ReadFile(filepath.Join(pl.dir, "sidecar.token"))
		if err != nil {
			t.Fatal(err)
		}
		p.fill(w.token, string(sidecar))
		p.click("button", w.signIn)
		p.sees(w.sidecarToken)

		p.signIn(pl, w, webhooksOfDemo)
		p.awaitAddress("/console/" + webhooksOfDemo)
		p.open(pl.console)
		p.has("heading", map[string]string{"vi": "Quản lý App", "en": "Apps"}[w.lang])
		p.look("apps")

		p.click("button", w.other)
		p.has("button", map[string]string{"vi": "Sign out", "en": "Đăng xuất"}[w.lang])
		p.click("button", map[string]string{"vi": "Tiếng Việt", "en": "English"}[w.lang])
		p.click("button", w.signOut)
		p.has("button", w.signIn)
		p.open(pl.console + webhooksOfDemo)
		p.has("button", w.signIn)
	})
}
