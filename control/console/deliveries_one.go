package console

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// Bounds of what the page of a delivery shows, in bytes of markup.
const (
	pageAllowance    = 90_000
	bodyAllowance    = 24_000
	attemptAllowance = 9_000
)

// deliveryPage is the data of delivery.html.
type deliveryPage struct {
	*control.Delivery
	WebhookName string
	WebhookPath string // empty when it was deleted
	LogPath     string
	RetryPath   string
	// Attempts, newest first; Left is how many older ones the page has no room for.
	Attempts []attemptShown
	Left     int
	Request  *shownBody
	Data     *shownBody
	// Trouble says why a retry did not work.
	Trouble string
}

type attemptShown struct {
	sidehook.Attempt
	Newest   bool
	URL      string
	Headers  string
	Response shownBody
	Latency  time.Duration
}

func (v *visit) deliveryID() (sidehook.DeliveryID, error) {
	id, err := sidehook.ParseDeliveryID(v.r.PathValue("id"))
	if err != nil {
		return id, fmt.Errorf("%w: %w", err, sidehook.ErrNotFound)
	}
	return id, nil
}

// showDelivery shows a delivery; trouble, if any, is why a retry did not work.
func (v *visit) showDelivery(code int, trouble string) error {
	id, err := v.deliveryID()
	if err != nil {
		return err
	}
	d, err := v.c.fleet.Delivery(v.ctx(), v.app.ID, id)
	if err != nil {
		if errors.Is(err, sidehook.ErrNotFound) || !isTrouble(err) {
			return err
		}
		code, trouble := v.fleetTrouble(err)
		return v.render(code, "error", errorPage{Code: code, Title: v.t("delivery.unknown"), Text: trouble})
	}
	data := &deliveryPage{
		Delivery: d, WebhookName: d.Webhook.ID, Trouble: trouble,
		LogPath: v.appPath("deliveries") + "?webhook=" + d.Webhook.ID, RetryPath: v.appPath("deliveries", id.String(), "retry"),
	}
	w, err := v.c.svc.GetWebhook(v.ctx(), d.Webhook)
	switch {
	case err == nil:
		data.WebhookName, data.WebhookPath = w.Name, v.appPath("webhooks", w.ID)
	case !errors.Is(err, sidehook.ErrNotFound):
		return err
	}
	data.fill(d)
	return v.render(code, "delivery", data)
}

// fill shows bodies and attempts as far as there is room.
func (p *deliveryPage) fill(d *control.Delivery) {
	room := allowance(pageAllowance)
	if d.Request != nil {
		p.Request = room.show(d.Request.Body, bodyAllowance)
	}
	if d.Event != nil && len(d.Event.Data) > 0 {
		p.Data = room.show(d.Event.Data, bodyAllowance)
	}
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		if room < attemptAllowance {
			p.Left = i + 1
			break
		}
		p.Attempts = append(p.Attempts, showAttempt(&d.Attempts[i], &room, i == len(d.Attempts)-1))
	}
}

func showAttempt(a *sidehook.Attempt, room *allowance, newest bool) attemptShown {
	shown := attemptShown{Attempt: *a, Newest: newest, Latency: a.Latency.Round(time.Millisecond / 10), URL: room.text(a.URL, attemptAllowance/3)}
	shown.Error = room.text(a.Error, attemptAllowance/3)
	var headers []byte
	for _, h := range a.RequestHeaders {
		headers = append(headers, h.Key+": "+h.Value+"\n"...)
	}
	shown.Headers = room.text(string(headers), attemptAllowance/3)
	shown.Response = *room.show(a.Response, attemptAllowance/3)
	return shown
}

func (v *visit) retryDelivery() error {
	id, err := v.deliveryID()
	if err != nil {
		return err
	}
	page := v.appPath("deliveries", id.String())
	if ok, err := v.confirmed(v.t("delivery.confirm-retry"), page); !ok {
		return err
	}
	err = v.c.fleet.Retry(v.ctx(), v.app.ID, id)
	switch {
	case err == nil:
		return v.done(page, "done.retried")
	case errors.Is(err, sidehook.ErrNotFound) || !isTrouble(err):
		return err
	}
	code, trouble := v.fleetTrouble(err)
	if errors.Is(err, control.ErrSidecarRefused) {
		code = http.StatusConflict
	}
	return v.showDelivery(code, trouble)
}
