package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// replayPage is the data of replay.html, which is also shown in a dialog.
type replayPage struct {
	*sidehook.Webhook
	Since, Until, EventType string
	States                  []string
	Path, LogPath           string
	Types                   []string
	Result                  *control.Replayed
	// Trouble says why there is no result.
	Trouble  string
	Problems *problems
}

// Takes reports whether a state is chosen.
func (p *replayPage) Takes(state string) bool { return slices.Contains(p.States, state) }

// newReplayPage takes the filters of the log, from which the page is opened.
func newReplayPage(v *visit) *replayPage {
	p := &replayPage{Since: v.form("since"), Until: v.form("until"), EventType: v.form("event_type"), States: []string{"dead", "dropped"}}
	if s, ok := sidehook.ParseDeliveryState(v.form("status")); ok && s.Final() {
		p.States = []string{s.String()}
	}
	return p
}

func (v *visit) showReplay(code int, p *replayPage) (err error) {
	if p.Webhook, err = v.webhook(); err != nil {
		return err
	}
	if p.Types, err = v.typeChoices(); err != nil {
		return err
	}
	p.Path = v.appPath("webhooks", p.ID, "replay")
	p.LogPath = v.appPath("deliveries") + "?webhook=" + p.ID
	if p.Problems != nil { // the dialog stands over a list with fields of the same names
		for i := range p.Problems.All {
			at := &p.Problems.All[i]
			at.Link = "r-" + strings.TrimPrefix(at.Link, "f-")
		}
	}
	return v.render(code, "replay", p)
}

func (v *visit) replay() error {
	f := v.r.PostForm
	p := &replayPage{Since: f.Get("since"), Until: f.Get("until"), EventType: f.Get("event_type"), States: f["states"]}
	if _, err := v.webhook(); err != nil {
		return err
	}
	found := &problems{Code: http.StatusUnprocessableEntity}
	r := control.Replay{Webhook: v.webhookKey(), EventType: p.EventType}
	r.Since, r.Until = v.span(p.Since, p.Until, found)
	for _, name := range p.States {
		s, ok := sidehook.ParseDeliveryState(name)
		if !ok || !s.Final() {
			found.add(v, "states", v.t("deliveries.bad-status"))
			break
		}
		r.States = append(r.States, s)
	}
	if len(p.States) == 0 {
		found.add(v, "states", v.t("replay.no-states"))
	}
	if len(found.All) > 0 {
		p.Problems = found
		return v.showReplay(found.Code, p)
	}
	result, err := v.c.fleet.Replay(v.ctx(), r)
	if err == nil {
		p.Result = result
		return v.showReplay(http.StatusOK, p)
	}
	if p.Problems = v.problems(err); p.Problems != nil {
		return v.showReplay(p.Problems.Code, p)
	}
	if !isTrouble(err) {
		return err
	}
	code, trouble := v.fleetTrouble(err)
	p.Trouble = trouble
	return v.showReplay(code, p)
}
