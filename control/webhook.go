package control

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
	"github.com/sidehook/sidehook/xds"
)

// MaxReason bounds a reason for disabling a webhook, in bytes.
const MaxReason = 500

// CreateWebhook makes a webhook of spec, whose ID, Status and times are ignored, with a first secret of the kind that
// its signing scheme has. The key is shown this once. With an app that has as many webhooks as it may, or a name that is
// taken, it returns a *ConflictError.
func (s *Service) CreateWebhook(ctx context.Context, spec sidehook.Webhook) (*sidehook.Webhook, sidehook.Key, error) {
	return s.CreateWebhookWithKey(ctx, spec, sidehook.Key{})
}

// CreateWebhookWithKey is CreateWebhook with the key that the receiver has already. The zero key is for a new one. A key
// that the signing scheme does not take gives a *sidehook.FieldError of the field secret.
func (s *Service) CreateWebhookWithKey(ctx context.Context, spec sidehook.Webhook, key sidehook.Key) (*sidehook.Webhook, sidehook.Key, error) {
	return s.createWebhook(ctx, spec, &WebhookExtras{Key: key})
}

func (s *Service) createWebhook(ctx context.Context, spec sidehook.Webhook, extras *WebhookExtras) (*sidehook.Webhook, sidehook.Key, error) {
	w := spec
	w.ID, w.Status = newID(webhookIDPrefix), ""
	w.Name = strings.TrimSpace(w.Name)
	w.Normalize()
	settleStatus(&w, s.now())
	extras.applyStatus(&w, s.now())
	if err := validate(&w); err != nil {
		return nil, sidehook.Key{}, err
	}
	key, err := keyFor(&w, extras.Key)
	if err != nil {
		return nil, sidehook.Key{}, err
	}
	err = s.change(ctx, func(t *txn) error {
		extras.putNote(t, w.Key())
		return s.addWebhook(t, &w, key)
	})
	if err != nil {
		return nil, sidehook.Key{}, err
	}
	s.log.InfoContext(ctx, "webhook created", "app", w.App, "webhook", w.ID)
	return &w, key, nil
}

// validate checks a normalized webhook, its filter included.
func validate(w *sidehook.Webhook) error {
	if err := w.Validate(); err != nil {
		return err
	}
	return xds.CheckFilter(w)
}

// addWebhook stores a new webhook with its first secret.
func (s *Service) addWebhook(t *txn, w *sidehook.Webhook, key sidehook.Key) error {
	if err := allowURL(t, w); err != nil {
		return err
	}
	if err := s.takePlace(t, w.App); err != nil {
		return err
	}
	if err := takeName(t, w); err != nil {
		return err
	}
	w.CreatedAt = s.now()
	w.UpdatedAt = w.CreatedAt
	// The secret goes before its webhook, so that whoever sees the webhook finds it.
	t.put(secretKey(w.App, w.ID, newID(secretIDPrefix)), recordOfKey(key, w.CreatedAt))
	t.put(webhookKey(w.Key()), recordOfWebhook(w))
	return nil
}

// takePlace counts one more webhook of the app.
func (s *Service) takePlace(t *txn, app string) error {
	var count countRecord
	if _, err := t.get(countKey(app), &count); err != nil {
		return err
	}
	if count.Webhooks >= s.maxWebhooks {
		return conflictf("", "app has %d webhooks, the most it may have; delete one first", count.Webhooks)
	}
	count.Webhooks++
	t.put(countKey(app), &count)
	return nil
}

// takeName makes the name belong to the webhook.
func takeName(t *txn, w *sidehook.Webhook) error {
	var owner nameRecord
	taken, err := t.get(nameKey(w.App, w.Name), &owner)
	if err != nil {
		return err
	}
	if taken {
		return conflictf("name", "%q is the name of webhook %s; choose another", w.Name, owner.Webhook)
	}
	t.put(nameKey(w.App, w.Name), &nameRecord{Webhook: w.ID})
	return nil
}

// allowURL checks the webhook against the policy of its app.
func allowURL(t *txn, w *sidehook.Webhook) error {
	app, err := requireApp(t, w.App)
	if err != nil {
		return err
	}
	if app.HTTPSOnly && isPlain(w.URL) {
		return sidehook.Fieldf("url", "must start with https://: the app refuses http://")
	}
	return nil
}

// GetWebhook returns a webhook.
func (s *Service) GetWebhook(ctx context.Context, k sidehook.WebhookKey) (*sidehook.Webhook, error) {
	if !validWebhookKey(k) {
		return nil, notFound("webhook", k.ID)
	}
	p, err := s.kv.Get(ctx, webhookKey(k))
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, notFound("webhook", k.ID)
	}
	if err != nil {
		return nil, err
	}
	var r webhookRecord
	if err := decode(p, &r); err != nil {
		return nil, err
	}
	return r.webhook(k), nil
}

// allWebhooks reads an app's webhooks, newest first.
func (s *Service) allWebhooks(ctx context.Context, app string) ([]*sidehook.Webhook, error) {
	if _, err := s.GetApp(ctx, app); err != nil {
		return nil, err
	}
	pairs, _, err := s.kv.List(ctx, webhookPrefix(app))
	if err != nil {
		return nil, err
	}
	return webhooksOf(app, pairs)
}

// webhooksOf reads an app's webhooks and sorts them, newest first.
func webhooksOf(app string, pairs []storage.Pair) ([]*sidehook.Webhook, error) {
	all := make([]*sidehook.Webhook, 0, len(pairs))
	for _, p := range pairs {
		var r webhookRecord
		if err := decode(p, &r); err != nil {
			return nil, err
		}
		all = append(all, r.webhook(sidehook.WebhookKey{App: app, ID: strings.TrimPrefix(p.Key, webhookPrefix(app))}))
	}
	slices.SortFunc(all, func(a, b *sidehook.Webhook) int { return cmp.Compare(newestFirst(a), newestFirst(b)) })
	return all, nil
}

// ListWebhooks lists an app's webhooks, newest first, a page.
func (s *Service) ListWebhooks(ctx context.Context, app string, page PageRequest) ([]*sidehook.Webhook, string, error) {
	all, err := s.allWebhooks(ctx, app)
	if err != nil {
		return nil, "", err
	}
	return paginate(all, page, newestFirst)
}

// newestFirst is a position that rises from newer to older webhooks.
func newestFirst(w *sidehook.Webhook) string { return newestPosition(w.CreatedAt, w.ID) }

// WebhookPatch changes what is not nil.
type WebhookPatch struct {
	Name           *string
	URL            *string
	Headers        *[]sidehook.Header
	Events         *[]string
	AutomaticRetry *bool
	Format         *string // empty: the default
	// Signing, as a whole; the zero value: as the format says.
	Signing     *sidehook.Signing
	Transformer *string // empty: none
	// Timeout: 0 for the default.
	Timeout *time.Duration
	// RetrySchedule: empty for the default.
	RetrySchedule *[]time.Duration
	Ordering      *sidehook.Ordering // empty: the default
	// RateLimit; the zero value for none.
	RateLimit *sidehook.RateLimit
	Filter    *string // empty: none
	// HistorySample is a share, 0 to 1.
	HistorySample *float64
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

func (p *WebhookPatch) apply(w *sidehook.Webhook) {
	set(&w.Name, p.Name)
	set(&w.URL, p.URL)
	set(&w.Headers, p.Headers)
	set(&w.Events, p.Events)
	set(&w.AutomaticRetry, p.AutomaticRetry)
	set(&w.Format, p.Format)
	set(&w.Signing, p.Signing)
	set(&w.Transformer, p.Transformer)
	set(&w.Timeout, p.Timeout)
	set(&w.RetrySchedule, p.RetrySchedule)
	if len(w.RetrySchedule) == 0 {
		w.RetrySchedule = nil
	}
	set(&w.Ordering, p.Ordering)
	set(&w.RateLimit, p.RateLimit)
	set(&w.Filter, p.Filter)
	if p.HistorySample != nil {
		sample := *p.HistorySample
		w.HistorySample = &sample
	}
}

// UpdateWebhook changes a webhook and its UpdatedAt. A change to a signing scheme under which the webhook's newest secret
// cannot sign is refused.
func (s *Service) UpdateWebhook(ctx context.Context, k sidehook.WebhookKey, patch WebhookPatch) (*sidehook.Webhook, error) {
	return s.patchWebhook(ctx, k, patch, &WebhookExtras{})
}

func (s *Service) patchWebhook(ctx context.Context, k sidehook.WebhookKey, patch WebhookPatch, extras *WebhookExtras) (*sidehook.Webhook, error) {
	return s.updateWebhook(ctx, k, "webhook updated", func(t *txn, w *sidehook.Webhook) (bool, error) {
		if !extras.AsOf.IsZero() && !extras.AsOf.Equal(w.UpdatedAt) {
			return false, ErrChanged
		}
		before, scheme := w.Name, w.Scheme()
		patch.apply(w)
		extras.applyStatus(w, t.now)
		w.Name = strings.TrimSpace(w.Name)
		w.Normalize()
		if err := validate(w); err != nil {
			return false, err
		}
		if err := allowURL(t, w); err != nil {
			return false, err
		}
		switch {
		case !extras.Key.IsZero():
			if err := s.replaceKey(t, w, extras.Key); err != nil {
				return false, err
			}
		case w.Scheme() != scheme:
			if err := allowScheme(t, w); err != nil {
				return false, err
			}
		}
		extras.putNote(t, k)
		return true, rename(t, w, before)
	})
}

// rename moves the name of a webhook when it changed.
func rename(t *txn, w *sidehook.Webhook, before string) error {
	if w.Name == before {
		return nil
	}
	if err := takeName(t, w); err != nil {
		return err
	}
	return releaseName(t, w.App, before)
}

func releaseName(t *txn, app, name string) error {
	found, err := t.get(nameKey(app, name), &nameRecord{})
	if found {
		t.delete(nameKey(app, name))
	}
	return err
}

// EnableWebhook lets a webhook get new deliveries. An enabled one stays as it is.
//
// What made the control plane disable it is forgotten: it has as long as at first.
func (s *Service) EnableWebhook(ctx context.Context, k sidehook.WebhookKey) (*sidehook.Webhook, error) {
	return s.updateWebhook(ctx, k, "webhook enabled", func(_ *txn, w *sidehook.Webhook) (bool, error) {
		return enable(w), nil
	})
}

// DisableWebhook keeps new deliveries from a webhook; reason is for people, at most MaxReason bytes. A disabled one
// stays as it is, its reason included.
func (s *Service) DisableWebhook(ctx context.Context, k sidehook.WebhookKey, reason string) (*sidehook.Webhook, error) {
	reason, err := cleanReason(reason)
	if err != nil {
		return nil, err
	}
	return s.updateWebhook(ctx, k, "webhook disabled", func(t *txn, w *sidehook.Webhook) (bool, error) {
		return disable(w, reason, sidehook.DisabledByPerson, t.now), nil
	})
}

// ReasonGone is why DisableGone disables.
const ReasonGone = "endpoint answered 410 Gone"

// DisableGone disables a webhook whose endpoint answered 410 Gone at the given time, unless the webhook was changed
// after that (then somebody may have mended it) or is gone itself.
func (s *Service) DisableGone(ctx context.Context, k sidehook.WebhookKey, at time.Time) error {
	_, err := s.updateWebhook(ctx, k, "webhook disabled: "+ReasonGone, func(t *txn, w *sidehook.Webhook) (bool, error) {
		return !w.UpdatedAt.After(at) && disable(w, ReasonGone, sidehook.DisabledByGone, t.now), nil
	})
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil
	}
	return err
}

func cleanReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	switch {
	case reason == "":
		return reasonSwitchedOff, nil
	case len(reason) > MaxReason:
		return "", sidehook.Fieldf("reason", "must be at most %d bytes", MaxReason)
	case strings.ContainsFunc(reason, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", sidehook.Fieldf("reason", "must not have line breaks or other control characters")
	}
	return reason, nil
}

// updateWebhook lets edit change a webhook; when edit returns true the webhook is stored with a new UpdatedAt.
func (s *Service) updateWebhook(ctx context.Context, k sidehook.WebhookKey, done string,
	edit func(*txn, *sidehook.Webhook) (bool, error),
) (w *sidehook.Webhook, err error) {
	changed := false
	err = s.change(ctx, func(t *txn) error {
		if w, err = requireWebhook(t, k); err != nil {
			return err
		}
		if changed, err = edit(t, w); err != nil || !changed {
			return err
		}
		w.UpdatedAt = t.now
		t.put(webhookKey(k), recordOfWebhook(w))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if changed {
		s.log.InfoContext(ctx, done, "app", k.App, "webhook", k.ID)
	}
	return w, nil
}

// requireWebhook reads a webhook; that it exists unchanged becomes a condition.
func requireWebhook(t *txn, k sidehook.WebhookKey) (*sidehook.Webhook, error) {
	if !validWebhookKey(k) {
		return nil, notFound("webhook", k.ID)
	}
	var r webhookRecord
	found, err := t.get(webhookKey(k), &r)
	if err == nil && !found {
		err = notFound("webhook", k.ID)
	}
	if err != nil {
		return nil, err
	}
	return r.webhook(k), nil
}

func validWebhookKey(k sidehook.WebhookKey) bool {
	return sidehook.ValidName(k.App) && sidehook.ValidName(k.ID)
}

// DeleteWebhook removes a webhook with its secrets and notes.
func (s *Service) DeleteWebhook(ctx context.Context, k sidehook.WebhookKey) error {
	err := s.change(ctx, func(t *txn) error {
		w, err := requireWebhook(t, k)
		if err != nil {
			return err
		}
		return removeWebhooks(t, k.App, w)
	})
	if err == nil {
		s.log.InfoContext(ctx, "webhook deleted", "app", k.App, "webhook", k.ID)
	}
	return err
}

// removeWebhooks removes webhooks of one app, which were read, with their secrets and notes.
func removeWebhooks(t *txn, app string, gone ...*sidehook.Webhook) error {
	var count countRecord
	if _, err := t.get(countKey(app), &count); err != nil {
		return err
	}
	for _, w := range gone {
		// The webhook goes before its secrets, so that nobody sees it without.
		t.delete(webhookKey(w.Key()))
		secrets, err := t.list(secretPrefix(app, w.ID))
		if err != nil {
			return err
		}
		for _, p := range secrets {
			t.delete(p.Key)
		}
		if err := deleteNotes(t, w.Key()); err != nil {
			return err
		}
		if err := dropFailing(t, w.Key()); err != nil {
			return err
		}
		if err := releaseName(t, app, w.Name); err != nil {
			return err
		}
	}
	count.Webhooks = max(0, count.Webhooks-len(gone))
	t.put(countKey(app), &count)
	return nil
}
