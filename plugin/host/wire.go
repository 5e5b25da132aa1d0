package host

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
	transformv1 "github.com/sidehook/sidehook/api/transform/v1"
	"github.com/sidehook/sidehook/plugin"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func itemToProto(e *sidehook.Event, w *sidehook.Webhook) *transformv1.TransformItem {
	return &transformv1.TransformItem{
		Event: &transformv1.Event{
			App: e.App, Id: e.ID, Source: e.Source, Type: e.Type, Subject: e.Subject, Time: timestamppb.New(e.Time),
			DataContentType: e.DataContentType, Data: e.Data, OrderingKey: e.OrderingKey, Extensions: e.Extensions,
		},
		Webhook: &transformv1.Webhook{App: w.App, Id: w.ID, Name: w.Name, Url: w.URL, Format: w.Format},
	}
}

// conclude checks a result and makes it an answer about e, which stays as it is.
func (u *unit) conclude(e *sidehook.Event, r *transformv1.TransformResult) (*sidehook.Transformed, error) {
	switch v := r.GetResult().(type) {
	case *transformv1.TransformResult_Drop:
		u.count.dropped.Add(1)
		return &sidehook.Transformed{Drop: true, DropReason: clip(v.Drop.GetReason())}, nil
	case *transformv1.TransformResult_Failure:
		u.count.failed.Add(1)
		reason := clip(v.Failure.GetReason())
		if reason == "" {
			reason = "it gave no reason"
		}
		return nil, &sidehook.TransformFailure{Transformer: u.spec.Name, Reason: reason}
	case *transformv1.TransformResult_Rewritten:
		t, err := rewrite(e, v.Rewritten)
		if err != nil {
			u.count.failed.Add(1)
			return nil, u.failure("bad result: %v", err)
		}
		u.count.transformed.Add(1)
		return t, nil
	}
	u.count.failed.Add(1)
	return nil, u.failure("bad result: it is neither rewritten, nor drop, nor failure")
}

// rewrite makes a changed copy of e, under the same rules as a published event.
func rewrite(e *sidehook.Event, r *transformv1.Rewritten) (*sidehook.Transformed, error) {
	event := *e
	event.Data = r.GetData()
	if t := r.GetType(); t != "" {
		event.Type = t
	}
	if ct := r.GetDataContentType(); ct != "" {
		event.DataContentType = ct
	}
	// Only what a transformer can change is checked: the rest was, when the event came in.
	changed := sidehook.Event{
		App: "a", ID: "i", Source: "s", Type: event.Type, DataContentType: event.DataContentType, Data: event.Data,
	}
	if err := changed.Validate(plugin.MaxData); err != nil {
		return nil, err
	}
	headers, err := checkHeaders(r.GetHeaders())
	if err != nil {
		return nil, err
	}
	return &sidehook.Transformed{Event: &event, Headers: headers}, nil
}

// checkHeaders holds them to the rules of a webhook's own and puts them in order of their names.
func checkHeaders(in map[string]string) ([]sidehook.Header, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) > plugin.MaxHeaders {
		return nil, sidehook.Fieldf("headers", "must be at most %d, not %d", plugin.MaxHeaders, len(in))
	}
	out := make([]sidehook.Header, 0, len(in))
	seen := make(map[string]bool, len(in))
	for _, key := range slices.Sorted(maps.Keys(in)) {
		h := sidehook.Header{Key: key, Value: in[key]}
		if err := sidehook.ValidateHeader(h); err != nil {
			return nil, sidehook.Under("headers", err)
		}
		if seen[strings.ToLower(key)] {
			return nil, sidehook.Fieldf("headers", "%s is given twice", key)
		}
		seen[strings.ToLower(key)] = true
		out = append(out, h)
	}
	return out, nil
}

// plain makes text of a process fit for a log line: UTF-8, no control characters, at most plugin.MaxReason bytes.
func plain(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 2*plugin.MaxReason)], "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) <= plugin.MaxReason {
		return s
	}
	cut := plugin.MaxReason - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// clip is plain without spaces around it, for reasons.
func clip(s string) string { return strings.TrimSpace(plain(s)) }
