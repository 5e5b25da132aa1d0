package control

import (
	"context"
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
	// Live: it signs now.
	Live bool
}

// RotateSecret gives a webhook a new secret, which signs at once; the key is shown this once. The secrets it had go on
// signing beside it for overlap, 0 to MaxOverlap, or until they end anyway. With 0 they are removed. It returns a
// *ConflictError when more than MaxLiveSecrets would sign.
func (s *Service) RotateSecret(ctx context.Context, k sidehook.WebhookKey, overlap time.Duration) (info SecretInfo, key sidehook.Key, err error) {
	if overlap < 0 || overlap > MaxOverlap {
		return info, key, sidehook.Fieldf("overlap", "must be 0s to %s", MaxOverlap)
	}
	fresh := sidehook.NewKey()
	info.ID = newID(secretIDPrefix)
	err = s.change(ctx, func(t *txn) error {
		if _, err := requireWebhook(t, k); err != nil {
			return err
		}
		info.CreatedAt = s.now()
		t.put(secretKey(k.App, k.ID, info.ID), &secretRecord{Key: fresh.Bytes(), CreatedAt: info.CreatedAt})
		return retire(t, k, info.CreatedAt, overlap)
	})
	if err != nil {
		return SecretInfo{}, key, err
	}
	info.Live = true
	s.log.InfoContext(ctx, "secret rotated", "app", k.App, "webhook", k.ID, "secret", info.ID, "overlap", overlap)
	return info, fresh, nil
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
	if r.NotAfter != nil {
		info.NotAfter = *r.NotAfter
	}
	return info, nil
}
