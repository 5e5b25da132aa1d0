package control

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sidehook/sidehook"
)

// failingStep is for how long a webhook must have failed before it is worth a commit: webhooks that fail now and then cost
// none. The exception is what a process hears first of a webhook: it cannot know how long that has been so, and processes
// that live shorter than failingStep would each begin anew. So restarts, however many, postpone the end by failingStep at
// most, besides the time in which no process runs.
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
	memo, _ := s.failing.get(k)
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
	memo, known := s.failing.get(k)
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
	if known && (fails < min(failingStep, s.autoDisable) || memo.stored && fails < s.autoDisable) {
		s.failing.set(k, memo)
		return nil
	}
	var is failingState
	err := s.change(ctx, func(t *txn) (err error) {
		is, err = s.decideFailing(t, k, memo, lastSuccess, lastFailure)
		return err
	})
	switch {
	case errors.Is(err, sidehook.ErrNotFound): // it was removed meanwhile
		s.failing.set(k, failingMemo{})
		return nil
	case err != nil:
		return err
	case is.disabled:
		s.failing.set(k, failingMemo{})
		s.log.WarnContext(ctx, "webhook disabled: nothing but failures", "app", k.App, "webhook", k.ID, "since", is.since)
		return nil
	}
	s.failing.set(k, failingMemo{since: is.since, stored: is.stored, success: lastSuccess})
	return nil
}

// failingState is what was decided of a webhook that fails.
type failingState struct {
	since    time.Time
	stored   bool // the store has since
	disabled bool
}

// decideFailing stores since when the webhook fails, or disables it if that is too long.
func (s *Service) decideFailing(t *txn, k sidehook.WebhookKey, memo failingMemo, lastSuccess, lastFailure time.Time) (is failingState, err error) {
	w, err := requireWebhook(t, k)
	if err != nil {
		return is, err
	}
	var stored failingRecord
	found, err := t.get(failingKey(k), &stored)
	if err != nil {
		return is, err
	}
	is.since = memo.since
	switch {
	case found && stored.Since.Before(is.since) && !lastSuccess.After(stored.Since):
		is.since = stored.Since
	case memo.stored && (!found || stored.Since.After(is.since)):
		is.since = lastFailure // another process has seen a success
	}
	if w.UpdatedAt.After(is.since) {
		is.since = w.UpdatedAt // somebody may have mended it
	}
	switch {
	case w.Status == sidehook.WebhookEnabled && lastFailure.Sub(is.since) >= s.autoDisable:
		disable(w, is.since.UTC().Format(reasonFailing), sidehook.DisabledByFailing, t.now)
		w.UpdatedAt = t.now
		t.put(webhookKey(k), recordOfWebhook(w))
		if found {
			t.delete(failingKey(k))
		}
		is.disabled = true
		return is, nil
	case is.since.After(lastFailure): // it has not failed since then
		return is, nil
	case !found || !stored.Since.Equal(is.since):
		t.put(failingKey(k), &failingRecord{Since: is.since})
	}
	is.stored = true
	return is, nil
}

// reasonFailing is the reason of a webhook that failed for too long, as a layout of the time since when.
const reasonFailing = "nothing but failures since 2006-01-02 15:04 UTC"

// FailingSince reads a webhook's DisabledReason: since when it did nothing but fail, nil when it was disabled for another
// reason.
func FailingSince(reason string) *time.Time {
	since, err := time.Parse(reasonFailing, reason)
	if err != nil {
		return nil
	}
	return &since
}

func (f *failing) get(k sidehook.WebhookKey) (memo failingMemo, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	memo, known = f.known[k]
	return memo, known
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
