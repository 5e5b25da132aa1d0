package control

import (
	"context"
	"errors"
	"slices"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// maxReplaced bounds how many webhooks ReplaceWebhooks removes in its one commit.
const maxReplaced = 100

// ReviseWebhook changes a webhook by what it is now, in one step: revise edits it and reports whether it stays. What
// revise says of App, ID, Signing and the times is ignored. It may run several times, each time on what is stored. The
// result is nil when the webhook was removed.
func (s *Service) ReviseWebhook(ctx context.Context, k sidehook.WebhookKey,
	revise func(*sidehook.Webhook) (keep bool, err error),
) (*sidehook.Webhook, error) {
	var revised *sidehook.Webhook
	err := s.change(ctx, func(t *txn) error {
		w, err := requireWebhook(t, k)
		if err != nil {
			return err
		}
		stored := *w
		w.Events, w.Headers = slices.Clone(w.Events), slices.Clone(w.Headers)
		keep, err := revise(w)
		if err != nil {
			return err
		}
		if revised = nil; !keep {
			return removeWebhooks(t, k.App, &stored)
		}
		revised = w
		return s.storeRevised(t, &stored, w)
	})
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "webhook revised", "app", k.App, "webhook", k.ID, "removed", revised == nil)
	return revised, nil
}

// storeRevised stores w in the place of the stored webhook.
func (s *Service) storeRevised(t *txn, stored, w *sidehook.Webhook) error {
	w.App, w.ID, w.CreatedAt, w.Signing = stored.App, stored.ID, stored.CreatedAt, stored.Signing
	w.Normalize()
	if err := w.Validate(); err != nil {
		return err
	}
	if err := allowURL(t, w); err != nil {
		return err
	}
	if w.Scheme() != stored.Scheme() {
		if err := allowScheme(t, w); err != nil {
			return err
		}
	}
	w.UpdatedAt = s.now()
	settleStatus(w, w.UpdatedAt)
	t.put(webhookKey(w.Key()), recordOfWebhook(w))
	return rename(t, w, stored.Name)
}

// ReplaceWebhooks makes spec the only one of the app's webhooks for which is holds, in one step: the newest of them gets
// the URL and events of spec and is enabled, the others go; when there is none, spec is created as CreateWebhook does.
func (s *Service) ReplaceWebhooks(ctx context.Context, spec sidehook.Webhook, is func(*sidehook.Webhook) bool) (*sidehook.Webhook, error) {
	fresh := spec
	fresh.ID, fresh.Status = newID(webhookIDPrefix), ""
	fresh.Normalize()
	settleStatus(&fresh, s.now())
	if err := fresh.Validate(); err != nil {
		return nil, err
	}
	key := fresh.NewKey()
	var placed *sidehook.Webhook
	decide := func(t *txn) error {
		present, err := selectWebhooks(t, spec.App, is)
		if err != nil {
			return err
		}
		if len(present) == 0 {
			w := fresh
			placed = &w
			return s.addWebhook(t, placed, key)
		}
		w := *present[0]
		w.URL, w.Events, w.Status = fresh.URL, fresh.Events, sidehook.WebhookEnabled
		placed = &w
		if err := s.storeRevised(t, present[0], placed); err != nil || len(present) == 1 {
			return err
		}
		return removeWebhooks(t, spec.App, present[1:]...)
	}
	err := errStale
	for try := 0; errors.Is(err, errStale) && try < maxTries; try++ {
		err = s.change(ctx, func(t *txn) error { return decided(t, countKey(spec.App), decide(t)) })
	}
	if errors.Is(err, errStale) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "webhook placed", "app", placed.App, "webhook", placed.ID)
	return placed, nil
}

// errStale: a decision found a conflict with something that came after what it had read first.
var errStale = errors.New("decided on what was changed meanwhile")

// decided turns a *ConflictError into errStale when the key has changed since t first read it: the webhook that is in the
// way may be the very one that should have been found.
func decided(t *txn, key string, err error) error {
	var conflict *ConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	first := slices.IndexFunc(t.conds, func(c storage.Cond) bool { return c.Key == key })
	if first < 0 {
		return err
	}
	p, getErr := t.kv.Get(t.ctx, key) // the zero Pair has the revision of a key that does not exist
	switch {
	case getErr != nil && !errors.Is(getErr, sidehook.ErrNotFound):
		return getErr
	case p.Revision != t.conds[first].Revision:
		return errStale
	}
	return err
}

// RemoveWebhooks removes the app's webhooks for which is holds, in one step, and returns how many there were.
func (s *Service) RemoveWebhooks(ctx context.Context, app string, is func(*sidehook.Webhook) bool) (n int, err error) {
	err = s.change(ctx, func(t *txn) error {
		gone, err := selectWebhooks(t, app, is)
		if n = len(gone); err != nil || n == 0 {
			return err
		}
		return removeWebhooks(t, app, gone...)
	})
	if err == nil && n > 0 {
		s.log.InfoContext(ctx, "webhooks deleted", "app", app, "webhooks", n)
	}
	return n, err
}

// selectWebhooks reads the app's webhooks for which is holds, newest first.
//
// Invariant: at the commit these are still all of them. One more changes the count, which is read; and so is every
// webhook, so that none has become one meanwhile.
func selectWebhooks(t *txn, app string, is func(*sidehook.Webhook) bool) ([]*sidehook.Webhook, error) {
	if !sidehook.ValidName(app) {
		return nil, notFound("app", app)
	}
	if _, err := requireApp(t, app); err != nil {
		return nil, err
	}
	if _, err := t.get(countKey(app), &countRecord{}); err != nil {
		return nil, err
	}
	pairs, err := t.list(webhookPrefix(app))
	if err != nil {
		return nil, err
	}
	all, err := webhooksOf(app, pairs)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(w *sidehook.Webhook) bool { return !is(w) })
	if len(all) > maxReplaced {
		return nil, conflictf("", "app has more than %d such webhooks; delete some first", maxReplaced)
	}
	return all, nil
}
