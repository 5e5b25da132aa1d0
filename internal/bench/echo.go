package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// echo takes events as a sidecar does, notes when they came, and does nothing with them.
type echo struct {
	eventsv1.UnimplementedEventServiceServer
	ledger *ledger
}

// echoPath is where the ledger has them.
const echoPath = "gRPC"

// Publish implements eventsv1.EventServiceServer.
func (e echo) Publish(_ context.Context, req *eventsv1.PublishRequest) (*eventsv1.PublishResponse, error) {
	return &eventsv1.PublishResponse{Results: e.take(req.GetEvents())}, nil
}

// PublishStream implements eventsv1.EventServiceServer.
func (e echo) PublishStream(stream grpc.BidiStreamingServer[eventsv1.PublishStreamRequest, eventsv1.PublishStreamResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&eventsv1.PublishStreamResponse{Sequence: req.GetSequence(), Results: e.take(req.GetEvents())}); err != nil {
			return err
		}
	}
}

func (e echo) take(events []*eventsv1.Event) []*eventsv1.PublishResult {
	now := time.Now()
	results := make([]*eventsv1.PublishResult, len(events))
	for i, ev := range events {
		e.ledger.arrived(echoPath, ev.GetData(), now)
		results[i] = &eventsv1.PublishResult{Id: ev.GetId(), Disposition: eventsv1.Disposition_DISPOSITION_ACCEPTED}
	}
	return results
}
