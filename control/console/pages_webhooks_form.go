package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// webhookForm is the data of webhook_form.html: what the reader typed, as typed.
type webhookForm struct {
	ID             string // empty on a new one
	Name           string
	URL            string
	Headers        []sidehook.Header
	Events         []string // chosen from the catalogue
	Patterns       string   // the others, one a line
	AutomaticRetry bool
	Format         string
	Signing        sidehook.Signing
	Transformer    string
	Timeout        string
	RetrySchedule  string
	shapingForm
	// AsOf is the UpdatedAt that the form was filled from.
	AsOf string

	// What there is to choose from.
	Products                               []productEvents
	Formats, Schemes                       []string
	Transformers                           []string
	MaxName, MaxURL, MaxHeaders, MaxFilter int
	Problems                               *problems
}

// productEvents are the event types of one product.
type productEvents struct {
	Product string
	ID      string // for elements of the page
	Events  []eventChoice
}

type eventChoice struct {
	Type, Name, Description string
	Chosen                  bool
}

// MoreProblems reports whether something under "more settings" is wrong, so that it is to be open.
func (f *webhookForm) MoreProblems() bool {
	for _, field := range []string{"format", "signing", "transformer", "timeout", "retry_policy", "filter", "ordering", "rate_limit", "history_sample"} {
		if f.Problems.Of(field) != nil {
			return true
		}
	}
	return false
}

func (v *visit) newWebhook() error {
	f := &webhookForm{
		Format: sidehook.FormatStandard, Timeout: sidehook.DefaultTimeout.String(), shapingForm: shapingForm{HistorySample: "100"},
	}
	return v.renderWebhookForm(http.StatusOK, f)
}

func (v *visit) editWebhook() error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	return v.renderWebhookForm(http.StatusOK, formOfWebhook(w))
}

func formOfWebhook(w *sidehook.Webhook) *webhookForm {
	f := &webhookForm{
		ID: w.ID, Name: w.Name, URL: w.URL, Headers: w.Headers, Events: w.Events, AutomaticRetry: w.AutomaticRetry, Format: w.Format,
		Signing: w.Signing, Transformer: w.Transformer, Timeout: w.Timeout.String(), AsOf: w.UpdatedAt.Format(time.RFC3339Nano), shapingForm: shapingOf(w),
	}
	var waits []string
	for _, d := range w.RetrySchedule {
		waits = append(waits, shortDuration(d))
	}
	f.RetrySchedule = strings.Join(waits, ", ")
	return f
}

// shortDuration writes 5m0s as 5m and 2h0m0s as 2h.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// renderWebhookForm completes a form with what there is to choose from and shows it.
func (v *visit) renderWebhookForm(code int, f *webhookForm) error {
	types, err := v.eventTypes()
	if err != nil {
		return err
	}
	f.Formats, f.Schemes = sidehook.Formats(), sidehook.Schemes()
	f.MaxName, f.MaxURL, f.MaxHeaders, f.MaxFilter = sidehook.MaxWebhookName, sidehook.MaxURLLen, sidehook.MaxHeaders, sidehook.MaxFilter
	f.Transformers = v.transformers()
	others := slices.Clone(f.Events)
	for _, t := range types {
		if len(f.Products) == 0 || f.Products[len(f.Products)-1].Product != t.Product {
			f.Products = append(f.Products, productEvents{Product: t.Product, ID: fmt.Sprintf("product-%d", len(f.Products))})
		}
		p := &f.Products[len(f.Products)-1]
		p.Events = append(p.Events, eventChoice{
			Type: t.Type, Name: sidehook.InLanguage(t.Name, v.lang), Description: sidehook.InLanguage(t.Description, v.lang),
			Chosen: slices.Contains(f.Events, t.Type),
		})
		others = slices.DeleteFunc(others, func(e string) bool { return e == t.Type })
	}
	f.Patterns = strings.TrimSpace(strings.Join(append(others, f.Patterns), "\n"))
	return v.render(code, "webhook_form", f)
}

// eventTypes are all of the app, by product.
func (v *visit) eventTypes() ([]*sidehook.EventType, error) {
	var all []*sidehook.EventType
	request := control.PageRequest{Limit: control.MaxPageLimit}
	for {
		some, next, err := v.c.svc.ListEventTypes(v.ctx(), v.app.ID, "", request)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if request.Cursor = next; next == "" {
			return all, nil
		}
	}
}

// transformers are those that the app's sidecars have told of.
func (v *visit) transformers() []string {
	var names []string
	for _, s := range v.c.fleet.Sidecars() {
		if !slices.Contains(s.Apps, v.app.ID) {
			continue
		}
		for _, t := range s.Transformers {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readWebhookForm takes what was posted, as it was typed.
func readWebhookForm(posted url.Values) *webhookForm {
	f := &webhookForm{
		Name: posted.Get("name"), URL: strings.TrimSpace(posted.Get("url")), Events: posted["events"], Patterns: posted.Get("patterns"),
		AutomaticRetry: posted.Get("automatic_retry") == "on", Format: posted.Get("format"),
		Transformer: strings.TrimSpace(posted.Get("transformer")), Timeout: strings.TrimSpace(posted.Get("timeout")),
		RetrySchedule: posted.Get("retry_schedule"), AsOf: posted.Get("as_of"),
		Signing: sidehook.Signing{Scheme: posted.Get("scheme")}, shapingForm: readShaping(posted),
	}
	if f.Signing.Scheme == sidehook.SchemeHMAC { // the others have no details, whatever is left in their fields
		f.Signing = sidehook.Signing{
			Scheme: f.Signing.Scheme, Algorithm: posted.Get("algorithm"), Encoding: posted.Get("encoding"),
			Header: strings.TrimSpace(posted.Get("signing_header")), Prefix: posted.Get("prefix"), Template: posted.Get("template"),
			TimestampHeader: strings.TrimSpace(posted.Get("timestamp_header")),
		}
	}
	keys, values := posted["header_key"], posted["header_value"]
	for i, key := range keys {
		h := sidehook.Header{Key: strings.TrimSpace(key)}
		if i < len(values) {
			h.Value = strings.TrimSpace(values[i])
		}
		if h != (sidehook.Header{}) {
			f.Headers = append(f.Headers, h)
		}
	}
	return f
}

// patch says what the form asks for. What cannot be read is noted in the form's problems.
func (f *webhookForm) patch(v *visit) control.WebhookPatch {
	events := slices.Clone(f.Events)
	for _, p := range strings.FieldsFunc(f.Patterns, func(r rune) bool { return strings.ContainsRune(" ,;\t\r\n", r) }) {
		if !slices.Contains(events, p) {
			events = append(events, p)
		}
	}
	p := control.WebhookPatch{
		Name: &f.Name, URL: &f.URL, Headers: &f.Headers, Events: &events, AutomaticRetry: &f.AutomaticRetry, Format: &f.Format,
		Signing: &f.Signing, Transformer: &f.Transformer, Timeout: new(time.Duration), RetrySchedule: &[]time.Duration{},
	}
	complain := func(field, text string) {
		if f.Problems == nil {
			f.Problems = &problems{Code: http.StatusUnprocessableEntity}
		}
		f.Problems.add(v, field, text)
	}
	unread := func(field string) { complain(field, v.t("webhooks.bad-duration")) }
	f.patchShaping(v, &p, complain)
	if f.Timeout != "" {
		d, err := time.ParseDuration(f.Timeout)
		if err != nil || d == 0 {
			unread("timeout")
		}
		*p.Timeout = d
	}
	for i, text := range strings.FieldsFunc(f.RetrySchedule, func(r rune) bool { return strings.ContainsRune(" ,;\t\r\n", r) }) {
		d, err := time.ParseDuration(text)
		if err != nil {
			unread(fmt.Sprintf("retry_policy.schedule[%d]", i))
			break
		}
		*p.RetrySchedule = append(*p.RetrySchedule, d)
	}
	return p
}

// wantsMoreHeaders reports whether the form was sent for one more row, by a browser without scripts.
func (v *visit) wantsMoreHeaders(f *webhookForm) bool {
	if v.r.PostForm.Get("more") != "header" {
		return false
	}
	if len(f.Headers) < sidehook.MaxHeaders {
		f.Headers = append(f.Headers, sidehook.Header{})
	}
	return true
}

func (v *visit) createWebhook() error {
	f := readWebhookForm(v.r.PostForm)
	if v.wantsMoreHeaders(f) {
		return v.renderWebhookForm(http.StatusOK, f)
	}
	patch := f.patch(v)
	if f.Problems == nil {
		spec := sidehook.Webhook{
			App: v.app.ID, Name: *patch.Name, URL: *patch.URL, Headers: *patch.Headers, Events: *patch.Events,
			AutomaticRetry: *patch.AutomaticRetry, Format: *patch.Format, Signing: *patch.Signing, Transformer: *patch.Transformer,
			Timeout: *patch.Timeout, RetrySchedule: *patch.RetrySchedule, Filter: *patch.Filter, Ordering: *patch.Ordering, RateLimit: *patch.RateLimit,
			HistorySample: patch.HistorySample,
		}
		_, _, err := v.c.svc.CreateWebhook(v.ctx(), spec)
		if err == nil {
			return v.done(v.appPath("webhooks"), "done.created")
		}
		if f.Problems = v.problems(err); f.Problems == nil {
			return err
		}
	}
	return v.renderWebhookForm(f.Problems.Code, f)
}

func (v *visit) updateWebhook() error {
	f := readWebhookForm(v.r.PostForm)
	f.ID = v.r.PathValue("id")
	if v.wantsMoreHeaders(f) {
		return v.renderWebhookForm(http.StatusOK, f)
	}
	asOf, err := time.Parse(time.RFC3339Nano, f.AsOf)
	if err != nil {
		return errBadForm
	}
	patch := f.patch(v)
	if f.Problems == nil {
		_, err := v.c.svc.UpdateWebhookWith(v.ctx(), v.webhookKey(), patch, control.WebhookExtras{AsOf: asOf})
		if err == nil {
			return v.done(v.appPath("webhooks"), "done.updated")
		}
		if errors.Is(err, control.ErrChanged) {
			return v.renderStale(f)
		}
		if f.Problems = v.problems(err); f.Problems == nil {
			return err
		}
	}
	return v.renderWebhookForm(f.Problems.Code, f)
}

// renderStale tells that somebody else has changed the webhook meanwhile; sending the form again overwrites that.
func (v *visit) renderStale(f *webhookForm) error {
	w, err := v.webhook()
	if err != nil {
		return err
	}
	f.AsOf = w.UpdatedAt.Format(time.RFC3339Nano)
	f.Problems = &problems{Code: http.StatusConflict}
	f.Problems.add(v, "", v.t("webhooks.stale"))
	return v.renderWebhookForm(f.Problems.Code, f)
}
