package inbox

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"sort"
	"strconv"
	"strings"
)

//go:embed assets
var assets embed.FS

var pages = template.Must(template.ParseFS(assets, "assets/pages.html"))

// maxCards is how many arrivals the page shows; more are in the JSON.
const maxCards = 100

func (b *Inbox) pageBins(w http.ResponseWriter, _ *http.Request) { render(w, "bins", b.all()) }

// binPage is what the template "bin" shows.
type binPage struct {
	binInfo
	Cards  []card
	Hidden int
	// Last is the id of the newest arrival on the page; the stream goes on after it.
	Last uint64
}

// pageBin shows a bin, or an empty one that does not exist yet: its page can be opened before anything arrives.
func (b *Inbox) pageBin(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("bin")
	answer, ok := b.snapshot(name)
	if !ok {
		if !validBin(w, name) {
			return
		}
		answer.binInfo = binInfo{Name: name, Status: http.StatusServiceUnavailable}
	}
	page := binPage{binInfo: answer.binInfo}
	if n := len(answer.Arrivals); n > 0 {
		page.Last = answer.Arrivals[0].ID
		page.Hidden = max(0, n-maxCards)
		answer.Arrivals = answer.Arrivals[:n-page.Hidden]
	}
	for i, a := range answer.Arrivals {
		page.Cards = append(page.Cards, newCard(a, i == 0))
	}
	render(w, "bin", page)
}

// pageCard is one arrival as the page shows it, for arrivals that come while the page is open.
func (b *Inbox) pageCard(w http.ResponseWriter, r *http.Request) {
	answer, ok := b.snapshot(r.PathValue("bin"))
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if ok && err == nil {
		for _, a := range answer.Arrivals {
			if a.ID == id {
				w.Header().Set("Inbox-Total", strconv.FormatUint(answer.Total, 10))
				render(w, "card", newCard(a, false))
				return
			}
		}
	}
	writeError(w, http.StatusNotFound, "id", "is not an arrival that this bin keeps")
}

// render answers a page; it is built first, so that a failure is not half a page.
func render(w http.ResponseWriter, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		writeError(w, http.StatusInternalServerError, "", err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = page.WriteTo(w) // fails only when the reader has gone
}

func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	content, err := assets.ReadFile("assets/" + name)
	if err != nil || path.Ext(name) == ".html" {
		writeError(w, http.StatusNotFound, "", "there is no such asset")
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(content)
}

// card is an arrival as the template "card" shows it.
type card struct {
	*Arrival
	Open bool
}

func newCard(a *Arrival, open bool) card { return card{a, open} }

// badge says a verdict at a glance, with a class for its colour, and in a sentence.
type badge struct{ Class, Text, Sentence string }

// Badge of the arrival's verdict.
func (c card) Badge() badge {
	switch v := c.Verdict; {
	case v.Scheme == "":
		return badge{"none", "not checked", "The signature was not checked: " + v.Reason + "."}
	case v.OK:
		return badge{"good", "verified", "The signature holds (Standard Webhooks)."}
	default:
		return badge{"bad", "not valid", "The signature does not hold: " + v.Reason + "."}
	}
}

// ContentType as sent.
func (c card) ContentType() string { return c.Headers.Get("Content-Type") }

// EventType is the top-level "type" of a JSON body, or ce-type, or empty.
func (c card) EventType() string { return cut(eventType(c.Arrival), 120) }

// BodyTokens is the body for reading, cut into pieces to colour.
func (c card) BodyTokens() []token { return tokens(c.Arrival) }

// BodySizeText for people.
func (c card) BodySizeText() string {
	if c.BodySize < 1024 {
		return fmt.Sprintf("%d B", c.BodySize)
	}
	return fmt.Sprintf("%.1f KiB", float64(c.BodySize)/1024)
}

// headerRow is a header; Ours marks those that matter to webhooks.
type headerRow struct {
	Key, Value string
	Ours       bool
}

// HeaderRows lists the headers, those of webhooks first.
func (c card) HeaderRows() []headerRow {
	var rows []headerRow
	for key, values := range c.Headers {
		ours := strings.HasPrefix(key, "Webhook-") || strings.HasPrefix(key, "Sidehook-") || strings.HasPrefix(key, "Ce-") || key == "Traceparent"
		for _, v := range values {
			rows = append(rows, headerRow{strings.ToLower(key), v, ours})
		}
	}
	sort.SliceStable(rows, func(i, j int) bool {
		if rows[i].Ours != rows[j].Ours {
			return rows[i].Ours
		}
		return rows[i].Key < rows[j].Key
	})
	return rows
}
