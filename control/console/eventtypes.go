package console

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/catalogue"
	"github.com/sidehook/sidehook/outbound/match"
)

func (c *Console) eventTypeRoutes() {
	c.addTab("event-types", "tab.event-types")
	all := Root + "apps/{app}/event-types"
	one := all + "/{type}"
	c.handle("GET "+all, forApp, func(v *visit) error { return v.listEventTypes(http.StatusOK, &eventTypeList{}) })
	c.handle("GET "+all+"/new", forApp, func(v *visit) error { return v.showEventTypeForm(http.StatusOK, &eventTypeForm{New: true}) })
	c.handle("POST "+all, forApp, (*visit).createEventType)
	c.handle("POST "+all+"/import", forApp, (*visit).importEventTypes)
	// One segment more than new and import have, so that an event type may be called so.
	c.handle("GET "+one+"/edit", forApp, (*visit).editEventType)
	c.handle("POST "+one+"/edit", forApp, (*visit).updateEventType)
	c.handle("POST "+one+"/delete", forApp, (*visit).deleteEventType)
}

// Bounds of what the catalogue shows.
const (
	eventTypeRows     = 20
	samplesAllowance  = 105_000 // of a page, in bytes of markup
	rowMarkup         = 2_400   // of an event type, at most, without its texts
	maxShownWebhooks  = 5       // of an event type
	sampleAllowance   = 12_000
	maxShownSentences = 500 // characters of a description in the list
)

// eventTypeList is the data of eventtypes.html.
type eventTypeList struct {
	Query    string
	Products []eventTypeGroup
	paging
	// Total is how many there are, whatever is searched for.
	Total      int
	Catalogues []catalogueChoice
	Overwrite  bool
	Problems   *problems
}

type eventTypeGroup struct {
	Product string
	Types   []eventTypeRow
}

type eventTypeRow struct {
	Type, Name, Description string
	// OtherName is the name in the console's other language, where it has one of its own.
	OtherName, OtherLang string
	Webhooks             []*sidehook.Webhook // that want it, the first few
	Wanted               int                 // how many want it
	Path                 string
	Sample, Schema       *shownBody
}

type catalogueChoice struct {
	Name, Title string
	Count       int
	Chosen      bool
}

func (v *visit) listEventTypes(code int, data *eventTypeList) error {
	all, err := v.eventTypes()
	if err != nil {
		return err
	}
	webhooks, err := v.c.svc.AllWebhooks(v.ctx(), v.app.ID)
	if err != nil {
		return err
	}
	data.Total, data.Query = len(all), v.r.URL.Query().Get("q")
	found := slices.DeleteFunc(all, func(t *sidehook.EventType) bool { return !speaksOf(t, data.Query) })
	data.paging, found = pageOf(v, found, eventTypeRows, func(page string) string { return searched(data.Query, page) })
	room := allowance(samplesAllowance)
	for _, t := range found { // what is around the samples comes first
		room -= allowance(rowMarkup + 12*len(t.Type) + 5*len(t.Product) + 10*len(sidehook.InLanguage(t.Name, v.lang)))
	}
	for _, t := range found {
		if n := len(data.Products); n == 0 || data.Products[n-1].Product != t.Product {
			data.Products = append(data.Products, eventTypeGroup{Product: t.Product})
		}
		group := &data.Products[len(data.Products)-1]
		group.Types = append(group.Types, v.eventTypeRow(t, webhooks, &room))
	}
	for _, name := range catalogue.Names() {
		if c, ok := catalogue.Lookup(name); ok {
			data.Catalogues = append(data.Catalogues, catalogueChoice{
				Name: name, Title: sidehook.InLanguage(c.Title, v.lang), Count: len(c.EventTypes), Chosen: v.r.PostForm.Get("catalogue") == name,
			})
		}
	}
	return v.render(code, "eventtypes", data)
}

// searched is the link to a page of what a search found.
func searched(query, page string) string {
	q := url.Values{"page": {page}}
	if query != "" {
		q.Set("q", query)
	}
	return "?" + q.Encode()
}

// speaksOf reports whether all words of a search are somewhere in an event type.
func speaksOf(t *sidehook.EventType, query string) bool {
	texts := []string{t.Type, t.Product}
	for _, text := range t.Name {
		texts = append(texts, text)
	}
	for _, text := range t.Description {
		texts = append(texts, text)
	}
	all := strings.ToLower(strings.Join(texts, "\n"))
	for _, word := range strings.Fields(strings.ToLower(query)) {
		if !strings.Contains(all, word) {
			return false
		}
	}
	return true
}

func (v *visit) eventTypeRow(t *sidehook.EventType, webhooks []*sidehook.Webhook, room *allowance) eventTypeRow {
	row := eventTypeRow{
		Type: t.Type, Name: sidehook.InLanguage(t.Name, v.lang), Path: v.appPath("event-types", t.Type),
		Description: room.text(shorten(sidehook.InLanguage(t.Description, v.lang), maxShownSentences), sampleAllowance),
	}
	for _, lang := range languages {
		if text, ok := t.Name[lang]; ok && lang != v.lang && text != row.Name {
			row.OtherName, row.OtherLang = text, lang
		}
	}
	for _, w := range webhooks {
		if !slices.ContainsFunc(w.Events, func(pattern string) bool { return match.MatchPattern(pattern, t.Type) }) {
			continue
		}
		if row.Wanted++; row.Wanted <= maxShownWebhooks {
			row.Webhooks = append(row.Webhooks, w)
		}
	}
	if len(t.Sample) > 0 {
		row.Sample = room.show(t.Sample, sampleAllowance)
	}
	if len(t.Schema) > 0 {
		row.Schema = room.show(t.Schema, sampleAllowance)
	}
	return row
}

func (v *visit) importEventTypes() error {
	data := &eventTypeList{Overwrite: v.r.PostForm.Get("overwrite") == "on"}
	changes, err := v.c.svc.ImportEventTypes(v.ctx(), v.app.ID, v.r.PostForm.Get("catalogue"), data.Overwrite)
	if data.Problems = v.problems(err); data.Problems != nil {
		return v.listEventTypes(data.Problems.Code, data)
	}
	if err != nil {
		return err
	}
	note := "done.imported"
	if changes.Added+changes.Changed == 0 {
		note = "done.imported-nothing"
	}
	return v.done(v.appPath("event-types"), note)
}

func (v *visit) deleteEventType() error {
	t, err := v.c.svc.GetEventType(v.ctx(), v.app.ID, v.r.PathValue("type"))
	if err != nil {
		return err
	}
	list := v.appPath("event-types")
	if ok, err := v.confirmed(v.t("eventtypes.confirm-delete", "Type", t.Type), list); !ok {
		return err
	}
	if err := v.c.svc.DeleteEventType(v.ctx(), v.app.ID, t.Type); err != nil {
		return err
	}
	return v.done(list, "done.deleted")
}
