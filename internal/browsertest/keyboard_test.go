//go:build with_chromium

package browsertest

import (
	"context"

	"github.com/chromedp/chromedp"
)

// maxStops bounds how often Tab is pressed on a page.
const maxStops = 300

// tabStops is what a page remembers of the way of its focus. Of radio buttons only one is a stop, and an open modal dialog
// makes the rest of the page inert.
const tabStops = `(() => {
	const all = () => {
		const within = [...document.querySelectorAll("dialog:modal")].pop() || document.body;
		const focusable = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex^='-'])";
		return [...within.querySelectorAll(focusable)].filter((e) => !e.matches(":disabled, [tabindex^='-'], [inert] *") &&
			e.checkVisibility({visibilityProperty: true}) && !(e.type === "radio" && !e.checked));
	};
	const outlined = (e) => {
		const style = e && getComputedStyle(e);
		return style && (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== "none");
	};
	const brief = (e) => e.outerHTML.replace(/\s+/g, " ").slice(0, 140);
	const seen = new Set(), unmarked = [];
	let last;
	return window.tabStops = {
		// stop notes where the focus is, and says whether the way goes on.
		stop() {
			const e = document.activeElement;
			if (!e || e === document.body || seen.has(e) && e !== last) return false;
			if (e === last) return true; // a field of several parts, such as a date
			last = e;
			seen.add(e);
			if (![e, e.parentElement, e.nextElementSibling, ...(e.labels || [])].some(outlined)) unmarked.push(brief(e));
			return true;
		},
		result: () => [
			...all().filter((e) => !seen.has(e)).map((e) => "Tab does not reach " + brief(e)),
			...unmarked.map((e) => "nothing shows that the focus is on " + e),
		],
	}, true;
})()`

// unreachable goes through the page with the Tab key, and returns what it does not come to and where it cannot be seen.
func (p *Page) unreachable() (wrong []string) {
	p.t.Helper()
	p.must("go through the page with the keyboard", func(ctx context.Context) error {
		if _, err := eval[bool](ctx, `document.activeElement?.blur(), scrollTo(0, 0), getSelection().removeAllRanges(), `+tabStops); err != nil {
			return err
		}
		// The first press may only leave the place that was clicked last.
		for misses, i := 0, 0; misses < 2 && i < maxStops; i++ {
			if err := chromedp.Do(ctx, chromedp.KeyEvent("\t")); err != nil {
				return err
			}
			more, err := eval[bool](ctx, "window.tabStops.stop()")
			if err != nil {
				return err
			}
			if !more {
				misses++
			}
		}
		var err error
		wrong, err = eval[[]string](ctx, "(document.activeElement?.blur(), window.tabStops.result())")
		return err
	})
	return wrong
}
