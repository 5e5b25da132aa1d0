package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

func (c *Console) testRoutes() {
	one := Root + "apps/{app}/webhooks/{id}/test"
	c.handle("GET "+one, forApp, func(v *visit) error { return v.showTest(http.StatusOK, &testPage{Event: v.form("event_type")}) })
	c.handle("POST "+one, forApp, (*visit).sendTest)
}

// testPage is the data of webhook_test.html, which is also shown in a dialog.
type testPage struct {
	*sidehook.Webhook
	Enabled  bool
	Event    string // chosen or typed
	Products []productEvents
	Result   *testResult
	// Trouble says why there is no result.
	Trouble  string
	Problems *problems
}

type testResult struct {
	*control.TestResult
	Latency  time.Duration
	Response string
	Body     string
}

func (v *visit) showTest(code int, data *testPage) (err error) {
	if data.Webhook, err = v.webhook(); err != nil {
		return err
	}
	data.Enabled = data.Status == sidehook.WebhookEnabled
	types, err := v.eventTypes()
	if err != nil {
		return err
	}
	for _, t := range types {
		if len(data.Products) == 0 || data.Products[len(data.Products)-1].Product != t.Product {
			data.Products = append(data.Products, productEvents{Product: t.Product})
		}
		p := &data.Products[len(data.Products)-1]
		p.Events = append(p.Events, eventChoice{Type: t.Type, Name: sidehook.InLanguage(t.Name, v.lang), Chosen: t.Type == data.Event})
	}
	return v.render(code, "webhook_test", data)
}

func (v *visit) sendTest() error {
	data := &testPage{Event: v.r.PostForm.Get("event_type")}
	w, err := v.webhook()
	if err != nil {
		return err
	}
	event, err := v.c.svc.TestEvent(v.ctx(), v.app.ID, data.Event)
	if data.Problems = v.problems(err); data.Problems != nil {
		return v.showTest(data.Problems.Code, data)
	}
	if err != nil {
		return err
	}
	result, err := v.c.fleet.SendTest(v.ctx(), w, event)
	if err != nil {
		code, trouble := v.fleetTrouble(err)
		data.Trouble = trouble
		return v.showTest(code, data)
	}
	room := allowance(pageAllowance)
	data.Result = &testResult{
		TestResult: result, Latency: result.Attempt.Latency.Round(time.Millisecond / 10),
		Response: room.show(result.Attempt.Response, bodyAllowance).String(),
	}
	if result.Request != nil {
		data.Result.Body = room.show(result.Request.Body, bodyAllowance).String()
	}
	return v.showTest(http.StatusOK, data)
}

// fleetTrouble says why the sidecars could not be asked, in the reader's language, and the status for it.
func (v *visit) fleetTrouble(err error) (code int, text string) {
	var sidecar *control.SidecarError
	switch {
	case errors.Is(err, control.ErrNoSidecar):
		return http.StatusServiceUnavailable, v.t("fleet.none")
	case errors.Is(err, control.ErrWebhookDisabled):
		return http.StatusConflict, v.t("fleet.disabled")
	case errors.Is(err, control.ErrSidecarSlow):
		return http.StatusGatewayTimeout, v.t("fleet.slow")
	case errors.As(err, &sidecar):
		return http.StatusBadGateway, v.t("fleet.failed", "Sidecar", sidecar.Sidecar, "Reason", sidecar.Reason)
	}
	v.c.log.ErrorContext(v.ctx(), "sidecars cannot be asked", "error", err)
	return http.StatusBadGateway, v.t("fleet.unknown")
}
