package control

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
)

// AccessPrefix starts every access token.
const AccessPrefix = "sha_"

// Access tokens stand in for a token for a while, for protocols that log in first. Nothing of them is stored unless one is
// ended before its time: one is
// sha_<base64url of end | MAC>.<id of the token>, where end is in Unix seconds (8 bytes, big-endian) and MAC is
// HMAC-SHA256 over purpose, end and id under the token's stored hash. So they end with the token they stand for, at once
// when it is revoked.
const (
	accessPurpose = "sidehook access token\x00"
	accessEndLen  = 8
)

// ErrAccessExpired is ErrUnauthenticated because an access token has come to its end.
var ErrAccessExpired = fmt.Errorf("access token has expired: %w", ErrUnauthenticated)

// IssueAccess makes an access token that stands in for a token for as long as lifetime (whole seconds). It returns
// ErrUnauthenticated when there is no such token.
func (s *Service) IssueAccess(ctx context.Context, plain string, lifetime time.Duration) (string, *Token, error) {
	token, err := s.Authenticate(ctx, plain)
	if err != nil {
		return "", nil, err
	}
	hash, _ := hashToken(plain) // it was authenticated
	end := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(lifetime).Unix()))
	text := base64.RawURLEncoding.EncodeToString(append(end, accessMAC(hash, end, token.ID)...))
	return AccessPrefix + text + "." + token.ID, token, nil
}

func accessMAC(hash string, end []byte, id string) []byte {
	mac := hmac.New(sha256.New, []byte(hash))
	_, _ = mac.Write([]byte(accessPurpose)) // documented never to fail
	_, _ = mac.Write(end)
	_, _ = mac.Write([]byte(id))
	return mac.Sum(nil)
}

// AuthenticateAccess returns what is known of the token that an access token stands in for, or ErrUnauthenticated.
func (s *Service) AuthenticateAccess(ctx context.Context, access string) (*Token, error) {
	token, _, err := s.authenticateAccess(ctx, access)
	return token, err
}

// authenticateAccess also returns the end of the access token, as it has it.
func (s *Service) authenticateAccess(ctx context.Context, access string) (*Token, []byte, error) {
	rest, ok := strings.CutPrefix(access, AccessPrefix)
	text, id, dotted := strings.Cut(rest, ".")
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || !dotted || err != nil || len(b) != accessEndLen+sha256.Size || !sidehook.ValidName(id) {
		return nil, nil, ErrUnauthenticated
	}
	t := &txn{ctx: ctx, kv: s.kv} // reads only
	var where tokenIDRecord
	var r tokenRecord
	found, err := t.get(tokenIDKey(id), &where)
	if found && err == nil {
		found, err = t.get(tokenKey(where.Hash), &r)
	}
	if err != nil {
		return nil, nil, err
	}
	end, mac := b[:accessEndLen], b[accessEndLen:]
	if !found || !hmac.Equal(mac, accessMAC(where.Hash, end, id)) {
		return nil, nil, ErrUnauthenticated
	}
	if !s.now().Before(timeOfEnd(end)) {
		return nil, nil, ErrAccessExpired
	}
	switch ended, err := t.get(endedKey(end, access), &endedRecord{}); {
	case err != nil:
		return nil, nil, err
	case ended:
		return nil, nil, ErrUnauthenticated
	}
	return r.token(), end, nil
}

func timeOfEnd(end []byte) time.Time { return time.Unix(int64(binary.BigEndian.Uint64(end)), 0).UTC() }
