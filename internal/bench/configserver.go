package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/sidehook/sidehook"
	fleetv1 "github.com/sidehook/sidehook/api/fleet/v1"
	"github.com/sidehook/sidehook/xds"
	xdsserver "github.com/sidehook/sidehook/xds/server"
)

// configServer is what a sidecar has for its control plane when many webhooks come from there and not from a file: the
// server of the configuration, and somebody to report to.
type configServer struct {
	address string
	xds     *xdsserver.Server
	grpc    *grpc.Server
	serve   sync.WaitGroup
	failed  error
}

// serveConfig starts one that has these webhooks.
func serveConfig(hooks []hook) (*configServer, error) {
	resources, err := resourcesOf(hooks)
	if err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &configServer{
		address: lis.Addr().String(),
		xds: xdsserver.New(xdsserver.Options{Authenticate: func(context.Context) ([]string, string, error) {
			return []string{app}, "bench", nil
		}}),
		// Sidecars look after their connection every 20 s, which is more than gRPC allows by itself.
		grpc: grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: 10 * time.Second, PermitWithoutStream: true,
		})),
	}
	c.xds.Replace(app, resources)
	c.xds.Register(c.grpc)
	fleetv1.RegisterFleetServiceServer(c.grpc, listener{})
	c.serve.Go(func() { c.failed = c.grpc.Serve(lis) })
	return c, nil
}

func (c *configServer) stop() error {
	c.xds.Close()
	c.grpc.Stop()
	c.serve.Wait()
	return c.failed
}

// listener hears reports.
type listener struct {
	fleetv1.UnimplementedFleetServiceServer
}

// Connect implements fleetv1.FleetServiceServer.
func (listener) Connect(stream grpc.BidiStreamingServer[fleetv1.ConnectRequest, fleetv1.ConnectResponse]) error {
	welcome := &fleetv1.ConnectResponse{Payload: &fleetv1.ConnectResponse_Welcome{Welcome: &fleetv1.Welcome{Apps: []string{app}}}}
	if err := stream.Send(welcome); err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// resourcesOf are the webhooks and their secrets. What only files need of a hook is not for here.
func resourcesOf(hooks []hook) ([]*xds.Resource, error) {
	key, err := sidehook.ParseKey(secretKey)
	if err != nil {
		return nil, err
	}
	resources := make([]*xds.Resource, 0, 2*len(hooks))
	for i, h := range hooks {
		if h.Transformer != "" || h.Ordered || h.Filter != "" {
			return nil, fmt.Errorf("webhook %d of a row has what only a file can say", i)
		}
		id := fmt.Sprintf("w%d", i)
		resources = append(resources,
			xds.OfWebhook(&sidehook.Webhook{
				App: app, ID: id, Name: id, URL: h.URL, Events: []string{h.Event}, AutomaticRetry: !h.NoRetry,
				Timeout: h.Timeout, RetrySchedule: h.Schedule,
			}),
			xds.OfSecret(&sidehook.Secret{App: app, Webhook: id, ID: "s", Key: key}))
	}
	return resources, nil
}
