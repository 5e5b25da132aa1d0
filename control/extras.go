package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sidehook/sidehook"
)

// MaxNote bounds a Note, in bytes.
const MaxNote = 8 << 10

// Note is what a dialect keeps with a webhook because its system has fields that Sidehook has not. Nobody else reads it;
// it goes with the webhook.
type Note struct {
	// Dialect whose note it is; a webhook has at most one of each.
	Dialect string
	// Value is JSON of at most MaxNote bytes.
	Value []byte
}

// WebhookExtras is what can be set of a webhook beside its own fields, in the same step.
type WebhookExtras struct {
	// Key is the only one that signs from then on; zero for a new one at creation, and for no change later.
	Key sidehook.Key
	// Status; empty for enabled at creation, and for no change later.
	Status sidehook.WebhookStatus
	// Note replaces the note of its dialect; nil for none, and for no change later.
	Note *Note
	// AsOf is the UpdatedAt that a change rests on: when the webhook was changed since, the change is refused with
	// ErrChanged. Zero for whatever it is. Creation ignores it.
	AsOf time.Time
}

// ErrChanged: the webhook is no longer what the caller has seen.
var ErrChanged = errors.New("webhook was changed by somebody else meanwhile")

func (x *WebhookExtras) validate() error {
	switch x.Status {
	case "", sidehook.WebhookEnabled, sidehook.WebhookDisabled:
	default:
		return sidehook.Fieldf("status", "must be %s or %s", sidehook.WebhookEnabled, sidehook.WebhookDisabled)
	}
	if x.Note == nil {
		return nil
	}
	switch {
	case !sidehook.ValidName(x.Note.Dialect):
		return sidehook.Fieldf("note", "belongs to a dialect whose name is not valid")
	case len(x.Note.Value) > MaxNote:
		return sidehook.Fieldf("note", "must be at most %d bytes", MaxNote)
	case !json.Valid(x.Note.Value):
		return sidehook.Fieldf("note", "must be JSON")
	}
	return nil
}

// reasonSwitchedOff stands where nobody says why.
const reasonSwitchedOff = "disabled by an operator"

func (x *WebhookExtras) applyStatus(w *sidehook.Webhook, now time.Time) {
	switch x.Status {
	case sidehook.WebhookEnabled:
		enable(w)
	case sidehook.WebhookDisabled:
		disable(w, reasonSwitchedOff, sidehook.DisabledByPerson, now)
	}
}

func (x *WebhookExtras) putNote(t *txn, k sidehook.WebhookKey) {
	if x.Note != nil {
		t.put(noteKey(k, x.Note.Dialect), json.RawMessage(x.Note.Value))
	}
}

// CreateWebhookWith is CreateWebhook with extras, in one step.
func (s *Service) CreateWebhookWith(ctx context.Context, spec sidehook.Webhook, extras WebhookExtras) (*sidehook.Webhook, sidehook.Key, error) {
	if err := extras.validate(); err != nil {
		return nil, sidehook.Key{}, err
	}
	return s.createWebhook(ctx, spec, &extras)
}

// UpdateWebhookWith is UpdateWebhook with extras, in one step: with a key, the secrets that the webhook had end at once.
func (s *Service) UpdateWebhookWith(ctx context.Context, k sidehook.WebhookKey, patch WebhookPatch, extras WebhookExtras) (*sidehook.Webhook, error) {
	if err := extras.validate(); err != nil {
		return nil, err
	}
	return s.patchWebhook(ctx, k, patch, &extras)
}

// replaceKey makes key the webhook's only one. See retire for the invariant that it keeps.
func (s *Service) replaceKey(t *txn, w *sidehook.Webhook, key sidehook.Key) error {
	if _, err := keyFor(w, key); err != nil {
		return err
	}
	now := s.now()
	t.put(secretKey(w.App, w.ID, newID(secretIDPrefix)), recordOfKey(key, now))
	return retire(t, w.Key(), now, 0)
}

// deleteNotes removes the notes of a webhook that goes.
func deleteNotes(t *txn, k sidehook.WebhookKey) error {
	notes, err := t.list(notePrefix(k))
	for _, p := range notes {
		t.delete(p.Key)
	}
	return err
}

// WebhookNote returns what a dialect keeps with a webhook, nil for nothing.
func (s *Service) WebhookNote(ctx context.Context, k sidehook.WebhookKey, dialect string) ([]byte, error) {
	if !validWebhookKey(k) || !sidehook.ValidName(dialect) {
		return nil, notFound("webhook", k.ID)
	}
	p, err := s.kv.Get(ctx, noteKey(k, dialect))
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, nil
	}
	return p.Value, err
}

// RevealKey returns the newest key of a webhook, the one that new receivers should be given.
func (s *Service) RevealKey(ctx context.Context, k sidehook.WebhookKey) (sidehook.Key, error) {
	if !validWebhookKey(k) {
		return sidehook.Key{}, notFound("webhook", k.ID)
	}
	pairs, _, err := s.kv.List(ctx, secretPrefix(k.App, k.ID))
	if err != nil {
		return sidehook.Key{}, err
	}
	for _, p := range pairs {
		var r secretRecord
		if err := decode(p, &r); err != nil {
			return sidehook.Key{}, err
		}
		if r.NotAfter != nil {
			continue // ends: see the invariant of retire
		}
		key, err := r.key()
		if err != nil {
			return sidehook.Key{}, fmt.Errorf("stored record %.200q: %w", p.Key, err)
		}
		return key, nil
	}
	return sidehook.Key{}, notFound("webhook", k.ID)
}

// AllWebhooks lists an app's webhooks, newest first, for dialects whose lists have no cursors.
func (s *Service) AllWebhooks(ctx context.Context, app string) ([]*sidehook.Webhook, error) {
	return s.allWebhooks(ctx, app)
}
