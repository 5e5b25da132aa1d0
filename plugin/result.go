package plugin

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
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
	headers     map[string]string
	reason      string
}

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
	if r.headers == nil {
		r.headers = make(map[string]string)
	}
	r.headers[name] = value
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
func (r *Result) Headers() map[string]string { return maps.Clone(r.headers) }

// Dropped reports whether r is a drop, and why.
func (r *Result) Dropped() (reason string, ok bool) { return r.reason, r.kind == kindDrop }

// Failed reports whether r is a failure, and why.
func (r *Result) Failed() (reason string, ok bool) { return r.reason, r.kind == kindFail }

func (r *Result) toProto(item *transformv1.TransformItem) *transformv1.TransformResult {
	switch r.kind {
	case kindDrop:
		return &transformv1.TransformResult{Result: &transformv1.TransformResult_Drop{
			Drop: &transformv1.Drop{Reason: clip(r.reason)},
		}}
	case kindFail:
		return failure(r.reason)
	}
	data := r.data
	if r.kind == kindKeep {
		data = item.GetEvent().GetData()
	}
	return &transformv1.TransformResult{Result: &transformv1.TransformResult_Rewritten{
		Rewritten: &transformv1.Rewritten{
			Type: r.eventType, Data: data, DataContentType: r.contentType, Headers: r.headers,
		},
	}}
}

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
	for name, value := range r.headers {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fmt.Errorf("result's header %.40q must be UTF-8", name)
		}
	}
	return nil
}

func failure(reason string) *transformv1.TransformResult {
	return &transformv1.TransformResult{Result: &transformv1.TransformResult_Failure{
		Failure: &transformv1.Failure{Reason: clip(reason)},
	}}
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
