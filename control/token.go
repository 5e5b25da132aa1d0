package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/storage"
)

// TokenKind is what a token is good for.
type TokenKind string

// The kinds of token.
const (
	TokenAdmin   TokenKind = "admin"   // everything in REST
	TokenApp     TokenKind = "app"     // one app and its webhooks in REST
	TokenSidecar TokenKind = "sidecar" // configuration and fleet, for a list of apps; nothing in REST
)

// MaxTokenApps is how many apps a sidecar's token may list.
const MaxTokenApps = 100

// TokenPrefix starts every token: sht_ and then 32 random bytes in base64url.
const TokenPrefix = "sht_"

const tokenBytes = 32

// Token describes a token; the token itself is shown once, when it is created, and stored as a hash only.
type Token struct {
	ID        string
	Name      string // for people
	Kind      TokenKind
	Apps      []string // none for TokenAdmin, one for TokenApp, at least one for TokenSidecar
	CreatedAt time.Time
}

// TokenSpec is what a token is made of.
type TokenSpec struct {
	Name string
	Kind TokenKind
	Apps []string
}

// ErrUnauthenticated: there is no token, or none that the control plane knows.
var ErrUnauthenticated = errors.New("no valid token")

// CreateToken makes a token. The second result is the token itself, shown this once.
func (s *Service) CreateToken(ctx context.Context, spec TokenSpec) (*Token, string, error) {
	if err := spec.clean(); err != nil {
		return nil, "", err
	}
	plain := newToken()
	token, err := s.storeToken(ctx, spec, plain)
	return token, plain, err
}

func newToken() string {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // documented never to fail
	return TokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// hashToken returns the key under which a token is stored, and whether plain looks like a token at all. The token is
// random, so that a plain hash is as good as a slow one.
func hashToken(plain string) (string, bool) {
	rest, ok := strings.CutPrefix(plain, TokenPrefix)
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != tokenBytes {
		return "", false
	}
	sum := sha256.Sum256([]byte(plain))
	return hex.EncodeToString(sum[:]), true
}

func (spec *TokenSpec) clean() (err error) {
	if spec.Name, err = cleanText("name", spec.Name); err != nil {
		return err
	}
	if spec.Name == "" {
		return sidehook.Fieldf("name", "is required")
	}
	switch n := len(spec.Apps); spec.Kind {
	case TokenAdmin:
		if n != 0 {
			return sidehook.Fieldf("apps", "must be empty for an admin token, which is for all apps")
		}
	case TokenApp:
		if n != 1 {
			return sidehook.Fieldf("apps", "must be exactly one for an app token")
		}
	case TokenSidecar:
		if n < 1 || n > MaxTokenApps {
			return sidehook.Fieldf("apps", "must be 1 to %d for a sidecar token", MaxTokenApps)
		}
	default:
		return sidehook.Fieldf("kind", "must be %s, %s or %s", TokenAdmin, TokenApp, TokenSidecar)
	}
	for i, app := range spec.Apps {
		if !sidehook.ValidName(app) {
			return sidehook.Fieldf(fmt.Sprintf("apps[%d]", i), "must be 1 to %d of A-Z a-z 0-9 _ -", sidehook.MaxNameLen)
		}
		if slices.Contains(spec.Apps[:i], app) {
			return sidehook.Fieldf(fmt.Sprintf("apps[%d]", i), "%s is given twice", app)
		}
	}
	return nil
}

func (s *Service) storeToken(ctx context.Context, spec TokenSpec, plain string) (*Token, error) {
	hash, ok := hashToken(plain)
	if !ok {
		return nil, errors.New("not a token")
	}
	r := tokenRecord{ID: newID(tokenIDPrefix), Name: spec.Name, Kind: spec.Kind, Apps: spec.Apps}
	err := s.change(ctx, func(t *txn) error {
		for i, app := range spec.Apps {
			_, err := requireApp(t, app)
			if errors.Is(err, sidehook.ErrNotFound) {
				return sidehook.Fieldf(fmt.Sprintf("apps[%d]", i), "there is no app %q; create it first", app)
			}
			if err != nil {
				return err
			}
		}
		r.CreatedAt = s.now()
		t.put(tokenIDKey(r.ID), &tokenIDRecord{Hash: hash})
		t.put(tokenKey(hash), &r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "token created", "token_id", r.ID, "kind", r.Kind, "apps", r.Apps)
	return r.token(), nil
}

func (r *tokenRecord) token() *Token {
	return &Token{ID: r.ID, Name: r.Name, Kind: r.Kind, Apps: r.Apps, CreatedAt: r.CreatedAt}
}

// ListTokens lists the tokens, newest first, a page.
func (s *Service) ListTokens(ctx context.Context, page PageRequest) (tokens []*Token, next string, err error) {
	pairs, _, err := s.kv.List(ctx, tokensPrefix)
	if err != nil {
		return nil, "", err
	}
	for _, p := range pairs {
		var r tokenRecord
		if err := decode(p, &r); err != nil {
			return nil, "", err
		}
		tokens = append(tokens, r.token())
	}
	position := func(t *Token) string { return newestPosition(t.CreatedAt, t.ID) }
	slices.SortFunc(tokens, func(a, b *Token) int { return cmp.Compare(position(a), position(b)) })
	return paginate(tokens, page, position)
}

// RevokeToken removes a token: REST refuses it at once, and streams opened with it are ended. The last admin token
// cannot be revoked.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	if !sidehook.ValidName(id) {
		return notFound("token", id)
	}
	err := s.change(ctx, func(t *txn) error {
		var where tokenIDRecord
		var r tokenRecord
		found, err := t.get(tokenIDKey(id), &where)
		if found {
			found, err = t.get(tokenKey(where.Hash), &r)
		}
		if err != nil {
			return err
		}
		if !found {
			return notFound("token", id)
		}
		if r.Kind == TokenAdmin {
			if err := keepOtherAdmin(t, where.Hash); err != nil {
				return err
			}
		}
		t.delete(tokenIDKey(id))
		t.delete(tokenKey(where.Hash))
		return nil
	})
	if err == nil {
		s.log.InfoContext(ctx, "token revoked", "token_id", id)
	}
	return err
}

// keepOtherAdmin makes it a condition that another admin token stays.
func keepOtherAdmin(t *txn, hash string) error {
	other, err := firstToken(t, func(p storage.Pair, r *tokenRecord) bool {
		return r.Kind == TokenAdmin && p.Key != tokenKey(hash)
	})
	if err != nil {
		return err
	}
	if other == nil {
		return conflictf("", "it is the last admin token; create another first")
	}
	t.conds = append(t.conds, storage.Cond{Key: other.Key, Revision: other.Revision})
	return nil
}

// firstToken finds a token without making it a condition.
func firstToken(t *txn, is func(storage.Pair, *tokenRecord) bool) (*storage.Pair, error) {
	pairs, _, err := t.kv.List(t.ctx, tokensPrefix)
	if err != nil {
		return nil, err
	}
	for _, p := range pairs {
		var r tokenRecord
		if err := decode(p, &r); err != nil {
			return nil, err
		}
		if is(p, &r) {
			return &p, nil
		}
	}
	return nil, nil
}

// maxTokensPerDelete bounds how many tokens go with their app in one commit.
const maxTokensPerDelete = 40

// deleteTokensOf removes the tokens that are for the app alone.
func deleteTokensOf(t *txn, app string) error {
	pairs, _, err := t.kv.List(t.ctx, tokensPrefix)
	if err != nil {
		return err
	}
	n := 0
	for _, p := range pairs {
		var r tokenRecord
		if err := decode(p, &r); err != nil {
			return err
		}
		if len(r.Apps) != 1 || r.Apps[0] != app {
			continue
		}
		if n++; n > maxTokensPerDelete {
			return conflictf("", "app has more than %d tokens; revoke some first", maxTokensPerDelete)
		}
		t.conds = append(t.conds, storage.Cond{Key: p.Key, Revision: p.Revision})
		t.delete(p.Key)
		found, err := t.get(tokenIDKey(r.ID), &tokenIDRecord{})
		if err != nil {
			return err
		}
		if found {
			t.delete(tokenIDKey(r.ID))
		}
	}
	return nil
}

// Authenticate returns what is known of a token, or ErrUnauthenticated.
func (s *Service) Authenticate(ctx context.Context, plain string) (*Token, error) {
	hash, ok := hashToken(plain)
	if !ok {
		return nil, ErrUnauthenticated
	}
	p, err := s.kv.Get(ctx, tokenKey(hash))
	if errors.Is(err, sidehook.ErrNotFound) {
		return nil, ErrUnauthenticated
	}
	if err != nil {
		return nil, err
	}
	var r tokenRecord
	if err := decode(p, &r); err != nil {
		return nil, err
	}
	return r.token(), nil
}
