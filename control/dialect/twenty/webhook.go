package twenty

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/control"
)

// webhook is one as Twenty shows it.
type webhook struct {
	ID          string   `json:"id"`
	TargetURL   string   `json:"targetUrl"`
	Operations  []string `json:"operations"`
	Description *string  `json:"description"`
	Secret      string   `json:"secret"`
	CreatedAt   string   `json:"createdAt"`
	UpdatedAt   string   `json:"updatedAt"`
	DeletedAt   *string  `json:"deletedAt"`
}

// idOf is a webhook's id in Twenty, a UUID. Sidehook's ids are random, so what is made of one by SHA-256 is a UUID of
// version 4 like any other, and the same at all times.
func idOf(id string) string {
	sum := sha256.Sum256([]byte("twenty\x00" + id))
	b := sum[:16]
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// find returns the webhook of an app by its id in Twenty.
func (h *handler) find(r request) (*sidehook.Webhook, error) {
	all, err := h.svc.AllWebhooks(r.Context(), r.app)
	if err != nil {
		return nil, err
	}
	wanted := strings.ToLower(r.PathValue("id"))
	for _, w := range all {
		if idOf(w.ID) == wanted {
			return w, nil
		}
	}
	return nil, errNotFound
}

// note is what this dialect keeps with a webhook.
type note struct {
	Description *string `json:"description"`
}

// notes is whose notes these are.
const notes = "twenty"

func (n note) keep() (*control.Note, error) {
	value, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("keep the description: %w", err)
	}
	return &control.Note{Dialect: notes, Value: value}, nil
}

const everything = "*.*"

const isoMillis = "2006-01-02T15:04:05.000Z"

// view shows a webhook. One without a description of its own was made elsewhere, and its name describes it.
func (h *handler) view(ctx context.Context, w *sidehook.Webhook) (*webhook, error) {
	key, err := h.svc.RevealKey(ctx, w.Key())
	if err != nil {
		return nil, err
	}
	kept, err := h.svc.WebhookNote(ctx, w.Key(), notes)
	if err != nil {
		return nil, err
	}
	mine := note{Description: &w.Name}
	if kept != nil {
		if err := json.Unmarshal(kept, &mine); err != nil {
			return nil, fmt.Errorf("note of webhook %s is damaged: %w", w.ID, err)
		}
	}
	v := &webhook{
		ID: idOf(w.ID), TargetURL: w.URL, Operations: []string{}, Description: mine.Description, Secret: key.Shared(),
		CreatedAt: stamp(w.CreatedAt), UpdatedAt: stamp(w.UpdatedAt),
	}
	if v.Secret == "" {
		v.Secret = key.PublicKey() // of a key pair, this is what receivers are given
	}
	for _, pattern := range w.Events {
		if pattern == "*" || pattern == "all" {
			pattern = everything
		}
		v.Operations = append(v.Operations, pattern)
	}
	return v, nil
}

func stamp(t time.Time) string { return t.UTC().Format(isoMillis) }

// views shows all webhooks of an app in Twenty's order, the oldest first.
func (h *handler) views(r request) ([]*webhook, error) {
	all, err := h.svc.AllWebhooks(r.Context(), r.app)
	if err != nil {
		return nil, err
	}
	shown := make([]*webhook, 0, len(all))
	for _, w := range slices.Backward(all) {
		v, err := h.view(r.Context(), w)
		if errors.Is(err, sidehook.ErrNotFound) {
			continue // it was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		shown = append(shown, v)
	}
	return shown, nil
}

func (h *handler) list(r request) (int, any, error) {
	all, err := h.views(r)
	return http.StatusOK, all, err
}

func (h *handler) get(r request) (int, any, error) {
	w, err := h.find(r)
	if err != nil {
		return 0, nil, err
	}
	return h.answer(r, http.StatusOK, w)
}

func (h *handler) answer(r request, code int, w *sidehook.Webhook) (int, any, error) {
	v, err := h.view(r.Context(), w)
	return code, v, err
}

func (h *handler) create(r request) (int, any, error) {
	in, err := readInput(r.Request)
	if err != nil {
		return 0, nil, err
	}
	if in.targetURL == nil || strings.TrimSpace(*in.targetURL) == "" {
		return 0, nil, fail(http.StatusBadRequest, codeBadInput, textNeedURL, fieldURL+": is required")
	}
	spec := sidehook.Webhook{
		App: r.app, URL: normalURL(*in.targetURL), Events: []string{everything}, AutomaticRetry: true,
		Format: sidehook.FormatTwenty,
	}
	if in.operations != nil {
		spec.Events = *in.operations
	}
	mine := note{}
	if in.description != nil {
		mine.Description = *in.description
	}
	extras := control.WebhookExtras{}
	if extras.Note, err = mine.keep(); err != nil {
		return 0, nil, err
	}
	secret := newSecret()
	if in.secret != nil && *in.secret != "" {
		secret = *in.secret
	}
	if extras.Key, err = keyOf(secret); err != nil {
		return 0, nil, err
	}
	w, err := h.createNamed(r.Context(), spec, mine.Description, extras)
	if err != nil {
		return 0, nil, err
	}
	return h.answer(r, http.StatusCreated, w)
}

// newSecret makes one as Twenty does: 32 random bytes in hex.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return hex.EncodeToString(b[:])
}

// keyOf reads a secret, whose text as it stands is the key.
func keyOf(secret string) (sidehook.Key, error) {
	key, err := sidehook.ImportKey(secret)
	var field *sidehook.FieldError
	if errors.As(err, &field) {
		return key, badField("secret", "%s", field.Reason)
	}
	return key, err
}

func (h *handler) update(r request) (int, any, error) {
	w, err := h.find(r)
	if err != nil {
		return 0, nil, err
	}
	in, err := readInput(r.Request)
	if err != nil {
		return 0, nil, err
	}
	patch := control.WebhookPatch{Events: in.operations}
	if in.targetURL != nil {
		to := normalURL(*in.targetURL)
		patch.URL = &to
	}
	extras := control.WebhookExtras{}
	if in.description != nil {
		if extras.Note, err = (note{Description: *in.description}).keep(); err != nil {
			return 0, nil, err
		}
	}
	if in.secret != nil {
		if extras.Key, err = h.changedKey(r.Context(), w, *in.secret); err != nil {
			return 0, nil, err
		}
	}
	if w, err = h.svc.UpdateWebhookWith(r.Context(), w.Key(), patch, extras); err != nil {
		return 0, nil, err
	}
	return h.answer(r, http.StatusOK, w)
}

// changedKey is the key of a secret, zero when the webhook has it already: clients send back what they were shown.
func (h *handler) changedKey(ctx context.Context, w *sidehook.Webhook, secret string) (sidehook.Key, error) {
	current, err := h.svc.RevealKey(ctx, w.Key())
	if err != nil {
		return sidehook.Key{}, err
	}
	if secret != "" && (secret == current.Shared() || secret == current.PublicKey()) {
		return sidehook.Key{}, nil
	}
	return keyOf(secret)
}

func (h *handler) remove(r request) (int, any, error) {
	w, err := h.find(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, true, h.svc.DeleteWebhook(r.Context(), w.Key())
}
