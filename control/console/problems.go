package console

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// problems are what is wrong with a form, in the reader's language.
type problems struct {
	// Code is the status that the form is answered with.
	Code int
	All  []problem
}

// problem is one thing wrong.
type problem struct {
	// Field as the service names it: url, headers[0].key; empty where no single one is at fault.
	Field string
	// Label of the field, for the summary.
	Label string
	Text  string
	// Link is the id of the input to mend.
	Link string
}

// problems returns what an error says about the input, nil when it is not about it.
func (v *visit) problems(err error) *problems {
	var field *sidehook.FieldError
	var conflict *control.ConflictError
	found := &problems{Code: http.StatusUnprocessableEntity}
	switch {
	case errors.As(err, &field):
		format, args := field.Template()
		found.add(v, field.Field, v.c.texts.refusal(v.lang, format, args, field.Reason))
	case errors.As(err, &conflict):
		format, args := conflict.Template()
		found.Code = http.StatusConflict
		found.add(v, conflict.Field, v.c.texts.refusal(v.lang, format, args, conflict.Reason))
	default:
		return nil
	}
	return found
}

// add notes a problem. The label of a field is the text field.NAME, where NAME has no indexes.
func (p *problems) add(v *visit, field, text string) {
	key := "field." + indexes.ReplaceAllString(field, "")
	label := ""
	if v.c.texts.knows(key) {
		label = v.t(key)
	} else {
		label = field
	}
	p.All = append(p.All, problem{Field: field, Label: label, Text: text, Link: fieldID(lastIndex.ReplaceAllString(field, ""))})
}

var (
	indexes   = regexp.MustCompile(`\[\d+\]`)
	lastIndex = regexp.MustCompile(`\[\d+\]$`) // of a list that is one input
)

// Of returns the problem of a field or of what is within it, for templates: events finds events[3].
func (p *problems) Of(field string) *problem {
	if p == nil {
		return nil
	}
	for i := range p.All {
		at := p.All[i].Field
		if at == field || strings.HasPrefix(at, field+"[") || strings.HasPrefix(at, field+".") {
			return &p.All[i]
		}
	}
	return nil
}

// fieldID is the id that the input of a field has on its page.
func fieldID(field string) string {
	return "f-" + strings.Trim(notID.ReplaceAllString(field, "-"), "-")
}

var notID = regexp.MustCompile(`[^A-Za-z0-9_]+`)
