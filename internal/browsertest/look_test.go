//go:build with_chromium

package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// view is the size of a window.
type view struct{ width, height int }

var (
	wide   = view{1280, 800}
	narrow = view{390, 844} // a common phone
	// small is what a page must fit without scrolling sideways: also a desktop's window at 400 % zoom (WCAG 1.4.10).
	small = view{320, 640}
)

// guide names the pictures that the guide shows.
var guide = []string{
	"sign-in", "apps", "webhooks", "webhook-new", "webhook-detail", "webhook-test", "secrets", "event-types", "deliveries",
	"delivery", "transformers", "sidecars", "inbox",
}

// Limits of a page and of a picture of the guide, in bytes.
const (
	maxPage    = 200 << 10
	maxPicture = 150 << 10
)

// as shows the page in a window of this size to somebody who likes this colour scheme.
func (p *Page) as(v view, scheme string) {
	p.t.Helper()
	p.must("change the window", func(ctx context.Context) error {
		return errors.Join(
			call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
				Width: int64(v.width), Height: int64(v.height), DeviceScaleFactor: 1,
			}),
			call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme},
				{Name: "prefers-reduced-motion", Value: "reduce"},
			}}),
		)
	})
}

// look examines the page as it is now in every size and scheme, and takes its picture. What is wrong fails the test, and
// the examination goes on.
func (p *Page) look(name string) {
	p.t.Helper()
	p.settle()
	for _, wrong := range slices.Concat(p.overweight(), p.wrongLanguage(), p.untranslated()) {
		p.t.Errorf("%s.%s: %s", name, p.lang, wrong)
	}
	for _, v := range []view{wide, narrow} {
		for _, scheme := range []string{"light", "dark"} {
			p.as(v, scheme)
			p.settle()
			read[bool](p, "(document.querySelector(location.hash || null)?.scrollIntoView() ?? scrollTo(0, 0), true)")
			what := fmt.Sprintf("%s.%s.%d.%s", name, p.lang, v.width, scheme)
			p.shoot(filepath.Join(shots, what+".png"), true)
			serious, slight := p.barriers()
			for _, wrong := range append(p.overflow(), serious...) {
				p.t.Errorf("%s: %s", what, wrong)
			}
			for _, f := range slight {
				p.t.Logf("%s: %v", what, f)
			}
			if v == wide && scheme == "light" && screenshotsWanted && slices.Contains(guide, name) {
				p.shootForGuide(name)
			}
		}
	}
	p.as(small, "light")
	for _, wrong := range p.overflow() {
		p.t.Errorf("%s.%s.%d: %s", name, p.lang, small.width, wrong)
	}
	p.as(wide, "light")
	for _, wrong := range p.unreachable() {
		p.t.Errorf("%s.%s: %s", name, p.lang, wrong)
	}
}

// wrongLanguage: the page says which language it is in, so that screen readers pronounce it.
func (p *Page) wrongLanguage() []string {
	p.t.Helper()
	if got := read[string](p, "document.documentElement.lang"); got != p.lang {
		return []string{fmt.Sprintf("the page says that it is in %q", got)}
	}
	return nil
}

// untranslated: a text that is missing shows as its key.
func (p *Page) untranslated() []string {
	p.t.Helper()
	const keys = `/\b(apps|bin|bins|card|confirm|deliveries|delivery|done|error|eventtypes|facts|field|fleet|form|js|nosidecar|replay|lang|layout|list|secrets|sidecars|signin|tab|transformers|verdict|webhook|webhooks)\.(?!md\b)[a-z]+[a-z_.-]*\b/g`
	found := read[[]string](p, `[...new Set([document.title, document.body.innerText].join(" ").match(`+keys+`) || [])]`)
	if len(found) > 0 {
		return []string{fmt.Sprintf("it shows the keys of texts: %q", found)}
	}
	return nil
}

// overweight holds the page, with all that it loaded, to the limit.
func (p *Page) overweight() []string {
	total, parts := p.seen.weight()
	switch {
	case total == 0:
		return []string{"nothing was transferred, so nothing was weighed"}
	case total > maxPage:
		return []string{fmt.Sprintf("%d bytes, at most %d are allowed:\n%s", total, maxPage, strings.Join(parts, "\n"))}
	}
	return nil
}

// overflow: nobody has to scroll sideways.
func (p *Page) overflow() []string {
	p.t.Helper()
	return read[[]string](p, `(() => {
		const root = document.scrollingElement, limit = root.clientWidth;
		if (root.scrollWidth <= limit) return [];
		const wide = [...document.body.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().right > limit + 1);
		return ["scrolls sideways: " + root.scrollWidth + " px in a window of " + limit + "\n" +
			wide.slice(0, 8).map((e) => Math.round(e.getBoundingClientRect().right) + " " + e.outerHTML.slice(0, 120)).join("\n")];
	})()`)
}

// axe is the accessibility check, as published.
var axe = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile(filepath.Join("testdata", "node", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		return "", fmt.Errorf("read axe-core (run scripts/setup-test first?): %w", err)
	}
	return string(b), nil
})

// finding is a rule of axe-core that the page breaks.
type finding struct {
	ID, Impact, Help string
	Nodes            []struct {
		Target         []any
		FailureSummary string
	}
}

func (f finding) String() string {
	s := fmt.Sprintf("%s %s: %s", f.Impact, f.ID, f.Help)
	for i, n := range f.Nodes {
		if i == 5 {
			s += fmt.Sprintf("\n  and %d more", len(f.Nodes)-i)
			break
		}
		s += fmt.Sprintf("\n  %v %s", n.Target, strings.Join(strings.Fields(n.FailureSummary), " "))
	}
	return s
}

// barriers are what axe-core finds: serious and critical findings, and the others.
func (p *Page) barriers() (serious, slight []string) {
	p.t.Helper()
	script, err := axe()
	if err != nil {
		p.t.Fatal(err)
	}
	if !read[bool](p, "!!window.axe") {
		p.must("load axe-core", func(ctx context.Context) error {
			_, err := eval[any](ctx, script+";0")
			return err
		})
	}
	for _, f := range read[[]finding](p, `axe.run(document, {
		resultTypes: ["violations"], preload: false,
		runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
	}).then((found) => found.violations.map(({id, impact, help, nodes}) =>
		({id, impact, help, nodes: nodes.map(({target, failureSummary}) => ({target, failureSummary}))})))`) {
		if f.Impact == "serious" || f.Impact == "critical" {
			serious = append(serious, f.String())
		} else {
			slight = append(slight, f.String())
		}
	}
	return serious, slight
}

// shoot takes a picture of the window, or of the whole page.
func (p *Page) shoot(path string, whole bool) []byte {
	p.t.Helper()
	var shot []byte
	p.must("take a picture", func(ctx context.Context) error {
		r, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &whole})
		if err != nil {
			return err
		}
		shot = r.Data
		return os.WriteFile(path, shot, 0o644)
	})
	return shot
}

// shootForGuide takes the picture of the guide.
func (p *Page) shootForGuide(name string) {
	p.t.Helper()
	path := filepath.Join("..", "..", "docs", "guide", "screenshots", name+"."+p.lang+".png")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if shot := p.shoot(path, false); len(shot) > maxPicture {
		p.t.Errorf("%s has %d bytes, at most %d are allowed", path, len(shot), maxPicture)
	}
}
