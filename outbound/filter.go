package outbound

import (
	"slices"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/xds/filter"
)

// filter takes those webhooks out of matches whose filters an event does not meet. Its data is decoded once at most, and
// only when a filter looks at it.
func (e *Engine) filter(app *appConfig, ev *sidehook.Event, matches []int) []int {
	if app.filters == nil || len(matches) == 0 {
		return matches
	}
	seen := filter.Of(ev)
	return slices.DeleteFunc(matches, func(i int) bool {
		f := app.filters[i]
		if f == nil {
			return false
		}
		met, err := f.Matches(seen)
		if err != nil {
			e.counters.filterErrors.Add(1)
			app.lanes[i].noteFilterError(ev, err)
		}
		if !met {
			e.counters.filtered.Add(1)
		}
		return !met
	})
}

// noteFilterError counts that a filter failed, which health tells, and logs the first time.
func (l *lane) noteFilterError(ev *sidehook.Event, err error) {
	text := err.Error() + " (event " + ev.ID + " of type " + ev.Type + ")"
	l.mu.Lock()
	first := l.filterFailed != l.route
	l.filterFailed = l.route
	l.healthChanges()
	l.health.countFilterError(text, l.e.now())
	l.mu.Unlock()
	l.e.opts.OnCount()
	if first {
		l.e.log.Warn("a filter has no answer for an event, which is not delivered; more of them are counted only",
			"webhook", l.key, "event", ev.ID, "type", ev.Type, "err", err)
	}
}
