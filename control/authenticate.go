package control

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"
)

// AuthenticateSidecar reads the token of a gRPC stream from its metadata (authorization: Bearer sht_…) and returns the
// apps that it allows and its id, which stands for the credential. What a sidecar says of itself plays no part. Errors
// are ErrUnauthenticated or trouble of the store.
func (s *Service) AuthenticateSidecar(ctx context.Context) (apps []string, credential string, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	values := md.Get("authorization")
	if len(values) != 1 {
		return nil, "", fmt.Errorf("%w: send metadata authorization: Bearer %s…", ErrUnauthenticated, TokenPrefix)
	}
	plain, ok := bearer(values[0])
	if !ok {
		return nil, "", fmt.Errorf("%w: authorization must be Bearer and a token", ErrUnauthenticated)
	}
	token, err := s.Authenticate(ctx, plain)
	if err != nil {
		return nil, "", err
	}
	if token.Kind != TokenSidecar {
		return nil, "", fmt.Errorf("%w: a token of kind %s is not for sidecars", ErrUnauthenticated, token.Kind)
	}
	return slices.Clone(token.Apps), token.ID, nil
}

// bearer takes the token out of an Authorization header.
func bearer(header string) (string, bool) {
	scheme, token, ok := strings.Cut(header, " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}
