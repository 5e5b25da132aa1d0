package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
)

// failingStep is how much older a failure must be than what is stored of it before it is worth a commit: webhooks that
// fail now and then cost none.
const failingStep = 10 * time.Minute

// maxFailing bounds what is remembered of webhooks between reports; beyond it, it is read from the store again.
const maxFailing = 100_000

// failing decides when a webhook has failed for too long. The store has since when it fails, so that neither a restart nor
// another process begins anew; memory has what makes most reports cost nothing.
type failing struct {
	mu    sync.Mutex
	known map[sidehook.WebhookKey]failingMemo
}

// failingMemo is what this process last found out of a webhook.
type failingMemo struct {
	since  time.Time // of failures without a success in between; zero: none
	stored bool      // the store has it
	// success is the latest told of; the store may still have failures from before it.
	success time.Time
	asked   time.Time // when the store was last found to have nothing
}

// failingRecord is stored at failingKey while a webhook does nothing but fail.
type failingRecord struct {
	Since time.Time `json:"since"`
}

func failingKey(k sidehook.WebhookKey) string { return "failing/" + k.App + "/" + k.ID }

// NoteHealth is told how a webhook fares on a sidecar: when an attempt last succeeded and last failed there, zero for never.
// A webhook that does nothing but fail for Options.AutoDisableAfter, from the first failure after the last success, or
// after the last change of it, to the latest, is disabled.
func (s *Service) NoteHealth(ctx context.Context, k sidehook.WebhookKey, lastSuccess, lastFailure time.Time) error {
	if s.autoDisable <= 0 || !validWebhookKey(k) || lastSuccess.IsZero() && lastFailure.IsZero() {
		return nil
	}
	now := s.now()
	if lastFailure.After(now) {
		lastFailure = now // a sidecar's clock is no reason to hurry
	}
	if !lastFailure.After(lastSuccess) {
		return s.noteSuccess(ctx, k, lastSuccess, now)
	}
	return s.noteFailure(ctx, k, lastSuccess, lastFailure)
}

func (s *Service) noteSuccess(ctx context.Context, k sidehook.WebhookKey, lastSuccess, now time.Time) error {
	memo := s.failing.get(k)
	if memo.since.IsZero() && now.Sub(memo.asked) < failingStep || memo.since.After(lastSuccess) {
		return nil
	}
	failsStill := false
	err := s.change(ctx, func(t *txn) error {
		var stored failingRecord
		found, err := t.get(failingKey(k), &stored)
		if failsStill = found && stored.Since.After(lastSuccess); found && !failsStill {
			t.delete(failingKey(k))
		}
		return err
	})
	if err == nil && !failsStill {
		s.failing.set(k, failingMemo{asked: now, success: lastSuccess})
	}
	return err
}

func (s *Service) noteFailure(ctx context.Context, k sidehook.WebhookKey, lastSuccess, lastFailure time.Time) error {
	memo := s.failing.get(k)
	if lastSuccess.Before(memo.success) {
		lastSuccess = memo.success // on another sidecar
	}
	if memo.since.IsZero() || lastSuccess.After(memo.since) {
		memo = failingMemo{since: lastFailure}
	}
	memo.success = lastSuccess
	if memo.since.After(lastFailure) {
		return nil // another sidecar has told of more
	}
	fails := lastFailure.Sub(memo.since)
	if fails < min(failingStep, s.autoDisable) || memo.stored && fails < s.autoDisable {
		s.failing.set(k, memo)
		return nil
	}
	var since, disabled time.Time
	err := s.change(ctx, func(t *txn) (err error) {
		since, disabled, err = s.decideFailing(t, k, memo, lastSuccess, lastFailure)
		return err
	})
	switch {
	case errors.Is(err, sidehook.ErrNotFound): // it was removed meanwhile
		s.failing.set(k, failingMemo{})
		return nil
	case err != nil:
		return err
	case !disabled.IsZero():
		s.failing.set(k, failingMemo{})
		s.log.WarnContext(ctx, "webhook disabled: nothing but failures", "app", k.App, "webhook", k.ID, "since", disabled)
		return nil
	}
	s.failing.set(k, failingMemo{since: since, stored: true, success: lastSuccess})
	return nil
}

// decideFailing stores since when the webhook fails, or disables it if that is too long; then disabled is that time.
func (s *Service) decideFailing(t *txn, k sidehook.WebhookKey, memo failingMemo, lastSuccess, lastFailure time.Time) (since, disabled time.Time, err error) {
	since = memo.since
	w, err := requireWebhook(t, k)
	if err != nil {
		return since, disabled, err
	}
	var stored failingRecord
	found, err := t.get(failingKey(k), &stored)
	if err != nil {
		return since, disabled, err
	}
	switch {
	case found && stored.Since.Before(since) && !lastSuccess.After(stored.Since):
		since = stored.Since
	case memo.stored && (!found || stored.Since.After(since)):
		since = lastFailure // another process has seen a success
	}
	if w.UpdatedAt.After(since) {
		since = w.UpdatedAt // somebody may have mended it
	}
	switch {
	case w.Status == sidehook.WebhookEnabled && lastFailure.Sub(since) >= s.autoDisable:
		disable(w, ReasonFailing+since.UTC().Format(" 2006-01-02 15:04 UTC"), sidehook.DisabledByFailing, t.now)
		w.UpdatedAt = t.now
		t.put(webhookKey(k), recordOfWebhook(w))
		if found {
			t.delete(failingKey(k))
		}
		return since, since, nil
	case !found || !stored.Since.Equal(since):
		t.put(failingKey(k), &failingRecord{Since: since})
	}
	return since, disabled, nil
}

// ReasonFailing starts the reason of a webhook that failed for too long; since when follows.
const ReasonFailing = "nothing but failures since"

func (f *failing) get(k sidehook.WebhookKey) failingMemo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known[k]
}

func (f *failing) set(k sidehook.WebhookKey, memo failingMemo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.known[k]; !known && len(f.known) >= maxFailing {
		clear(f.known)
	}
	if f.known == nil {
		f.known = make(map[sidehook.WebhookKey]failingMemo)
	}
	f.known[k] = memo
}

// dropFailing removes what is stored of a webhook that goes.
func dropFailing(t *txn, k sidehook.WebhookKey) error {
	found, err := t.get(failingKey(k), &failingRecord{})
	if found {
		t.delete(failingKey(k))
	}
	return err
}
