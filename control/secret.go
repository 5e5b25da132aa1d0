package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// Bounds of a rotation.
const (
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 7 * 24 * time.Hour
	// MaxLiveSecrets is how many secrets of a webhook can sign at a time.
	MaxLiveSecrets = 5
)

// SecretInfo describes a secret without its key.
type SecretInfo struct {
	ID        string
	CreatedAt time.Time
	// NotAfter is when it stops signing; zero for never.
	NotAfter time.Time
	// Live: it is valid now. Under a scheme with one signature, of several live secrets the one that ends first signs.
	Live bool
	Kind sidehook.KeyKind
	// PublicKey is what the receiver checks with, whpk_…; empty when the key is no key pair.
	PublicKey string
}

// RotateSecret gives a webhook a new secret of the kind that its signing scheme has; the key is shown this once. The
// secrets it had stay valid for overlap, 0 to MaxOverlap, or until they end anyway. With 0 they are removed. Under the
// standard schemes old and new sign side by side; under the others the new one begins when the old ones have ended. It
// returns a *ConflictError when more than MaxLiveSecrets would be valid.
func (s *Service) RotateSecret(ctx context.Context, k sidehook.WebhookKey, overlap time.Duration) (SecretInfo, sidehook.Key, error) {
	return s.RotateSecretTo(ctx, k, overlap, sidehook.Key{})
}

// RotateSecretTo is RotateSecret to a key that the receiver has already. The zero key is for a new one. A key that the
// signing scheme does not take gives a *sidehook.FieldError of the field secret.
func (s *Service) RotateSecretTo(ctx context.Context, k sidehook.WebhookKey, overlap time.Duration, given sidehook.Key) (info SecretInfo, key sidehook.Key, err error) {
	if overlap < 0 || overlap > MaxOverlap {
		return info, key, sidehook.Fieldf("overlap", "must be 0s to %s", MaxOverlap)
	}
	info.ID = newID(secretIDPrefix)
	var fresh sidehook.Key
	err = s.change(ctx, func(t *txn) error {
		w, err := requireWebhook(t, k)
		if err != nil {
			return err
		}
		if fresh, err = keyFor(w, given); err != nil {
			return err
		}
		info.CreatedAt = s.now()
		t.put(secretKey(k.App, k.ID, info.ID), recordOfKey(fresh, info.CreatedAt))
		return retire(t, k, info.CreatedAt, overlap)
	})
	if err != nil {
		return SecretInfo{}, key, err
	}
	info.Live, info.Kind, info.PublicKey = true, fresh.Kind(), fresh.PublicKey()
	s.log.InfoContext(ctx, "secret rotated", "app", k.App, "webhook", k.ID, "secret", info.ID, "overlap", overlap)
	return info, fresh, nil
}

// keyFor is the given key, which the webhook's scheme must take, or a new one when it is zero.
func keyFor(w *sidehook.Webhook, given sidehook.Key) (sidehook.Key, error) {
	if given.IsZero() {
		return w.NewKey(), nil
	}
	var fe *sidehook.FieldError
	if err := w.Takes(given); errors.As(err, &fe) {
		return sidehook.Key{}, fe.At("secret")
	}
	return given, nil
}

// allowScheme checks that the webhook's newest secret can sign under the scheme that it is about to have.
func allowScheme(t *txn, w *sidehook.Webhook) error {
	all, err := t.list(secretPrefix(w.App, w.ID))
	if err != nil {
		return err
	}
	for _, p := range all {
		var r secretRecord
		if err := decode(p, &r); err != nil {
			return err
		}
		if r.NotAfter != nil {
			continue // ends: see the invariant of retire
		}
		key, err := r.key()
		if err != nil {
			return fmt.Errorf("stored record %.200q: %w", p.Key, err)
		}
		if w.Takes(key) != nil {
			return sidehook.Fieldf("signing.scheme", "cannot be %s while the newest secret is of the kind %s; rotate to a %s secret first, which every scheme takes",
				w.Scheme(), key.Kind(), sidehook.SecretPrefix)
		}
	}
	return nil
}

// retire ends the webhook's present secrets at now+overlap and removes those that do not sign any more.
//
// Invariant: exactly one secret of a webhook has no end, the newest. Every rotation, and the webhook's removal, changes
// that one, so that two at once collide and neither misses a secret of the other.
func retire(t *txn, k sidehook.WebhookKey, now time.Time, overlap time.Duration) error {
	old, err := t.list(secretPrefix(k.App, k.ID))
	if err != nil {
		return err
	}
	until := now.Add(overlap)
	live := 1 // the new one
	for _, p := range old {
		var r secretRecord
		if err := decode(p, &r); err != nil {
			return err
		}
		if overlap == 0 || !r.live(now) {
			t.delete(p.Key)
			continue
		}
		live++
		if r.NotAfter == nil || r.NotAfter.After(until) {
			r.NotAfter = &until
			t.put(p.Key, &r)
		}
	}
	if live > MaxLiveSecrets {
		return conflictf("", "webhook has %d secrets that sign, the most it may have; wait until one ends, or rotate with overlap 0s",
			live-1)
	}
	return nil
}

// ListSecrets lists a webhook's secrets, newest first.
func (s *Service) ListSecrets(ctx context.Context, k sidehook.WebhookKey) ([]SecretInfo, error) {
	if _, err := s.GetWebhook(ctx, k); err != nil {
		return nil, err
	}
	prefix := secretPrefix(k.App, k.ID)
	pairs, _, err := s.kv.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	infos := make([]SecretInfo, 0, len(pairs))
	for _, p := range pairs {
		info, err := s.secretInfo(p, prefix)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b SecretInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return infos, nil
}

func (s *Service) secretInfo(p storage.Pair, prefix string) (SecretInfo, error) {
	var r secretRecord
	if err := decode(p, &r); err != nil {
		return SecretInfo{}, err
	}
	info := SecretInfo{ID: strings.TrimPrefix(p.Key, prefix), CreatedAt: r.CreatedAt, Live: r.live(s.now())}
	key, err := r.key()
	if err != nil {
		return SecretInfo{}, fmt.Errorf("stored record %.200q: %w", p.Key, err)
	}
	info.Kind, info.PublicKey = key.Kind(), key.PublicKey()
	if r.NotAfter != nil {
		info.NotAfter = *r.NotAfter
	}
	return info, nil
}
