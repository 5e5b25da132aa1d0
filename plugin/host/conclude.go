package host

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/plugin"
)

const maxHeaders = plugin.MaxHeaders

// conclude checks a result and makes it an answer about e, which stays as it is.
func (u *unit) conclude(e *sidehook.Event, r *result) (*sidehook.Transformed, error) {
	switch r.kind {
	case dropped:
		u.count.dropped.Add(1)
		return &sidehook.Transformed{Drop: true, DropReason: r.reason}, nil
	case refused:
		u.count.failed.Add(1)
		reason := r.reason
		if reason == "" {
			reason = "it gave no reason"
		}
		return nil, &sidehook.TransformFailure{Transformer: u.spec.Name, Reason: reason}
	case rewritten:
		t, err := rewrite(e, r)
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
func rewrite(e *sidehook.Event, r *result) (*sidehook.Transformed, error) {
	event := *e
	event.Data = r.data
	if r.eventType != "" {
		event.Type = r.eventType
	}
	if r.contentType != "" {
		event.DataContentType = r.contentType
	}
	// Only what a transformer has changed is checked: the rest was, when the event came in.
	if !r.same || event.Type != e.Type || event.DataContentType != e.DataContentType {
		changed := sidehook.Event{
			App: "a", ID: "i", Source: "s", Type: event.Type, DataContentType: event.DataContentType, Data: event.Data,
		}
		if err := changed.Validate(plugin.MaxData); err != nil {
			return nil, err
		}
	}
	if err := checkHeaders(r); err != nil {
		return nil, err
	}
	return &sidehook.Transformed{Event: &event, Headers: r.headers}, nil
}

// checkHeaders holds them to the rules of a webhook's own and puts them in order of their names.
func checkHeaders(r *result) error {
	if r.tooMany {
		return sidehook.Fieldf("headers", "must be at most %d", maxHeaders)
	}
	slices.SortFunc(r.headers, func(a, b sidehook.Header) int { return strings.Compare(a.Key, b.Key) })
	for i, h := range r.headers {
		if err := sidehook.ValidateHeader(h); err != nil {
			return sidehook.Under("headers", err)
		}
		if slices.ContainsFunc(r.headers[:i], func(o sidehook.Header) bool { return strings.EqualFold(o.Key, h.Key) }) {
			return sidehook.Fieldf("headers", "%s is given twice", h.Key)
		}
	}
	return nil
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
