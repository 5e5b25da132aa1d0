package console

import (
	"bytes"
	"html"
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
	// LargeSample and LargeSchema are the sizes of what is too large to be edited here, in bytes; 0 where it is not. It
	// stays as it is.
	LargeSample, LargeSchema int
	Products                 []string // that there are
	Path                     string   // to post to
	Problems                 *problems
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
		if size += len(html.EscapeString(t.Product)) + len(`<option value=""></option>`); size > maxChoices {
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

// maxEdited bounds the markup of a sample or schema in a form, in bytes, so that pages stay small.
const maxEdited = 36_000

// editable is JSON to be edited, on lines of its own where there is room for them; large is its size when there is none
// for it at all.
func editable(b []byte) (text string, large int) {
	for _, text := range []string{string(indented(b)), string(b)} {
		if len(html.EscapeString(text)) <= maxEdited {
			return text, 0
		}
	}
	return "", len(b)
}

func (v *visit) editEventType() error {
	t, err := v.c.svc.GetEventType(v.ctx(), v.app.ID, v.r.PathValue("type"))
	if err != nil {
		return err
	}
	f := &eventTypeForm{Type: t.Type, Product: t.Product, Texts: v.eventTypeTexts(t)}
	f.Sample, f.LargeSample = editable(t.Sample)
	f.Schema, f.LargeSchema = editable(t.Schema)
	return v.showEventTypeForm(http.StatusOK, f)
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
	if f.LargeSample == 0 {
		t.Sample = bytes.TrimSpace([]byte(f.Sample))
	}
	if f.LargeSchema == 0 {
		t.Schema = bytes.TrimSpace([]byte(f.Schema))
	}
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
	// A form without the field was one that had no room for it.
	if !v.r.PostForm.Has("sample") {
		f.LargeSample = len(t.Sample)
	}
	if !v.r.PostForm.Has("schema") {
		f.LargeSchema = len(t.Schema)
	}
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
