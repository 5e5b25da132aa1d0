//go:build with_chromium

package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait. A machine under load may be slow; a test that passes never waits that long.
const patience = 30 * time.Second

// Page is one tab with cookies of its own. Its verbs fail the test when what they ask for does not come within patience.
type Page struct {
	t    *testing.T
	ctx  context.Context
	lang string
	seen *watch
	// scope is a JavaScript expression of the element that verbs look in.
	scope string
}

// newPage opens a tab that asks for texts in lang, vi or en, as a browser of that language does. At the test's end the
// browser must have had nothing to complain about.
func newPage(t *testing.T, lang string) *Page {
	t.Helper()
	p := newTab(t, lang)
	t.Cleanup(func() {
		for _, text := range p.seen.complaints() {
			t.Errorf("the browser complains: %s", text)
		}
	})
	return p
}

// newTab is newPage for pages that may give cause for complaint.
func newTab(t *testing.T, lang string) *Page {
	t.Helper()
	seen := newWatch()
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(seen.event))
	p := &Page{t: t, ctx: ctx, lang: lang, seen: seen, scope: "document"}
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			p.keepEvidence()
		}
	})
	// The first command binds the tab's life to its context, so it gets one that lasts.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	languages := map[string]string{"vi": "vi-VN,vi", "en": "en-GB,en"}
	p.must("prepare the tab", func(ctx context.Context) error {
		return errors.Join(
			// Several tests run at once, and each page believes that it is the one in front.
			call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
			call(ctx, network.Enable, network.EnableParams{}),
			call(ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true}),
			call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
				UserAgent: chromium.userAgent, AcceptLanguage: languages[lang],
			}),
		)
	})
	p.as(wide, "light")
	return p
}

// must does f within patience.
func (p *Page) must(what string, f func(context.Context) error) {
	p.t.Helper()
	// Not the test's context: chromedp looks for the tab in this one.
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := f(ctx); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// await asks until check returns nil.
func (p *Page) await(what string, check func(context.Context) error) {
	p.t.Helper()
	p.must(what, func(ctx context.Context) error {
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		var last error
		for {
			err := check(ctx)
			if err == nil {
				return nil
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				last = err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return fmt.Errorf("still so after %v, at %s: %w", patience, p.address(), last)
			}
		}
	})
}

// open goes to an address and waits until it is loaded.
func (p *Page) open(url string) {
	p.t.Helper()
	p.must("open "+url, func(ctx context.Context) error { return chromedp.Do(ctx, chromedp.Navigate(url)) })
	p.settle()
}

// settle waits until the page asks the network for nothing more, its fonts are there and nothing moves.
func (p *Page) settle() {
	p.t.Helper()
	p.await("the page comes to rest", func(ctx context.Context) error {
		if busy := p.seen.busy(); len(busy) > 0 {
			return fmt.Errorf("still loading %v", busy)
		}
		rest, err := eval[bool](ctx, `document.readyState === "complete" && document.fonts.status === "loaded" &&
			!document.querySelector(".htmx-request, .htmx-settling, .htmx-swapping")`)
		if err == nil && !rest {
			err = errors.New("not complete")
		}
		return err
	})
}

// address is where the page is.
func (p *Page) address() string {
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	url, err := eval[string](ctx, "location.href")
	if err != nil {
		return "(unknown)"
	}
	return url
}

// awaitAddress waits until the page's address contains part.
func (p *Page) awaitAddress(part string) {
	p.t.Helper()
	p.await("come to "+part, func(ctx context.Context) error {
		url, err := eval[string](ctx, "location.href")
		if err == nil && !strings.Contains(url, part) {
			err = fmt.Errorf("at %s", url)
		}
		return err
	})
	p.settle()
}

// sees waits until the page shows a text.
func (p *Page) sees(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.await(fmt.Sprintf("see %q", text), func(ctx context.Context) error {
			shown, err := eval[string](ctx, p.text())
			if err == nil && !strings.Contains(shown, plain(text)) {
				err = fmt.Errorf("it shows:\n%s", shown)
			}
			return err
		})
	}
}

// seesNot waits until the page does not show a text.
func (p *Page) seesNot(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		p.await(fmt.Sprintf("not see %q", text), func(ctx context.Context) error {
			shown, err := eval[string](ctx, p.text())
			if err == nil && strings.Contains(shown, plain(text)) {
				err = fmt.Errorf("it shows:\n%s", shown)
			}
			return err
		})
	}
}

// text is the expression of what people can read in the scope, with single spaces.
func (p *Page) text() string {
	return fmt.Sprintf(`(() => { const at = %s; return ((at.body || at).innerText || "").replace(/\s+/g, " ") })()`, p.scope)
}

func plain(text string) string { return strings.Join(strings.Fields(text), " ") }

// holds waits until a JavaScript expression is true.
func (p *Page) holds(what, expression string) {
	p.t.Helper()
	p.await(what, func(ctx context.Context) error {
		ok, err := eval[bool](ctx, "!!("+expression+")")
		if err == nil && !ok {
			focus, _ := eval[string](ctx, `document.activeElement?.outerHTML.slice(0, 160) + "; open: " + document.querySelector("dialog[open]")?.id`)
			err = fmt.Errorf("not so; the focus is on %s", focus)
		}
		return err
	})
}

// read evaluates a JavaScript expression now.
func read[T any](p *Page, expression string) (value T) {
	p.t.Helper()
	p.must("read "+expression, func(ctx context.Context) (err error) {
		value, err = eval[T](ctx, expression)
		return err
	})
	return value
}

// eval evaluates a JavaScript expression, and awaits it when it is a promise.
func eval[T any](ctx context.Context, expression string) (value T, err error) {
	yes := true
	result, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ReturnByValue: &yes, AwaitPromise: &yes, UserGesture: &yes,
	})
	if err != nil {
		return value, err
	}
	if e := result.ExceptionDetails; e != nil {
		if e.Exception != nil {
			return value, errors.New(e.Exception.Description)
		}
		return value, errors.New(e.Text)
	}
	if len(result.Result.Value) == 0 {
		return value, nil
	}
	return value, json.Unmarshal(result.Result.Value, &value)
}

// call sends a command whose answer does not matter.
func call[P, R any](ctx context.Context, command cdpCommand[P, R], params P) error {
	_, err := chromedp.Call(ctx, command, params)
	return err
}

// keepEvidence puts what the page looked like when the test failed where its path says.
func (p *Page) keepEvidence() {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	base := filepath.Join(shots, "failed-"+strings.ReplaceAll(p.t.Name(), "/", "-"))
	p.t.Logf("at %s", p.address())
	if html, err := eval[string](ctx, "document.documentElement.outerHTML"); err != nil {
		p.t.Logf("no HTML of the failure: %v", err)
	} else if err := os.WriteFile(base+".html", []byte(html), 0o600); err != nil {
		p.t.Log(err)
	}
	if shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{}); err != nil {
		p.t.Logf("no picture of the failure: %v", err)
	} else if err := os.WriteFile(base+".png", shot.Data, 0o600); err != nil {
		p.t.Log(err)
	} else {
		p.t.Logf("what it looked like: %s.png, .html", base)
	}
}
