//go:build with_chromium

package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// in narrows the verbs to the first visible element that fits a CSS selector and shows a text.
func (p *Page) in(selector, text string) *Page {
	narrow := *p
	narrow.scope = fmt.Sprintf(`[...%s.querySelectorAll(%s)].find((e) => e.getClientRects().length && e.innerText.replace(/\s+/g, " ").includes(%s))`,
		p.scope, quoted(selector), quoted(plain(text)))
	return &narrow
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string is always JSON
	}
	return string(b)
}

// click clicks what has this role and name in the middle, as a hand does: what is hidden, covered or disabled cannot be
// clicked. A name that ends in … is the beginning of one.
func (p *Page) click(role, name string) {
	p.t.Helper()
	p.await(fmt.Sprintf("click the %s %q", role, name), func(ctx context.Context) error {
		object, err := p.find(ctx, role, name)
		if err != nil {
			return err
		}
		return clickOn(ctx, object)
	})
	p.settle()
}

// hold presses the button of the mouse on something, and release lets go of it at the same place.
func (p *Page) hold(role, name string) (release func()) {
	p.t.Helper()
	var x, y float64
	button := func(kind input.DispatchMouseEventType) func(context.Context) error {
		return func(ctx context.Context) error {
			return call(ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{
				Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, ClickCount: 1,
			})
		}
	}
	p.await(fmt.Sprintf("hold the %s %q", role, name), func(ctx context.Context) error {
		object, err := p.find(ctx, role, name)
		if err == nil {
			x, y, err = spot(ctx, object)
		}
		return err
	})
	p.must("press the button", button(input.DispatchMouseEventTypeMousePressed))
	return func() {
		p.t.Helper()
		p.must("let go of the button", button(input.DispatchMouseEventTypeMouseReleased))
	}
}

// fill puts a text in the place of what a field holds.
func (p *Page) fill(name, text string) {
	p.t.Helper()
	p.await(fmt.Sprintf("fill %q", name), func(ctx context.Context) error {
		object, err := p.findField(ctx, name)
		if err != nil {
			return err
		}
		if err := clickOn(ctx, object); err != nil {
			return err
		}
		if _, err := on[bool](ctx, object, `function() { this.select(); return true }`); err != nil {
			return err
		}
		if text == "" {
			return chromedp.Do(ctx, chromedp.KeyEvent("\b"))
		}
		if err := call(ctx, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
			return err
		}
		got, err := on[string](ctx, object, `function() { return this.value }`)
		if err == nil && got != text {
			err = fmt.Errorf("it holds %q", got)
		}
		return err
	})
}

// choose picks an option of a list by its text.
func (p *Page) choose(name, option string) {
	p.t.Helper()
	p.await(fmt.Sprintf("choose %q of %q", option, name), func(ctx context.Context) error {
		object, err := p.find(ctx, "combobox", name)
		if err != nil {
			return err
		}
		if err := scroll(ctx, object); err != nil {
			return err
		}
		// The list of a native select is the system's, and not of the page: what the keyboard does is told to it.
		found, err := on[bool](ctx, object, fmt.Sprintf(`function() {
			const option = [...this.options].find((o) => o.text.trim() === %[1]s || o.value === %[1]s);
			if (!option) return false;
			this.focus(); this.value = option.value;
			for (const kind of ["input", "change"]) this.dispatchEvent(new Event(kind, {bubbles: true}));
			return true }`, quoted(option)))
		if err == nil && !found {
			err = errors.New("it has no such option")
		}
		return err
	})
	p.settle()
}

// focus puts the focus on something, as the Tab key does in the end.
func (p *Page) focus(role, name string) {
	p.t.Helper()
	p.await(fmt.Sprintf("focus the %s %q", role, name), func(ctx context.Context) error {
		object, err := p.find(ctx, role, name)
		if err == nil {
			_, err = on[bool](ctx, object, `function() { this.focus(); return true }`)
		}
		return err
	})
}

// press types keys into what has the focus.
func (p *Page) press(keys string) {
	p.t.Helper()
	p.must("press keys", func(ctx context.Context) error {
		for _, key := range keys {
			events := kb.Encode(key)
			// What a key types comes with its press, as from a keyboard. chromedp.KeyEvent sends the two one after the other, and
			// what the press opens may have the focus by then.
			down, up := *events[0], *events[len(events)-1]
			if len(events) == 3 {
				down.Text, down.UnmodifiedText = events[1].Text, events[1].UnmodifiedText
			}
			if err := errors.Join(call(ctx, input.DispatchKeyEvent, down), call(ctx, input.DispatchKeyEvent, up)); err != nil {
				return err
			}
		}
		return nil
	})
	p.settle()
}

// holdEnter has the Enter key, which is held, press again by itself.
func (p *Page) holdEnter() {
	p.t.Helper()
	p.must("hold Enter", func(ctx context.Context) error {
		down := *kb.Encode('\r')[0]
		down.Text, down.UnmodifiedText, down.AutoRepeat = "\r", "\r", new(bool)
		*down.AutoRepeat = true
		return call(ctx, input.DispatchKeyEvent, down)
	})
	p.settle()
}

// has waits until something of this role and name is there for a screen reader.
func (p *Page) has(role, name string) {
	p.t.Helper()
	p.await(fmt.Sprintf("have the %s %q", role, name), func(ctx context.Context) error {
		_, err := p.find(ctx, role, name)
		return err
	})
}

// hasNot waits until nothing of this role and name is there.
func (p *Page) hasNot(role, name string) {
	p.t.Helper()
	p.await(fmt.Sprintf("have no %s %q", role, name), func(ctx context.Context) error {
		if _, err := p.find(ctx, role, name); !errors.As(err, new(*missingError)) {
			return errors.Join(errors.New("there is one"), err)
		}
		return nil
	})
}

// value is what a field holds.
func (p *Page) value(role, name string) (value string) {
	p.t.Helper()
	p.await(fmt.Sprintf("read the %s %q", role, name), func(ctx context.Context) error {
		object, err := p.find(ctx, role, name)
		if err != nil {
			return err
		}
		value, err = on[string](ctx, object, `function() { return String(this.type === "checkbox" ? this.checked : this.value) }`)
		return err
	})
	return value
}

// description is what a screen reader says of something after its name: help and errors.
func (p *Page) description(role, name string) (text string) {
	p.t.Helper()
	p.await(fmt.Sprintf("hear of the %s %q", role, name), func(ctx context.Context) error {
		node, err := p.node(ctx, role, name)
		if err == nil && node.Description != nil {
			err = json.Unmarshal(node.Description.Value, &text)
		}
		return err
	})
	return text
}

// missingError says that nothing has the role and name, and what has the role.
type missingError struct {
	role, name string
	others     []string
}

func (e *missingError) Error() string {
	return fmt.Sprintf("no %s %q; there are %q", e.role, e.name, e.others)
}

// node finds by what the browser tells assistive technology, so that what is found is named for everybody.
func (p *Page) node(ctx context.Context, role, name string) (*accessibility.Node, error) {
	root, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: p.scope})
	if err != nil {
		return nil, err
	}
	if root.Result.ObjectID == "" {
		return nil, fmt.Errorf("nothing is %s", p.scope)
	}
	tree, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{ObjectID: root.Result.ObjectID, Role: role})
	if err != nil {
		return nil, err
	}
	missing := &missingError{role: role, name: name}
	for _, n := range tree.Nodes {
		if n.Ignored || n.BackendDOMNodeID == 0 {
			continue
		}
		var is string
		if n.Name != nil && len(n.Name.Value) > 0 {
			if err := json.Unmarshal(n.Name.Value, &is); err != nil {
				return nil, err
			}
		}
		is = plain(is)
		if beginning, cut := strings.CutSuffix(name, "…"); is == name || cut && strings.HasPrefix(is, beginning) {
			return n, nil
		}
		missing.others = append(missing.others, is)
	}
	return nil, missing
}

func (p *Page) find(ctx context.Context, role, name string) (runtime.RemoteObjectID, error) {
	n, err := p.node(ctx, role, name)
	if err != nil {
		return "", err
	}
	object, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: n.BackendDOMNodeID})
	if err != nil {
		return "", err
	}
	return object.Object.ObjectID, nil
}

// findField finds what one can type into.
func (p *Page) findField(ctx context.Context, name string) (object runtime.RemoteObjectID, err error) {
	var errs []error
	for _, role := range []string{"textbox", "searchbox", "spinbutton"} {
		if object, err = p.find(ctx, role, name); err == nil {
			return object, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// on calls a JavaScript function with an element as this.
func on[T any](ctx context.Context, object runtime.RemoteObjectID, function string) (value T, err error) {
	yes := true
	result, err := chromedp.Call(ctx, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: object, FunctionDeclaration: function, ReturnByValue: &yes, AwaitPromise: &yes, UserGesture: &yes,
	})
	if err != nil {
		return value, err
	}
	if e := result.ExceptionDetails; e != nil {
		return value, errors.New(e.Exception.Description)
	}
	return value, json.Unmarshal(result.Result.Value, &value)
}

func scroll(ctx context.Context, object runtime.RemoteObjectID) error {
	_, err := on[bool](ctx, object, `function() { this.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"}); return true }`)
	return err
}

func clickOn(ctx context.Context, object runtime.RemoteObjectID) error {
	x, y, err := spot(ctx, object)
	if err != nil {
		return err
	}
	return chromedp.Do(ctx, chromedp.MouseClickXY(x, y))
}

// spot is where something can be clicked.
func spot(ctx context.Context, object runtime.RemoteObjectID) (x, y float64, err error) {
	if err := scroll(ctx, object); err != nil {
		return 0, 0, err
	}
	at, err := on[struct {
		X, Y     float64
		Trouble  string
		Disabled bool
	}](ctx, object, `function() {
		if (this.matches(":disabled")) return {trouble: "it is disabled"};
		const ways = [this, ...(this.labels || [])];
		let trouble = "it is not visible";
		for (const way of ways) {
			const box = way.getClientRects()[0];
			if (!box || box.width < 2 || box.height < 2) continue;
			const x = box.x + box.width / 2, y = box.y + box.height / 2;
			const hit = document.elementFromPoint(x, y);
			if (hit && ways.some((w) => w.contains(hit))) return {x, y};
			trouble = "it is covered by " + (hit ? hit.outerHTML.slice(0, 160) : "nothing: outside of the window");
		}
		return {trouble};
	}`)
	if err == nil && at.Trouble != "" {
		err = errors.New(at.Trouble)
	}
	return at.X, at.Y, err
}
