package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/sidehook/sidehook/storage"
)

// Access tokens that were ended before their time are remembered until it has come.
const (
	endedPrefix = "ended-access/"
	// maxEnded is how many are remembered; beyond it the one whose time comes first is forgotten.
	maxEnded = 10_000
	// forgetAtOnce is how many of those whose time has come are forgotten with one that is ended.
	forgetAtOnce = 100
)

// endedRecord has what an operator who looks into the store wants to know.
type endedRecord struct {
	Token string    `json:"token"`
	Until time.Time `json:"until"`
}

// endedKey has the end first, in a form that sorts by time, so that a list begins with those whose time has come. Of the
// access token itself it has a hash alone.
func endedKey(end []byte, access string) string {
	sum := sha256.Sum256([]byte(access))
	return endedPrefix + hex.EncodeToString(end) + "/" + hex.EncodeToString(sum[:])
}

// EndAccess ends an access token before its time, for every process on the store and for good. It returns
// ErrUnauthenticated for one that does not hold.
func (s *Service) EndAccess(ctx context.Context, access string) error {
	token, end, err := s.authenticateAccess(ctx, access)
	if err != nil {
		return err
	}
	key := endedKey(end, access)
	return s.change(ctx, func(t *txn) error {
		if found, err := t.get(key, &endedRecord{}); err != nil || found {
			return err
		}
		t.put(key, &endedRecord{Token: token.ID, Until: timeOfEnd(end)})
		return s.forgetEnded(t)
	})
}

// forgetEnded forgets those whose time has come, and makes room for one more.
func (s *Service) forgetEnded(t *txn) error {
	// That others come and go meanwhile does not matter, so the list is no condition of the commit.
	all, _, err := s.kv.List(t.ctx, endedPrefix)
	if err != nil {
		return err
	}
	now := s.now()
	for i, p := range all[:min(len(all), forgetAtOnce)] {
		if len(all)-i < maxEnded && !isOver(p, now) {
			return nil
		}
		if found, err := t.get(p.Key, &json.RawMessage{}); err != nil {
			return err
		} else if found {
			t.delete(p.Key)
		}
	}
	return nil
}

// isOver reports whether an access token would not hold any more. One whose record cannot be read counts as such.
func isOver(p storage.Pair, now time.Time) bool {
	var r endedRecord
	return decode(p, &r) != nil || !now.Before(r.Until)
}
