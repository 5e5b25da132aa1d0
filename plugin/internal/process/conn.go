package process

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// dial makes the connection to the process. No TLS: the socket lies in a folder that only this user can enter, and a
// user who could enter it could as well read this process's memory. TLS would cost a sixth of the throughput and 20 ms
// of each start, and its P-521 certificates break transformers in other languages.
func dial(addr address, maxReceive int) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///transformer",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, addr.network, addr.path)
		}),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		grpc.WithMaxHeaderListSize(64<<10),
		grpc.WithInitialWindowSize(1<<20),
		grpc.WithInitialConnWindowSize(4<<20),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0), // the connection is the process; it does not go to sleep
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot make the connection: %w", err)
	}
	return conn, nil
}

func isUnimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// followStdio logs what a Go transformer writes to os.Stdout and os.Stderr once it serves: go-plugin replaces both with
// pipes that it streams. It must be followed, or the transformer blocks when the pipe is full. Transformers in other
// languages do not have it.
//
// The messages of plugin.GRPCStdio are internal to go-plugin, so they are read from the wire: StdioData has channel = 1
// (1 stdout, 2 stderr) and data = 2.
func followStdio(ctx context.Context, conn *grpc.ClientConn, log func(stream, line string)) {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio",
		grpc.ForceCodec(rawCodec{}), grpc.WaitForReady(true))
	if err != nil {
		return // the process ended, or does not have the service: nothing to follow
	}
	if stream.SendMsg(new([]byte)) != nil || stream.CloseSend() != nil {
		return
	}
	out := &lineWriter{emit: func(line string) { log("stdout", line) }}
	errs := &lineWriter{emit: func(line string) { log("stderr", line) }}
	defer out.Flush()
	defer errs.Flush()
	for {
		var message []byte
		if stream.RecvMsg(&message) != nil {
			return
		}
		channel, data := parseStdio(message)
		switch channel {
		case 1:
			_, _ = out.Write(data) // never fails
		case 2:
			_, _ = errs.Write(data)
		}
	}
}

// parseStdio reads a StdioData; what is malformed is left out.
func parseStdio(b []byte) (channel uint64, data []byte) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return channel, data
		}
		b = b[n:]
		switch {
		case number == 1 && kind == protowire.VarintType:
			channel, n = protowire.ConsumeVarint(b)
		case number == 2 && kind == protowire.BytesType:
			data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return channel, data
		}
		b = b[n:]
	}
	return channel, data
}

// rawCodec passes messages as bytes.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (rawCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}
