package apiserver

import (
	"context"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/outbound/match"
)

// all is every event.
const all = "all"

// channelEvents are those of the API server's document.
var channelEvents = []string{"channel_live", "channel_stop", "channel_ended"}

// splitEvents takes lists of events apart, as in "channel_live, channel_ended": trimmed, each once, nothing empty.
func splitEvents(lists ...string) []string {
	var events []string
	for _, list := range lists {
		for e := range strings.SplitSeq(list, ",") {
			if e = strings.TrimSpace(e); e != "" && !slices.Contains(events, e) {
				events = append(events, e)
			}
		}
	}
	return events
}

// checkForm refuses what can be no event at all.
func checkForm(events []string) error {
	for _, e := range events {
		if err := sidehook.ValidatePattern(e); err != nil {
			return sidehook.Under("event", err)
		}
	}
	return nil
}

// wanted makes the events of a webhook of those that a client sent: the channel's, those of the app's catalogue, those that
// the webhook has already, or all. A name that is none of these would never match, so it is refused.
func (h *handler) wanted(ctx context.Context, app string, sent, present []string) ([]string, error) {
	if len(sent) == 0 {
		return nil, sidehook.Fieldf("event", "is required: %s, or a list of %s", all, strings.Join(channelEvents, ", "))
	}
	if err := checkForm(sent); err != nil {
		return nil, err
	}
	if slices.Contains(sent, all) {
		return []string{all}, nil
	}
	unknown := slices.DeleteFunc(slices.Clone(sent), func(e string) bool {
		return slices.Contains(channelEvents, e) || slices.Contains(present, e)
	})
	if len(unknown) == 0 {
		return sent, nil
	}
	catalogue, err := h.catalogue(ctx, app)
	if err != nil {
		return nil, err
	}
	for _, e := range unknown {
		if !slices.Contains(catalogue, e) {
			return nil, sidehook.Fieldf("event", "%.60q is not an event; there are %s, %s and those of the app's catalogue", e, all,
				strings.Join(channelEvents, ", "))
		}
	}
	return sent, nil
}

// catalogue lists the types of the app's event types.
func (h *handler) catalogue(ctx context.Context, app string) ([]string, error) {
	var types []string
	page := control.PageRequest{Limit: control.MaxPageLimit}
	for {
		entries, next, err := h.svc.ListEventTypes(ctx, app, "", page)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			types = append(types, e.Type)
		}
		if next == "" {
			return types, nil
		}
		page.Cursor = next
	}
}

// without takes events away from those of a webhook. From all of them, what remains is spelled out: the channel's events
// and those of the catalogue. What the webhook has not is not missed.
func without(present, gone, catalogue []string) []string {
	if slices.Contains(gone, all) {
		return nil
	}
	if wantsAll(present) {
		present = splitEvents(append(slices.Clone(channelEvents), catalogue...)...)
	}
	return slices.DeleteFunc(slices.Clone(present), func(e string) bool { return slices.Contains(gone, e) })
}

// wantsAll reports whether patterns want every event, whichever of the ways to say so they use.
func wantsAll(patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return p == all || p == "*" || p == "*.*" })
}

// matchesAny reports whether a webhook's patterns are among the wanted events or want one of them.
func matchesAny(patterns, wanted []string) bool {
	return slices.ContainsFunc(wanted, func(e string) bool {
		return e == all || slices.ContainsFunc(patterns, func(p string) bool { return p == e || match.MatchPattern(p, e) })
	})
}
