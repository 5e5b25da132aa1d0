package omicall

import (
	"errors"
	"net/http"
	"strings"

	"github.com/sidehook/sidehook/control"
	"github.com/sidehook/sidehook/control/dialect"
)

type access struct {
	AccessToken string `json:"access_token"`
	AccessType  string `json:"access_type"`
	TokenType   string `json:"token_type"`
}

// auth gives an access token for an API key, which is an app token.
func (h *handler) auth(c *call) (any, error) {
	key, err := c.one("apiKey")
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, dialect.Refuse(http.StatusBadRequest, "api_key_is_required")
	}
	text, token, err := h.svc.IssueAccess(c.Context(), key, AccessLifetime)
	if errors.Is(err, control.ErrUnauthenticated) {
		return nil, dialect.Refuse(http.StatusUnauthorized, "api_key_invalid")
	}
	if err != nil {
		return nil, err
	}
	if _, err := dialect.AppOf(token); err != nil {
		return nil, dialect.Refuse(http.StatusForbidden, "api_key_invalid: "+err.Error())
	}
	return access{AccessToken: text, AccessType: "normal", TokenType: "Bearer"}, nil
}

// authenticate returns the app of the access token in the Authorization header, after Bearer or alone.
func (h *handler) authenticate(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", dialect.Refuse(http.StatusUnauthorized, "access_token_is_required")
	}
	text := strings.TrimSpace(headers[0])
	if scheme, rest, ok := strings.Cut(text, " "); ok && strings.EqualFold(scheme, "Bearer") {
		text = strings.TrimSpace(rest)
	}
	if len(headers) > 1 {
		text = ""
	}
	token, err := h.svc.AuthenticateAccess(r.Context(), text)
	switch {
	case errors.Is(err, control.ErrAccessExpired):
		return "", dialect.Refuse(http.StatusUnauthorized, "access_token_expired")
	case errors.Is(err, control.ErrUnauthenticated):
		return "", dialect.Refuse(http.StatusUnauthorized, "access_token_invalid")
	case err != nil:
		return "", err
	}
	return dialect.AppOf(token)
}
