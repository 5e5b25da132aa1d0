package plugin

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a Result. The sidecar turns an answer over them into a failure of its item.
const (
	// MaxData is how many bytes rewritten data may have.
	MaxData = 1 << 20
	// MaxHeaders is how many headers a result may add.
	MaxHeaders = 20
	// MaxReason is how many bytes of a reason are kept.
	MaxReason = 500
)

type resultKind uint8

const (
	kindRewrite resultKind = iota
	kindKeep
	kindDrop
	kindFail
)

// Result is the answer to one item. Make it with Rewrite, RewriteJSON, Keep, Drop or Fail.
type Result struct {
	kind        resultKind
	data        []byte
	eventType   string
	contentType string
	headers     []header
	reason      string
}

type header struct{ name, value string }

// Rewrite delivers data instead of the event's own. The media type stays unless WithContentType changes it.
func Rewrite(data []byte) *Result { return &Result{kind: kindRewrite, data: data} }

// RewriteJSON delivers v, encoded as JSON without escaping HTML, and says so in the media type.
func RewriteJSON(v any) (*Result, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("cannot encode the result as JSON: %w", err)
	}
	data := strings.TrimSuffix(b.String(), "\n")
	return Rewrite([]byte(data)).WithContentType("application/json"), nil
}

// Keep delivers the event's data as it is; headers and type can still be changed with the With methods.
func Keep() *Result { return &Result{kind: kindKeep} }

// Drop ends the delivery without an attempt. The reason is shown in its history.
func Drop(reason string) *Result { return &Result{kind: kindDrop, reason: reason} }

// Fail says that the transformer cannot do this event. It counts as a failed attempt and is retried like one.
func Fail(reason string) *Result { return &Result{kind: kindFail, reason: reason} }

// WithType changes the event type of the delivery.
func (r *Result) WithType(t string) *Result {
	r.eventType = t
	return r
}

// WithContentType changes the media type of the data.
func (r *Result) WithContentType(t string) *Result {
	r.contentType = t
	return r
}

// WithHeader adds a request header, under the rules of a webhook's own headers: names that Sidehook or HTTP itself
// sets are refused.
func (r *Result) WithHeader(name, value string) *Result {
	for i := range r.headers {
		if r.headers[i].name == name {
			r.headers[i].value = value
			return r
		}
	}
	r.headers = append(r.headers, header{name, value})
	return r
}

// Data is what will be delivered, given the item that r answers; nil when r drops or fails it.
func (r *Result) Data(item *Item) []byte {
	switch r.kind {
	case kindRewrite:
		return r.data
	case kindKeep:
		return item.Event.Data
	}
	return nil
}

// Headers are the headers that r adds; a copy.
func (r *Result) Headers() map[string]string {
	if r.headers == nil {
		return nil
	}
	all := make(map[string]string, len(r.headers))
	for _, h := range r.headers {
		all[h.name] = h.value
	}
	return all
}

// Dropped reports whether r is a drop, and why.
func (r *Result) Dropped() (reason string, ok bool) { return r.reason, r.kind == kindDrop }

// Failed reports whether r is a failure, and why.
func (r *Result) Failed() (reason string, ok bool) { return r.reason, r.kind == kindFail }

// check finds what would make the message unfit to send or the sidecar refuse it, in the author's words.
func (r *Result) check() error {
	switch {
	case len(r.data) > MaxData:
		return fmt.Errorf("result has %d bytes of data; the limit is %d", len(r.data), MaxData)
	case len(r.headers) > MaxHeaders:
		return fmt.Errorf("result has %d headers; the limit is %d", len(r.headers), MaxHeaders)
	case !utf8.ValidString(r.eventType) || !utf8.ValidString(r.contentType):
		return fmt.Errorf("result's type and content type must be UTF-8")
	}
	for _, h := range r.headers {
		if !utf8.ValidString(h.name) || !utf8.ValidString(h.value) {
			return fmt.Errorf("result's header %.40q must be UTF-8", h.name)
		}
	}
	return nil
}

// clip makes a reason fit: UTF-8, at most MaxReason bytes.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxReason {
		return s
	}
	cut := MaxReason - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
