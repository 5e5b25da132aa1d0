package console

import (
	"bytes"
	"maps"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook"
)

// eventTypeForm is the data of eventtype_form.html.
type eventTypeForm struct {
	New           bool
	Type, Product string
	// Texts are the names and descriptions, in the languages of the console, the reader's first.
	Texts          []eventTypeText
	Sample, Schema string
	Products       []string // that there are
	Path           string   // to post to
	Problems       *problems
}

type eventTypeText struct {
	Lang              string
	Name, Description string
}

func (v *visit) showEventTypeForm(code int, f *eventTypeForm) error {
	if f.New {
		f.Path = v.appPath("event-types")
	} else {
		f.Path = v.appPath("event-types", f.Type, "edit")
	}
	if f.Texts == nil {
		f.Texts = v.eventTypeTexts(&sidehook.EventType{})
	}
	all, err := v.eventTypes()
	if err != nil {
		return err
	}
	size := 0
	for _, t := range all { // by product
		if n := len(f.Products); t.Product == "" || n > 0 && f.Products[n-1] == t.Product {
			continue
		}
		if size += len(t.Product); size > maxChoices {
			break
		}
		f.Products = append(f.Products, t.Product)
	}
	return v.render(code, "eventtype_form", f)
}

func (v *visit) eventTypeTexts(t *sidehook.EventType) []eventTypeText {
	texts := []eventTypeText{{Lang: v.lang, Name: t.Name[v.lang], Description: t.Description[v.lang]}}
	for _, lang := range languages {
		if lang != v.lang {
			texts = append(texts, eventTypeText{Lang: lang, Name: t.Name[lang], Description: t.Description[lang]})
		}
	}
	return texts
}

// maxEdited bounds a sample or schema that is put on lines of its own to be edited, so that pages stay small; a larger
// one is shown as it is stored.
const maxEdited = 16 << 10

func editable(b []byte) string {
	if pretty := indented(b); len(pretty) <= maxEdited {
		return string(pretty)
	}
	return string(b)
}

func (v *visit) editEventType() error {
	t, err := v.c.svc.GetEventType(v.ctx(), v.app.ID, v.r.PathValue("type"))
	if err != nil {
		return err
	}
	return v.showEventTypeForm(http.StatusOK, &eventTypeForm{
		Type: t.Type, Product: t.Product, Texts: v.eventTypeTexts(t), Sample: editable(t.Sample), Schema: editable(t.Schema),
	})
}

func (v *visit) readEventTypeForm() *eventTypeForm {
	f := v.r.PostForm
	form := &eventTypeForm{Type: f.Get("type"), Product: f.Get("product"), Sample: f.Get("sample"), Schema: f.Get("schema")}
	for _, t := range v.eventTypeTexts(&sidehook.EventType{}) {
		t.Name, t.Description = f.Get("name."+t.Lang), f.Get("description."+t.Lang)
		form.Texts = append(form.Texts, t)
	}
	return form
}

// apply changes an event type to what the form says; texts in languages that it has not stay.
func (f *eventTypeForm) apply(t *sidehook.EventType) {
	t.Type, t.Product = f.Type, f.Product
	t.Sample, t.Schema = bytes.TrimSpace([]byte(f.Sample)), bytes.TrimSpace([]byte(f.Schema))
	t.Name, t.Description = maps.Clone(t.Name), maps.Clone(t.Description)
	for _, text := range f.Texts {
		t.Name = withText(t.Name, text.Lang, text.Name)
		t.Description = withText(t.Description, text.Lang, text.Description)
	}
}

func withText(texts map[string]string, lang, text string) map[string]string {
	text = strings.TrimSpace(text)
	if text == "" {
		delete(texts, lang)
		return texts
	}
	if texts == nil {
		texts = make(map[string]string)
	}
	texts[lang] = text
	return texts
}

func (v *visit) createEventType() error {
	f := v.readEventTypeForm()
	f.New = true
	if _, err := v.c.svc.GetEventType(v.ctx(), v.app.ID, f.Type); err == nil {
		f.Problems = &problems{Code: http.StatusConflict}
		f.Problems.add(v, "type", v.t("eventtypes.taken"))
		return v.showEventTypeForm(f.Problems.Code, f)
	}
	return v.saveEventType(f, sidehook.EventType{App: v.app.ID})
}

func (v *visit) updateEventType() error {
	t, err := v.c.svc.GetEventType(v.ctx(), v.app.ID, v.r.PathValue("type"))
	if err != nil {
		return err
	}
	f := v.readEventTypeForm()
	f.Type = t.Type
	return v.saveEventType(f, *t)
}

func (v *visit) saveEventType(f *eventTypeForm, t sidehook.EventType) error {
	f.apply(&t)
	_, _, err := v.c.svc.PutEventType(v.ctx(), t)
	if f.Problems = v.problems(err); f.Problems != nil {
		return v.showEventTypeForm(f.Problems.Code, f)
	}
	if err != nil {
		return err
	}
	return v.done(v.appPath("event-types")+"?q="+t.Type, "done.event-type-saved")
}
