package server_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidehook/sidehook/xds/server"
)

// A credential that is revoked after it was checked and before its stream is registered has no stream that EndStreams
// could end: the stream must not live on.
func TestCredentialRevokedWhileItsStreamOpens(t *testing.T) {
	var checks atomic.Int32
	var srv *server.Server
	srv = server.New(server.Options{Authenticate: func(context.Context) ([]string, string, error) {
		if checks.Add(1) == 1 {
			srv.EndStreams(func(string) bool { return true }) // the revocation: nothing to end yet
			return []string{"a"}, "car", nil
		}
		return nil, "", errors.New("the token is not known")
	}})
	api := discovery.NewAggregatedDiscoveryServiceClient(serve(t, srv))
	stream, err := api.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream of a revoked credential: %v", err)
	}
	if n := len(srv.Status()); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}
