package ingest

import (
	"context"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"github.com/sidehook/sidehook/internal/wire"
)

const (
	maxStreamsPerConn = 256
	minKeepalive      = 5 * time.Second
	handshakeTimeout  = 10 * time.Second
	maxHeaderBytes    = 16 << 10

	// How many bytes a client may be ahead of what is read, for each stream and for the connection. Fixed windows save
	// the pings by which gRPC would measure the connection with nearly every message; they are large enough for batches
	// to arrive while the ones before are stored, and WindowBytes bounds those.
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// GRPC is a gRPC server with EventService, health and reflection. Serve it on as many listeners as wanted.
type GRPC struct {
	server *Server
	grpc   *grpc.Server
	health *health.Server
}

// NewGRPC makes the gRPC server of s, with the limits that a door needs; opts come after them. Its health service
// reports "" and EventService as serving until Stop or SetServing(false).
func NewGRPC(s *Server, opts ...grpc.ServerOption) *GRPC {
	g := &GRPC{server: s, health: health.NewServer()}
	g.grpc = grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxRequestBytes),
		grpc.MaxConcurrentStreams(maxStreamsPerConn),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.ForceServerCodecV2(wire.NewCodec()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minKeepalive, PermitWithoutStream: true}),
		// Handlers have returned when Stop returns.
		grpc.WaitForHandlers(true),
	}, opts...)...)
	s.Register(g.grpc)
	healthv1.RegisterHealthServer(g.grpc, g.health)
	reflection.Register(g.grpc)
	g.SetServing(true)
	return g
}

// SetServing sets what the health service reports. It changes nothing else.
func (g *GRPC) SetServing(serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	g.health.SetServingStatus("", state)
	g.health.SetServingStatus(serviceDesc.ServiceName, state)
}

// Serve answers connections of l, which it closes, until Stop; then it returns nil.
func (g *GRPC) Serve(l net.Listener) error {
	if err := g.grpc.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Stop reports NOT_SERVING, takes no more connections or events, answers what was submitted, and closes everything. When
// ctx ends first it closes the connections at once, unanswered batches included, and returns ctx's cause. It stops the
// Server too.
func (g *GRPC) Stop(ctx context.Context) error {
	g.health.Shutdown()
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		g.grpc.GracefulStop()
	}()
	err := g.server.Stop(ctx)
	select {
	case <-graceful:
	case <-ctx.Done():
		g.grpc.Stop()
		<-graceful
		if err == nil {
			err = context.Cause(ctx)
		}
	}
	return err
}
