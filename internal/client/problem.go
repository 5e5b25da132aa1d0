package client

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/sidehook/sidehook"
)

// Problem is a refusal of the control plane (RFC 9457). It is sidehook.ErrNotFound for status 404.
type Problem struct {
	// Status is the HTTP status.
	Status int `json:"status"`
	// Title and Detail are for people; Detail may be empty.
	Title  string `json:"title"`
	Detail string `json:"detail"`
	// Fields are what is wrong in the request, one by one.
	Fields []FieldProblem `json:"errors"`
}

// FieldProblem is one thing that is wrong in a request.
type FieldProblem struct {
	// Location is where, such as body.headers[0].key.
	Location string `json:"location"`
	// Message says what is wrong.
	Message string `json:"message"`
}

const (
	maxText   = 500 // bytes of a text of the server that are shown
	maxFields = 50
)

func newProblem(resp *http.Response, body []byte) *Problem {
	p := &Problem{}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == "application/problem+json" || media == "application/json" {
		if json.Unmarshal(body, p) != nil {
			p = &Problem{} // the status alone still says something
		}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	p.Title, p.Detail = clean(p.Title), clean(p.Detail)
	p.Fields = p.Fields[:min(len(p.Fields), maxFields)]
	for i, f := range p.Fields {
		p.Fields[i] = FieldProblem{Location: clean(f.Location), Message: clean(f.Message)}
	}
	return p
}

func (p *Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Detail != "":
		b.WriteString(p.Detail)
	case p.Title != "":
		b.WriteString(p.Title)
	}
	fmt.Fprintf(&b, " (status %d)", p.Status)
	for _, f := range p.Fields {
		if strings.Contains(p.Detail, f.Message) {
			continue // said already
		}
		b.WriteString("\n  ")
		if field := strings.TrimPrefix(f.Location, "body."); field != "" && field != "body" {
			b.WriteString(field + ": ")
		}
		b.WriteString(f.Message)
	}
	return b.String()
}

// Is makes errors.Is(err, sidehook.ErrNotFound) hold for status 404.
func (p *Problem) Is(target error) bool {
	return target == sidehook.ErrNotFound && p.Status == http.StatusNotFound
}

// clean makes a text of the server fit for a terminal.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
