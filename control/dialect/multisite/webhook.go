package multisite

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect/naming"
)

// webhook is one as Ultimate Multisite shows it.
type webhook struct {
	ID             int64   `json:"id"`
	Name           string  `json:"name"`
	WebhookURL     string  `json:"webhook_url"`
	Event          string  `json:"event"`
	EventCount     uint64  `json:"event_count"`
	Active         bool    `json:"active"`
	Hidden         bool    `json:"hidden"`
	Integration    string  `json:"integration"`
	DateLastFailed *string `json:"date_last_failed"`
	DateCreated    string  `json:"date_created"`
	DateModified   string  `json:"date_modified"`
	MigratedFromID *int64  `json:"migrated_from_id"`
}

// Of new webhooks.
const (
	defaultIntegration = "manual"
	// timeout is that of the product, so that receivers that were quick enough still are.
	timeout = 45 * time.Second
)

const mysqlTime = "2006-01-02 15:04:05"

// idOf is a webhook's id here, a number that JavaScript can hold: 52 bits made of Sidehook's id, which is random, by
// SHA-256. It is the same at all times. That two of the few webhooks of an app get the same is less likely than a
// failing disk.
func idOf(id string) int64 {
	sum := sha256.Sum256([]byte("multisite\x00" + id))
	return max(1, int64(binary.BigEndian.Uint64(sum[:8])>>12))
}

// note is what this dialect keeps with a webhook.
type note struct {
	// Name as the caller gave it; it holds while the webhook has the name SavedAs, which was made of it.
	Name         string `json:"name,omitempty"`
	SavedAs      string `json:"saved_as,omitempty"`
	Integration  string `json:"integration,omitempty"`
	Hidden       bool   `json:"hidden,omitempty"`
	MigratedFrom *int64 `json:"migrated_from,omitempty"`
}

// notes is whose notes these are.
const notes = "multisite"

func (h *handler) noteOf(ctx context.Context, w *sidehook.Webhook) (note, error) {
	n := note{Integration: defaultIntegration}
	kept, err := h.svc.WebhookNote(ctx, w.Key(), notes)
	if err != nil || kept == nil {
		return n, err
	}
	if err := json.Unmarshal(kept, &n); err != nil {
		return n, fmt.Errorf("note of webhook %s is damaged: %w", w.ID, err)
	}
	return n, nil
}

func (n *note) set(in *input) {
	if in.integration != nil {
		n.Integration = *in.integration
	}
	if in.hidden != nil {
		n.Hidden = *in.hidden
	}
	if in.migratedFrom != nil {
		n.MigratedFrom = in.migratedFrom
	}
}

// extras are what is set with a webhook that gets the name.
func (n *note) extras(in *input, name string) (control.WebhookExtras, error) {
	x := control.WebhookExtras{}
	n.SavedAs = name
	value, err := json.Marshal(n)
	if err != nil {
		return x, fmt.Errorf("keep the fields: %w", err)
	}
	x.Note = &control.Note{Dialect: notes, Value: value}
	switch {
	case in.active == nil:
	case *in.active:
		x.Status = sidehook.WebhookEnabled
	default:
		x.Status = sidehook.WebhookDisabled
	}
	return x, nil
}

func (h *handler) view(ctx context.Context, w *sidehook.Webhook) (*webhook, error) {
	n, err := h.noteOf(ctx, w)
	if err != nil {
		return nil, err
	}
	return h.viewOf(w, &n), nil
}

func (h *handler) viewOf(w *sidehook.Webhook, n *note) *webhook {
	v := &webhook{
		ID: idOf(w.ID), Name: nameOf(w, n), WebhookURL: w.URL, Event: strings.Join(w.Events, ","),
		Active: w.Status == sidehook.WebhookEnabled, Hidden: n.Hidden, Integration: n.Integration,
		DateCreated: w.CreatedAt.UTC().Format(mysqlTime), DateModified: w.UpdatedAt.UTC().Format(mysqlTime),
		MigratedFromID: n.MigratedFrom,
	}
	if h.health != nil {
		v.fares(h.health.WebhookHealth(w.Key()))
	}
	return v
}

// fares counts the events that were sent, whatever came back, and tells when an attempt failed last. Test events count
// for neither, as in the product.
func (v *webhook) fares(health control.WebhookHealth) {
	v.EventCount = health.Delivered + health.Dead
	if !health.LastFailure.IsZero() {
		at := health.LastFailure.UTC().Format(mysqlTime)
		v.DateLastFailed = &at
	}
}

func nameOf(w *sidehook.Webhook, n *note) string {
	if n.Name != "" && n.SavedAs == w.Name {
		return n.Name
	}
	return w.Name
}

// find returns the webhook of the id in the path.
func (h *handler) find(r request) (*sidehook.Webhook, error) {
	id, err := idInPath(r)
	if err != nil {
		return nil, err
	}
	all, err := h.svc.AllWebhooks(r.Context(), r.app)
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		if idOf(w.ID) == id {
			return w, nil
		}
	}
	return nil, errNotFound
}

// list answers GET /webhook, the newest first: number and offset select a page, event those of one.
func (h *handler) list(r request) (any, error) {
	number, err := count(r, "number", 1)
	if err != nil {
		return nil, err
	}
	offset, err := count(r, "offset", 0)
	if err != nil {
		return nil, err
	}
	all, err := h.svc.AllWebhooks(r.Context(), r.app)
	if err != nil {
		return nil, err
	}
	shown := []*webhook{}
	for _, w := range all {
		v, err := h.view(r.Context(), w)
		if err != nil {
			return nil, err
		}
		if event := r.URL.Query().Get("event"); event == "" || event == v.Event {
			shown = append(shown, v)
		}
	}
	shown = shown[min(offset, len(shown)):]
	if number > 0 {
		shown = shown[:min(number, len(shown))]
	}
	return shown, nil
}

// count reads a query parameter that is a number of at least least; 0 when it is not there.
func count(r request, name string, least int) (int, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least {
		return 0, invalid(name, fmt.Sprintf("is not an integer of at least %d.", least))
	}
	return n, nil
}

func (h *handler) get(r request) (any, error) {
	w, err := h.find(r)
	if err != nil {
		return nil, err
	}
	return h.view(r.Context(), w)
}

func (h *handler) create(r request) (any, error) {
	sent, err := readBody(r.Request)
	if err != nil {
		return nil, err
	}
	if lacking := absent(sent, "name", "webhook_url", "event"); len(lacking) > 0 {
		return nil, missing(lacking...)
	}
	in, err := readInput(sent)
	if err != nil {
		return nil, err
	}
	plain := naming.Plain(*in.name)
	if plain == "" {
		return nil, invalid("name", "has no character that can be seen.")
	}
	spec := sidehook.Webhook{
		App: r.app, URL: *in.url, Events: patterns(*in.event), AutomaticRetry: true, Timeout: timeout,
		Format: sidehook.FormatMultisite,
	}
	n := note{Name: *in.name, Integration: defaultIntegration}
	n.set(in)
	var made *sidehook.Webhook
	err = naming.Free(plain, func(name string) error {
		spec.Name = name
		extras, err := n.extras(in, name)
		if err == nil {
			made, _, err = h.svc.CreateWebhookWith(r.Context(), spec, extras)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return h.viewOf(made, &n), nil
}

// patterns reads an event, or several as webhooks that were made elsewhere can have.
func patterns(event string) []string {
	if event == "" {
		return nil
	}
	all := strings.Split(event, ",")
	for i := range all {
		all[i] = strings.TrimSpace(all[i])
	}
	return all
}

func (h *handler) update(r request) (any, error) {
	w, err := h.find(r)
	if err != nil {
		return nil, err
	}
	sent, err := readBody(r.Request)
	if err != nil {
		return nil, err
	}
	in, err := readInput(sent)
	if err != nil {
		return nil, err
	}
	n, err := h.noteOf(r.Context(), w)
	if err != nil {
		return nil, err
	}
	patch := control.WebhookPatch{URL: in.url}
	if in.event != nil {
		if events := patterns(*in.event); !slices.Equal(events, w.Events) {
			patch.Events = &events
		}
	}
	shown := nameOf(w, &n)
	n.set(in)
	var saved *sidehook.Webhook
	save := func(name string) error {
		extras, err := n.extras(in, name)
		if err != nil {
			return err
		}
		patch.Name = &name
		saved, err = h.svc.UpdateWebhookWith(r.Context(), w.Key(), patch, extras)
		return err
	}
	if in.name == nil || *in.name == shown {
		n.Name = shown
		err = save(w.Name)
	} else {
		err = rename(&n, *in.name, save)
	}
	if err != nil {
		return nil, err
	}
	return h.viewOf(saved, &n), nil
}

// rename saves a webhook under a name that is made of the one that the caller gives.
func rename(n *note, given string, save func(name string) error) error {
	plain := naming.Plain(given)
	if plain == "" {
		return invalid("name", "has no character that can be seen.")
	}
	n.Name = given
	return naming.Free(plain, save)
}

func (h *handler) remove(r request) (any, error) {
	w, err := h.find(r)
	if err != nil {
		return nil, err
	}
	return true, h.svc.DeleteWebhook(r.Context(), w.Key())
}
