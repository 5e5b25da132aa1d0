package ingest

import (
	"context"

	"google.golang.org/grpc"

	eventsv1 "github.com/sidehook/sidehook/api/events/v1"
)

// serviceDesc is EventService with handlers that decode into a batch. The generated descriptor is not to be altered,
// so this one is written out.
var serviceDesc = grpc.ServiceDesc{
	ServiceName: eventsv1.EventService_ServiceDesc.ServiceName,
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Publish", Handler: handlePublish}},
	Streams: []grpc.StreamDesc{{
		StreamName:    "PublishStream",
		Handler:       handlePublishStream,
		ServerStreams: true,
		ClientStreams: true,
	}},
	Metadata: eventsv1.EventService_ServiceDesc.Metadata,
}

// Register puts EventService on r. NewGRPC does it, with health, reflection and limits beside it.
func (s *Server) Register(r grpc.ServiceRegistrar) { r.RegisterService(&serviceDesc, s) }

func handlePublish(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	in := newBatch(publishLayout)
	if err := dec(in); err != nil {
		return nil, err
	}
	handler := func(ctx context.Context, req any) (any, error) {
		return srv.(*Server).publishUnary(ctx, req.(*batch))
	}
	if interceptor == nil {
		return handler(ctx, in)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: eventsv1.EventService_Publish_FullMethodName}
	return interceptor(ctx, in, info, handler)
}

func handlePublishStream(srv any, stream grpc.ServerStream) error {
	return srv.(*Server).publishStream(stream)
}

func (s *Server) publishUnary(ctx context.Context, in *batch) (*eventsv1.PublishResponse, error) {
	if err := in.timeError(); err != nil {
		return nil, s.refuse(err).status()
	}
	ids := idsOf(in.events)
	results, refused := s.publish(ctx, in.events, false)
	if refused != nil {
		return nil, refused.status()
	}
	return &eventsv1.PublishResponse{Results: resultsProto(ids, results)}, nil
}
