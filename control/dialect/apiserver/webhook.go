package apiserver

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control/dialect"
	"github.com/sidehook/sidehook/control/dialect/naming"
)

// view is a webhook as this API shows it.
type view struct {
	ID    string   `json:"id"`
	URI   string   `json:"uri"`
	Event []string `json:"event"`
}

func viewOf(w *sidehook.Webhook) view {
	v := view{ID: w.ID, URI: w.URL, Event: w.Events}
	if wantsAll(w.Events) {
		v.Event = []string{all}
	}
	return v
}

type page struct {
	Data   []view `json:"data"`
	Total  int    `json:"total"`  // all results
	Length int    `json:"length"` // of Data
	Page   int    `json:"page"`
}

// Bounds of a page, as the document has them.
const (
	defaultLength = 10
	maxLength     = 100
)

func (h *handler) list(c *call) (any, error) {
	query, err := c.query("page", "length", "event")
	if err != nil {
		return nil, err
	}
	number, err := intOf(query, "page", 0, 0, 1<<31-1)
	if err != nil {
		return nil, err
	}
	length, err := intOf(query, "length", defaultLength, 1, maxLength)
	if err != nil {
		return nil, err
	}
	wanted := splitEvents(query["event"]...)
	if err := checkForm(wanted); err != nil {
		return nil, err
	}
	webhooks, err := h.svc.AllWebhooks(c.Context(), c.app)
	if err != nil {
		return nil, err
	}
	answer := page{Data: []view{}, Page: number}
	for _, w := range webhooks {
		if len(wanted) > 0 && !matchesAny(w.Events, wanted) {
			continue
		}
		if answer.Total/length == number {
			answer.Data = append(answer.Data, viewOf(w))
		}
		answer.Total++
	}
	answer.Length = len(answer.Data)
	return answer, nil
}

// query reads the parameters; one that is not known is left alone, but what cannot be read is refused.
func (c *call) query(once ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, dialect.Refuse(http.StatusBadRequest, "the query cannot be read; percent-encode what is not a letter or digit")
	}
	for _, name := range once {
		if name != "event" && len(query[name]) > 1 {
			return nil, sidehook.Fieldf(name, "is given %d times", len(query[name]))
		}
	}
	return query, nil
}

func intOf(query url.Values, name string, otherwise, low, high int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, sidehook.Fieldf(name, "must be a number from %d to %d", low, high)
	}
	return n, nil
}

func (h *handler) get(c *call, k sidehook.WebhookKey) (any, error) {
	w, err := h.svc.GetWebhook(c.Context(), k)
	if err != nil {
		return nil, err
	}
	return viewOf(w), nil
}

func (h *handler) create(c *call) (any, error) {
	in, err := c.input()
	if err != nil {
		return nil, err
	}
	events, err := h.wanted(c.Context(), c.app, in.events, nil)
	if err != nil {
		return nil, err
	}
	var w *sidehook.Webhook
	err = naming.Free(nameFor(in.uri), func(name string) (err error) {
		w, _, err = h.svc.CreateWebhook(c.Context(), sidehook.Webhook{
			App: c.app, Name: name, URL: in.uri, Events: events, AutomaticRetry: true, Format: sidehook.FormatAPIServer,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return viewOf(w), nil
}

// nameFor makes the name that a webhook has elsewhere: the host of its URI.
func nameFor(uri string) string {
	if u, err := url.Parse(uri); err == nil {
		if host := naming.Plain(u.Hostname()); host != "" {
			return host
		}
	}
	return "webhook"
}

func (h *handler) update(c *call, k sidehook.WebhookKey) (any, error) {
	in, err := c.input()
	if err != nil {
		return nil, err
	}
	w, err := h.svc.GetWebhook(c.Context(), k)
	if err != nil {
		return nil, err
	}
	events, err := h.wanted(c.Context(), c.app, in.events, viewOf(w).Event)
	if err != nil {
		return nil, err
	}
	w, err = h.svc.ReviseWebhook(c.Context(), k, func(w *sidehook.Webhook) (bool, error) {
		w.URL, w.Events = in.uri, events
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return viewOf(w), nil
}

// delete removes a webhook, or the events that ?event= lists from it; one that has none left goes.
func (h *handler) delete(c *call, k sidehook.WebhookKey) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	gone := splitEvents(query["event"]...)
	if err := checkForm(gone); err != nil {
		return nil, err
	}
	if query.Has("event") && len(gone) == 0 {
		return nil, sidehook.Fieldf("event", "is empty; leave it out to delete the webhook")
	}
	if err := dialect.CheckOrigin(c.Request, true); err != nil {
		return nil, err
	}
	if len(gone) == 0 {
		return struct{}{}, h.svc.DeleteWebhook(c.Context(), k)
	}
	catalogue, err := h.catalogue(c.Context(), c.app)
	if err != nil {
		return nil, err
	}
	_, err = h.svc.ReviseWebhook(c.Context(), k, func(w *sidehook.Webhook) (bool, error) {
		w.Events = without(w.Events, gone, catalogue)
		return len(w.Events) > 0, nil
	})
	return struct{}{}, err
}
