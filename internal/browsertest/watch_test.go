//go:build with_chromium

package browsertest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

type cdpCommand[P, R any] = cdp.Command[P, R]

// watch listens to what the browser tells about a tab.
type watch struct {
	mu       sync.Mutex
	requests map[network.RequestID]*request
	document cdp.LoaderID // that is shown
	trouble  []string
	refusals []string // statuses that are no trouble
}

type request struct {
	url    string
	loader cdp.LoaderID // the document that asked
	stream bool         // has no end
	done   bool
	bytes  int64
}

func newWatch() *watch { return &watch{requests: map[network.RequestID]*request{}} }

// event is called in the loop that reads from the browser, so it does not wait for anything.
func (w *watch) event(ev any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		w.requests[ev.RequestID] = &request{
			url: ev.Request.URL, loader: ev.LoaderID, stream: ev.Type == network.ResourceTypeEventSource || strings.HasPrefix(ev.Request.URL, "data:"),
		}
	case *page.EventFrameNavigated:
		// What an older document still asked for ends without a word.
		if ev.Frame.ParentID == "" {
			w.document = ev.Frame.LoaderID
			maps.DeleteFunc(w.requests, func(_ network.RequestID, r *request) bool { return r.loader != w.document })
		}
	case *network.EventResponseReceived:
		// A script that does not read the body of its answer leaves it open for good.
		if r := w.requests[ev.RequestID]; r != nil && ev.Type == network.ResourceTypeFetch {
			r.done = true
		}
	case *network.EventDataReceived:
		if r := w.requests[ev.RequestID]; r != nil {
			r.bytes += ev.EncodedDataLength
		}
	case *network.EventLoadingFinished:
		if r := w.requests[ev.RequestID]; r != nil {
			r.done, r.bytes = true, max(r.bytes, int64(ev.EncodedDataLength))
		}
	case *network.EventLoadingFailed:
		if r := w.requests[ev.RequestID]; r != nil {
			r.done = true
		}
	case *runtime.EventExceptionThrown:
		text := ev.ExceptionDetails.Text
		if ev.ExceptionDetails.Exception != nil {
			text += " " + ev.ExceptionDetails.Exception.Description
		}
		w.trouble = append(w.trouble, "exception: "+text)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
			text := fmt.Sprintf("console.%s:", ev.Type)
			for _, arg := range ev.Args {
				text += fmt.Sprintf(" %s%s", arg.Value, arg.Description)
			}
			w.trouble = append(w.trouble, text)
		}
	case *log.EventEntryAdded:
		if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
			w.trouble = append(w.trouble, fmt.Sprintf("%s %s: %s %s", ev.Entry.Source, ev.Entry.Level, ev.Entry.Text, ev.Entry.URL))
		}
	}
}

// busy lists what is being asked for.
func (w *watch) busy() (urls []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := range maps.Values(w.requests) {
		if !r.done && !r.stream {
			urls = append(urls, r.url)
		}
	}
	return urls
}

// weight is how many bytes came over the network for the page that is shown, and for what.
func (w *watch) weight() (total int64, parts []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for r := range maps.Values(w.requests) {
		if r.loader != w.document {
			continue
		}
		total += r.bytes
		parts = append(parts, fmt.Sprintf("%d %s", r.bytes, r.url))
	}
	slices.Sort(parts)
	return total, parts
}

var refusal = regexp.MustCompile(`responded with a status of (\d+)`)

// expect says that the page is going to be refused something with this status, as a form with a mistake is.
func (w *watch) expect(status string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refusals = append(w.refusals, status)
}

// complaints are errors and warnings of the page, Content-Security-Policy violations among them.
func (w *watch) complaints() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.trouble), func(text string) bool {
		m := refusal.FindStringSubmatch(text)
		return m != nil && slices.Contains(w.refusals, m[1])
	})
}
