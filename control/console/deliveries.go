package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func (c *Console) deliveryRoutes() {
	c.addTab("deliveries", "tab.deliveries")
	all := Root + "apps/{app}/deliveries"
	c.handle("GET "+all, forApp, (*visit).listDeliveries)
	c.handle("GET "+all+"/{id}", forApp, func(v *visit) error { return v.showDelivery(http.StatusOK, "") })
	c.handle("POST "+all+"/{id}/retry", forApp, (*visit).retryDelivery)
	replay := Root + "apps/{app}/webhooks/{id}/replay"
	c.handle("GET "+replay, forApp, func(v *visit) error { return v.showReplay(http.StatusOK, newReplayPage(v)) })
	c.handle("POST "+replay, forApp, (*visit).replay)
}

// Bounds of what the list of deliveries shows.
const (
	deliveryRows  = 20
	maxShownURL   = 200    // characters
	maxShownError = 300    // characters
	maxChoices    = 10_000 // bytes of markup of what a field offers
)

// deliveryList is the data of deliveries.html.
type deliveryList struct {
	Filters deliveryFilters
	// Webhook whose event log it is; nil for all. One that was deleted has its id alone.
	Webhook  *sidehook.Webhook
	Deleted  bool // Webhook is
	Webhooks []*sidehook.Webhook
	Types    []string
	Rows     []deliveryRow
	Missing  []control.MissingSidecar
	Pager    pager
	// ReplayPath is where the webhook's deliveries are replayed; empty without one.
	ReplayPath string
	// NoSidecar: nobody could be asked.
	NoSidecar bool
	// Trouble says why there is no list.
	Trouble  string
	Problems *problems
}

// deliveryFilters are the fields of the form, as typed.
type deliveryFilters struct {
	ID, Status, Webhook, EventType, Since, Until string
}

// deliveryRow is a delivery in the list.
type deliveryRow struct {
	*control.Delivery
	Path        string
	WebhookPath string // empty when it was deleted
	WebhookName string
	URL, Error  string
	SentAt      time.Time
}

func (v *visit) deliveryFilters() deliveryFilters {
	return deliveryFilters{
		ID: v.form("id"), Status: v.form("status"), Webhook: v.form("webhook"), EventType: v.form("event_type"),
		Since: v.form("since"), Until: v.form("until"),
	}
}

// Any reports whether anything but the webhook is asked for.
func (f *deliveryFilters) Any() bool {
	return f.ID != "" || f.Status != "" || f.EventType != "" || f.Since != "" || f.Until != ""
}

// path is that of the list with these filters, and the rest of the query.
func (f *deliveryFilters) path(cursor string) string {
	q := url.Values{}
	for name, value := range map[string]string{
		"id": f.ID, "status": f.Status, "webhook": f.Webhook, "event_type": f.EventType, "since": f.Since, "until": f.Until,
		"cursor": cursor,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "?" + q.Encode()
}

// query is what the filters ask the fleet for; what is wrong with them becomes problems.
func (f *deliveryFilters) query(v *visit, found *problems) control.DeliveryQuery {
	q := control.DeliveryQuery{
		App: v.app.ID, Webhook: f.Webhook, EventType: f.EventType,
		Page: control.PageRequest{Limit: deliveryRows, Cursor: v.form("cursor")},
	}
	if _, err := sidehook.ParseDeliveryID(f.ID); f.ID != "" && err != nil {
		found.add(v, "id", v.t("deliveries.bad-id"))
	}
	if f.Status != "" {
		if state, ok := sidehook.ParseDeliveryState(f.Status); ok {
			q.State = &state
		} else {
			found.add(v, "status", v.t("deliveries.bad-status"))
		}
	}
	q.Since, q.Until = v.span(f.Since, f.Until, found)
	return q
}

// span reads two times; what is wrong with them becomes problems.
func (v *visit) span(since, until string, found *problems) (from, to time.Time) {
	from, ok := readTime(since)
	if !ok {
		found.add(v, "since", v.t("deliveries.bad-time"))
	}
	if to, ok = readTime(until); !ok {
		found.add(v, "until", v.t("deliveries.bad-time"))
	}
	return from, to
}

// readTime reads a time as fields of forms give it, in UTC, or as RFC 3339 has it. The script of the page shows the
// reader's zone, and sends UTC. Empty is the zero time.
func readTime(text string) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil && at.Year() >= 1970 && at.Year() < 10_000 {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

func (v *visit) listDeliveries() error {
	data := &deliveryList{Filters: v.deliveryFilters()}
	webhooks, err := v.c.svc.AllWebhooks(v.ctx(), v.app.ID)
	if err != nil {
		return err
	}
	data.Webhooks = webhooks
	if id := data.Filters.Webhook; sidehook.ValidName(id) {
		data.Deleted = true
		data.Webhook = &sidehook.Webhook{ID: id, Name: id}
		for _, w := range webhooks {
			if w.ID == id {
				data.Webhook, data.Deleted = w, false
				data.ReplayPath = v.appPath("webhooks", id, "replay") + data.Filters.path("")
			}
		}
	}
	if data.Types, err = v.typeChoices(); err != nil {
		return err
	}
	found := &problems{Code: http.StatusUnprocessableEntity}
	query := data.Filters.query(v, found)
	if len(found.All) > 0 {
		data.Problems = found
		return v.render(found.Code, "deliveries", data)
	}
	code, err := data.ask(v, query)
	if err != nil {
		return err
	}
	return v.render(code, "deliveries", data)
}

// typeChoices are event types that the filter offers, as many as do not make the page heavy.
func (v *visit) typeChoices() ([]string, error) {
	types, err := v.eventTypes()
	if err != nil {
		return nil, err
	}
	var names []string
	size := 0
	for _, t := range types {
		if size += len(t.Type) + len(`<option value=""></option>`); size > maxChoices {
			break
		}
		names = append(names, t.Type)
	}
	slices.Sort(names)
	return names, nil
}

// ask fills the list with what the fleet answers, and returns the status of the page.
func (l *deliveryList) ask(v *visit, query control.DeliveryQuery) (int, error) {
	page, err := v.deliveries(l.Filters.ID, query)
	switch {
	case errors.Is(err, control.ErrNoSidecar):
		l.NoSidecar = true
		return http.StatusOK, nil
	case err != nil:
		if l.Problems = v.problems(err); l.Problems != nil {
			return l.Problems.Code, nil
		}
		if isTrouble(err) {
			var code int
			code, l.Trouble = v.fleetTrouble(err)
			return code, nil
		}
		return 0, err
	}
	l.Missing = page.Missing
	for i := range page.Deliveries {
		l.Rows = append(l.Rows, l.row(v, &page.Deliveries[i]))
	}
	if query.Page.Cursor != "" {
		l.Pager.First = l.Filters.path("")
	}
	if page.Next != "" {
		l.Pager.Next = l.Filters.path(page.Next)
	}
	return http.StatusOK, nil
}

// deliveries asks the fleet for a page, or for one delivery by its id.
func (v *visit) deliveries(id string, query control.DeliveryQuery) (*control.DeliveryPage, error) {
	if id == "" {
		return v.c.fleet.Deliveries(v.ctx(), query)
	}
	parsed, err := sidehook.ParseDeliveryID(id)
	if err != nil {
		return nil, err
	}
	d, err := v.c.fleet.Delivery(v.ctx(), v.app.ID, parsed)
	switch {
	case errors.Is(err, sidehook.ErrNotFound):
		return &control.DeliveryPage{}, nil
	case err != nil:
		return nil, err
	}
	page := &control.DeliveryPage{}
	if selects(query, d) {
		page.Deliveries = append(page.Deliveries, *d)
	}
	return page, nil
}

// selects reports whether a query would list a delivery.
func selects(q control.DeliveryQuery, d *control.Delivery) bool {
	switch {
	case q.Webhook != "" && d.Webhook.ID != q.Webhook, q.EventType != "" && d.EventType != q.EventType,
		q.State != nil && d.State != *q.State, !q.Since.IsZero() && d.AcceptedAt.Before(q.Since),
		!q.Until.IsZero() && !d.AcceptedAt.Before(q.Until):
		return false
	}
	return true
}

// isTrouble reports whether an error is one of the sidecars, which a page shows beside what it has.
func isTrouble(err error) bool {
	var sidecar *control.SidecarError
	return errors.Is(err, control.ErrNoSidecar) || errors.Is(err, control.ErrSidecarSlow) || errors.As(err, &sidecar)
}

func (l *deliveryList) row(v *visit, d *control.Delivery) deliveryRow {
	row := deliveryRow{Delivery: d, Path: v.appPath("deliveries", d.ID.String()), WebhookName: d.Webhook.ID}
	for _, w := range l.Webhooks {
		if w.ID == d.Webhook.ID {
			row.WebhookName, row.WebhookPath, row.URL = w.Name, v.appPath("webhooks", w.ID), w.URL
		}
	}
	if n := len(d.Attempts); n > 0 {
		last := d.Attempts[n-1]
		row.URL, row.SentAt = last.URL, last.At
		row.Error = shorten(last.Error, maxShownError)
	}
	row.URL = shorten(row.URL, maxShownURL)
	return row
}

// shorten cuts a text after so many characters.
func shorten(text string, most int) string {
	n := 0
	for i := range text {
		if n++; n > most {
			return text[:i] + "…"
		}
	}
	return text
}
