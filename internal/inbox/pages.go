package inbox

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"mime"
	"net/http"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

// pages in each language, made when asked for: most processes of this binary are no inbox.
var pages = sync.OnceValue(loadPages)

func loadPages() map[*speech]*template.Template {
	all := map[*speech]*template.Template{}
	for _, s := range speeches() {
		funcs := template.FuncMap{
			"t": s.t, "n": s.n, "scheme": s.scheme, "verdict": func(v Verdict) string { return s.verdict(&v) }, "lang": func() string { return s.Tag },
			"schemes": schemes, "texts": s.script, "seconds": seconds,
			"count": func(total uint64) int { return int(min(total, math.MaxInt32)) },
			"short": func(text string) string { return cut(text, 80) },
		}
		all[s] = template.Must(template.New("").Funcs(funcs).ParseFS(assets, "assets/pages.html"))
	}
	return all
}

// scriptTexts are those that the script shows.
var scriptTexts = []string{
	"js.live", "js.connecting", "js.reconnecting", "js.copied", "js.copyfailed", "js.saved", "js.saving", "js.away", "js.gone", "js.arrived",
	// What a field must be, by the name of the field; error.taken for a name that is.
	"error.name", "error.taken", "error.title", "error.secrets", "error.signing.scheme", "error.signing.header", "error.signing.prefix",
	"error.signing.template", "error.signing.timestamp_header", "error.status", "error.delay", "error.fail_first", "error.fail_status",
	"error.retry_after", "error.content_type", "error.body",
}

func (s *speech) script() map[string]string {
	all := map[string]string{}
	for _, id := range scriptTexts {
		all[id] = s.t(id)
	}
	return all
}

// seconds of a validated duration, for a number field; empty for none.
func seconds(d string) string {
	parsed, err := time.ParseDuration(d)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(parsed.Seconds(), 'f', -1, 64)
}

// maxCards is how many arrivals the page shows; more are in the JSON.
const maxCards = 100

func (b *Inbox) pageBins(w http.ResponseWriter, r *http.Request) { render(w, r, "bins", b.all()) }

// pageFacts is the part of a bin's page that its settings change.
func (b *Inbox) pageFacts(w http.ResponseWriter, r *http.Request) {
	answer, ok := b.snapshot(r.PathValue("bin"))
	if !ok {
		noSuchBin(w)
		return
	}
	render(w, r, "facts", answer.binInfo)
}

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
		answer.binInfo = (&bin{name: name, settings: defaults()}).info()
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
	render(w, r, "bin", page)
}

// pageCard is one arrival as the page shows it, for arrivals that come while the page is open.
func (b *Inbox) pageCard(w http.ResponseWriter, r *http.Request) {
	answer, ok := b.snapshot(r.PathValue("bin"))
	id, err := strconv.ParseUint(r.PathValue("id"), 10, 64)
	if ok && err == nil {
		for _, a := range answer.Arrivals {
			if a.ID == id {
				w.Header().Set("Inbox-Total", strconv.FormatUint(answer.Total, 10))
				render(w, r, "card", newCard(a, false))
				return
			}
		}
	}
	writeError(w, http.StatusNotFound, "id", "is not an arrival that this bin keeps")
}

// render answers a page; it is built first, so that a failure is not half a page.
func render(w http.ResponseWriter, r *http.Request, name string, data any) {
	var page bytes.Buffer
	if err := pages()[speechOf(w, r)].ExecuteTemplate(&page, name, data); err != nil {
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

// Badge is the class that colours the verdict: good, bad, late for a good signature at a wrong time, or none.
func (c card) Badge() string {
	switch {
	case !c.Verdict.checked():
		return "none"
	case c.Verdict.OK:
		return "good"
	case c.Verdict.Code == CodeTooOld || c.Verdict.Code == CodeTooNew:
		return "late"
	}
	return "bad"
}

// Attempt is the number of the attempt as the sender says it in Sidehook-Attempt, or else by counting arrivals with the
// same webhook-id; 0 for a first one that nothing is said about.
func (c card) Attempt() int {
	if n, err := strconv.Atoi(c.Headers.Get("Sidehook-Attempt")); err == nil && n > 0 {
		return n
	}
	if c.Repeat > 0 {
		return c.Repeat + 1
	}
	return 0
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
